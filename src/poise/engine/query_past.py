"""The past as a running Poise would have read it: the same readings of every kind, made at once.

Gauges and probes are read by ``gauge_past``, counters and buckets here: at each beat a series stands at its
newest finite sample within ``stale_after_s``. A beat at which nothing is newer adds nothing and is left out.
What a server no longer keeps is unknown time, never zero events.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.engine.counters import Counters, Read, bound_of, read_of, texts_of
from poise.engine.gauge_past import GaugePast
from poise.engine.pages import named
from poise.model.counting import QUERIED, STALE_AFTER_S
from poise.model.errors import TooLarge
from poise.model.objective import Objective
from poise.model.samples import NAME, Frame, Instants, Labels, Limits, Values
from poise.model.signal import Epoch, Rows, Series
from poise.ports.totals import Readings
from poise.spec.counter import narrowed

CHUNK_S: Final = 6 * 3600.0
CHUNK_MIN_S: Final = 300.0
LIMITS: Final = Limits(samples=5_000_000, series=10_000, seconds=60.0)
Samples = tuple[Instants, Values]  # of one series, ascending, finite alone
Flags = NDArray[np.bool_]


class Asks(Protocol):
    """What is asked of a metrics store."""

    async def query(self, expression: str, at_ms: int, limits: Limits | None = None) -> Frame: ...

    async def query_range(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, limits: Limits | None = None
    ) -> Frame: ...


class _Part(Struct, frozen=True, eq=False, kw_only=True):
    """One objective's series in a chunk: by selector, where each stands among the samples of the chunk."""

    objective: Objective
    found: Mapping[str, Mapping[Labels, int]]
    place: NDArray[np.intp]


