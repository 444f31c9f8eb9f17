"""The world's clock: true time moves on; what the code is told may be stepped, and never retreats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

BASE: Final = datetime(2026, 1, 5, tzinfo=UTC)


class SimulatedClock:
    """``t`` is true seconds since the world began; ``now`` is what the machine's clock says."""

    def __init__(self) -> None:
        self.t = 0.0
        self._skew_s = 0.0
        self._last = BASE

    def advance(self, t: float) -> None:
        """True time is ``t`` now."""
        assert t >= self.t, "true time never goes back"
        self.t = t

    def step(self, seconds: float) -> None:
        """Somebody set the machine's clock, forward or back."""
        self._skew_s += seconds

    def now(self) -> datetime:
        """See ``ports.clock``: after a step back it holds the last instant until time has caught up."""
        told = BASE + timedelta(seconds=self.t + self._skew_s)
        self._last = max(self._last, told)
        return self._last

    def true_at(self, at: datetime) -> float:
        """The true time at which the machine's clock will say ``at``, if nobody sets it."""
        return (at - BASE).total_seconds() - self._skew_s

    async def sleep(self, seconds: float) -> None:
        """The world drives: whoever pauses is looked at again when something is due."""
