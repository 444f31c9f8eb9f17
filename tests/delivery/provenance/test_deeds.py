"""Releases packed and signed by the real parts, then tampered with: each way is refused by its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.adapters.signing import KeyFile
from poise.engine.controller import Dropped
from poise.model.acts import VerifyRelease
from poise.model.attestation import (
    Outcome,
    ProvenanceRule,
    Verification,
    opened,
    statement_of,
)
from poise.model.delivery import Release, Rollout, RolloutState
from poise.model.event_types import RELEASE_REFUSED, RELEASE_VERIFIED
from poise.model.record import Write
from poise.ports.store import Transaction

from .conftest import NOW, Shelf


def performed(shelf: Shelf, rollout: Rollout) -> Verification:
    anyio.run(shelf.verifier.perform, VerifyRelease(rollout=rollout.key), "k", None, NOW)
    found, _ = anyio.run(shelf.store.get, Verification, rollout.key)
    assert found is not None
    return found


def test_a_release_as_it_was_built_is_verified_and_the_journal_says_so(shelf: Shelf) -> None:
    found = performed(shelf, shelf.starting(shelf.ship()))
    assert (found.outcome, found.rule) == (Outcome.VERIFIED, "verified")
    assert found.builder == "https://poise.dev/installation/abc" and found.key_id == shelf.key_file.key_id
    (row,) = anyio.run(shelf.store.journal)
    assert row.event.type == RELEASE_VERIFIED and "built by run 1" in row.event.summary


def test_the_statement_says_what_was_built_from_what(shelf: Shelf) -> None:
    """Field by field as SLSA 1.0 names them: others' tools read it."""
    release = shelf.ship()
    made = statement_of(opened(shelf.attestation().envelope).payload)
    definition, details = made.predicate.build_definition, made.predicate.run_details
    assert made.subject[0].digest == {"sha256": release.digest.removeprefix("sha256:")}
    parameters = definition.external_parameters
    assert parameters["repository"] == "http://127.0.0.1:8700/git/shop.git"
    assert (parameters["ref"], parameters["commit"]) == ("refs/heads/main", release.commit)
    assert parameters["declarations"]["path"] == "poise.yaml"
    assert next(one.digest for one in made.dependencies) == {"gitCommit": release.commit}
    assert [one.name for one in made.dependencies] == ["", "requirements.txt"]
    assert details.metadata.invocation_id == "shop/runs/1" and details.builder.version == {"poise": "0.1.0"}
    assert details.byproducts[0].digest == {"sha256": shelf.attestation().bill.sha256}


def touched(path: Path) -> None:
    path.write_text(path.read_text() + "#")


def renamed(path: Path) -> None:
    path.rename(path.with_name("other.py"))


def added(path: Path) -> None:
    (path.parent / "more.py").write_text("")


def runnable(path: Path) -> None:
    path.chmod(0o755)


def linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def piped(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))


@pytest.mark.parametrize("tamper", [touched, renamed, added, runnable, linked, piped, Path.unlink])
def test_a_changed_file_is_refused_with_the_way_back(shelf: Shelf, tamper: Callable[[Path], None]) -> None:
    release = shelf.ship()
    tamper(shelf.folder_of(release) / "app.py")
    found = performed(shelf, shelf.starting(release))
    assert (found.outcome, found.rule) == (Outcome.REFUSED, "files")
    assert "changed since they were packed" in found.text and "poise drift" in found.mend
    (row,) = anyio.run(shelf.store.journal)
    assert row.event.type == RELEASE_REFUSED and row.event.data["mend"] == found.mend


def test_a_release_whose_folder_is_gone_is_refused(shelf: Shelf) -> None:
    release = shelf.ship()
    shutil.rmtree(shelf.folder_of(release))
    found = shelf.check(release)
    assert found.rule == "files" and "poise restore" in found.mend


@given(data=st.data())
def test_no_byte_of_an_envelope_can_be_another_one(whole: tuple[Shelf, Release], data: st.DataObject) -> None:
    """Payload, signature, key and everything between: not even bits of base64 that say nothing."""
    shelf, release = whole
    text = shelf.attestation().envelope
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(min_codepoint=1, max_codepoint=126).filter(lambda one: one != text[at]))
    shelf.envelope(text[:at] + other + text[at + 1 :])
    assert shelf.check(release).is_refused
    shelf.envelope(text)
    assert not shelf.check(release).is_refused


@given(data=st.data())
def test_no_byte_of_a_file_can_be_another_one(whole: tuple[Shelf, Release], data: st.DataObject) -> None:
    shelf, release = whole
    files = sorted(path for path in shelf.folder_of(release).rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    body = path.read_bytes()
    at, bits = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(1, 255))
    path.write_bytes(body[:at] + bytes([body[at] ^ bits]) + body[at + 1 :])
    try:
        assert shelf.check(release).rule == "files"
    finally:
        path.write_bytes(body)
    assert not shelf.check(release).is_refused


