"""Scaling's shell: reads the store and the signals, keeps what it has read, decides."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from poise.model.delivery import Rollout
from poise.model.fleet import ScaleTarget
from poise.model.record import Decision, Ref
from poise.model.service import Service
from poise.model.signal import IN_FLIGHT, REQUESTS_TOTAL, Points
from poise.ports.store import Store
from poise.ports.totals import Totals
from poise.reliability.scaling.decide import Assessment, Seen, assess, decide, history_s
from poise.reliability.scaling.load import Reading

NAME: Final = "scaling"
ROLLOUTS_SEEN: Final = 20


class _Course(Struct):
    """What was read of one service: derived from the signal store, rebuilt from it at start."""

    history_s: float
    until: datetime
    readings: list[Reading]


class ScalingController:
    """One key per service."""

    name = NAME

    def __init__(self, store: Store, signals: Totals) -> None:
        self._store, self._signals = store, signals
        self._courses: dict[str, _Course] = {}

    async def keys(self) -> Iterable[str]:
        """Every declared service, and every target whose service may be gone."""
        services, _ = await self._store.scan(Service)
        targets, _ = await self._store.scan(ScaleTarget)
        return sorted({service.key for service in services} | {target.service for target in targets})

    def wakes(self, ref: Ref) -> str | None:
        """A service's declaration concerns scaling; the load has its own beat."""
        return ref.key if ref.kind == "Service" else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read what is new and decide for one service."""
        return decide(await self._see(key, now), now)

    async def assess(self, key: str, now: datetime) -> Assessment | None:
        """What scaling makes of a service now, for people; None when it is not declared."""
        seen = await self._see(key, now)
        return None if seen.service is None else assess(seen, seen.service, now)

    async def _see(self, key: str, now: datetime) -> Seen:
        service, service_ref = await self._store.get(Service, key)
        before, before_ref = await self._store.get(ScaleTarget, key)
        if service is not None and service.runs_elsewhere:
            service = None  # whoever runs it scales it
        if service is None or service.scaling.service_rate_per_s is None:
            self._courses.pop(key, None)
            return Seen(key=key, service=service, before=before, reads=(service_ref, before_ref))
        rollouts, _ = await self._store.scan(Rollout, f"{key}/", limit=ROLLOUTS_SEEN, last=True)
        return Seen(
            key=key,
            service=service,
            before=before,
            readings=tuple(await self._readings(key, history_s(service.scaling), now)),
            stepping=any(rollout.state.is_active for rollout in rollouts),
            reads=(service_ref, before_ref),
        )

    async def _readings(self, key: str, long_s: float, now: datetime) -> list[Reading]:
        """The readings of the last ``long_s``; only those newer than the last look are selected."""
        start = now - timedelta(seconds=long_s)
        course = self._courses.get(key)
        if course is None or course.history_s != long_s:
            course = self._courses[key] = _Course(history_s=long_s, until=start, readings=[])
        if now > course.until:
            labels = {"service": key}
            totals = await self._signals.select(
                REQUESTS_TOTAL, labels, course.until, now, include_before=False
            )
            flights = await self._signals.select(IN_FLIGHT, labels, course.until, now, include_before=False)
            fresh = join(totals, flights)
            if fresh:
                course.until = datetime.fromtimestamp(fresh[-1].at, UTC)
            course.readings += fresh
        course.readings = [one for one in course.readings if one.at > start.timestamp()]
        return course.readings


def join(totals: Iterable[Points], flights: Iterable[Points]) -> list[Reading]:
    """One reading per instant: the total, and what is in flight to all rollouts together."""
    total = {(at, points.epoch): value for points in totals for at, value in points.points}
    flight: dict[tuple[float, str], float] = {}
    for points in flights:
        for at, value in points.points:
            flight[at, points.epoch] = flight.get((at, points.epoch), 0.0) + value
    return [
        Reading(at=at, epoch=epoch, total=total.get((at, epoch)), in_flight=flight.get((at, epoch)))
        for at, epoch in sorted(total.keys() | flight.keys())
    ]
