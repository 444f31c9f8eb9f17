"""What is sealed opens only with its key, and only where it belongs."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.adapters.sealing import KEY_VARIABLE, Sealer, Unsealable, secret_key
from poise.model.config import Secret
from poise.model.errors import Invalid

KEY = bytes(range(32))
WEB = "shop/production/web"


def version(sealed: dict[str, str], service: str = WEB) -> Secret:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return Secret(service=service, n=1, sealed=sealed, marks={}, by="eva", reason="x", at=at)


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=5))
def test_what_was_sealed_opens_as_it_was(values: dict[str, str]) -> None:
    assert Sealer(KEY).unseal(version(Sealer(KEY).seal(WEB, values))) == values


def test_the_same_value_sealed_twice_looks_different_and_has_one_mark() -> None:
    sealer = Sealer(KEY)
    assert sealer.seal(WEB, {"A": "x"}) != sealer.seal(WEB, {"A": "x"})
    assert sealer.mark(WEB, "A", "x") == Sealer(KEY).mark(WEB, "A", "x")
    marks = {sealer.mark(WEB, "A", "y"), sealer.mark(WEB, "B", "x"), sealer.mark("other", "A", "x")}
    assert len(marks | {sealer.mark(WEB, "A", "x"), Sealer(bytes(32)).mark(WEB, "A", "x")}) == 5


def test_a_value_that_is_moved_or_changed_does_not_open() -> None:
    sealer = Sealer(KEY)
    sealed = sealer.seal(WEB, {"A": "hunter2"})["A"]
    cut = sealed[:-8] + "AAAAAAA="
    for bad in (
        version({"B": sealed}), version({"A": sealed}, "shop/production/other"), version({"A": cut}),
        version({"A": sealed.replace("v1", "v2")}), version({"A": "hunter2"}), version({"A": sealed[:20]}),
    ):  # fmt: skip
        with pytest.raises(Unsealable) as told:
            sealer.unseal(bad)
        assert "poise secret set" in told.value.mend
        assert "hunter2" not in str(told.value)


def test_another_key_is_told_by_its_fingerprint() -> None:
    sealed = Sealer(KEY).seal(WEB, {"A": "hunter2"})
    with pytest.raises(Unsealable, match=Sealer(KEY).fingerprint) as told:
        Sealer(bytes(32)).unseal(version(sealed))
    assert KEY_VARIABLE in told.value.mend
    assert replace(version(sealed)).sealed == sealed


def test_the_key_is_made_once_in_a_private_file_and_the_environment_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    made = secret_key(tmp_path)
    assert secret_key(tmp_path) == made
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv(KEY_VARIABLE, b64encode(KEY).decode())
    assert secret_key(tmp_path) == KEY


@pytest.mark.parametrize("text", ["", "short", "x" * 44, b64encode(b"x" * 31).decode()])
def test_a_key_of_another_form_is_refused_with_a_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    (tmp_path / "secret.key").write_text(text)
    with pytest.raises(Invalid, match="32 bytes") as told:
        secret_key(tmp_path)
    assert "openssl rand" in told.value.mend
