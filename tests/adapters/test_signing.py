"""The key that signs provenance: made once, kept from others' eyes, and checked by another implementation."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from poise.adapters.signing import KEY_FILE, KeyFile, fits, key_id_of, normal
from poise.model.attestation import PAYLOAD_TYPE, enclosed, pae
from poise.model.errors import Invalid

# Source: RFC 8032, section 7.1, TEST 2; the key as RFC 8410 writes it
RFC_KEY = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
RFC_SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def rfc_pem() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(RFC_KEY)
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def test_signatures_are_those_of_the_rfc() -> None:
    assert fits(rfc_pem(), b"\x72", RFC_SIGNATURE)
    assert not fits(rfc_pem(), b"\x73", RFC_SIGNATURE)
    assert not fits("no key", b"\x72", RFC_SIGNATURE)
    assert not fits(rfc_pem(), b"\x72", b"short")


def test_another_implementation_verifies_our_envelopes(tmp_path: Path) -> None:
    """What only we can verify proves nothing to anybody."""
    key = KeyFile(tmp_path)
    payload = b'{"_type":"https://in-toto.io/Statement/v1"}'
    key_id, signature = key.sign(pae(PAYLOAD_TYPE, payload))
    import json

    envelope = Envelope.from_dict(json.loads(enclosed(payload, key_id, signature)))
    theirs = SSlibKey.from_crypto(load_pem_public_key(key.public_pem.encode()), keyid=key_id)
    assert list(envelope.verify([theirs], 1)) == [key_id]


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    first, second = KeyFile(tmp_path), KeyFile(tmp_path)
    assert first.key_id == second.key_id == key_id_of(first.public_pem)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert normal(first.public_pem.replace("\n", "\r\n")) == first.public_pem


def test_a_rotated_key_signs_and_the_old_one_still_verifies_what_it_signed(tmp_path: Path) -> None:
    key = KeyFile(tmp_path)
    old_pem, (old_id, old) = key.public_pem, key.sign(b"before")
    key.rotate()
    new_id, new = key.sign(b"after")
    assert new_id != old_id and KeyFile(tmp_path).key_id == new_id
    assert fits(old_pem, b"before", old) and fits(key.public_pem, b"after", new)
    assert not fits(old_pem, b"after", new)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_broken_key_file_is_named_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    """A new key in its place would make every release look signed by nobody."""
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(Invalid, match="no ed25519 key") as caught:
        KeyFile(tmp_path)
    assert "backup" in caught.value.mend and (tmp_path / KEY_FILE).read_bytes() == content


@pytest.mark.parametrize("pem", ["", "hello", rfc_pem()[:60]])
def test_what_is_no_public_key_is_named(pem: str) -> None:
    with pytest.raises(Invalid, match="no ed25519 public key"):
        key_id_of(pem)
