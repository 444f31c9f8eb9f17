"""Reads what a metrics store counts for objectives, on a steady beat, into the totals.

There are two ways to make totals of answers: counters and buckets as they stand (``counters``), and values of
gauges, each of which is an event (``gauges``). Everything of one source is asked for together, in a question
or two, and sorted apart from the loop. So windows, coverage, restarts of a counter and restarts of Poise are
counted by the same rules as Envoy's totals. No answer is no reading: that time is unknown, never zero events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
import structlog

from poise.engine.asking import Regex
from poise.engine.counters import Counters
from poise.engine.gauges import Gauges
from poise.model.counting import STALE_AFTER_S
from poise.model.errors import PoiseError, told
from poise.model.objective import Objective
from poise.model.record import PrefixRef
from poise.model.service import Project
from poise.ports.clock import Clock
from poise.ports.signals import SignalStore
from poise.ports.store import LIST_LIMIT, Store
from poise.ports.totals import Totals

log = structlog.get_logger()

OBJECTIVES_MAX: Final = 20_000
Sources = Callable[[str, str], Awaitable[SignalStore]]  # (project, name) -> its store, or a PoiseError
Way = type[Counters] | type[Gauges]
Place = tuple[Way, str, str]  # the way, a project and one of its sources


class QueryReader:
    """One look at every objective per beat of its way. What is wrong with one is kept as its ``problem``.

    ``regex`` makes a test out of a regular expression, anchored as Prometheus' are.
    """

    def __init__(self, store: Store, totals: Totals, sources: Sources, clock: Clock, regex: Regex) -> None:
        self._store, self._totals, self._sources = store, totals, sources
        self._clock, self._regex = clock, regex
        self._problems: dict[str, str] = {}
        self._declared: list[Objective] = []
        self._declared_as: PrefixRef | None = None
        self._readings: dict[Place, tuple[Sequence[Objective], Counters | Gauges]] = {}

    def problem(self, objective: str) -> str:
        """Why an objective (by key) was not read at the last look; empty when it was."""
        return self._problems.get(objective, "")

    def is_interpolated(self, objective: str) -> bool:
        """Whether the bound of a histogram lay between two of its buckets' at the last look."""
        return any(objective in one.interpolated for _, one in self._readings.values())

    async def run(self) -> None:
        """Read until cancelled."""
        async with anyio.create_task_group() as group:
            for way in (Counters, Gauges):
                group.start_soon(self._beat, way)

    async def _beat(self, way: Way) -> None:
        while True:
            await self._look(way)
            await self._clock.sleep(way.period_s)

    async def read_once(self) -> None:
        """Look at every objective."""
        for way in (Counters, Gauges):
            await self._look(way)

    async def _look(self, way: Way) -> None:
        """Look at a way's objectives; a source that hangs holds up none of the others."""
        try:
            objectives = await self._objectives()
        except (PoiseError, OSError) as error:
            log.warning("objectives cannot be read", error=str(error))
            return
        mine: dict[Place, list[Objective]] = defaultdict(list)
        for one in objectives:
            source = way.source_of(one)
            if source is not None:
                mine[way, one.key.partition("/")[0], source].append(one)
        gone = [place for place in self._readings if place[0] is way and place not in mine]
        for place in gone:
            del self._readings[place]
        async with anyio.create_task_group() as group:
            for place, some in mine.items():
                group.start_soon(self._read, place, some)

    async def _objectives(self) -> list[Objective]:
        """All that are declared: the same objects while none was declared otherwise."""
        if self._declared_as is not None and await self._store.unchanged([self._declared_as]):
            return self._declared
        page, read = await self._store.scan(Objective)
        found = list(page)
        while len(page) == LIST_LIMIT and len(found) < OBJECTIVES_MAX:
            page, _ = await self._store.scan(Objective, after=page[-1].key)
            found += page
        self._declared, self._declared_as = found, read
        kept = {one.key for one in found}
        self._problems = {key: said for key, said in self._problems.items() if key in kept}
        return self._declared

    async def _read(self, place: Place, objectives: Sequence[Objective]) -> None:
        """One source's objectives: asked for together, kept together."""
        way, project, source = place
        try:
            known, _ = await self._store.get(Project, project)
            stale = {one.name: one.stale_after_s for one in known.sources} if known else {}
            signals = await self._sources(project, source)
            before, reading = self._readings.get(place, ((), None))
            if reading is None or before != objectives:
                reading = await way.begin(f"{project}/{source}", objectives, self._regex, self._totals)
            looked = await reading.look(signals, self._clock.now(), stale.get(source, STALE_AFTER_S))
            self._readings.pop(place, None)  # should it not be kept: what is durable is read again
            if looked.rows:
                await self._totals.append_rows(looked.rows)
            self._readings[place] = (objectives, reading)
            said = looked.problems
        except (PoiseError, OSError) as error:
            said = dict.fromkeys((one.key for one in objectives), told(error))
        for key, problem in said.items():
            if problem and problem != self._problems.get(key):
                log.warning("an objective cannot be read", objective=key, problem=problem)
            self._problems[key] = problem
