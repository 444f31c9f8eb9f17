"""From a group's state to an incident and its end, through the rooms that there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from poise.adapters.memory import MemoryStore
from poise.engine.loop import Loop
from poise.model.incident import Alert, AlertState, Incident, IncidentState
from poise.model.record import Write
from poise.model.rules import RuleAlert, RuleAlertState, RuleState
from poise.model.service import Project, Service
from poise.ports.store import Transaction
from poise.reliability.incident.controller import GroupingController, IncidentController
from poise.reliability.rules.controller import RulesController

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
ALERT = RuleAlert(
    rule="abc",
    labels=(("alertname", "Down"), ("severity", "critical")),
    annotations={"summary": "web is down"},
    active_at=NOW - timedelta(minutes=1),
    service="shop/production/web",
)


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_an_alert_of_a_rule_opens_an_incident_and_its_end_closes_it() -> None:
    """What a rule finds is worth as much as what Poise finds."""
    store, clock = MemoryStore(), Clock()
    controllers = [RulesController(store), GroupingController(store), IncidentController(store)]
    loop = Loop(store, clock, controllers, {}, "test")
    web = Service(project="shop", environment="production", name="web", command="run")
    project = Project(name="shop")

    async def put(*writes: Write) -> None:
        await store.commit(Transaction(at=clock.at, writes=writes))

    async def stands(alert: RuleAlert) -> None:
        body = RuleState(project="shop", file="r.yml", group="g", evaluated_at=clock.at, alerts=(alert,))
        await put(Write(kind="RuleState", key=body.key, body=body))
        for _ in range(40):
            await loop.tick(clock.at)
            clock.at += timedelta(seconds=15)

    await put(Write(kind="Project", key="shop", body=project), Write(kind="Service", key=web.key, body=web))
    assert await loop.lead()
    await stands(ALERT)
    assert (await store.scan(Incident))[0] == []
    firing = replace(ALERT, state=RuleAlertState.FIRING, fired_at=NOW)
    await stands(firing)
    (incident,), _ = await store.scan(Incident)
    assert (incident.state, incident.service, incident.title) == (
        IncidentState.OPEN, web.key, "web: web is down",
    )  # fmt: skip
    assert incident.severity.value == "sev1"
    await stands(replace(firing, state=RuleAlertState.INACTIVE, resolved_at=clock.at))
    (alert,), _ = await store.scan(Alert)
    assert alert.state is AlertState.RESOLVED
    (incident,), _ = await store.scan(Incident)
    assert incident.state is IncidentState.RESOLVED
