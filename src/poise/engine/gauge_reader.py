"""Reads gauges, probes and histograms of a metrics store, on a steady beat, into the totals.

A value of a gauge is one event, good or not. What was read is added up into monotone totals of good and of
all events, so that windows, coverage and restarts of Poise are counted by the same rules as every counter's.
What lies between two values is measured time while they are near one another; a longer gap begins a new life
of the totals, and is unknown. A histogram's buckets are counters already: at each look they say how many
events were good, and how many there were.

A plain selector is read sample by sample; any other expression is evaluated at multiples of its ``every_s``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import anyio
import numpy as np
import structlog
from msgspec import Struct

from poise.engine.asking import Question, Regex, Sorting, alone, questions
from poise.model.counting import QUERIED, definition
from poise.model.errors import Invalid, PoiseError
from poise.model.measuring import NotARatio, share, within
from poise.model.objective import Objective
from poise.model.record import PrefixRef
from poise.model.samples import NAME, STALE_BITS, Frame, Labels, Limits
from poise.model.service import Project
from poise.model.signal import QUERY_AT, QUERY_TOTAL, Batch, Sample, Series
from poise.ports.clock import Clock
from poise.ports.signals import SignalStore
from poise.ports.store import LIST_LIMIT, Store
from poise.ports.totals import Totals
from poise.spec.counter import NotCounted, counter

log = structlog.get_logger()

PERIOD_S: Final = 5.0
STALE_AFTER_S: Final = 90.0  # of the embedded store; a data source has its own
MISSED_MAX: Final = 2.5  # looks: after a longer silence time is unknown
BACKFILL_S: Final = 3600.0  # what is read after a pause of Poise
JUST_S: Final = 0.001  # before the first value of a new life
STEP_S: Final = 15.0  # events of a longer stretch are kept by so many seconds
TOGETHER_MAX: Final = 20  # expressions that are asked for as one
OBJECTIVES_MAX: Final = 20_000
LIMITS: Final = Limits(samples=500_000, series=5000, points=2000, seconds=10.0)
EPOCH: Final = f"{QUERIED}gauges"
_TELLS: Final = "poise_objective"  # the label that tells expressions apart that are asked for as one

Sources = Callable[[str, str], Awaitable[SignalStore]]  # (project, name) -> its store, or a PoiseError
Points = dict[Labels, list[tuple[float, float]]]  # by series: (UTC epoch seconds, value), ascending
Place = tuple[str, str]  # (group, series) as they are labelled
Sums = dict[Place, tuple[float, float]]  # good and all events


class _State(Struct, kw_only=True):
    """Where reading of an objective stands."""

    definition: str
    at_s: float = -math.inf
    newest: dict[Labels, float] = {}
    sums: Sums = {}


class _Snapshot(Struct, frozen=True):
    """What the totals of an objective stood at, at an instant."""

    at_s: float
    sums: Sums


class GaugeReader:
    """One look at every gauge per beat. What is wrong with one is kept as its ``problem``."""

    def __init__(
        self,
        store: Store,
        totals: Totals,
        sources: Sources,
        clock: Clock,
        regex: Regex,
        period_s: float = PERIOD_S,
    ) -> None:
        self._store = store
        self._regex = regex
        self._totals = totals
        self._sources = sources
        self._clock = clock
        self._period_s = period_s
        self._problems: dict[str, str] = {}
        self._interpolated: set[str] = set()
        self._states: dict[str, _State] = {}
        self._asked: dict[tuple[str, str], tuple[tuple[str, ...], list[tuple[Question, Sorting]]]] = {}
        self._declared: list[Objective] = []
        self._declared_as: PrefixRef | None = None

    def problem(self, objective: str) -> str:
        """Why an objective (by key) was not read at the last look; empty when it was."""
        return self._problems.get(objective, "")

    def is_interpolated(self, objective: str) -> bool:
        """Whether the bound of a histogram lay between two of its buckets' at the last look."""
        return objective in self._interpolated

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read_once()
            await self._clock.sleep(self._period_s)

    async def read_once(self) -> None:
        """Look at every gauge; a source that hangs holds up none of the others beyond its time-out."""
        try:
            mine = await self._objectives()
            projects, _ = await self._store.scan(Project) if mine else ([], None)
            await self._follow(mine)
        except (PoiseError, OSError) as error:
            log.warning("objectives cannot be read", error=str(error))
            return
        now = self._clock.now()
        by_source: dict[tuple[str, str], list[Objective]] = defaultdict(list)
        for one in mine:
            by_source[one.key.partition("/")[0], _source(one)].append(one)
        stale = {(one.name, source.name): source.stale_after_s for one in projects for source in one.sources}
        snapshots: dict[str, list[_Snapshot]] = {}
        async with anyio.create_task_group() as group:
            for (project, source), some in by_source.items():
                look = _Look(project, source, stale.get((project, source), STALE_AFTER_S), now)
                group.start_soon(self._read, look, some, snapshots)
        try:
            await self._keep(mine, snapshots, now)
        except (PoiseError, OSError) as error:
            log.warning("gauges cannot be kept", error=str(error))
            self._states = {}  # what is durable is read again

    async def _objectives(self) -> list[Objective]:
        """Those that are gauges or histograms: the same objects while none was declared otherwise."""
        if self._declared_as is not None and await self._store.unchanged([self._declared_as]):
            return self._declared
        page, read = await self._store.scan(Objective)
        found = list(page)
        while len(page) == LIST_LIMIT and len(found) < OBJECTIVES_MAX:
            page, _ = await self._store.scan(Objective, after=page[-1].key)
            found += page
        self._declared = [one for one in found if one.gauge is not None or one.histogram is not None]
        self._declared_as = read
        return self._declared

    async def _follow(self, mine: Sequence[Objective]) -> None:
        """A state for each objective, remembered where a Poise before this one has read it."""
        keys = {one.key: definition(one) for one in mine}
        self._states = {k: state for k, state in self._states.items() if keys.get(k) == state.definition}
        self._problems = {key: said for key, said in self._problems.items() if key in keys}
        for key, defined in keys.items():
            if key not in self._states:
                self._states[key] = await self._remembered(key, defined)

    async def _remembered(self, key: str, defined: str) -> _State:
        labels = {"objective": key, "definition": defined}
        instants = await self._totals.latest(QUERY_AT, labels)
        if not instants:
            return _State(definition=defined)
        at_s, read_at = max((points.points[-1][1], points.points[-1][0]) for points in instants)
        sums: dict[Place, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for points in await self._totals.latest(QUERY_TOTAL, labels):
            told = dict(points.series.labels)
            if points.points[-1][0] >= read_at:  # series of an earlier life are not read any more
                side = 0 if told["role"] == "good" else 1
                sums[told.get("group", ""), told["series"]][side] = points.points[-1][1]
        return _State(definition=defined, at_s=at_s, sums={k: (v[0], v[1]) for k, v in sums.items()})

    async def _read(
        self, look: _Look, some: Sequence[Objective], snapshots: dict[str, list[_Snapshot]]
    ) -> None:
        """Everything of one source. Its trouble is that of all its objectives."""
        try:
            signals = await self._sources(look.project, look.source)
        except (PoiseError, OSError) as error:
            for one in some:
                self._tell(one, _said(error))
            return
        for one, points in [
            *await self._selected(signals, look, some),
            *await self._evaluated(signals, look, some),
        ]:
            if isinstance(points, str):
                self._tell(one, points)
                continue
            try:
                found = self._counted(one, points, look)
            except NotARatio as error:
                found = str(error)
            self._tell(one, found if isinstance(found, str) else "")
            if not isinstance(found, str):
                snapshots[one.key] = found

    def _tell(self, objective: Objective, said: str) -> None:
        if said and said != self._problems.get(objective.key):
            log.warning("an objective cannot be read", objective=objective.key, problem=said)
        self._problems[objective.key] = said

    # -- asking ---------------------------------------------------------------------------------------

    async def _selected(
        self, signals: SignalStore, look: _Look, some: Sequence[Objective]
    ) -> list[tuple[Objective, Points | str]]:
        """Samples of plain selectors; those of one metric are asked for as one."""
        mine: dict[str, list[Objective]] = defaultdict(list)
        for one in some:
            if (selector := _selector(one)) is not None:
                mine[selector].append(one)
        found: list[tuple[Objective, Points | str]] = []
        ahead = self._questions(look, tuple(mine))
        while ahead:
            question, sorting = ahead.pop()
            objectives = [one for text in question.texts for one in mine[text]]
            back_s = max(self._back_s(one, look) for one in objectives)
            try:
                asked = f"{question.text}[{round(back_s * 1000)}ms]"
                frame = await signals.query(asked, look.now_ms, LIMITS)
            except (PoiseError, OSError) as error:
                if len(question.texts) > 1:  # one of them may be what is too much, or broken
                    ahead += [(one, Sorting(one, self._regex)) for one in alone(question)]
                else:
                    found += [(one, _said(error)) for one in objectives]
                continue
            sorted_: dict[str, Points] = {text: {} for text in question.texts}
            for labels, samples in _samples(frame, look.now).items():
                for text in sorting.selectors(labels):
                    sorted_[text][labels] = samples
            found += [(one, points) for text, points in sorted_.items() for one in mine[text]]
        return found

    def _questions(self, look: _Look, selectors: tuple[str, ...]) -> list[tuple[Question, Sorting]]:
        """The same ones while the same is asked of a source, since sorting remembers whose a series is."""
        known = self._asked.get((look.project, look.source))
        if known is None or known[0] != selectors:
            made = [(one, Sorting(one, self._regex)) for one in questions(selectors)]
            known = self._asked[look.project, look.source] = (selectors, made)
        return list(known[1])

    def _back_s(self, objective: Objective, look: _Look) -> float:
        """How far back to read: everything that is new, and never less than what counts as fresh."""
        at_s, gap_s = self._states[objective.key].at_s, _gap_s(objective, look)
        since_s = 0.0 if math.isinf(at_s) else look.now.timestamp() - at_s + 2 * STEP_S
        return min(max(since_s, gap_s), max(BACKFILL_S, gap_s))

    async def _evaluated(
        self, signals: SignalStore, look: _Look, some: Sequence[Objective]
    ) -> list[tuple[Objective, Points | str]]:
        """Values of expressions, those of equal beat asked for as one."""
        due: dict[tuple[float, float, float], list[Objective]] = defaultdict(list)
        for one in some:
            if one.gauge is not None and _selector(one) is None:
                every_s = one.gauge.every_s
                end_s = math.floor(look.now.timestamp() / every_s) * every_s
                before_s = self._states[one.key].at_s
                start_s = end_s if math.isinf(before_s) else math.floor(before_s / every_s + 1.0) * every_s
                start_s = max(start_s, end_s - math.floor(BACKFILL_S / every_s) * every_s)
                if start_s <= end_s:
                    due[start_s, end_s, every_s].append(one)
        found: list[tuple[Objective, Points | str]] = []
        for (start_s, end_s, every_s), objectives in due.items():
            for first in range(0, len(objectives), TOGETHER_MAX):
                chunk = objectives[first : first + TOGETHER_MAX]
                found += await _together(signals, chunk, start_s, end_s, every_s)
        return found

    # -- counting -------------------------------------------------------------------------------------

    def _counted(self, objective: Objective, points: Points, look: _Look) -> list[_Snapshot] | str:
        """What the totals stood at since the last look, or why nobody knows."""
        state, gap_s = self._states[objective.key], _gap_s(objective, look)
        if objective.histogram is not None:
            return self._buckets(objective, points, look)
        fresh = _fresh(state, points)
        groups = {labels: objective.group_of(labels) for labels in points}
        if len(set(groups.values())) > objective.groups_max:
            return f"it has more than {objective.groups_max} groups: raise 'groupsMax', or group by less"
        found = _added(objective, state, fresh, groups, gap_s)
        if look.now.timestamp() - (found[-1].at_s if found else state.at_s) > gap_s:
            return f"{_query(objective)} has no value within {gap_s:g} s"
        for labels, some in fresh.items():
            if some:
                state.newest[labels] = some[-1][0]
        state.newest = {k: at for k, at in state.newest.items() if k in points}
        return found

    def _buckets(self, objective: Objective, points: Points, look: _Look) -> list[_Snapshot] | str:
        assert objective.histogram is not None
        newest_s = max((some[-1][0] for some in points.values() if some), default=-math.inf)
        if look.now.timestamp() - newest_s > _gap_s(objective, look):
            return f"{objective.histogram.query} has no sample within {_gap_s(objective, look):g} s"
        by_series: dict[Place, dict[float, float]] = defaultdict(dict)
        for labels, some in points.items():
            rest = tuple(pair for pair in labels if pair[0] not in ("le", NAME))
            bound = _bound(dict(labels).get("le", ""))
            if some and bound is not None:
                by_series[objective.group_of(labels), _text(rest)][bound] = some[-1][1]
        if len({group for group, _ in by_series}) > objective.groups_max:
            return f"it has more than {objective.groups_max} groups: raise 'groupsMax', or group by less"
        sums, interpolated = {}, False
        for (group, series), buckets in by_series.items():
            counted = within(buckets, objective.histogram.bound)
            if counted is not None:
                good, total, between = counted
                layout = ",".join(f"{bound:g}" for bound in sorted(buckets))
                sums[group, f"{series} le {layout}"] = (good, total)
                interpolated = interpolated or between
        self._interpolated = (self._interpolated - {objective.key}) | (
            {objective.key} if interpolated else set()
        )
        if not sums:
            return f'{objective.histogram.query} has no bucket with le="+Inf"'
        state = self._states[objective.key]
        return [] if newest_s <= state.at_s else [_Snapshot(newest_s, sums)]

    # -- keeping --------------------------------------------------------------------------------------

    async def _keep(
        self, mine: Iterable[Objective], snapshots: Mapping[str, list[_Snapshot]], now: datetime
    ) -> None:
        """One reading of all objectives, or several where one has more to tell; durable on return."""
        rounds = max((len(some) for some in snapshots.values()), default=0)
        for number in range(rounds):
            samples: list[Sample] = []
            for one in mine:
                state, some = self._states[one.key], snapshots.get(one.key, [])
                place = number - (rounds - len(some))
                if place >= 0:
                    state.at_s, state.sums = some[place].at_s, some[place].sums
                if not math.isinf(state.at_s):
                    samples += _kept(one.key, state)
            at = now - timedelta(milliseconds=rounds - 1 - number)
            await self._totals.append(Batch(at=at, epoch=EPOCH, samples=tuple(samples)))


class _Look(Struct, frozen=True):
    """One look at one source."""

    project: str
    source: str
    stale_after_s: float
    now: datetime

    @property
    def now_ms(self) -> int:
        """As Prometheus' API has it."""
        return round(self.now.timestamp() * 1000)


def _fresh(state: _State, points: Points) -> Points:
    """The values that were not read yet."""
    otherwise_s = -math.inf if state.newest else state.at_s  # a Poise before this one read up to there
    return {
        labels: [(at, value) for at, value in some if at > state.newest.get(labels, otherwise_s)]
        for labels, some in points.items()
    }


def _added(
    objective: Objective, state: _State, fresh: Points, groups: Mapping[Labels, str], gap_s: float
) -> list[_Snapshot]:
    """The totals after each stretch of new values; after a gap they begin anew, just before the first."""
    assert objective.gauge is not None
    events = sorted((at, labels, value) for labels, some in fresh.items() for at, value in some)
    found: list[_Snapshot] = []
    at_s, sums = state.at_s, dict(state.sums)
    for number, (at, labels, value) in enumerate(events):
        if at - at_s > gap_s:
            life = f"since {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
            sums = {(group, life): (0.0, 0.0) for group in sorted(set(groups.values()))}
            found.append(_Snapshot(at - JUST_S, dict(sums)))
        good = share(objective.indicator, objective.gauge, value)
        if good is not None:
            place = groups[labels], next(iter(sums))[1]
            before = sums.get(place, (0.0, 0.0))
            sums[place] = (before[0] + good, before[1] + 1.0)
        at_s = max(at_s, at)
        next_s = events[number + 1][0] if number + 1 < len(events) else math.inf
        if math.floor(at / STEP_S) != (math.floor(next_s / STEP_S) if math.isfinite(next_s) else None):
            found.append(_Snapshot(at_s, dict(sums)))
    return found


async def _together(
    signals: SignalStore, some: Sequence[Objective], start_s: float, end_s: float, every_s: float
) -> list[tuple[Objective, Points | str]]:
    """The values of several expressions in one question; one that cannot be asked so is asked alone."""
    asked = _query(some[0])
    if len(some) > 1:
        told = (f'label_replace({_query(one)}, "{_TELLS}", "{n}", "", "")' for n, one in enumerate(some))
        asked = " or ".join(told)
    bounds_ms = (round(start_s * 1000), round(end_s * 1000), round(every_s * 1000))
    try:
        frame = await signals.query_range(asked, *bounds_ms, LIMITS)
    except Invalid as error:
        if len(some) == 1:
            return [(some[0], _said(error))]
        alone = [await _together(signals, [one], start_s, end_s, every_s) for one in some]
        return [pair for pairs in alone for pair in pairs]
    except (PoiseError, OSError) as error:
        return [(one, _said(error)) for one in some]
    found: list[Points] = [{} for _ in some]
    for row, labels in enumerate(frame.series):
        number = int(dict(labels).get(_TELLS, "0"))
        rest = tuple(pair for pair in labels if pair[0] != _TELLS)
        found[number][rest] = [
            (float(at_ms) / 1000.0, float(value))
            for at_ms, value, there in zip(frame.at_ms, frame.values[row], frame.present[row], strict=True)
            if there
        ]
    return list(zip(some, found, strict=True))


def _samples(frame: Frame, now: datetime) -> Points:
    """Every sample that is not from the future, ascending by series."""
    found: Points = {}
    if frame.ragged is None:
        return found
    limit_ms = now.timestamp() * 1000
    for first, at_ms, values in frame.ragged.groups():
        for row in range(len(values)):
            some = found.setdefault(frame.ragged.series[first + row], [])
            bits = values[row].view(np.uint64)
            some += [
                (float(at) / 1000.0, float(value))
                for at, value, bit in zip(at_ms, values[row], bits, strict=True)
                if at <= limit_ms and bit != STALE_BITS
            ]
    return found


def _kept(key: str, state: _State) -> list[Sample]:
    base = (("definition", state.definition), ("objective", key))
    samples = [Sample(Series(QUERY_AT, base), state.at_s)]
    for (group, series), (good, total) in sorted(state.sums.items()):
        grouped = (("group", group),) if group else ()
        for role, value in (("good", good), ("total", total)):
            labels = tuple(sorted((*base, *grouped, ("role", role), ("series", series))))
            samples.append(Sample(Series(QUERY_TOTAL, labels), value))
    return samples


def _gap_s(objective: Objective, look: _Look) -> float:
    """After how long a silence time is unknown."""
    every_s = objective.gauge.every_s if objective.gauge is not None else 0.0
    return max(look.stale_after_s, MISSED_MAX * every_s)


def _source(objective: Objective) -> str:
    asked = objective.gauge or objective.histogram
    return asked.source if asked is not None else ""


def _query(objective: Objective) -> str:
    asked = objective.gauge or objective.histogram
    return asked.query if asked is not None else ""


def _selector(objective: Objective) -> str | None:
    """The objective's query where it is a plain selector, whose samples can be read one by one."""
    return _plain(_query(objective).strip())


@lru_cache(maxsize=OBJECTIVES_MAX)
def _plain(text: str) -> str | None:
    try:
        return text if counter(text).text == text else None
    except NotCounted:
        return None


def _bound(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _text(labels: Labels) -> str:
    return ",".join(f"{name}={value!r}" for name, value in labels)


def _said(error: Exception) -> str:
    if isinstance(error, PoiseError):
        return ": ".join(part for part in (error.what, error.why) if part)
    return str(error) or type(error).__name__
