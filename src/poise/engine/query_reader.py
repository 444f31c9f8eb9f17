"""Reads the counters of objectives that a metrics store counts, on a steady beat, into the totals.

All objectives of a source are asked for together, in a question or two with a short range, so that every
value comes with its own instant: a value that a store merely holds on to is seen to be old. A reading is what
the counters stood at, series by series, and when the newest of an objective's was sampled. So windows,
coverage, restarts of a counter and restarts of Poise are counted by the same rules as Envoy's totals.

No answer, no series or only old samples is no reading: that time is unknown, never zero events. The one
exception: failures of which there is no series yet are none, where their selector plainly matches some of
the series of a total that is fresh.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from zlib import crc32

import anyio
import numpy as np
import structlog
from msgspec import Struct
from numpy.typing import NDArray

from poise.engine.asking import Question, Regex, Sorting, alone, questions
from poise.model.counting import QUERIED, definition, selectors
from poise.model.errors import Invalid, PoiseError, TooLarge
from poise.model.objective import IndicatorKind, Objective
from poise.model.record import PrefixRef
from poise.model.samples import Block, Frame, Labels, Limits
from poise.model.service import Project
from poise.model.signal import QUERY_AT, QUERY_TOTAL, Rows, Series
from poise.ports.clock import Clock
from poise.ports.signals import SignalStore
from poise.ports.store import LIST_LIMIT, Store
from poise.ports.totals import Totals
from poise.spec.counter import counter

_counter = lru_cache(maxsize=2 * 10_000)(counter)
log = structlog.get_logger()

PERIOD_S = 10.0  # well below what counters are scraped at
STALE_AFTER_S = 90.0  # of the embedded store; a data source has its own
AT_ONCE = 4  # questions that are asked at the same time
LIMITS = Limits(samples=2_000_000, series=100_000, points=1, seconds=10.0)
OBJECTIVES_MAX = 10_000
PAGES = 16  # readings that a source's objectives are kept in, so that a new series concerns few of them

Sources = Callable[[str, str], Awaitable[SignalStore]]  # (project, name) -> its store, or a PoiseError
Newest = dict[Labels, tuple[float, float]]  # by series: (UTC epoch seconds, value)


class Fresh(Struct, frozen=True, kw_only=True):
    """What one look at an objective's counters found, or the ``problem`` that makes it unknown."""

    at: float = 0.0
    found: Mapping[str, Newest] = {}
    problem: str = ""


