"""Secrets at rest: sealed under one key of the installation, which is no part of the record.

A sealed value reads ``v1:<key's fingerprint>:<base64 of nonce and ciphertext>``. The service and the name are
sealed in as associated data: a value that is moved to another service or name does not open there.
Source: NIST SP 800-38D (AES-GCM, 96-bit random nonces), RFC 5869 (HKDF).
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from poise.model.config import Secret
from poise.model.errors import Invalid, PoiseError

KEY_VARIABLE: Final = "POISE_SECRET_KEY"
KEY_FILE: Final = "secret.key"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
MARK_DIGITS: Final = 16
VERSION: Final = "v1"


class Unsealable(PoiseError):
    """A sealed value does not open: another key, or not the bytes that were sealed."""

    http_status = 409
    exit_code = 4


class Sealer:
    """Seals and opens secrets under one key of ``KEY_BYTES`` bytes."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(_derived(key, b"poise seal"))
        self._marking = _derived(key, b"poise mark")
        self.fingerprint = hmac.new(_derived(key, b"poise name"), b"", sha256).hexdigest()[:8]

    def seal(self, service: str, values: Mapping[str, str]) -> dict[str, str]:
        """Plain values by name to sealed ones. Sealed twice, the same value looks different."""
        return {name: self._seal(_context(service, name), value) for name, value in values.items()}

    def unseal(self, secret: Secret) -> dict[str, str]:
        """The plain values by name. Raises ``Unsealable`` with a mend."""
        return {
            name: self._open(_context(secret.service, name), sealed, f"{secret.service} {name}")
            for name, sealed in secret.sealed.items()
        }

    def mark(self, service: str, name: str, value: str) -> str:
        """A short keyed digest: the same value under the same service and name has the same mark."""
        said = _context(service, name) + b"\0" + value.encode()
        return hmac.new(self._marking, said, sha256).hexdigest()[:MARK_DIGITS]

    def _seal(self, context: bytes, value: str) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        body = b64encode(nonce + self._cipher.encrypt(nonce, value.encode(), context)).decode()
        return f"{VERSION}:{self.fingerprint}:{body}"

    def _open(self, context: bytes, sealed: str, where: str) -> str:
        from cryptography.exceptions import InvalidTag

        version, _, rest = sealed.partition(":")
        fingerprint, _, body = rest.partition(":")
        if version != VERSION:
            raise _unsealable(where, "It was sealed in a form that this version of Poise does not know.")
        if not re.fullmatch("[0-9a-f]{8}", fingerprint):
            raise _unsealable(where, "The sealed value was changed.")
        if fingerprint != self.fingerprint:
            why = f"It was sealed under the key {fingerprint}; the key in force is {self.fingerprint}."
            raise _unsealable(where, why)
        try:
            raw = b64decode(body, validate=True)
            plain = self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], context)
        except (NotBase64, InvalidTag, ValueError):
            raise _unsealable(where, "The sealed value was changed or moved.") from None
        return plain.decode()


def secret_key(data: Path) -> bytes:
    """The installation's key: of the environment, else of the 0600 file, which is made at the first start.

    Raises ``Invalid`` for a key of another length or form.
    """
    named = os.environ.get(KEY_VARIABLE)
    if named is not None:
        return _decoded(named.strip(), KEY_VARIABLE)
    path = data / KEY_FILE
    if not path.exists():
        _write_once(path, b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
    try:
        return _decoded(path.read_text().strip(), str(path))
    except UnicodeDecodeError:
        raise _bad_key(str(path)) from None


def _decoded(text: str, where: str) -> bytes:
    try:
        key = b64decode(text, validate=True)
    except ValueError:
        raise _bad_key(where) from None
    if len(key) != KEY_BYTES:
        raise _bad_key(where)
    return key


def _bad_key(where: str) -> Invalid:
    return Invalid(
        "POISE-E620",
        f"the key of the secrets is not {KEY_BYTES} bytes in base64",
        where=where,
        mend=f"Put back the {KEY_FILE} that was in use; a new one: openssl rand -base64 {KEY_BYTES}",
    )


def _unsealable(where: str, why: str) -> Unsealable:
    return Unsealable(
        "POISE-E621",
        "a secret does not open",
        where=where,
        why=why,
        mend=f"Put back the {KEY_FILE} that was in use (or {KEY_VARIABLE}) and start Poise again; "
        "or set the value anew: poise secret set SERVICE NAME",
    )


def _derived(key: bytes, purpose: bytes) -> bytes:
    """HKDF with no salt and one block of output."""
    extracted = hmac.new(bytes(32), key, sha256).digest()
    return hmac.new(extracted, purpose + b"\x01", sha256).digest()


def _context(service: str, name: str) -> bytes:
    return f"{service}\0{name}".encode()


def _write_once(path: Path, content: bytes) -> None:
    """Beside with mode 0600, synced, renamed: never half a key."""
    beside = path.with_name(path.name + ".part")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
