"""Detection's look at the store: what its alerts need is read, theirs included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
from msgspec import Struct

from poise.adapters.memory import MemoryStore
from poise.model.incident import Alert, AlertState
from poise.model.ingress import Certificate
from poise.model.record import Write
from poise.model.service import Service
from poise.ports.store import Transaction
from poise.reliability.detection.controller import DetectionController

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = "shop/production/web"
WEB = Service(
    project="shop", environment="production", name="web", command="run", port=80, hostname="web.example.com"
)


def certificate(days: int) -> Certificate:
    ends = NOW + timedelta(days=days)
    begins = ends - timedelta(days=90)
    return Certificate(name="one", file="/a", hosts=("web.example.com",), begins_at=begins, expires_at=ends)


def test_an_alert_of_a_certificate_begins_and_ends_with_what_is_on_record() -> None:
    """An alert that is not read again would never end."""

    async def scenario() -> None:
        store = MemoryStore()
        detection = DetectionController(store)

        async def put(body: Struct, key: str) -> None:
            write = Write(kind=type(body).__name__, key=key, body=body)
            await store.commit(Transaction(at=NOW, writes=[write]))

        async def look(now: datetime) -> AlertState | None:
            decision = await detection.look(KEY, now)
            await store.commit(Transaction(at=now, writes=decision.writes))
            alert, _ = await store.get(Alert, f"{KEY}/certificate")
            return alert.state if alert is not None else None

        await put(WEB, KEY)
        assert await look(NOW) is None
        await put(certificate(5), "one")
        assert await look(NOW) is AlertState.FIRING
        await put(certificate(90), "one")
        await look(NOW + timedelta(minutes=1))
        assert await look(NOW + timedelta(minutes=10)) is AlertState.RESOLVED

    anyio.run(scenario)
