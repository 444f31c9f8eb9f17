"""Reads the counters of objectives that a metrics store counts, on a steady beat, into the totals.

Each role's selector is asked once per beat with a short range, so that every value comes with its own
instant: a value that a store merely holds on to is seen to be old. A reading is what the counters stood at,
series by series; its instant is the newest sample's. So windows, coverage, restarts of a counter and restarts
of Poise are counted by the same rules as Envoy's totals.

No answer, no series or only old samples is no reading: that time is unknown, never zero events. The one
exception: failures of which there is no series yet are none, where their selector plainly matches some of
the series of a total that is fresh.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import anyio
import structlog
from msgspec import Struct

from poise.model.counting import queried, selectors
from poise.model.errors import PoiseError
from poise.model.objective import IndicatorKind, Objective
from poise.model.samples import Frame, Labels, Limits
from poise.model.service import Project
from poise.model.signal import QUERY_TOTAL, Batch, Sample, Series
from poise.ports.clock import Clock
from poise.ports.signals import SignalStore
from poise.ports.store import Store
from poise.ports.totals import Totals
from poise.spec.counter import counter

log = structlog.get_logger()

PERIOD_S = 5.0
STALE_AFTER_S = 90.0  # of the embedded store; a data source has its own
AT_ONCE = 4  # objectives that are asked for together
LIMITS = Limits(samples=200_000, series=2000, points=1, seconds=10.0)
OBJECTIVES_MAX = 1000

Sources = Callable[[str, str], Awaitable[SignalStore]]  # (project, name) -> its store, or a PoiseError
Newest = dict[Labels, tuple[float, float]]  # by series: (UTC epoch seconds, value)


class Fresh(Struct, frozen=True, kw_only=True):
    """What one look at an objective's counters found, or the ``problem`` that makes it unknown."""

    at: float = 0.0
    samples: tuple[Sample, ...] = ()
    problem: str = ""


class QueryReader:
    """One look at every query objective per beat. What is wrong with one is kept as its ``problem``."""

    def __init__(
        self,
        store: Store,
        totals: Totals,
        sources: Sources,
        clock: Clock,
        period_s: float = PERIOD_S,
    ) -> None:
        self._store = store
        self._totals = totals
        self._sources = sources
        self._clock = clock
        self._period_s = period_s
        self._problems: dict[str, str] = {}
        self._lives: dict[str, _Life] = {}  # by how an objective's epochs begin

    def problem(self, objective: str) -> str:
        """Why an objective (by key) was not read at the last look; empty when it was."""
        return self._problems.get(objective, "")

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read_once()
            await self._clock.sleep(self._period_s)

    async def read_once(self) -> None:
        """Look at every query objective; one that hangs holds up none of the others beyond its time-out."""
        try:
            found, _ = await self._store.scan(Objective, limit=OBJECTIVES_MAX)
        except (PoiseError, OSError) as error:
            log.warning("objectives cannot be read", error=str(error))
            return
        mine = [one for one in found if one.indicator is IndicatorKind.QUERY]
        kept = {one.key for one in mine}
        self._problems = {key: said for key, said in self._problems.items() if key in kept}
        limiter = anyio.CapacityLimiter(AT_ONCE)
        async with anyio.create_task_group() as group:
            for objective in mine:
                group.start_soon(self._bounded, objective, limiter)

    async def _bounded(self, objective: Objective, limiter: anyio.CapacityLimiter) -> None:
        async with limiter:
            said = await self._read(objective)
        if said and said != self._problems.get(objective.key):
            log.warning("an objective's counters cannot be read", objective=objective.key, problem=said)
        self._problems[objective.key] = said

    async def _read(self, objective: Objective) -> str:
        """The problem, or nothing when a reading is durable."""
        try:
            project, _ = await self._store.get(Project, objective.key.partition("/")[0])
            name = objective.queries.source if objective.queries else ""
            stale_after_s = _stale_after_s(project, name)
            signals = await self._sources(objective.key.partition("/")[0], name)
            now = self._clock.now()
            found: dict[str, Newest] = {}
            for role, selector in selectors(objective).items():
                asked = f"{selector}[{round(stale_after_s * 1000)}ms]"
                found[role] = newest(await signals.query(asked, round(now.timestamp() * 1000), LIMITS), now)
            seen = judged(objective, found, now, stale_after_s)
            if seen.problem:
                return seen.problem
            await self._keep(objective, seen)
        except (PoiseError, OSError) as error:
            return _said(error)
        return ""

    async def _keep(self, objective: Objective, seen: Fresh) -> None:
        """Append the reading, in a new life when none of its series was there before."""
        prefix = queried(objective)
        series = frozenset(sample.series for sample in seen.samples)
        life = self._lives.get(prefix)
        if life is None:
            life = await self._remembered(prefix, objective.key)
        if life is None or not series & life.series:
            life = _Life(epoch=f"{prefix}{seen.at:.3f}")
        if seen.at > life.at:
            at = datetime.fromtimestamp(seen.at, UTC)
            await self._totals.append(Batch(at=at, epoch=life.epoch, samples=seen.samples))
            life = _Life(epoch=life.epoch, at=seen.at, series=series)
        self._lives[prefix] = life

    async def _remembered(self, prefix: str, objective: str) -> _Life | None:
        """The life that a Poise before this one was reading."""
        kept = await self._totals.latest(QUERY_TOTAL, {"objective": objective})
        mine = [points for points in kept if points.epoch.startswith(prefix)]
        last = max(mine, key=lambda points: points.points[-1][0], default=None)
        if last is None:
            return None
        series = frozenset(points.series for points in mine if points.epoch == last.epoch)
        return _Life(epoch=last.epoch, at=last.points[-1][0], series=series)


