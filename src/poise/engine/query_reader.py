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

import anyio
import numpy as np
import structlog
from msgspec import Struct

from poise.engine.asking import Question, Regex, Sorting, alone, questions
from poise.engine.pages import Answer, Fresh, Newest, Pages
from poise.model.counting import QUERIED, STALE_AFTER_S, selectors
from poise.model.errors import Invalid, PoiseError, TooLarge
from poise.model.objective import IndicatorKind, Objective
from poise.model.record import PrefixRef
from poise.model.samples import Frame, Limits
from poise.model.service import Project
from poise.ports.clock import Clock
from poise.ports.signals import SignalStore
from poise.ports.store import LIST_LIMIT, Store
from poise.ports.totals import Totals
from poise.spec.counter import counter

_counter = lru_cache(maxsize=2 * 10_000)(counter)
log = structlog.get_logger()

PERIOD_S = 15.0  # as often as most counters are scraped
AT_ONCE = 4  # questions that are asked at the same time
LIMITS = Limits(samples=2_000_000, series=100_000, points=1, seconds=10.0)
OBJECTIVES_MAX = 10_000

Sources = Callable[[str, str], Awaitable[SignalStore]]  # (project, name) -> its store, or a PoiseError


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
        self._pages: dict[tuple[str, str], Pages] = {}

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

    async def _read(self, project: str, source: str, objectives: list[Objective]) -> None:
        """One source's objectives: asked for together, kept together."""
        try:
            known, _ = await self._store.get(Project, project)
            stale_after_s = _stale_after_s(known, source)
            signals = await self._sources(project, source)
            asked = self._asked.get((project, source))
            if asked is None or asked.objectives != objectives:
                asked = self._asked[project, source] = _asked(objectives, self._regex)
            pages = self._pages.setdefault((project, source), Pages(f"{QUERIED}{project}/{source}/"))
            answers, faults = await self._answers(signals, asked, stale_after_s)
            now = self._clock.now()
            rows = None if faults else pages.again([*answers.values()], now, stale_after_s)
            said: dict[str, str] = {}
            if rows is None:
                fresh, said = _judged(objectives, _sorted(asked, answers), faults, now, stale_after_s)
                of_text = {text: answers[id(one)] for one in asked.sorted for text in one.question.texts
                           if id(one) in answers}  # fmt: skip
                rows = pages.rows(fresh, of_text, now, all_of=len(fresh) == len(objectives))
            if rows:
                await self._totals.append_rows(rows)
        except (PoiseError, OSError) as error:
            said = dict.fromkeys((one.key for one in objectives), _said(error))
        for one in objectives:
            problem = said.get(one.key, "")
            if problem and problem != self._problems.get(one.key):
                log.warning("an objective's counters cannot be read", objective=one.key, problem=problem)
            self._problems[one.key] = problem

    async def _answers(
        self, signals: SignalStore, asked: _Asked, stale_after_s: float
    ) -> tuple[dict[int, Answer], dict[str, str]]:
        """By question (its identity, in the order asked): each series' newest; and by selector what is wrong.

        Selectors that together are too much, or of which one is wrong, are asked alone from then on.
        """
        found: dict[int, Answer] = {}
        faults: dict[str, str] = {}
        limiter = anyio.CapacityLimiter(AT_ONCE)

        async def ask(one: _Sorted) -> None:
            text = f"{one.question.text}[{round(stale_after_s * 1000)}ms]"
            now = self._clock.now()
            try:
                async with limiter:
                    frame = await signals.query(text, round(now.timestamp() * 1000), LIMITS)
                found[id(one)] = newest(frame, now)
                for labels in found[id(one)].series:
                    one.sorting.selectors(labels)
            except (Invalid, TooLarge, ValueError) as error:
                found.pop(id(one), None)
                if len(one.question.texts) > 1:
                    await ask_all(asked.split(one, self._regex))
                else:
                    faults[one.question.texts[0]] = _said(error)
            except (PoiseError, OSError) as error:
                faults.update(dict.fromkeys(one.question.texts, _said(error)))

        async def ask_all(some: Sequence[_Sorted]) -> None:
            async with anyio.create_task_group() as group:
                for one in some:
                    group.start_soon(ask, one)

        await ask_all(list(asked.sorted))
        return {id(one): found[id(one)] for one in asked.sorted if id(one) in found}, faults


class _Sorted(Struct, frozen=True, eq=False, kw_only=True):
    question: Question
    sorting: Sorting


class _Asked(Struct, eq=False, kw_only=True):
    """What is asked for these objectives."""

    objectives: list[Objective]
    sorted: list[_Sorted]

    def split(self, one: _Sorted, regex: Regex) -> list[_Sorted]:
        """Each selector of a question as a question of its own."""
        made = [_Sorted(question=single, sorting=Sorting(single, regex)) for single in alone(one.question)]
        place = self.sorted.index(one)
        self.sorted[place : place + 1] = made
        return made


