"""The store in memory: what the simulation and the tests of rooms run on.

It keeps the store's whole contract but durability: what it holds dies with the process.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from poise.model.record import GENESIS_HASH, Event, Intent, PrefixRef, Read, Recorded, Ref, chain_hash
from poise.ports.store import (
    LIST_LIMIT,
    Body,
    IntentState,
    Lease,
    Object,
    Stale,
    StoredIntent,
    Transaction,
)

_HIGH = "\U0010ffff"


class _Kind:
    """All objects of one kind: rows by key, and every key in order, tombstones included."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, int, Struct | None]] = {}  # generation, sequence, body
        self.keys: list[str] = []
        self._summed: dict[str, tuple[list[Struct], int]] = {}  # by prefix, until the next write

    def write(self, key: str, sequence: int, body: Struct | None) -> int:
        """Returns the new generation."""
        generation = self.rows.get(key, (0, 0, None))[0] + 1
        if generation == 1:
            insort(self.keys, key)
        self.rows[key] = (generation, sequence, body)
        self._summed.clear()
        return generation

    def erase(self, key: str, generation: int) -> None:
        if self.rows.get(key, (0, 0, None))[0] == generation > 0:
            del self.rows[key]
            del self.keys[bisect_left(self.keys, key)]
            self._summed.clear()

    def summed(self, prefix: str) -> tuple[list[Struct], int]:
        """(bodies ascending by key, newest sequence) under a prefix."""
        known = self._summed.get(prefix)
        if known is None:
            rows = [self.rows[key] for key in self.under(prefix)]
            bodies = [body for _, _, body in rows if body is not None]
            known = self._summed[prefix] = bodies, max([sequence for _, sequence, _ in rows], default=0)
        return known

    def under(self, prefix: str) -> list[str]:
        return self.keys[bisect_left(self.keys, prefix) : bisect_left(self.keys, prefix + _HIGH)]


class _Kinds(dict[str, _Kind]):
    """Every kind by its name; one that nobody has written yet is empty."""

    def __missing__(self, name: str) -> _Kind:
        found = self[name] = _Kind()
        return found


