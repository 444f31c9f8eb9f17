"""What the watch knows: its own copy of every object, and what broke."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeVar

from msgspec import Struct

from poise.simulation.clock import SimulatedClock

Body = TypeVar("Body", bound=Struct)

FAILURES_MAX: Final = 5  # of one seed; the first tells the most


class Failure(Struct, frozen=True, kw_only=True):
    """An invariant that broke: in which seed, after how many simulated seconds, which, and how."""

    seed: int
    at: float
    invariant: str
    detail: str


class Book:
    """Every object as it was last written; ``failures`` is what broke."""

    def __init__(self, seed: int, clock: SimulatedClock) -> None:
        self.seed, self._clock = seed, clock
        self.failures: list[Failure] = []
        self.objects: dict[str, dict[str, Struct]] = {}
        self.events = 0

    @property
    def t(self) -> float:
        """True seconds since the world began."""
        return self._clock.t

    def now(self) -> datetime:
        """What the machine's clock says."""
        return self._clock.now()

    def breach(self, invariant: str, detail: str) -> None:
        """An invariant broke."""
        known = {failure.invariant for failure in self.failures}
        if invariant not in known and len(self.failures) < FAILURES_MAX:
            failure = Failure(seed=self.seed, at=round(self._clock.t, 3), invariant=invariant, detail=detail)
            self.failures.append(failure)

    def one(self, body: type[Body], key: str) -> Body | None:
        """An object as it was last written."""
        found = self.objects.get(body.__name__, {}).get(key)
        return found if isinstance(found, body) else None

    def all(self, body: type[Body], prefix: str = "") -> list[Body]:
        """Objects under a prefix, ascending by key."""
        rows = self.objects.get(body.__name__, {})
        return [rows[key] for key in sorted(key for key in rows if key.startswith(prefix))]  # type: ignore[misc]
