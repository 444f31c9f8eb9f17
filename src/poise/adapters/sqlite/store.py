"""The store port on SQLite through SQLAlchemy Core.

One writer thread, so that an fsync never holds the event loop; reads are short and run in place on a
connection of their own (WAL: they neither wait nor make wait).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection, create_engine, delete, event, func, insert, select, update
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool

from poise.adapters.sqlite import codec, statements
from poise.adapters.sqlite.schema import EVENT, INTENT, LEASE, METADATA, OBJECT
from poise.model.errors import Unreachable
from poise.model.kinds import BODY_VERSION
from poise.model.record import GENESIS_HASH, Event, Intent, PrefixRef, Read, Recorded, Ref, Write, chain_hash
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

T = TypeVar("T")
_BUSY_MS = 5000


class SqliteStore:
    """See ``ports.store`` for the contract."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = create_engine(
            f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": _BUSY_MS / 1000},
            poolclass=StaticPool,
        )  # fmt: skip
        self._reader = create_engine(
            f"sqlite:///{path}", connect_args={"check_same_thread": False}, poolclass=StaticPool
        )
        for engine in (self._engine, self._reader):
            event.listen(engine, "connect", _configure)
        event.listen(self._engine, "begin", _begin_immediate)
        with self._translated():
            METADATA.create_all(self._engine)
        path.chmod(0o600)
        self._one_writer = anyio.CapacityLimiter(1)
        self._listeners: list[Callable[[Sequence[Ref], int], None]] = []
        self._masked: Callable[[Transaction], Transaction] = lambda transaction: transaction

    def mask_with(self, masked: Callable[[Transaction], Transaction]) -> None:
        """Take secrets out of every transaction before it is written."""
        self._masked = masked

    # -- reading --------------------------------------------------------------------------------------

    async def get(self, body: type[Body], key: str) -> tuple[Body | None, Ref]:
        kind = body.__name__
        row = self._read(lambda c: c.execute(statements.GET, {"kind": kind, "key": key}).first())
        if row is None:
            return None, Ref(kind, key, 0)
        found = None if row.body is None else codec.decode_body(kind, row.body)
        assert found is None or isinstance(found, body)
        return found, Ref(kind, key, row.generation)

    async def scan(
        self,
        body: type[Body],
        prefix: str = "",
        *,
        after: str = "",
        limit: int = LIST_LIMIT,
        last: bool = False,
    ) -> tuple[list[Body], PrefixRef]:
        kind = body.__name__

        def read(connection: Connection) -> tuple[Sequence[Any], int]:
            query = (statements.SCAN if prefix else statements.SCAN_ALL)[last]
            asked = statements.under(kind, prefix) | {"after": after, "limit": limit}
            return connection.execute(query, asked).all(), _last_sequence(connection, kind, prefix)

        rows, sequence = self._read(read)
        found: list[Any] = [codec.decode_body(kind, row.body) for row in rows]
        return found[::-1] if last else found, PrefixRef(kind, prefix, sequence)

    async def objects(
        self, kind: str, prefix: str, *, after: str = "", limit: int = LIST_LIMIT
    ) -> list[Object]:
        query = (
            select(OBJECT)
            .where(*_under(kind, prefix), OBJECT.c.key > after, OBJECT.c.body.is_not(None))
            .order_by(OBJECT.c.key)
            .limit(limit)
        )
        return [
            Object(
                kind=kind,
                key=row.key,
                generation=row.generation,
                sequence=row.sequence,
                body=codec.decode_body(kind, row.body),
            )
            for row in self._read(lambda c: c.execute(query).all())
        ]

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
        query = select(EVENT).where(EVENT.c.sequence > after)
        if before:
            query = query.where(EVENT.c.sequence < before)
        if subject:
            query = query.where(EVENT.c.subject >= subject, EVENT.c.subject < subject + statements.HIGH)
        if types:
            query = query.where(EVENT.c.type.in_(list(types)))
        query = query.order_by(EVENT.c.sequence.desc() if last else EVENT.c.sequence).limit(limit)
        rows = self._read(lambda c: c.execute(query).all())
        return [_recorded(row) for row in (reversed(rows) if last else rows)]

    async def pending(self, now: datetime, limit: int = 100) -> list[StoredIntent]:
        query = (
            select(INTENT)
            .where(INTENT.c.state == IntentState.PENDING.value, INTENT.c.not_before <= codec.instant(now))
            .order_by(INTENT.c.sequence)
            .limit(limit)
        )
        return [codec.decode_intent(row) for row in self._read(lambda c: c.execute(query).all())]

    async def next_intent_at(self, after: datetime) -> datetime | None:
        query = select(func.min(INTENT.c.not_before)).where(
            INTENT.c.state == IntentState.PENDING.value, INTENT.c.not_before > codec.instant(after)
        )
        text = self._read(lambda c: c.execute(query).scalar())
        return None if text is None else codec.parse_instant(text)

    async def intent(self, key: str) -> StoredIntent | None:
        row = self._read(lambda c: c.execute(select(INTENT).where(INTENT.c.key == key)).first())
        return None if row is None else codec.decode_intent(row)

    async def ended(self, before: datetime, *, after: int = 0, limit: int = LIST_LIMIT) -> list[StoredIntent]:
        query = (
            select(INTENT)
            .where(
                INTENT.c.state != IntentState.PENDING.value,
                INTENT.c.not_before < codec.instant(before),
                INTENT.c.sequence > after,
            )
            .order_by(INTENT.c.sequence)
            .limit(limit)
        )
        return [codec.decode_intent(row) for row in self._read(lambda c: c.execute(query).all())]

    async def unchanged(self, reads: Sequence[Read]) -> bool:
        return self._read(lambda c: all(_is_current(c, read) for read in reads))

    # -- writing --------------------------------------------------------------------------------------

    async def commit(self, transaction: Transaction) -> int:
        masked = self._masked(transaction)
        refs, last = await self._write(lambda c: _commit(c, masked))
        for listener in list(self._listeners):
            listener(refs, last)
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
        values: dict[str, Any] = {
            "state": state.value,
            "outcome": outcome,
            "attempts": INTENT.c.attempts + 1,
        }
        if retry_at is not None:
            values["not_before"] = codec.instant(retry_at)

        def write(connection: Connection) -> None:
            _check_fence(connection, fence)
            connection.execute(update(INTENT).where(INTENT.c.key == key).values(values))

        await self._write(write)

    async def acquire(self, name: str, holder: str, now: datetime, ttl_s: float) -> Lease | None:
        return await self._write(lambda c: _acquire(c, name, holder, now, ttl_s))

    async def lease(self, name: str) -> Lease | None:
        row = self._read(lambda c: c.execute(select(LEASE).where(LEASE.c.name == name)).first())
        if row is None:
            return None
        return Lease(
            name=row.name,
            holder=row.holder,
            token=row.token,
            expires_at=codec.parse_instant(row.expires_at),
        )

    async def release(self, lease: Lease) -> None:
        free = {"holder": "", "expires_at": codec.instant(datetime.min.replace(tzinfo=UTC))}
        query = update(LEASE).where(LEASE.c.name == lease.name, LEASE.c.token == lease.token).values(free)
        await self._write(lambda c: c.execute(query))

    def subscribe(self, listener: Callable[[Sequence[Ref], int], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def close(self) -> None:
        self._listeners.clear()
        self._engine.dispose()
        self._reader.dispose()

    # -- inside ---------------------------------------------------------------------------------------

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._translated(), self._reader.connect() as connection:
            return work(connection)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        def in_transaction() -> T:
            with self._translated(), self._engine.begin() as connection:
                return work(connection)

        # Abandoning a commit halfway would leave the caller not knowing: it runs to its end.
        with anyio.CancelScope(shield=True):
            result = await anyio.to_thread.run_sync(in_transaction, limiter=self._one_writer)
        return result  # noqa: RET504 - a scope may end early, as far as types can tell

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            full = "full" in str(error.orig)
            raise Unreachable(
                "POISE-E507" if full else "POISE-E506",
                "the disk is full; nothing was written" if full else "the store does not answer",
                where=str(self._path),
                why=str(error.orig),
                mend="Free some space; Poise goes on by itself." if full else "Run: poise doctor",
            ) from error
        except DatabaseError as error:
            raise Unreachable(
                "POISE-E508",
                "the store is damaged",
                where=str(self._path),
                why=str(error.orig),
                mend="Run: poise restore --verify <backup>",
            ) from error


def _configure(connection: Any, _record: Any) -> None:
    # The driver's own transaction control starts a deferred transaction: another writer could come in
    # between SELECT and UPDATE. We begin ourselves, immediately.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={_BUSY_MS}",
        "foreign_keys=ON",
        "cache_size=-4000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _under(kind: str, prefix: str) -> tuple[Any, ...]:
    bounds = (OBJECT.c.kind == kind,)
    return (*bounds, OBJECT.c.key >= prefix, OBJECT.c.key < prefix + statements.HIGH) if prefix else bounds


def _last_sequence(connection: Connection, kind: str, prefix: str) -> int:
    query = statements.LAST_SEQUENCE if prefix else statements.LAST_SEQUENCE_OF_ALL
    return connection.execute(query, statements.under(kind, prefix)).scalar() or 0


def _is_current(connection: Connection, read: Read) -> bool:
    if isinstance(read, PrefixRef):
        return _last_sequence(connection, read.kind, read.prefix) == read.sequence
    query = select(OBJECT.c.generation).where(OBJECT.c.kind == read.kind, OBJECT.c.key == read.key)
    return (connection.execute(query).scalar() or 0) == read.generation


def _check_fence(connection: Connection, fence: int | None) -> None:
    if fence is None:
        return
    token = connection.execute(select(LEASE.c.token).where(LEASE.c.name == "leader")).scalar() or 0
    if fence < token:
        raise Stale("POISE-E402", "another leader has taken over")


def _commit(connection: Connection, transaction: Transaction) -> tuple[list[Ref], int]:
    _check_fence(connection, transaction.fence)
    if not all(_is_current(connection, read) for read in transaction.reads):
        raise Stale("POISE-E401", "something it was decided from has changed")
    refs = _write_objects(connection, transaction.writes)
    last = _append_events(connection, transaction.at, transaction.events)
    _forget(connection, transaction.forgets, transaction.erases)
    _enqueue(connection, transaction.at, transaction.intents)
    return refs, last


def _forget(connection: Connection, intents: Sequence[str], objects: Sequence[Ref]) -> None:
    """The newest write stays whatever it is: its sequence must not be given a second time."""
    if intents:
        ended = INTENT.c.state != IntentState.PENDING.value
        connection.execute(delete(INTENT).where(INTENT.c.key.in_(list(intents)), ended))
    newest = connection.execute(select(func.max(OBJECT.c.sequence))).scalar() or 0 if objects else 0
    for ref in objects:
        connection.execute(
            delete(OBJECT).where(
                OBJECT.c.kind == ref.kind,
                OBJECT.c.key == ref.key,
                OBJECT.c.generation == ref.generation,
                OBJECT.c.sequence < newest,
            )
        )


def _write_objects(connection: Connection, writes: Sequence[Write]) -> list[Ref]:
    refs = []
    sequence = connection.execute(select(func.max(OBJECT.c.sequence))).scalar() or 0
    for write in writes:
        sequence += 1
        at = (OBJECT.c.kind == write.kind, OBJECT.c.key == write.key)
        generation = connection.execute(select(OBJECT.c.generation).where(*at)).scalar() or 0
        values = {
            "generation": generation + 1,
            "sequence": sequence,
            "version": BODY_VERSION,
            "body": None if write.body is None else codec.encode(write.body),
        }
        if generation:
            connection.execute(update(OBJECT).where(*at).values(values))
        else:
            connection.execute(insert(OBJECT).values(kind=write.kind, key=write.key, **values))
        refs.append(Ref(write.kind, write.key, generation + 1))
    return refs


def _append_events(connection: Connection, at: datetime, events: Sequence[Event]) -> int:
    query = select(EVENT.c.sequence, EVENT.c.hash).order_by(EVENT.c.sequence.desc()).limit(1)
    row = connection.execute(query).first()
    sequence, head = (row.sequence, row.hash) if row else (0, GENESIS_HASH)
    for written in events:
        sequence += 1
        raw = codec.encode(written)
        # Sealed as it will be read back: JSON has no tuples and no integer keys.
        sealed = chain_hash(head, sequence, at.astimezone(UTC), codec.decode_event(raw))
        connection.execute(
            insert(EVENT).values(
                sequence=sequence,
                at=codec.instant(at),
                type=written.type,
                subject=written.subject,
                body=raw,
                previous_hash=head,
                hash=sealed,
            )
        )
        head = sealed
    return sequence


def _enqueue(connection: Connection, at: datetime, intents: Sequence[Intent]) -> None:
    for intent in intents:
        known = connection.execute(select(INTENT.c.state).where(INTENT.c.key == intent.key)).scalar()
        if known in (IntentState.PENDING.value, IntentState.DONE.value):
            continue
        connection.execute(delete(INTENT).where(INTENT.c.key == intent.key))
        last = connection.execute(select(func.max(INTENT.c.sequence))).scalar() or 0
        connection.execute(
            insert(INTENT).values(
                key=intent.key,
                sequence=last + 1,
                state=IntentState.PENDING.value,
                attempts=0,
                not_before=codec.instant(intent.not_before or at),
                act=codec.encode(intent.act),
                guards=codec.encode_guards(intent.guards),
                outcome="",
            )
        )


def _acquire(connection: Connection, name: str, holder: str, now: datetime, ttl_s: float) -> Lease | None:
    row = connection.execute(select(LEASE).where(LEASE.c.name == name)).first()
    if row is not None and row.holder != holder and codec.parse_instant(row.expires_at) > now:
        return None
    token = 1 if row is None else row.token if row.holder == holder else row.token + 1
    lease = Lease(name=name, holder=holder, token=token, expires_at=now + timedelta(seconds=ttl_s))
    connection.execute(delete(LEASE).where(LEASE.c.name == name))
    connection.execute(
        insert(LEASE).values(
            name=name, holder=holder, token=token, expires_at=codec.instant(lease.expires_at)
        )
    )
    return lease


def _recorded(row: Any) -> Recorded:
    return Recorded(
        sequence=row.sequence,
        at=codec.parse_instant(row.at),
        event=codec.decode_event(row.body),
        previous_hash=row.previous_hash,
        hash=row.hash,
    )
