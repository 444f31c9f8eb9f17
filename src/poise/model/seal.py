"""Records that the installation's key seals, so that editing the store grants nothing and trusts nobody."""

from __future__ import annotations

import hmac
from typing import TypeVar

import msgspec
from msgspec import Struct, structs

Signed = TypeVar("Signed", bound=Struct)


def sign(record: Signed, key: bytes) -> Signed:
    """The record with its signature: HMAC-SHA256 over the other fields as canonical JSON."""
    return structs.replace(record, signature=_seal(record, key))


def is_genuine(record: Struct, key: bytes) -> bool:
    """Whether this installation signed exactly these fields; in constant time."""
    signature = getattr(record, "signature", "")
    return bool(key) and hmac.compare_digest(signature, _seal(record, key))


def _seal(record: Struct, key: bytes) -> str:
    body = msgspec.json.encode(structs.replace(record, signature=""), order="sorted")
    return hmac.new(key, type(record).__name__.encode() + body, "sha256").hexdigest()
