"""When a review is drafted again: while its record grows, and not for ever after."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio

from poise.adapters.memory import MemoryStore
from poise.adapters.memory_totals import MemoryTotals
from poise.model import event_types
from poise.model.incident import Incident, IncidentState, Severity
from poise.model.record import Event, Write
from poise.model.review import Review
from poise.ports.store import Transaction
from poise.reliability.review.controller import SETTLED_S, ReviewController

END = datetime(2026, 1, 5, 12, tzinfo=UTC)
INCIDENT = Incident(
    project="acme", environment="production", n=1, title="shop: it fails", state=IncidentState.RESOLVED,
    severity=Severity.SEV1, service="acme/production/shop", services=("acme/production/shop",),
    onset_at=END - timedelta(minutes=9), opened_at=END - timedelta(minutes=8), resolved_at=END,
    resolved_by="ada",
)  # fmt: skip


def test_a_draft_follows_its_record_until_it_is_complete_and_is_then_left_alone() -> None:
    """A thousand old incidents are not written anew at each resync."""

    async def run() -> None:
        store = MemoryStore()
        room = ReviewController(store, MemoryTotals())
        await store.commit(
            Transaction(at=END, writes=(Write(kind="Incident", key=INCIDENT.key, body=INCIDENT),))
        )
        drafted = await room.look(INCIDENT.key, END)
        assert isinstance(drafted.writes[0].body, Review)
        await store.commit(Transaction(at=END, writes=drafted.writes, events=drafted.events))
        note = Event(type=event_types.INCIDENT_NOTED, subject=INCIDENT.key, summary="ada: it was the cable")
        await store.commit(Transaction(at=END + timedelta(seconds=5), events=(note,)))
        assert (await room.look(INCIDENT.key, END + timedelta(seconds=10))).writes
        assert (await room.look(INCIDENT.key, END + timedelta(seconds=SETTLED_S + 10))).is_empty

    anyio.run(run)
