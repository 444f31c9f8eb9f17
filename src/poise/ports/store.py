"""The one record: objects with generations, the journal, intents, and one lease.

Contract (one suite over every adapter): a transaction is atomic and durable before ``commit`` returns;
it is refused with ``Stale`` when anything in ``reads`` has changed or its fence is lower than the
lease's token; generations rise by one per write, tombstones included; sequences rise over the whole
store; every event joins the hash chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from msgspec import Struct

from poise.model.errors import Conflict
from poise.model.record import Event, Intent, PrefixRef, Read, Recorded, Ref, Write

Body = TypeVar("Body", bound=Struct)

LIST_LIMIT = 1000


class Stale(Conflict):
    """Something that the transaction was decided from has changed; read and decide again."""


class Object(Struct, frozen=True, kw_only=True):
    """One stored object. ``generation`` counts its writes; ``sequence`` is the store-wide write number."""

    kind: str
    key: str
    generation: int
    sequence: int
    body: Struct

    @property
    def ref(self) -> Ref:
        """The reference to put in ``reads``."""
        return Ref(self.kind, self.key, self.generation)


class IntentState(StrEnum):
    """``dropped``: a guard had changed; ``failed``: its attempts are spent; the loop decides afresh."""

    PENDING = "pending"
    DONE = "done"
    DROPPED = "dropped"
    FAILED = "failed"


class StoredIntent(Struct, frozen=True, kw_only=True):
    """An intent in the outbox with its attempts so far."""

    sequence: int
    intent: Intent
    state: IntentState
    attempts: int
    not_before: datetime
    outcome: str = ""


class Transaction(Struct, frozen=True, kw_only=True):
    """What is written together. ``fence`` None is for callers that are not the leader (the API).

    ``forgets`` are keys of intents to remove (a pending one stays); ``erases`` are objects to remove without
    a tombstone, each only at that generation (the newest write of all may stay). Erase only kinds that nobody
    scans.
    """

    at: datetime
    reads: Sequence[Read] = ()
    writes: Sequence[Write] = ()
    events: Sequence[Event] = ()
    intents: Sequence[Intent] = ()
    fence: int | None = None
    forgets: Sequence[str] = ()
    erases: Sequence[Ref] = ()


class Lease(Struct, frozen=True, kw_only=True):
    """The leader's lease; ``token`` rises with each new holder."""

    name: str
    holder: str
    token: int
    expires_at: datetime


class Store(Protocol):
    """See the module's docstring for the contract."""

    async def get(self, body: type[Body], key: str) -> tuple[Body | None, Ref]:
        """The object and the reference to it; (None, generation) when absent or deleted."""
        ...

    async def scan(
        self,
        body: type[Body],
        prefix: str = "",
        *,
        after: str = "",
        limit: int = LIST_LIMIT,
        last: bool = False,
    ) -> tuple[list[Body], PrefixRef]:
        """Objects whose key starts with ``prefix``, ascending by key, after key ``after``.

        ``last`` gives the last ``limit`` of them instead, still ascending. The reference covers the
        whole prefix. A prefix that should end at a key part must end with ``/``.
        """
        ...

    async def objects(
        self, kind: str, prefix: str, *, after: str = "", limit: int = LIST_LIMIT
    ) -> list[Object]:
        """As ``scan``, by kind's name, with generations: for the API's ``If-Match``."""
        ...

    async def commit(self, transaction: Transaction) -> int:
        """Write it all or raise ``Stale``; the last event sequence. An intent whose key exists pending or
        done is left as it is; one dropped or failed is pending again."""
        ...

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
        """Events ascending by sequence after ``after`` (and below ``before``, unless 0); ``subject`` is a
        prefix; ``last``: the newest of them."""
        ...

    async def pending(self, now: datetime, limit: int = 100) -> list[StoredIntent]:
        """Pending intents whose time has come, oldest first."""
        ...

    async def next_intent_at(self, after: datetime) -> datetime | None:
        """When the next pending intent becomes due after ``after``."""
        ...

    async def intent(self, key: str) -> StoredIntent | None:
        """One intent by its key."""
        ...

    async def settle(
        self,
        key: str,
        state: IntentState,
        outcome: str,
        *,
        retry_at: datetime | None = None,
        fence: int | None = None,
    ) -> None:
        """Record how an intent ended; pending with ``retry_at`` counts an attempt."""
        ...

    async def unchanged(self, reads: Sequence[Read]) -> bool:
        """Whether everything read is still as it was."""
        ...

    async def acquire(self, name: str, holder: str, now: datetime, ttl_s: float) -> Lease | None:
        """Take or renew the lease; None while another holder's has not expired."""
        ...

    async def lease(self, name: str) -> Lease | None:
        """The lease as it stands, expired or not."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give the lease up at once (its token stays used)."""
        ...

    def subscribe(self, listener: Callable[[Sequence[Ref], int], None]) -> Callable[[], None]:
        """Call ``listener(written refs, last event sequence)`` after each commit; returns unsubscribe."""
        ...

    async def close(self) -> None: ...


class Outbox(Store, Protocol):
    """The store with its outbox's past, for whoever keeps it short."""

    async def ended(self, before: datetime, *, after: int = 0, limit: int = LIST_LIMIT) -> list[StoredIntent]:
        """Intents that are not pending and were last due before ``before``, ascending after a sequence."""
        ...