class MemoryStore:
    """See ``ports.store`` for the contract."""

    def __init__(self) -> None:
        self._kinds = _Kinds()
        self._journal: list[Recorded] = []
        self._intents: dict[str, StoredIntent] = {}
        self._open: dict[str, StoredIntent] = {}
        self._leases: dict[str, Lease] = {}
        self._sequence = 0
        self._intent_sequence = 0
        self._listeners: list[Callable[[Sequence[Ref], int], None]] = []

    async def get(self, body: type[Body], key: str) -> tuple[Body | None, Ref]:
        generation, _, found = self._kinds[body.__name__].rows.get(key, (0, 0, None))
        assert found is None or isinstance(found, body)
        return found, Ref(body.__name__, key, generation)

    async def scan(
        self,
        body: type[Body],
        prefix: str = "",
        *,
        after: str = "",
        limit: int = LIST_LIMIT,
        last: bool = False,
    ) -> tuple[list[Body], PrefixRef]:
        kind = self._kinds[body.__name__]
        found, sequence = kind.summed(prefix)
        if after:
            under = kind.under(prefix)
            rows = (kind.rows[key][2] for key in under[bisect_right(under, after) :])
            found = [row for row in rows if row is not None]
        chosen = found[-limit:] if last else found[:limit]
        return chosen, PrefixRef(body.__name__, prefix, sequence)  # type: ignore[return-value]

    async def objects(
        self, kind: str, prefix: str, *, after: str = "", limit: int = LIST_LIMIT
    ) -> list[Object]:
        rows = self._kinds[kind]
        return [
            Object(kind=kind, key=key, generation=generation, sequence=sequence, body=body)
            for key in rows.under(prefix)
            if key > after
            for generation, sequence, body in (rows.rows[key],)
            if body is not None
        ][:limit]

    async def commit(self, transaction: Transaction) -> int:
        self._check_fence(transaction.fence)
        if not self._holds(transaction.reads):
            raise Stale("POISE-E401", "something it was decided from has changed")
        refs = [self._write(write.kind, write.key, write.body) for write in transaction.writes]
        for event in transaction.events:
            self._append(transaction.at, event)
        for key in transaction.forgets:
            if key not in self._open:
                self._intents.pop(key, None)
        for ref in transaction.erases:
            self._kinds[ref.kind].erase(ref.key, ref.generation)
        for intent in transaction.intents:
            self._enqueue(intent, transaction.at)
        last = len(self._journal)
        for listener in list(self._listeners):
            listener(refs, last)
        return last

    async def journal(
        self,
        *,
        after: int = 0,
        before: int = 0,
        limit: int = LIST_LIMIT,
        subject: str = "",
        types: Sequence[str] = (),
        last: bool = False,
    ) -> list[Recorded]:
        rows = [
            row
            for row in self._journal[after : max(0, before - 1) if before else None]
            if row.event.subject.startswith(subject) and (not types or row.event.type in types)
        ]
        return rows[-limit:] if last else rows[:limit]

    async def pending(self, now: datetime, limit: int = 100) -> list[StoredIntent]:
        due = [stored for stored in self._open.values() if stored.not_before <= now]
        return sorted(due, key=lambda stored: stored.sequence)[:limit]

    async def next_intent_at(self, after: datetime) -> datetime | None:
        later = (stored.not_before for stored in self._open.values() if stored.not_before > after)
        return min(later, default=None)

    async def intent(self, key: str) -> StoredIntent | None:
        return self._intents.get(key)

    async def ended(self, before: datetime, *, after: int = 0, limit: int = LIST_LIMIT) -> list[StoredIntent]:
        past = (
            stored
            for key, stored in self._intents.items()
            if key not in self._open and stored.not_before < before and stored.sequence > after
        )
        return sorted(past, key=lambda stored: stored.sequence)[:limit]

    async def settle(
        self,
        key: str,
        state: IntentState,
        outcome: str,
        *,
        retry_at: datetime | None = None,
        fence: int | None = None,
    ) -> None:
        self._check_fence(fence)
        stored = self._intents[key]
        self._intents[key] = settled = replace(
            stored,
            state=state,
            outcome=outcome,
            attempts=stored.attempts + 1,
            not_before=retry_at or stored.not_before,
        )
        if state is IntentState.PENDING:
            self._open[key] = settled
        else:
            self._open.pop(key, None)

    async def unchanged(self, reads: Sequence[Read]) -> bool:
        return self._holds(reads)

    async def acquire(self, name: str, holder: str, now: datetime, ttl_s: float) -> Lease | None:
        held = self._leases.get(name)
        if held is not None and held.holder != holder and held.expires_at > now:
            return None
        same = held is not None and held.holder == holder
        token = held.token if held is not None and same else (held.token if held else 0) + 1
        lease = Lease(name=name, holder=holder, token=token, expires_at=now + timedelta(seconds=ttl_s))
        self._leases[name] = lease
        return lease

    async def lease(self, name: str) -> Lease | None:
        return self._leases.get(name)

    async def release(self, lease: Lease) -> None:
        held = self._leases.get(lease.name)
        if held is not None and held.token == lease.token:
            self._leases[lease.name] = replace(
                held, holder="", expires_at=datetime.min.replace(tzinfo=held.expires_at.tzinfo)
            )

    def subscribe(self, listener: Callable[[Sequence[Ref], int], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def close(self) -> None:
        self._listeners.clear()

    # -- inside ---------------------------------------------------------------------------------------

    def _check_fence(self, fence: int | None) -> None:
        held = self._leases.get("leader")
        if fence is not None and held is not None and fence < held.token:
            raise Stale("POISE-E402", "another leader has taken over")

    def _holds(self, reads: Sequence[Read]) -> bool:
        return all(self._is_current(read) for read in reads)

    def _is_current(self, read: Read) -> bool:
        kind = self._kinds[read.kind]
        if isinstance(read, Ref):
            return kind.rows.get(read.key, (0, 0, None))[0] == read.generation
        return kind.summed(read.prefix)[1] == read.sequence

    def _write(self, name: str, key: str, body: Struct | None) -> Ref:
        self._sequence += 1
        return Ref(name, key, self._kinds[name].write(key, self._sequence, body))

    def _append(self, at: datetime, event: Event) -> None:
        head = self._journal[-1].hash if self._journal else GENESIS_HASH
        sequence = len(self._journal) + 1
        sealed = chain_hash(head, sequence, at, event)
        self._journal.append(Recorded(sequence=sequence, at=at, event=event, previous_hash=head, hash=sealed))

    def _enqueue(self, intent: Intent, at: datetime) -> None:
        known = self._intents.get(intent.key)
        if known is not None and known.state in (IntentState.PENDING, IntentState.DONE):
            return
        self._intent_sequence += 1
        stored = StoredIntent(
            sequence=self._intent_sequence,
            intent=intent,
            state=IntentState.PENDING,
            attempts=0,
            not_before=intent.not_before or at,
        )
        self._intents[intent.key] = self._open[intent.key] = stored