class QueryPast:
    """Readings of these objectives over ``signals``. It answers as ``Totals`` does.

    Ask in the order of time. ``period_s`` is the beat of counters, at multiples of which it reads; ``last_s``
    is a look more, so that what was sampled just before it is in. Raises what the
    store raises: ``Invalid``, ``TooLarge``, ``TimedOut`` and ``Unreachable``.
    """

    def __init__(
        self,
        signals: Asks,
        objectives: Sequence[Objective],
        *,
        earlier: Readings | None = None,
        stale_after_s: float = STALE_AFTER_S,
        period_s: float = Counters.period_s,
        chunk_s: float = CHUNK_S,
        last_s: float | None = None,
    ) -> None:
        self._chunk_s = chunk_s
        self._last_ms = None if last_s is None else round(last_s * 1000)
        self._gauges = GaugePast(
            signals, self._raw, objectives, stale_after_s=stale_after_s, last_ms=self._last_ms
        )
        self._problems: dict[str, str] = {}
        self._interpolated: set[str] = set()
        self._wide: set[str] = set()  # histograms some series of which have no bucket at the bound
        self._signals, self._earlier = signals, earlier
        self._objectives = [one for one in objectives if texts_of(one)]
        self._stale_ms, self._period_ms = round(stale_after_s * 1000), round(period_s * 1000)
        self._rows: list[Rows] = []
        self._read_s: tuple[float, float] | None = None
        self._series: dict[object, tuple[Series, ...]] = {}

    def problem(self, objective: str) -> str:
        """Why an objective (by key) was not read at the end of what was asked for; empty when it was."""
        return self._problems.get(objective, "") or self._gauges.problem(objective)

    def is_interpolated(self, objective: str) -> bool:
        """Whether the bound of a histogram lay between two of its buckets'."""
        return objective in self._interpolated

    async def epochs(self) -> list[Epoch]:
        """Lives of what was kept; the past of a metrics store is read without them."""
        return [] if self._earlier is None else await self._earlier.epochs()

    async def readings(self, start: datetime, end: datetime, *, include_before: bool = True) -> list[Rows]:
        """As ``Totals``: what was read in (start, end], out of a chunk that is fetched when it is due."""
        found: list[Rows] = []
        if include_before and self._earlier is not None:
            found += _of_envoy(await self._earlier.readings(start, start, include_before=True))
        start_s, end_s = start.timestamp(), end.timestamp()
        if end_s <= start_s:
            return found
        await self._reach(start_s, end_s)
        return found + _within(self._rows, start_s, end_s)

    async def _reach(self, start_s: float, end_s: float) -> None:
        """Have the readings up to ``end_s``; those before ``start_s`` are not asked for again."""
        if self._read_s is None or start_s < self._read_s[0]:
            end_s = self._chunk_end_s(start_s, end_s)
            self._rows, self._read_s = await self._read(start_s, end_s, anew=True)
        elif end_s > self._read_s[1]:
            known = self._read_s[1]
            kept = _within(self._rows, start_s, known)
            begin_s = max(start_s, known)
            end_s = self._chunk_end_s(begin_s, end_s)
            more, (_, until_s) = await self._read(begin_s, end_s, anew=begin_s > known)
            self._rows, self._read_s = [*kept, *more], (start_s, until_s)

    def _chunk_end_s(self, start_s: float, end_s: float) -> float:
        """A chunk ends with a beat, so that each sample is read in the chunk that it lies in."""
        end_ms = math.ceil(max(end_s, start_s + self._chunk_s) * 1000 / self._period_ms) * self._period_ms
        if self._last_ms is not None and start_s * 1000 < self._last_ms:
            end_ms = min(end_ms, self._last_ms)
        return end_ms / 1000

    async def _read(
        self, start_s: float, end_s: float, *, anew: bool
    ) -> tuple[list[Rows], tuple[float, float]]:
        start_ms, end_ms = round(start_s * 1000), round(end_s * 1000)
        rows = await self._gauges.read(start_ms, end_ms, anew=anew)
        if self._objectives:
            known: dict[str, dict[Labels, Samples]] = {}
            columns: list[Samples] = []
            parts = [await self._part(one, start_s, end_s, known, columns) for one in self._objectives]
            rows += self._readings(parts, columns, start_ms, end_ms)
        if self._earlier is not None:
            begin, end = (datetime.fromtimestamp(at, UTC) for at in (start_s, end_s))
            rows += _of_envoy(await self._earlier.readings(begin, end, include_before=False))
        return rows, (start_s, end_s)

    async def _part(
        self, objective: Objective, start_s: float, end_s: float, known: dict[str, dict[Labels, Samples]],
        columns: list[Samples],
    ) -> _Part:  # fmt: skip
        """An objective's samples, appended to ``columns``; ``known`` is what was asked for in this chunk."""
        found: dict[str, dict[Labels, int]] = {}
        first = len(columns)
        for text in texts_of(objective).values():
            asked = await self._asked_for(objective, text, start_s, end_s, known)
            found[text] = {labels: len(columns) + n for n, labels in enumerate(asked)}
            columns += asked.values()
        return _Part(objective=objective, found=found, place=np.arange(first, len(columns), dtype=np.intp))

    async def _asked_for(
        self, objective: Objective, text: str, start_s: float, end_s: float,
        known: dict[str, dict[Labels, Samples]],
    ) -> dict[Labels, Samples]:  # fmt: skip
        """A selector's samples. Of a histogram whose series all have a bucket at the bound, only that one and
        the one of all are asked for."""
        bound = None if objective.histogram is None else objective.histogram.bound
        asked = text if bound is None or objective.key in self._wide else narrowed(text, bound)
        if asked not in known:
            known[asked] = await self.samples(asked, start_s, end_s)
        if asked == text or bound is None or _has_bound(known[asked], bound):
            return known[asked]
        self._wide.add(objective.key)
        return await self._asked_for(objective, text, start_s, end_s, known)

    async def samples(self, text: str, start_s: float, end_s: float) -> dict[Labels, Samples]:
        """Every usable sample of a selector in (start - stale, end]; by series, sorted."""
        start_ms, end_ms = round(start_s * 1000) - self._stale_ms, round(end_s * 1000)
        found: dict[Labels, Samples] = {}
        for labels, (at_ms, values) in (await self._raw(text, start_ms, end_ms)).items():
            usable = np.isfinite(values)
            found[labels] = at_ms[usable], values[usable]
        return found

    async def _raw(self, text: str, start_ms: int, end_ms: int) -> dict[Labels, Samples]:
        """Every sample of a selector in (start, end], markers of an end included; by series, sorted."""
        parts: dict[Labels, list[Samples]] = {}
        await self._ask(text, start_ms, end_ms, parts)
        return {labels: _joined(parts[labels]) for labels in sorted(parts)}

    async def _ask(self, text: str, start_ms: int, end_ms: int, found: dict[Labels, list[Samples]]) -> None:
        """One question, or two halves where the answer would be too large."""
        try:
            frame = await self._signals.query(f"{text}[{end_ms - start_ms}ms]", end_ms, LIMITS)
        except TooLarge:
            if end_ms - start_ms <= CHUNK_MIN_S * 1000:
                raise
            middle = (start_ms + end_ms) // 2
            await self._ask(text, start_ms, middle, found)
            await self._ask(text, middle, end_ms, found)
            return
        if frame.ragged is None:
            return
        for first, at_ms, values in frame.ragged.groups():
            for row in range(len(values)):
                found.setdefault(frame.ragged.series[first + row], []).append(
                    (at_ms.astype(np.int64), values[row].astype(np.float64))
                )

    # -- beats --------------------------------------------------------------------------------------

    def _readings(
        self, parts: Sequence[_Part], columns: Sequence[Samples], start_ms: int, end_ms: int
    ) -> list[Rows]:
        """The readings of one chunk: runs of beats at which the same series are there."""
        first = start_ms // self._period_ms + 1
        beats = np.arange(first, end_ms // self._period_ms + 1, dtype=np.int64) * self._period_ms
        if self._last_ms == end_ms and end_ms % self._period_ms:
            beats = np.append(beats, end_ms)
        if not len(beats):
            return []
        at_ms, values, there = _standing(columns, beats, self._stale_ms)
        for one in parts:
            is_known, problem = self._known(one, beats, at_ms, there)
            self._problems[one.objective.key] = problem
            there[:, one.place] &= is_known[:, None]
        return self._runs(beats, parts, at_ms, values, there)

    def _known(self, part: _Part, beats: Instants, at_ms: Instants, there: Flags) -> tuple[Flags, str]:
        """By beat whether the live reader would have read the objective, and what was wrong at the last."""
        mine = there[:, part.place]
        changes = np.flatnonzero((mine[1:] != mine[:-1]).any(axis=1)) + 1
        known, problem = np.zeros(len(beats), dtype=bool), ""
        for run in np.split(np.arange(len(beats)), changes):
            problem = self._made(part, int(beats[run[0]]), at_ms[run[0]], there[run[0]]).problem
            known[run] = not problem
        return known, problem

    def _made(self, part: _Part, beat_ms: int, at_ms: Instants, there: Flags) -> Read:
        found = {
            text: {labels: place for labels, place in some.items() if there[place]}
            for text, some in part.found.items()
        }
        now = datetime.fromtimestamp(beat_ms / 1000, UTC)
        return read_of(part.objective, found, at_ms / 1000.0, now, self._stale_ms / 1000)

    def _runs(
        self, beats: Instants, parts: Sequence[_Part], at_ms: Instants, values: Values, there: Flags
    ) -> list[Rows]:
        newest = np.where(there, at_ms, -1)
        fresh = np.ones(len(beats), dtype=bool)
        fresh[1:] = (newest[1:] != newest[:-1]).any(axis=1) & there[1:].any(axis=1)
        fresh[0] = bool(there[0].any())
        kept = np.flatnonzero(fresh)
        if not len(kept):
            return []
        changes = np.flatnonzero((there[kept][1:] != there[kept][:-1]).any(axis=1)) + 1
        found = []
        for run in np.split(kept, changes):
            found.append(self._run(beats[run], parts, at_ms[run], values[run], there[run[0]]))
        return found

    def _run(
        self, beats: Instants, parts: Sequence[_Part], at_ms: Instants, values: Values, there: Flags
    ) -> Rows:
        columns: list[Values] = []
        names: list[tuple[str, tuple[tuple[str, str, str], ...]]] = []
        for one in parts:
            if not there[one.place].any():
                continue
            made = self._made(one, int(beats[0]), at_ms[0], there)
            if made.interpolated:
                self._interpolated.add(one.objective.key)
            places = np.array([total.places for total in made.totals], dtype=np.intp)
            weights = np.array([total.weights for total in made.totals])
            columns.append(at_ms[:, list(made.samples)].max(axis=1)[:, None] / 1000.0)
            columns.append((values[:, places] * weights).sum(axis=2))
            names.append((one.objective.key, tuple(total.name for total in made.totals)))
        return Rows(
            epoch=f"{QUERIED}past",
            series=self._series_of(parts, tuple(names)),
            at_s=beats / 1000.0,
            values=np.concatenate(columns, axis=1),
        )

    def _series_of(
        self, parts: Sequence[_Part], names: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]
    ) -> tuple[Series, ...]:
        """The same object while the same totals are there: whoever counts recognises it."""
        made = self._series.get(names)
        if made is None:
            objectives = {one.objective.key: one.objective for one in parts}
            made = tuple(series for key, some in names for series in named(objectives[key], some))
            self._series[names] = made
        return made


