"""What goes wrong between the rooms and the world: crashes at writes, and effects lost, doubled and late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Final, Protocol

from msgspec.structs import replace

from poise.adapters.memory import MemoryStore
from poise.engine.controller import Again, Controller, Dropped, Performer
from poise.model.errors import PoiseError
from poise.model.record import Decision, Ref
from poise.ports.store import IntentState, Transaction
from poise.simulation.invariants import Watch, raises_of

WAKE_LOST: Final = 0.1  # of the wake-ups that a write gives to a room
LOST: Final = 0.025
REFUSED: Final = 0.05
UNHEARD: Final = 0.08
DOUBLED: Final = 0.11
LATE: Final = 0.13
SLOW: Final = 0.16


class Crash(BaseException):
    """The control process dies here. No room may catch it."""


class Trouble:
    """What may go wrong now, and what did; quiet once ``is_on`` is False."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.is_on = True
        self.seen: Counter[str] = Counter()
        self.writes_to_crash: int | None = None  # the write from now on at which the process dies
        self.crash_on_raise = False
        self.interrupt: Callable[[Transaction], Awaitable[bool]] | None = None

    def happened(self, what: str) -> None:
        """Count one fault that took effect."""
        self.seen[what] += 1


class WatchedStore(MemoryStore):
    """The store, with every accepted write shown to the watch."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    async def commit(self, transaction: Transaction) -> int:
        """See ``ports.store``."""
        held = self._leases.get("leader")
        self._watch.token = held.token if held else 0
        stale = self._watch.changed_since(tuple(transaction.reads))
        last = await super().commit(transaction)
        self._watch.committed(transaction, stale)
        return last

    async def settle(
        self,
        key: str,
        state: IntentState,
        outcome: str,
        *,
        retry_at: datetime | None = None,
        fence: int | None = None,
    ) -> None:
        """See ``ports.store``."""
        await super().settle(key, state, outcome, retry_at=retry_at, fence=fence)
        self._watch.settled(key, state)


class MortalStore:
    """One control process' hold on the store, in which it may die before or after any write."""

    def __init__(self, inner: WatchedStore, trouble: Trouble) -> None:
        self._inner, self._trouble = inner, trouble
        self.get, self.scan, self.objects, self.journal = inner.get, inner.scan, inner.objects, inner.journal
        self.pending, self.next_intent_at, self.intent = inner.pending, inner.next_intent_at, inner.intent
        self.unchanged, self.lease, self.release = inner.unchanged, inner.lease, inner.release
        self.acquire = inner.acquire
        self._unsubscribe: list[Callable[[], None]] = []

    async def commit(self, transaction: Transaction) -> int:
        """See ``ports.store``; somebody else may write just before."""
        if self._trouble.interrupt is not None and await self._trouble.interrupt(transaction):
            self._trouble.interrupt = None
            self._trouble.happened("write in between")
        after = self._dies(raises_of(transaction))
        last = await self._inner.commit(transaction)
        if after:
            raise Crash
        return last

    async def settle(
        self,
        key: str,
        state: IntentState,
        outcome: str,
        *,
        retry_at: datetime | None = None,
        fence: int | None = None,
    ) -> None:
        """See ``ports.store``."""
        after = self._dies(False)
        await self._inner.settle(key, state, outcome, retry_at=retry_at, fence=fence)
        if after:
            raise Crash

    def subscribe(self, listener: Callable[[Sequence[Ref], int], None]) -> Callable[[], None]:
        """See ``ports.store``."""
        unsubscribe = self._inner.subscribe(listener)
        self._unsubscribe.append(unsubscribe)
        return unsubscribe

    async def close(self) -> None:
        """The process is gone: nobody listens any more."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()

    def _dies(self, raises: bool) -> bool:
        """Raises ``Crash`` to die before the write; True to die after it."""
        trouble = self._trouble
        if raises and trouble.crash_on_raise:
            trouble.crash_on_raise = False
            trouble.happened("crash after allowing a step")
            return True
        if trouble.writes_to_crash is None:
            return False
        trouble.writes_to_crash -= 1
        if trouble.writes_to_crash > 0:
            return False
        trouble.writes_to_crash = None
        trouble.happened("crash")
        if trouble.rng.random() < 0.5:
            raise Crash
        return True


class Later(Protocol):
    """Does something in so many seconds, whatever became of who asked."""

    def __call__(self, after_s: float, deed: Callable[[], Awaitable[object]]) -> None: ...


class ClumsyPerformer:
    """A performer whose effects are now and then lost, refused, unheard, doubled, late or slow."""

    def __init__(self, inner: Performer, trouble: Trouble, watch: Watch, later: Later) -> None:
        self._inner, self._trouble, self._watch, self._later = inner, trouble, watch, later

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """See ``Performer``."""
        self._watch.performed.add(intent_key)
        if not self._trouble.is_on:
            return await self._inner.perform(act, intent_key, fence, now)
        trouble, draw = self._trouble, self._trouble.rng.random()
        if draw < LOST:
            trouble.happened("effect lost")
            return "said to be done"
        if draw < REFUSED:
            trouble.happened("effect refused")
            raise OSError("the world did not answer")
        if draw >= SLOW:
            return await self._inner.perform(act, intent_key, fence, now)
        if draw >= LATE:
            trouble.happened("effect slow")
            raise Again("the world is slow", trouble.rng.uniform(10.0, 60.0))
        if draw >= DOUBLED:
            trouble.happened("effect late")
            self._later(trouble.rng.uniform(5.0, 60.0), lambda: self._belated(act, intent_key, fence))
            raise OSError("the world did not answer in time")
        done = await self._inner.perform(act, intent_key, fence, now)
        if draw >= UNHEARD:
            trouble.happened("effect doubled")
            return await self._inner.perform(act, intent_key, fence, now)
        trouble.happened("effect unheard")
        raise OSError(f"the answer was lost: {done}")

    async def _belated(self, act: object, intent_key: str, fence: int) -> None:
        try:
            await self._inner.perform(act, intent_key, fence, self._watch.now())
        except (Again, Dropped, PoiseError, OSError):
            self._trouble.happened("late effect refused")


class Paced:
    """A room looked at less often than it asks for, and not always told: a level-triggered room bears it.

    A look asked for within a second comes after ``least_s``, any other after at least ``quiet_s``.
    ``deaf_s`` says how long the room will not answer at all.
    """

    def __init__(
        self,
        inner: Controller,
        trouble: Trouble,
        least_s: float,
        quiet_s: float,
        deaf_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._inner, self._trouble = inner, trouble
        self._least_s, self._quiet_s, self._deaf_s = least_s, quiet_s, deaf_s
        self.name, self.keys = inner.name, inner.keys

    def wakes(self, ref: Ref) -> str | tuple[str, ...] | None:
        """See ``Controller``; now and then nobody is told."""
        if self._trouble.is_on and self._trouble.rng.random() < WAKE_LOST:
            return None
        return self._inner.wakes(ref)

    async def look(self, key: str, now: datetime) -> Decision:
        """See ``Controller``."""
        deaf_s = self._deaf_s()
        if deaf_s > 0:
            return Decision(wake_at=now + timedelta(seconds=deaf_s + 0.01))
        decision = await self._inner.look(key, now)
        if decision.wake_at is None:
            return decision
        asked_s = (decision.wake_at - now).total_seconds()
        least_s = self._least_s if asked_s <= 1.0 else self._quiet_s
        return decision if asked_s >= least_s else replace(decision, wake_at=now + timedelta(seconds=least_s))