class QueryReader:
    """One look at every query objective per beat. What is wrong with one is kept as its ``problem``.

    ``regex`` makes a test out of a regular expression, anchored as Prometheus' are.
    """

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
        self._totals = totals
        self._sources = sources
        self._clock = clock
        self._regex = regex
        self._period_s = period_s
        self._problems: dict[str, str] = {}
        self._declared: list[Objective] = []
        self._declared_as: PrefixRef | None = None
        self._asked: dict[tuple[str, str], _Asked] = {}  # by project and source
        self._pages: dict[str, _Page] = {}  # by epoch

    def problem(self, objective: str) -> str:
        """Why an objective (by key) was not read at the last look; empty when it was."""
        return self._problems.get(objective, "")

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read_once()
            await self._clock.sleep(self._period_s)

    async def read_once(self) -> None:
        """Look at every query objective; a source that hangs holds up none of the others."""
        try:
            mine = await self._objectives()
        except (PoiseError, OSError) as error:
            log.warning("objectives cannot be read", error=str(error))
            return
        kept = {one.key for one in mine}
        self._problems = {key: said for key, said in self._problems.items() if key in kept}
        by_source: dict[tuple[str, str], list[Objective]] = defaultdict(list)
        for one in mine:
            by_source[one.key.partition("/")[0], one.queries.source if one.queries else ""].append(one)
        self._asked = {place: asked for place, asked in self._asked.items() if place in by_source}
        async with anyio.create_task_group() as group:
            for (project, source), objectives in by_source.items():
                group.start_soon(self._read, project, source, objectives)

    async def _objectives(self) -> list[Objective]:
        """Those that are counted by query: the same objects while none was declared otherwise."""
        if self._declared_as is not None and await self._store.unchanged([self._declared_as]):
            return self._declared
        page, read = await self._store.scan(Objective)
        found = list(page)
        while len(page) == LIST_LIMIT and len(found) < OBJECTIVES_MAX:
            page, _ = await self._store.scan(Objective, after=page[-1].key)
            found += page
        self._declared = [one for one in found if one.indicator is IndicatorKind.QUERY]
        self._declared_as = read
        return self._declared

    async def _read(self, project: str, source: str, objectives: Sequence[Objective]) -> None:
        """One source's objectives: asked for together, kept together."""
        said: dict[str, str] = {}
        try:
            known, _ = await self._store.get(Project, project)
            stale_after_s = _stale_after_s(known, source)
            signals = await self._sources(project, source)
            asked = self._asked.get((project, source))
            if asked is None or asked.objectives != objectives:
                asked = self._asked[project, source] = _asked(objectives, self._regex)
            found, faults = await self._answers(signals, asked, stale_after_s)
            now = self._clock.now()
            fresh: list[tuple[Objective, Fresh]] = []
            for objective in objectives:
                roles = selectors(objective)
                fault = next((faults[text] for text in roles.values() if text in faults), "")
                newest_of = {role: found[text] for role, text in roles.items() if text in found}
                seen = Fresh(problem=fault) if fault else judged(objective, newest_of, now, stale_after_s)
                said[objective.key] = seen.problem
                if not seen.problem:
                    fresh.append((objective, seen))
            await self._keep(f"{QUERIED}{project}/{source}/", fresh, now)
        except (PoiseError, OSError) as error:
            said = dict.fromkeys((one.key for one in objectives), _said(error))
        for key, problem in said.items():
            if problem and problem != self._problems.get(key):
                log.warning("an objective's counters cannot be read", objective=key, problem=problem)
            self._problems[key] = problem

    async def _answers(
        self, signals: SignalStore, asked: _Asked, stale_after_s: float
    ) -> tuple[dict[str, Newest], dict[str, str]]:
        """By selector: each series' newest sample, or what is wrong with it."""
        found: dict[str, Newest] = {text: {} for one in asked.sorted for text in one.question.texts}
        faults: dict[str, str] = {}
        limiter = anyio.CapacityLimiter(AT_ONCE)

        async def ask(one: _Sorted, is_last: bool) -> None:
            async with limiter:
                try:
                    text = f"{one.question.text}[{round(stale_after_s * 1000)}ms]"
                    now = self._clock.now()
                    frame = await signals.query(text, round(now.timestamp() * 1000), LIMITS)
                except (Invalid, TooLarge) as error:
                    if is_last or len(one.question.texts) == 1:
                        faults.update(dict.fromkeys(one.question.texts, _said(error)))
                        return
                except (PoiseError, OSError) as error:
                    faults.update(dict.fromkeys(one.question.texts, _said(error)))
                    return
                else:
                    for labels, sample in newest(frame, now).items():
                        for text in one.sorting.selectors(labels):
                            found[text][labels] = sample
                    return
            for single in alone(one.question):  # together they are too much, or one of them is wrong
                await ask(_Sorted(question=single, sorting=Sorting(single, self._regex)), True)

        async with anyio.create_task_group() as group:
            for one in asked.sorted:
                group.start_soon(ask, one, False)
        ordered = {
            text: dict(sorted(some.items())) if len(some) > 1 else some for text, some in found.items()
        }
        return ordered, faults

    async def _keep(self, prefix: str, fresh: Sequence[tuple[Objective, Fresh]], now: datetime) -> None:
        """Append what was read, page by page; a page in which nothing is newer is left out."""
        by_page: dict[str, list[tuple[Objective, Fresh]]] = defaultdict(list)
        for objective, seen in fresh:
            by_page[f"{prefix}{crc32(objective.key.encode()) % PAGES}"].append((objective, seen))
        rows = [
            made
            for epoch, some in sorted(by_page.items())
            if (made := self._pages.setdefault(epoch, _Page()).row(epoch, some, now)) is not None
        ]
        if rows:
            await self._totals.append_rows(rows)


class _Sorted(Struct, frozen=True, eq=False, kw_only=True):
    question: Question
    sorting: Sorting


class _Asked(Struct, frozen=True, eq=False, kw_only=True):
    """What is asked for these objectives."""

    objectives: Sequence[Objective]
    sorted: tuple[_Sorted, ...]


def _asked(objectives: Sequence[Objective], regex: Regex) -> _Asked:
    texts = (text for one in objectives for text in selectors(one).values())
    made = [_Sorted(question=one, sorting=Sorting(one, regex)) for one in questions(texts)]
    return _Asked(objectives=objectives, sorted=tuple(made))


