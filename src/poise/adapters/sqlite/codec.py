"""Rows to records and back. Bodies and events are canonical JSON: equal records, equal bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from poise.model.acts import Act
from poise.model.kinds import BODIES
from poise.model.record import Event, Intent, PrefixRef, Read, Ref
from poise.ports.store import IntentState, StoredIntent

_ACT: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Act)
_EVENT = msgspec.json.Decoder(Event)
_BODY = {kind: msgspec.json.Decoder(cls) for kind, cls in BODIES.items()}
_GUARDS = msgspec.json.Decoder(list[tuple[str, str, str, int]])


def encode(record: Struct) -> bytes:
    """Canonical JSON of a record: keys are text and sorted."""
    return msgspec.json.encode(msgspec.to_builtins(record, str_keys=True), order="sorted")


def decode_body(kind: str, raw: bytes) -> Struct:
    """The record of an object's body."""
    body: Struct = _BODY[kind].decode(raw)
    return body


def decode_event(raw: bytes) -> Event:
    """The event of a journal row."""
    return _EVENT.decode(raw)


def instant(at: datetime) -> str:
    """UTC text of fixed width, so that text order is time order."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def parse_instant(text: str) -> datetime:
    """The aware UTC instant of a stored text."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def encode_guards(guards: tuple[Read, ...]) -> bytes:
    """Guards as JSON rows: ``ref`` or ``prefix``, kind, key or prefix, number."""
    return msgspec.json.encode([_guard_row(guard) for guard in guards])


def _guard_row(guard: Read) -> tuple[str, str, str, int]:
    if isinstance(guard, Ref):
        return ("ref", guard.kind, guard.key, guard.generation)
    return ("prefix", guard.kind, guard.prefix, guard.sequence)


def _decode_guards(raw: bytes) -> tuple[Read, ...]:
    return tuple(
        Ref(kind, key, number) if form == "ref" else PrefixRef(kind, key, number)
        for form, kind, key, number in _GUARDS.decode(raw)
    )


def decode_intent(row: Any) -> StoredIntent:
    """The stored intent of an outbox row."""
    return StoredIntent(
        sequence=row.sequence,
        intent=Intent(key=row.key, act=_ACT.decode(row.act), guards=_decode_guards(row.guards)),
        state=IntentState(row.state),
        attempts=row.attempts,
        not_before=parse_instant(row.not_before),
        outcome=row.outcome,
    )