class _Life(Struct, frozen=True, kw_only=True):
    """Where reading of an objective stands: its epoch, the newest reading, and the series in it."""

    epoch: str
    at: float = -math.inf
    series: frozenset[Series] = frozenset()


def newest(frame: Frame, now: datetime) -> Newest:
    """Each series' newest finite sample that is not from the future."""
    found: Newest = {}
    if frame.ragged is None:
        return found
    limit_ms = now.timestamp() * 1000
    for first, at_ms, values in frame.ragged.groups():
        for row in range(len(values)):
            for place in range(len(at_ms) - 1, -1, -1):
                if at_ms[place] <= limit_ms and math.isfinite(values[row, place]):
                    labels = frame.ragged.series[first + row]
                    found[labels] = (float(at_ms[place]) / 1000.0, float(values[row, place]))
                    break
    return found


def judged(objective: Objective, found: Mapping[str, Newest], now: datetime, stale_after_s: float) -> Fresh:
    """A reading out of each role's newest samples, or why there is none."""
    texts = selectors(objective)
    empty = [role for role in texts if not found.get(role)]
    unknown = [role for role in empty if not _is_none_known(role, texts, found)]
    if unknown:
        role = unknown[0]
        return Fresh(problem=f"{texts[role]} ({role}) has no sample within {stale_after_s:g} s")
    at = max(at for one in found.values() for at, _ in one.values())
    if now.timestamp() - at > stale_after_s:
        return Fresh(problem=f"its newest sample is {now.timestamp() - at:.0f} s old")
    samples = tuple(
        Sample(
            Series(QUERY_TOTAL, (("objective", objective.key), ("role", role), ("series", _text(labels)))),
            value,
        )
        for role, one in found.items()
        for labels, (_, value) in sorted(one.items())
    )
    return Fresh(at=at, samples=samples)


def _is_none_known(role: str, texts: Mapping[str, str], found: Mapping[str, Newest]) -> bool:
    """Whether no series of ``role`` means no such event, since what it is a part of is there."""
    whole = "total" if "total" in texts else "good" if role == "bad" else "bad"
    if role == whole or not found.get(whole):
        return False
    mine, other = counter(texts[role]), counter(texts[whole])
    return mine.is_within(other) if whole == "total" else mine.metric == other.metric


def _text(labels: Labels) -> str:
    return ",".join(f"{name}={value!r}" for name, value in labels)


def _stale_after_s(project: Project | None, source: str) -> float:
    known = {one.name: one.stale_after_s for one in project.sources} if project else {}
    return known.get(source, STALE_AFTER_S)


def _said(error: Exception) -> str:
    if isinstance(error, PoiseError):
        return ": ".join(part for part in (error.what, error.why) if part)
    return str(error) or type(error).__name__
