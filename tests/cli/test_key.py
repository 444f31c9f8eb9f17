"""``poise key``: who is believed, why, until when; each step told in the journal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from poise.adapters.signing import KeyFile
from poise.api.keys import ensure_key
from poise.model.attestation import TrustedKey
from poise.model.event_types import KEY_MADE, KEY_REMOVED, KEY_TRUSTED


@pytest.fixture
def kept(house: Any) -> Any:
    """A house as it starts: its own key on record."""
    ensured(house)
    return house


def ensured(house: Any) -> None:
    parts = house.parts
    anyio.run(ensure_key, parts.store, parts.clock, parts.key_file, parts.signing_key)


def told(house: Any) -> list[str]:
    rows = anyio.run(house.store.journal)
    return [row.event.type for row in rows if row.event.subject.startswith("@key/")]


def test_the_first_start_makes_one_trusted_key_and_the_next_none(
    kept: Any, online: Callable[..., Any]
) -> None:
    ensured(kept)
    (one,) = json.loads(online("key", "list", "--json").out)
    assert one["key_id"] == kept.parts.key_file.key_id and one["own"]
    assert told(kept) == [KEY_MADE]


def test_the_public_key_is_printed_as_others_take_it(kept: Any, online: Callable[..., Any]) -> None:
    done = online("key", "show")
    assert done.out == kept.parts.key_file.public_pem and ": signs" in done.err


def test_after_a_rotation_the_old_key_is_retired_and_still_trusted(
    kept: Any, online: Callable[..., Any]
) -> None:
    old = kept.parts.key_file.key_id
    assert online("key", "rotate", "--reason", "yearly").code == 0
    assert kept.parts.key_file.key_id != old
    found = {one["key_id"]: one for one in json.loads(online("key", "list", "--json").out)}
    assert found[old]["retired_at"] and found[old]["removed_at"] is None
    assert found[kept.parts.key_file.key_id]["reason"] == "yearly"
    ensured(kept)  # as the next start does
    assert told(kept) == [KEY_MADE, KEY_MADE]


def test_a_rotation_that_was_cut_short_is_completed_by_the_next_start(
    kept: Any, online: Callable[..., Any]
) -> None:
    """The file was there, the record was not yet."""
    old = kept.parts.key_file.key_id
    kept.parts.key_file.rotate()
    ensured(kept)
    found = {one["key_id"]: one for one in json.loads(online("key", "list", "--json").out)}
    assert found[old]["retired_at"] and found[kept.parts.key_file.key_id]["retired_at"] is None


def test_the_key_that_signs_cannot_be_removed_and_an_old_one_can(
    kept: Any, online: Callable[..., Any]
) -> None:
    old = kept.parts.key_file.key_id
    refused = online("key", "remove", old[:12], "--reason", "to see")
    assert refused.code == 4 and "poise key rotate" in refused.err
    online("key", "rotate", "--reason", "it leaked")
    assert online("key", "remove", old[:12], "--reason", "it leaked").code == 0
    table = online("key", "list").out
    assert "removed by owner" in table and told(kept)[-1] == KEY_REMOVED


def test_a_key_of_others_is_trusted_for_so_long(
    kept: Any, online: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    stranger = KeyFile(tmp_path / "elsewhere")
    file = tmp_path / "theirs.pub"
    file.write_text(stranger.public_pem)
    done = online("key", "trust", str(file), "--days", "90", "--reason", "the other house")
    assert done.code == 0 and "trusts the key" in done.out and " until 20" in done.out
    found, _ = anyio.run(kept.store.get, TrustedKey, stranger.key_id)
    assert (found.name, found.own) == ("theirs", False) and told(kept)[-1] == KEY_TRUSTED


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("key", "show", "ffffffff"), 3, "poise key list"),
        (("key", "show", "ff"), 3, "8 characters"),
        (("key", "remove", "ffffffff", "--reason", "why not"), 3, "poise key list"),
        (("key", "trust", "absent.pub", "--reason", "why not"), 3, "absent.pub"),
        (("key", "trust", "none.pub", "--reason", "why not"), 5, "no ed25519 public key"),
        (("key", "trust", "none.pub", "--reason", "x"), 5, "reason"),
    ],
)
def test_what_cannot_be_done_says_why(
    kept: Any, online: Callable[..., Any], words: tuple[str, ...], code: int, said: str
) -> None:
    Path("none.pub").write_text("hello")
    done = online(*words)
    assert done.code == code and said in done.err


def test_a_key_that_was_written_into_the_store_by_hand_is_shown_nowhere(
    kept: Any, online: Callable[..., Any]
) -> None:
    found, _ = anyio.run(kept.store.get, TrustedKey, kept.parts.key_file.key_id)
    kept.write(replace(found, key_id="f" * 64))
    assert len(json.loads(online("key", "list", "--json").out)) == 1