def _of_envoy(many: Sequence[Rows]) -> list[Rows]:
    """Without what was kept of metrics stores: that is read again, from before it was declared."""
    return [one for one in many if not one.epoch.startswith(QUERIED)]


def _within(many: Sequence[Rows], start_s: float, end_s: float) -> list[Rows]:
    """Those read in (start, end]."""
    found = []
    for rows in many:
        first, last = np.searchsorted(rows.at_s, [start_s, end_s], side="right")
        if first < last:
            some = slice(int(first), int(last))
            found.append(
                Rows(epoch=rows.epoch, series=rows.series, at_s=rows.at_s[some], values=rows.values[some])
            )
    return found


def _standing(columns: Sequence[Samples], beats: Instants, stale_ms: int) -> tuple[Instants, Values, Flags]:
    """``[beats, series]``: each newest sample's instant and value, and whether it is young enough."""
    at_ms = np.zeros((len(beats), len(columns)), dtype=np.int64)
    values = np.zeros((len(beats), len(columns)))
    there = np.zeros((len(beats), len(columns)), dtype=bool)
    for number, (at, value) in enumerate(columns):
        last = np.searchsorted(at, beats, side="right") - 1
        some = last >= 0
        at_ms[some, number], values[some, number] = at[last[some]], value[last[some]]
        there[:, number] = some & (at_ms[:, number] > beats - stale_ms)
    return at_ms, values, there


def _has_bound(found: Mapping[Labels, Samples], bound: float) -> bool:
    """Whether every series that has a bucket of all has one at the bound."""
    by_rest: dict[Labels, set[float | None]] = {}
    for one in found:
        rest = tuple(pair for pair in one if pair[0] not in ("le", NAME))
        by_rest.setdefault(rest, set()).add(bound_of(one))
    return all(some >= {bound, math.inf} for some in by_rest.values())


def _joined(parts: Sequence[Samples]) -> Samples:
    """Ascending, each instant once: an edge may belong to two questions."""
    at_ms, first = np.unique(np.concatenate([at for at, _ in parts]), return_index=True)
    return at_ms, np.concatenate([values for _, values in parts])[first]
