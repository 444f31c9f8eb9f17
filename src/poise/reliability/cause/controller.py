"""Cause's shell: reads the record and the counters around an incident, decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import structs

from poise.model.anomaly import Usual
from poise.model.config import Config, Secret
from poise.model.delivery import Rollout
from poise.model.fleet import RollbackRequest
from poise.model.incident import Diagnosis, Incident
from poise.model.objective import IndicatorKind, Objective
from poise.model.record import Decision, Recorded, Ref
from poise.model.service import Service
from poise.model.signal import FAILURES_TOTAL, ROLLOUT_LATENCY_BUCKET, TRIALS_TOTAL, Points
from poise.ports.signals import HowUsual
from poise.ports.store import Store
from poise.ports.totals import Totals
from poise.reliability.cause import candidates
from poise.reliability.cause.decide import decide
from poise.reliability.cause.evidence import Flow, flow_of
from poise.reliability.cause.scene import (
    LOOK_BACK_S,
    MEASURED_AFTER_S,
    MEASURED_BACK_S,
    Candidate,
    Measure,
    Scene,
    Seen,
    closure,
)

NAME: Final = "cause"
EVENTS_MAX: Final = 1000
ROLLOUTS_MAX: Final = 100
OTHERS_MAX: Final = 5  # unconnected services that are counted too, to see what rose everywhere
OPEN_MAX: Final = 1000
USUAL_BACK_S: Final = 300.0  # before the onset
USUAL_MAX: Final = 5  # services that are asked about


class CauseController:
    """One key per incident."""

    name = NAME

    def __init__(self, store: Store, signals: Totals, how_usual: HowUsual | None = None) -> None:
        self._store = store
        self._signals = signals
        self._how_usual = how_usual

    async def keys(self) -> Iterable[str]:
        """Every incident that is not over."""
        found, _ = await self._store.scan(Incident, last=True, limit=OPEN_MAX)
        return [one.key for one in found if not one.state.is_final]

    def wakes(self, ref: Ref) -> str | None:
        """An incident opened, was joined or ended."""
        return ref.key if ref.kind == "Incident" else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read everything around the incident and decide."""
        incident, ref = await self._store.get(Incident, key)
        before, before_ref = await self._store.get(Diagnosis, key)
        if incident is None:
            return Decision()
        where = f"{incident.project}/{incident.environment}/"
        services, _ = await self._store.scan(Service, where)
        depends_on = {
            one.key: tuple(f"{where}{name}" for name in one.depends_on if f"{where}{name}" != one.key)
            for one in services
        }
        connected = closure(depends_on, (incident.service, *incident.services))
        counted = (*sorted(connected), *sorted(set(depends_on) - connected)[:OTHERS_MAX])
        seen = Seen(
            incident=incident,
            depends_on=depends_on,
            candidates=tuple(await self._candidates(incident, where)),
            flows={Measure.FAILED: {one: await self._failed(one, incident, now) for one in counted}},
            usual=await self._usual(incident, now),
            before=before,
            reads=(ref, before_ref),
        )
        if not any(Scene(seen, now).excess(one) for one in connected):
            slow = {one: await self._slow(one, incident, now) for one in counted}
            seen = structs.replace(seen, flows={**seen.flows, Measure.SLOW: slow})
        return decide(seen, now)

    # -- changes ----------------------------------------------------------------------------------

    async def _candidates(self, incident: Incident, where: str) -> list[Candidate]:
        rows = await self._recent(incident, where)
        told = candidates.took_traffic(rows)
        keys = sorted(told, key=lambda key: told[key][-1].sequence)[-ROLLOUTS_MAX:]
        rollouts = [one for one in [(await self._store.get(Rollout, key))[0] for key in keys] if one]
        settings = await self._settings(rollouts)
        services = sorted({one.service_key for one in rollouts})
        found = [(await self._store.get(RollbackRequest, service))[0] for service in services]
        requests = {one.service: one for one in found if one is not None}
        return [
            *candidates.of_rollouts(rollouts, told, settings, requests),
            *candidates.of_scaling(rows),
            *candidates.of_others(rows),
        ]

    async def _recent(self, incident: Incident, where: str) -> list[Recorded]:
        """What happened in the environment within the look-back, ascending."""
        since = incident.onset_at - timedelta(seconds=LOOK_BACK_S)
        rows = await self._store.journal(subject=where, types=candidates.TYPES, last=True, limit=EVENTS_MAX)
        return [row for row in rows if row.at >= since]

    async def _settings(self, rollouts: Sequence[Rollout]) -> dict[str, Config | Secret]:
        found: dict[str, Config | Secret] = {}
        for rollout in rollouts:
            for n in (rollout.config, rollout.config - 1):
                if n > 0 and "config" in rollout.changes:
                    key = f"{rollout.service_key}/{n:06d}"
                    config, _ = await self._store.get(Config, key)
                    found |= {f"config/{key}": config} if config else {}
            for n in (rollout.secret, rollout.secret - 1):
                if n > 0 and "secret" in rollout.changes:
                    key = f"{rollout.service_key}/{n:06d}"
                    secret, _ = await self._store.get(Secret, key)
                    found |= {f"secret/{key}": secret} if secret else {}
        return found

    async def _usual(self, incident: Incident, now: datetime) -> dict[str, Usual]:
        """What was unusual of the services that alert, from shortly before the onset."""
        found: dict[str, Usual] = {}
        if self._how_usual is None:
            return found
        since = incident.onset_at - timedelta(seconds=USUAL_BACK_S)
        until = min(now, incident.onset_at + timedelta(seconds=MEASURED_AFTER_S))
        for service in tuple(dict.fromkeys((incident.service, *incident.services)))[:USUAL_MAX]:
            usual = await self._how_usual(service, since, until)
            if usual is not None:
                found[service] = usual
        return found

    # -- counters ---------------------------------------------------------------------------------

    async def _failed(self, service: str, incident: Incident, now: datetime) -> dict[int, Flow]:
        """Failed requests of each version of a service."""
        start, end = _window(incident, now)
        labels = {"service": service}
        trials = await self._signals.select(TRIALS_TOTAL, labels, start, end)
        bad = await self._signals.select(FAILURES_TOTAL, labels, start, end)
        return _flows(trials, bad, start, end)

    async def _slow(self, service: str, incident: Incident, now: datetime) -> dict[int, Flow]:
        """Requests of each version that took longer than the service's latency objective allows."""
        objectives, _ = await self._store.scan(Objective, f"{service}/")
        limits_ms = [one.threshold_ms for one in objectives if one.indicator is IndicatorKind.LATENCY]
        if not limits_ms or limits_ms[0] is None:
            return {}
        start, end = _window(incident, now)
        newest = await self._signals.latest(ROLLOUT_LATENCY_BUCKET, {"service": service})
        bounds = {dict(points.series.labels)["le"] for points in newest}
        within = max((one for one in bounds if float(one) <= limits_ms[0]), key=float, default=None)
        if within is None:
            return {}
        everything = await self._signals.select(
            ROLLOUT_LATENCY_BUCKET, {"service": service, "le": "+Inf"}, start, end
        )
        good = await self._signals.select(
            ROLLOUT_LATENCY_BUCKET, {"service": service, "le": within}, start, end
        )
        flows = _flows(everything, good, start, end)
        return {n: _inverted(flow) for n, flow in flows.items()}


def _window(incident: Incident, now: datetime) -> tuple[datetime, datetime]:
    start = incident.onset_at - timedelta(seconds=MEASURED_BACK_S)
    end = min(now, incident.onset_at + timedelta(seconds=2 * MEASURED_AFTER_S))
    return start, max(start, end).astimezone(UTC)


def _flows(
    trials: Iterable[Points], bad: Iterable[Points], start: datetime, end: datetime
) -> dict[int, Flow]:
    asked, failed = _by_rollout(trials), _by_rollout(bad)
    after, until = start.timestamp(), end.timestamp()
    return {n: flow_of(found, failed.get(n, []), after, until) for n, found in asked.items()}


def _by_rollout(found: Iterable[Points]) -> Mapping[int, list[Points]]:
    by: dict[int, list[Points]] = {}
    for points in found:
        by.setdefault(int(dict(points.series.labels)["rollout"]), []).append(points)
    return by


def _inverted(flow: Flow) -> Flow:
    """A flow whose good requests were counted, as one of bad ones."""
    bad = tuple(max(0.0, n - good) for n, good in zip(flow.trials, flow.bad, strict=True))
    return structs.replace(flow, bad=bad)
