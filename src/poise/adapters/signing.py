"""The installation's ed25519 key for provenance: a PEM file that only its owner reads; and keys of others.

Source: RFC 8032 (Ed25519), RFC 8410 (its keys in PKCS #8 and SubjectPublicKeyInfo).
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from poise.model.errors import Invalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_FILE: Final = "provenance.key"
PEM_CHARS: Final = 4096  # an ed25519 key takes 113


class KeyFile:
    """``provenance.key`` in the data folder, made at the first start. See ``ports.signing.Signer``.

    Raises ``Invalid`` for a file that holds no such key: a new one is never made in its place by itself.
    """

    def __init__(self, data: Path) -> None:
        self._path = data / KEY_FILE
        if not self._path.exists():
            self._make()
        self._key = self._read()

    @property
    def public_pem(self) -> str:
        """The public key as others take it."""
        return _pem_of(self._key.public_key())

    @property
    def key_id(self) -> str:
        """See ``key_id_of``."""
        return key_id_of(self.public_pem)

    def sign(self, message: bytes) -> tuple[str, bytes]:
        """See the port."""
        key = self._key  # one and the same, though it may be rotated meanwhile
        return key_id_of(_pem_of(key.public_key())), key.sign(message)

    def rotate(self) -> None:
        """A fresh key takes the place of this one, which is gone; what it signed stays signed."""
        self._make()
        self._key = self._read()

    def _read(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(self._path.read_bytes(), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise Invalid(
                "POISE-V201", "the key that signs provenance is no ed25519 key in PEM", where=str(self._path),
                mend=f"Put back the {KEY_FILE} of a backup; for a new one, move this file away.",
            )  # fmt: skip
        return key

    def _make(self) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        beside = self._path.with_name(self._path.name + ".part")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(self._path)


def fits(public_pem: str, message: bytes, signature: bytes) -> bool:
    """Whether the key signed exactly this message; a key that cannot be read signed nothing."""
    from cryptography.exceptions import InvalidSignature

    try:
        _public(public_pem).verify(signature, message)
    except (InvalidSignature, Invalid):
        return False
    return True


def key_id_of(public_pem: str) -> str:
    """SHA-256 of the key's SubjectPublicKeyInfo (DER), hex: what cosign and others name a key by.

    Raises ``Invalid`` for what is no ed25519 public key.
    """
    from cryptography.hazmat.primitives import serialization

    der = _public(public_pem).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return sha256(der).hexdigest()


def normal(public_pem: str) -> str:
    """The same key, written in the one usual way. Raises ``Invalid`` for what is no ed25519 public key."""
    return _pem_of(_public(public_pem))


def _pem_of(key: Ed25519PublicKey) -> str:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def _public(pem: str) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem[:PEM_CHARS].encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise Invalid(
            "POISE-V202", "this is no ed25519 public key in PEM",
            why="It begins with -----BEGIN PUBLIC KEY-----.",
            mend="Print one with: poise key show; or: openssl pkey -in KEY -pubout",
        )  # fmt: skip
    return key
