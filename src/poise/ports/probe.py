"""Asking a replica whether it is well."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from poise.model.service import Protocol as Spoken


class ProbeResult(StrEnum):
    """``slow``: it accepted but did not answer in time; ``refused``: nothing listens."""

    OK = "ok"
    BAD = "bad"
    SLOW = "slow"
    REFUSED = "refused"


class Probe(Protocol):
    """An HTTP GET (or, with no path, a TCP connect) to a loopback port; of gRPC its health call."""

    async def ask(self, port: int, path: str, timeout_s: float, spoken: Spoken) -> ProbeResult: ...
