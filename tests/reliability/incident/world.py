"""A project whose alerts come and go under a clock that a test moves; the real loop and controllers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from poise.adapters.memory import MemoryStore
from poise.engine.loop import Loop
from poise.model.incident import (
    Alert,
    AlertGroup,
    AlertSource,
    AlertState,
    Incident,
    IncidentVerb,
    Severity,
)
from poise.model.record import Recorded, Write
from poise.model.service import Project, Service
from poise.ports.store import Transaction
from poise.reliability.incident.controller import GroupingController, IncidentController, give_order

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACE = "shop/production"


class Clock:
    """Stands until moved."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class World:
    """Services by name, each with what it depends on."""

    def __init__(self, needs: dict[str, tuple[str, ...]]) -> None:
        self.store, self.clock, self.needs = MemoryStore(), Clock(), needs
        self.loop = Loop(
            self.store,
            self.clock,
            (GroupingController(self.store), IncidentController(self.store)),
            {},
            "test",
        )

    async def start(self) -> World:
        writes = [Write(kind="Project", key="shop", body=Project(name="shop"))]
        for name, depends_on in self.needs.items():
            service = Service(
                project="shop", environment="production", name=name, command="run", depends_on=depends_on
            )
            writes.append(Write(kind="Service", key=service.key, body=service))
        await self.store.commit(Transaction(at=self.clock.now(), writes=writes))
        await self.loop.lead()
        return self

    async def alert(
        self,
        service: str,
        name: str = "burn/availability",
        *,
        state: AlertState = AlertState.FIRING,
        severity: Severity = Severity.SEV1,
        source: AlertSource = AlertSource.BURN,
        labels: dict[str, str] | None = None,
    ) -> None:
        """A condition begins or ends now."""
        now, key = self.clock.now(), f"{PLACE}/{service}/{name}"
        known, _ = await self.store.get(Alert, key)
        alert = Alert(
            service=f"{PLACE}/{service}",
            name=name,
            source=source,
            severity=severity,
            state=state,
            summary=f"{name} of {service}",
            labels=labels or {},
            started_at=known.started_at if known and state is AlertState.RESOLVED else now,
            seen_at=known.seen_at if known and state is AlertState.RESOLVED else now,
            ended_at=now if state is AlertState.RESOLVED else None,
            count=1 + (known.count if known else 0),
        )
        await self.store.commit(Transaction(at=now, writes=[Write(kind="Alert", key=key, body=alert)]))

    async def over(self, service: str, name: str = "burn/availability", **more: Severity) -> None:
        await self.alert(service, name, state=AlertState.RESOLVED, **more)

    async def passes(self, seconds: float) -> None:
        """Let time pass; every wake-up on the way is served at its instant."""
        end = self.clock.at + timedelta(seconds=seconds)
        await self.settle()
        while True:
            at = await self.loop.next_at()
            if at is None or at > end:
                break
            self.clock.at = max(self.clock.at, at)
            await self.settle()
        self.clock.at = end
        await self.settle()

    async def settle(self) -> None:
        """Until nothing is decided any more; that this ends is part of the test."""
        for _ in range(50):
            await self.loop.lead()
            if not await self.loop.tick(self.clock.now()):
                at = await self.loop.next_at()
                if at is None or at > self.clock.now():
                    return
        raise AssertionError("it never settles")

    async def say(self, n: int, verb: IncidentVerb, text: str = "", by: str = "ann") -> None:
        now = self.clock.now()
        decision = await give_order(self.store, key=f"shop/{n:06d}", verb=verb, by=by, text=text, now=now)
        await self.store.commit(Transaction(at=now, reads=decision.reads, writes=decision.writes))
        await self.settle()

    async def incidents(self) -> list[Incident]:
        return (await self.store.scan(Incident))[0]

    async def incident(self, n: int = 1) -> Incident:
        return (await self.incidents())[n - 1]

    async def groups(self) -> list[AlertGroup]:
        return (await self.store.scan(AlertGroup))[0]

    async def told(self, n: int = 1) -> list[Recorded]:
        return await self.store.journal(subject=f"shop/{n:06d}")
