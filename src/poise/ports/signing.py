"""Signing and checking signatures: ed25519, one private key in force at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Signer(Protocol):
    """The installation's key for provenance."""

    def sign(self, message: bytes) -> tuple[str, bytes]:
        """The id of the key in force, and its signature (64 bytes) over ``message``."""
        ...


Fits = Callable[[str, bytes, bytes], bool]
"""(public key as PEM, message, signature) -> whether that key signed exactly this message."""
