"""Envelopes and statements: the bytes that are signed are those that everybody else signs."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as Independent

from poise.model.attestation import PAYLOAD_TYPE, Bill, Lockfile, enclosed, opened, pae, statement_of
from poise.model.errors import Invalid


def test_the_bytes_that_are_signed_are_those_of_the_specification() -> None:
    """Source: DSSE 1.0, protocol.md, "Test Vectors"."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(kind=st.text(max_size=40), payload=st.binary(max_size=200))
def test_the_bytes_that_are_signed_are_those_of_another_implementation(kind: str, payload: bytes) -> None:
    """A length in characters instead of bytes would verify nowhere else."""
    assert pae(kind, payload) == Independent(payload, kind, {}).pae()


@given(payload=st.binary(max_size=200), signature=st.binary(min_size=1, max_size=64))
def test_an_envelope_holds_what_was_put_into_it_and_others_read_it(payload: bytes, signature: bytes) -> None:
    text = enclosed(payload, "ab12", signature)
    found = opened(text)
    assert (found.payload, found.key_id, found.signature) == (payload, "ab12", signature)
    theirs = Independent.from_dict(json.loads(text))
    assert (theirs.payload, theirs.payload_type, theirs.pae()) == (payload, PAYLOAD_TYPE, found.message)
    assert bytes.fromhex(theirs.signatures["ab12"].signature) == signature


WRITTEN = json.loads(enclosed(b"{}", "ab12", b"1234"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "POISE-V101"),
        ("not json", "POISE-V101"),
        (json.dumps(WRITTEN | {"signatures": []}), "POISE-V101"),
        (json.dumps(WRITTEN | {"signatures": WRITTEN["signatures"] * 2}), "POISE-V101"),
        (json.dumps(WRITTEN | {"payload": "e30"}), "POISE-V101"),
        (json.dumps(WRITTEN | {"payload": "e3 0="}), "POISE-V101"),
        (json.dumps(WRITTEN | {"more": 1}), "POISE-V101"),
        (json.dumps(WRITTEN | {"payloadType": "text/plain"}, separators=(",", ":")), "POISE-V102"),
        (json.dumps(WRITTEN), "POISE-V103"),  # with spaces: the same, written otherwise
        (
            json.dumps(WRITTEN | {"payload": "e31="}, separators=(",", ":")),
            "POISE-V103",
        ),  # bits that say nothing
    ],
)
def test_an_envelope_that_is_written_otherwise_is_not_read(text: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        opened(text)
    assert caught.value.code == code


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"_type": "x"}', b64encode(b"{}")])
def test_what_is_no_statement_is_named(payload: bytes) -> None:
    with pytest.raises(Invalid, match="statement"):
        statement_of(payload)


def test_a_bill_says_what_is_not_known() -> None:
    """Nothing known must never read as nothing in it."""
    read = Lockfile(path="a", ecosystem="pypi", sha256="0", components=3, unpinned=2)
    broken = Lockfile(path="b", ecosystem="npm", sha256="0", problem="it is not JSON")
    said = Bill(components={"pypi": 3}, lockfiles=(read, broken)).sentence
    assert said == "components: 3 pypi, of 2 lockfiles; 1 could not be read; 2 more without a version"
