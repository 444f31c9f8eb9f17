"""Asking a replica whether it is well."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class ProbeResult(StrEnum):
    """``slow``: it accepted but did not answer in time; ``refused``: nothing listens."""

    OK = "ok"
    BAD = "bad"
    SLOW = "slow"
    REFUSED = "refused"


class Probe(Protocol):
    """An HTTP GET (or, with no path, a TCP connect) to a loopback port."""

    async def ask(self, port: int, path: str, timeout_s: float) -> ProbeResult: ...
