"""The furniture of every room: a controller looks, decides, and leaves the writing to the loop."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from poise.model.record import Decision, Ref


class Controller(Protocol):
    """One room's shell. ``look`` reads, calls the room's pure ``decide`` and returns its decision."""

    name: str

    async def keys(self) -> Iterable[str]:
        """Every key worth a look, at start and at each resync (level-triggered)."""
        ...

    def wakes(self, ref: Ref) -> str | tuple[str, ...] | None:
        """The keys to look at after this object was written; None when it does not concern the room."""
        ...

    async def look(self, key: str, now: datetime) -> Decision:
        """Read, decide; touch nothing. Called once per tick with one ``now``."""
        ...


class Performer(Protocol):
    """Does one kind of act. Raises ``Again`` to be tried later; any return is done.

    An act is absolute: performing it twice must be harmless.
    """

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """Do it; returns one sentence for the outbox."""
        ...


class Again(Exception):
    """The effect could not be done now; try again after ``delay_s``."""

    def __init__(self, why: str, delay_s: float = 1.0) -> None:
        super().__init__(why)
        self.delay_s = delay_s


class Dropped(Exception):
    """What must still hold does not; the intent is dropped and its room decides afresh."""