def test_the_envelope_of_another_release_is_refused(shelf: Shelf) -> None:
    """Signed by our own key, and yet of something else."""
    first, _ = shelf.ship(1), shelf.ship(2, {"app.py": "print('other')\n"})
    shelf.envelope(shelf.attestation(2).envelope, n=1)
    found = shelf.check(first)
    assert found.rule == "subject" and "is of sha256:" in found.text


def test_the_envelope_of_the_same_files_from_another_commit_is_refused(shelf: Shelf) -> None:
    """The same digest: only the commit tells who is answerable for it."""
    first, _ = shelf.ship(1), shelf.ship(2)
    shelf.envelope(shelf.attestation(2).envelope, n=1)
    assert shelf.check(first).rule == "commit"


def test_a_key_that_nobody_trusts_is_refused_until_it_is_trusted(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    stranger = KeyFile(tmp_path / "elsewhere")
    release = shelf.ship(key_file=stranger)
    found = shelf.check(release)
    assert found.rule == "unknown_key" and "poise key trust" in found.mend
    shelf.trust(stranger, own=False)
    assert shelf.check(release).outcome is Outcome.VERIFIED


def test_a_key_that_was_put_into_the_store_by_hand_is_not_trusted(shelf: Shelf, tmp_path: Path) -> None:
    """Who can edit the store must not be able to say whose releases run."""
    (tmp_path / "elsewhere").mkdir()
    stranger = KeyFile(tmp_path / "elsewhere")
    release = shelf.ship(key_file=stranger)
    forged = replace(shelf.trust(shelf.key_file), key_id=stranger.key_id, public_pem=stranger.public_pem)
    shelf.write(forged)
    assert shelf.check(release).rule == "unknown_key"


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"removed_at": NOW, "removed_by": "ann", "reason": "it leaked"}, "removed_key"),
        ({"expires_at": NOW}, "expired_key"),
        ({"expires_at": NOW + timedelta(seconds=1)}, "verified"),
        ({"retired_at": NOW - timedelta(hours=1)}, "verified"),  # rotated: what it signed stays good
    ],
)
def test_a_key_is_believed_until_it_is_removed_or_expires(
    shelf: Shelf, fields: dict[str, object], rule: str
) -> None:
    release = shelf.ship()
    shelf.trust(shelf.key_file, **fields)
    found = shelf.check(release)
    assert found.rule == rule
    assert found.rule == "verified" or "poise key trust" in found.mend


def unsigned(shelf: Shelf, release: Release) -> None:
    write = Write(kind="Attestation", key=release.key, body=None)
    anyio.run(shelf.store.commit, Transaction(at=NOW, writes=[write]))


@pytest.mark.parametrize(
    ("days_old", "provenance", "back_to", "rule"),
    [
        (0, ProvenanceRule.BOOTSTRAP, None, "missing"),  # somebody took it away
        (0, ProvenanceRule.BOOTSTRAP, 1, "missing"),
        (2, ProvenanceRule.BOOTSTRAP, None, "bootstrap"),  # from before the first key
        (2, ProvenanceRule.REQUIRED, None, "required"),
        (
            2,
            ProvenanceRule.REQUIRED,
            1,
            "bootstrap",
        ),  # a way back to what was live is never closed by a policy
    ],
)
def test_a_release_without_an_envelope_goes_on_only_where_it_is_older_than_the_first_key(
    shelf: Shelf, days_old: int, provenance: ProvenanceRule, back_to: int | None, rule: str
) -> None:
    release = replace(shelf.ship(), created_at=NOW - timedelta(days=days_old))
    shelf.write(release)
    unsigned(shelf, release)
    base = shelf.starting(release)
    rollout = shelf.starting(release, spec=replace(base.spec, provenance=provenance), back_to=back_to)
    found = performed(shelf, rollout)
    assert found.rule == rule
    assert found.is_refused == (rule in ("missing", "required"))
    assert bool(found.mend) == found.is_refused


def test_an_old_release_whose_files_were_changed_is_refused_too(shelf: Shelf) -> None:
    release = replace(shelf.ship(), created_at=NOW - timedelta(days=2))
    shelf.write(release)
    unsigned(shelf, release)
    touched(shelf.folder_of(release) / "app.py")
    assert shelf.check(release).rule == "files"


def test_verifying_twice_is_verifying_once(shelf: Shelf) -> None:
    """An intent may be performed again after a crash."""
    rollout = shelf.starting(shelf.ship())
    assert performed(shelf, rollout) == performed(shelf, rollout)
    assert len(anyio.run(shelf.store.journal)) == 1


def test_what_does_not_start_any_more_is_not_verified(shelf: Shelf) -> None:
    rollout = shelf.starting(shelf.ship(), state=RolloutState.FAILED)
    with pytest.raises(Dropped):
        performed(shelf, rollout)


def test_an_attestation_and_a_key_survive_the_store(shelf: Shelf) -> None:
    """What is read back must be what was sealed."""
    from poise.adapters.sqlite.codec import decode_body, encode

    shelf.ship()
    for body in (shelf.trust(shelf.key_file, expires_at=NOW), shelf.attestation()):
        assert decode_body(type(body).__name__, encode(body)) == body
