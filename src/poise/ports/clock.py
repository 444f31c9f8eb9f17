"""Time, as the loop sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """``now`` is aware UTC and never retreats; ``jumped_s`` is the last forward jump over 5 s, else 0."""

    def now(self) -> datetime: ...

    async def sleep(self, seconds: float) -> None: ...