def _asked(objectives: list[Objective], regex: Regex) -> _Asked:
    texts = (text for one in objectives for text in selectors(one).values())
    made = [_Sorted(question=one, sorting=Sorting(one, regex)) for one in questions(texts)]
    return _Asked(objectives=objectives, sorted=made)


def _sorted(asked: _Asked, answers: Mapping[int, Answer]) -> dict[str, Newest]:
    """By selector: each of its series' newest sample, ascending by labels."""
    found: dict[str, Newest] = {}
    for one in asked.sorted:
        if id(one) not in answers:
            continue
        mine: dict[str, Newest] = {text: {} for text in one.question.texts}
        for labels, sample in sorted(answers[id(one)].newest.items()):
            for text in one.sorting.selectors(labels):
                mine[text][labels] = sample
        found |= mine
    return found


def _judged(
    objectives: Sequence[Objective],
    found: Mapping[str, Newest],
    faults: Mapping[str, str],
    now: datetime,
    stale_after_s: float,
) -> tuple[list[tuple[Objective, Fresh]], dict[str, str]]:
    """The objectives that were read, and what is wrong with the others by key."""
    fresh: list[tuple[Objective, Fresh]] = []
    said: dict[str, str] = {}
    for objective in objectives:
        roles = selectors(objective)
        fault = next((faults[text] for text in roles.values() if text in faults), "")
        newest_of = {role: found[text] for role, text in roles.items() if text in found}
        seen = Fresh(problem=fault) if fault else judged(objective, newest_of, now, stale_after_s)
        if seen.problem:
            said[objective.key] = seen.problem
        else:
            fresh.append((objective, seen))
    return fresh, said


def newest(frame: Frame, now: datetime) -> Answer:
    """Each series' newest finite sample that is not from the future."""
    block = frame.ragged
    if block is None or not block.series:
        nothing = np.empty(0)
        return Answer(series=(), at_s=nothing, values=nothing, is_found=nothing.astype(bool))
    owners = block.owner.tolist()
    lengths = np.array([len(block.at_ms[owner]) for owner in owners], dtype=np.intp)
    at_ms = np.concatenate([block.at_ms[owner] for owner in owners])
    starts = np.cumsum(lengths) - lengths
    places = np.arange(len(at_ms))
    values = block.flat[np.repeat(block.start - starts, lengths) + places]
    usable = np.isfinite(values) & (at_ms <= now.timestamp() * 1000)
    last = np.full(len(lengths), -1, dtype=np.intp)
    some = np.flatnonzero(lengths > 0)
    if len(some):
        last[some] = np.maximum.reduceat(np.where(usable, places, -1), starts[some])
    return Answer(
        series=block.series,
        at_s=at_ms[last] / 1000.0 if len(at_ms) else np.zeros(len(last)),
        values=values[last] if len(at_ms) else np.zeros(len(last)),
        is_found=last >= 0,
    )


def judged(objective: Objective, found: Mapping[str, Newest], now: datetime, stale_after_s: float) -> Fresh:
    """A reading out of each role's newest samples, or why there is none."""
    texts = selectors(objective)
    empty = [role for role in texts if not found.get(role)]
    if empty:
        unknown = [role for role in empty if not found.get(whole_of(role, texts))]
        if unknown:
            role = unknown[0]
            return Fresh(problem=f"{texts[role]} ({role}) has no sample within {stale_after_s:g} s")
    at = max(at for one in found.values() for at, _ in one.values())
    if now.timestamp() - at > stale_after_s:
        return Fresh(problem=f"its newest sample is {now.timestamp() - at:.0f} s old")
    return Fresh(at=at, found=found)


def whole_of(role: str, texts: Mapping[str, str]) -> str:
    """The role of which ``role`` plainly is a part, so that no series of it means none of its events.

    Empty where it is a part of nothing: then its silence means that nobody knows.
    """
    whole = "total" if "total" in texts else "good" if role == "bad" else "bad"
    if role == whole:
        return ""
    mine, other = _counter(texts[role]), _counter(texts[whole])
    is_part = mine.is_within(other) if whole == "total" else mine.metric == other.metric
    return whole if is_part else ""


def _stale_after_s(project: Project | None, source: str) -> float:
    known = {one.name: one.stale_after_s for one in project.sources} if project else {}
    return known.get(source, STALE_AFTER_S)


def _said(error: Exception) -> str:
    if isinstance(error, PoiseError):
        return ": ".join(part for part in (error.what, error.why) if part)
    return str(error) or type(error).__name__