class _Page:
    """One reading's series, which are the same objects while they are the same series."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Objective, tuple[tuple[Labels, ...], ...], tuple[Series, ...]]] = {}
        self._parts: tuple[int, ...] = ()
        self._series: tuple[Series, ...] = ()
        self._newest_at = -np.inf

    def row(self, epoch: str, some: Sequence[tuple[Objective, Fresh]], now: datetime) -> Rows | None:
        """What was read at ``now``; None where nothing in it is newer than before."""
        values: list[float] = []
        parts: list[tuple[Series, ...]] = []
        for objective, seen in some:
            parts.append(self._part(objective, seen.found))
            values.append(seen.at)
            values += [value for one in seen.found.values() for _, value in one.values()]
        marks = tuple(map(id, parts))
        newest_at = sum(seen.at for _, seen in some)
        if marks == self._parts and newest_at == self._newest_at:
            return None
        if marks != self._parts:
            self._parts, self._series = marks, tuple(one for part in parts for one in part)
        self._newest_at = newest_at
        return Rows(
            epoch=epoch, series=self._series, at_s=np.array([now.timestamp()]), values=np.array([values])
        )

    def _part(self, objective: Objective, found: Mapping[str, Newest]) -> tuple[Series, ...]:
        """An objective's series: when it was sampled, then every counter by role."""
        labels = tuple(tuple(one) for one in found.values())
        known = self._of.get(objective.key)
        if known is not None and known[0] is objective and known[1] == labels:
            return known[2]
        counted = (("definition", definition(objective)), ("objective", objective.key))
        made = (
            Series(QUERY_AT, counted),
            *(
                Series(QUERY_TOTAL, (*counted, ("role", role), ("series", _text(one))))
                for role, newest_of in found.items()
                for one in newest_of
            ),
        )
        self._of[objective.key] = (objective, labels, made)
        return made


def newest(frame: Frame, now: datetime) -> Newest:
    """Each series' newest finite sample that is not from the future."""
    if frame.ragged is None or not frame.ragged.series:
        return {}
    at_s, values, found = _newest(frame.ragged, now.timestamp() * 1000)
    rows = zip(frame.ragged.series, at_s.tolist(), values.tolist(), found.tolist(), strict=True)
    return {labels: (at, value) for labels, at, value, is_found in rows if is_found}


def _newest(
    block: Block, limit_ms: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """By series: the instant (s) and value of its newest usable sample, and whether there is one."""
    lengths = np.array([len(block.at_ms[owner]) for owner in block.owner.tolist()], dtype=np.intp)
    at_ms = np.concatenate([block.at_ms[owner] for owner in block.owner.tolist()])
    starts = np.cumsum(lengths) - lengths
    places = np.arange(len(at_ms))
    values = block.flat[np.repeat(block.start - starts, lengths) + places]
    usable = np.isfinite(values) & (at_ms <= limit_ms)
    last = np.full(len(lengths), -1, dtype=np.intp)
    some = np.flatnonzero(lengths > 0)
    last[some] = np.maximum.reduceat(np.where(usable, places, -1), starts[some])
    return at_ms[last] / 1000.0, values[last], last >= 0


def judged(objective: Objective, found: Mapping[str, Newest], now: datetime, stale_after_s: float) -> Fresh:
    """A reading out of each role's newest samples, or why there is none."""
    texts = selectors(objective)
    empty = [role for role in texts if not found.get(role)]
    if empty:
        unknown = [role for role in empty if not _is_none_known(role, texts, found)]
        if unknown:
            role = unknown[0]
            return Fresh(problem=f"{texts[role]} ({role}) has no sample within {stale_after_s:g} s")
    at = max(at for one in found.values() for at, _ in one.values())
    if now.timestamp() - at > stale_after_s:
        return Fresh(problem=f"its newest sample is {now.timestamp() - at:.0f} s old")
    return Fresh(at=at, found=found)


def _is_none_known(role: str, texts: Mapping[str, str], found: Mapping[str, Newest]) -> bool:
    """Whether no series of ``role`` means no such event, since what it is a part of is there."""
    whole = "total" if "total" in texts else "good" if role == "bad" else "bad"
    if role == whole or not found.get(whole):
        return False
    mine, other = _counter(texts[role]), _counter(texts[whole])
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
