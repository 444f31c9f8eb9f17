"""Which events a sink gets next. The journal is the queue, so a sink that is dead costs a cursor."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.model.acts import SendEvent
from poise.model.exchange import Announcement
from poise.model.record import Decision, Intent, Recorded, Ref, Write

WINDOW: Final = 16  # events of one sink in the outbox at once
LOOK_S: Final = 5.0  # how soon a sink with events under way is looked at again, if nobody tells before


class SinkSeen(Struct, frozen=True, kw_only=True):
    """One sink: its cursor, what of it is still in the outbox, and what comes next in the journal."""

    url: str
    digest: str
    known: Announcement | None
    ref: Ref
    open: tuple[int, ...] = ()
    rows: tuple[Recorded, ...] = ()


class Seen(Struct, frozen=True, kw_only=True):
    """What the room looks at for one project; ``head`` is the journal's last sequence."""

    project: str
    sinks: tuple[SinkSeen, ...]
    gone: tuple[tuple[Announcement, Ref], ...] = ()
    head: int = 0


def decide(seen: Seen, now: datetime) -> Decision:
    """Hand the next events to the outbox, at most ``WINDOW`` per sink; a new sink starts at the head."""
    reads: list[Ref] = [ref for _, ref in seen.gone]
    writes = [Write(kind="Announcement", key=one.key, body=None) for one, _ in seen.gone]
    intents: list[Intent] = []
    busy = False
    for sink in seen.sinks:
        before = sink.known
        after, asked = _next(seen, sink)
        busy = busy or bool(after.open)
        if after != before:
            reads.append(sink.ref)
            writes.append(Write(kind="Announcement", key=after.key, body=after))
            intents += asked
    wake_at = now + timedelta(seconds=LOOK_S) if busy else None
    return Decision(reads=tuple(reads), writes=tuple(writes), intents=tuple(intents), wake_at=wake_at)


def _next(seen: Seen, sink: SinkSeen) -> tuple[Announcement, list[Intent]]:
    if sink.known is None:
        made = Announcement(project=seen.project, sink=sink.url, digest=sink.digest, sequence=seen.head)
        return made, []
    rows = sink.rows[: max(0, WINDOW - len(sink.open))]
    ours = [row.sequence for row in rows if is_ours(row)]
    after = replace(
        sink.known,
        open=(*sink.open, *ours),
        sequence=rows[-1].sequence if rows else sink.known.sequence,
    )
    return after, [_intent(seen.project, sink, sequence) for sequence in ours]


def is_ours(row: Recorded) -> bool:
    """Whether it happened here: what another system told is not told on, or two houses would echo."""
    return not row.event.data.get("external")


def intent_key(project: str, digest: str, sequence: int) -> str:
    """The outbox's key of one event to one sink."""
    return f"announce/{project}/{digest}/{sequence}"


def _intent(project: str, sink: SinkSeen, sequence: int) -> Intent:
    act = SendEvent(sequence=sequence, sink=sink.url, project=project)
    return Intent(key=intent_key(project, sink.digest, sequence), act=act)
