"""The past of counters as ``counters`` would have read it: the same readings, made at once.

At each beat a series stands at its newest finite sample within ``stale_after_s``. A beat at which nothing is
newer adds nothing and is left out. What a server no longer keeps is unknown time, never zero events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.engine.counters import Counters, whole_of
from poise.engine.pages import series_of
from poise.model.counting import QUERIED, STALE_AFTER_S, selectors
from poise.model.errors import TooLarge
from poise.model.objective import Objective
from poise.model.samples import Frame, Instants, Labels, Limits, Values
from poise.model.signal import Epoch, Rows, Series
from poise.ports.totals import Readings

CHUNK_S: Final = 6 * 3600.0
CHUNK_MIN_S: Final = 300.0
LIMITS: Final = Limits(samples=5_000_000, series=10_000, seconds=60.0)
Samples = tuple[Instants, Values]  # of one series, ascending, finite alone
Flags = NDArray[np.bool_]


class Asks(Protocol):
    """The one question that is asked of a metrics store."""

    async def query(self, expression: str, at_ms: int, limits: Limits | None = None) -> Frame: ...


class _Part(Struct, frozen=True, eq=False, kw_only=True):
    """One objective's series in a chunk, in the order of a reading."""

    objective: Objective
    keys: tuple[tuple[str, Labels], ...]  # (role, labels)
    place: NDArray[np.intp]  # of each among the samples of the chunk


class QueryPast:
    """Readings of these objectives' counters over ``signals``. It answers as ``Totals`` does.

    Ask in the order of time. ``period_s`` is the beat, at multiples of which it reads. Raises what the store
    raises: ``Invalid``, ``TooLarge``, ``TimedOut`` and ``Unreachable``.
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
    ) -> None:
        self._chunk_s = chunk_s
        self._signals, self._earlier = signals, earlier
        self._objectives = [one for one in objectives if one.queries is not None]
        self._stale_ms, self._period_ms = round(stale_after_s * 1000), round(period_s * 1000)
        self._rows: list[Rows] = []
        self._read_s: tuple[float, float] | None = None
        self._series: dict[tuple[object, ...], tuple[Series, ...]] = {}

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
            self._rows, self._read_s = await self._read(start_s, max(end_s, start_s + self._chunk_s))
        elif end_s > self._read_s[1]:
            known = self._read_s[1]
            kept = _within(self._rows, start_s, known)
            begin_s = max(start_s, known)
            more, (_, until_s) = await self._read(begin_s, max(end_s, begin_s + self._chunk_s))
            self._rows, self._read_s = [*kept, *more], (start_s, until_s)

    async def _read(self, start_s: float, end_s: float) -> tuple[list[Rows], tuple[float, float]]:
        rows: list[Rows] = []
        if self._objectives:
            texts = dict.fromkeys(text for one in self._objectives for text in selectors(one).values())
            samples = {text: await self.samples(text, start_s, end_s) for text in texts}
            rows = self._readings(samples, round(start_s * 1000), round(end_s * 1000))
        if self._earlier is not None:
            begin, end = (datetime.fromtimestamp(at, UTC) for at in (start_s, end_s))
            rows += _of_envoy(await self._earlier.readings(begin, end, include_before=False))
        return rows, (start_s, end_s)

    async def samples(self, text: str, start_s: float, end_s: float) -> dict[Labels, Samples]:
        """Every usable sample of a selector in (start - stale, end]; by series, sorted."""
        parts: dict[Labels, list[Samples]] = {}
        start_ms, end_ms = round(start_s * 1000) - self._stale_ms, round(end_s * 1000)
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
                usable = np.isfinite(values[row])
                found.setdefault(frame.ragged.series[first + row], []).append(
                    (at_ms[usable].astype(np.int64), values[row][usable].astype(np.float64))
                )

    # -- beats --------------------------------------------------------------------------------------

    def _readings(
        self, samples: Mapping[str, Mapping[Labels, Samples]], start_ms: int, end_ms: int
    ) -> list[Rows]:
        """The readings of one chunk: runs of beats at which the same series are there."""
        first = start_ms // self._period_ms + 1
        beats = np.arange(first, end_ms // self._period_ms + 1, dtype=np.int64) * self._period_ms
        columns: list[Samples] = []
        parts: list[_Part] = []
        for objective in self._objectives:
            keys = [
                (role, text, labels)
                for role, text in selectors(objective).items()
                for labels in samples[text]
            ]
            place = np.arange(len(columns), len(columns) + len(keys), dtype=np.intp)
            columns += [samples[text][labels] for _, text, labels in keys]
            parts.append(
                _Part(
                    objective=objective, place=place, keys=tuple((role, labels) for role, _, labels in keys)
                )
            )
        if not len(beats) or not columns:
            return []
        at_ms, values, there = _standing(columns, beats, self._stale_ms)
        known = [_is_known(one, there) for one in parts]
        for one, is_known in zip(parts, known, strict=True):
            there[:, one.place] &= is_known[:, None]
        return self._runs(beats, parts, at_ms, values, there)

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
        for one in parts:
            mine = one.place[there[one.place]]
            if len(mine):
                columns.append(at_ms[:, mine].max(axis=1)[:, None] / 1000.0)
                columns.append(values[:, mine])
        return Rows(
            epoch=f"{QUERIED}past",
            series=self._series_of(parts, there),
            at_s=beats / 1000.0,
            values=np.concatenate(columns, axis=1),
        )

    def _series_of(self, parts: Sequence[_Part], there: Flags) -> tuple[Series, ...]:
        """The same object while the same series are there: whoever counts recognises it."""
        chosen = tuple(
            tuple(key for key, place in zip(one.keys, one.place, strict=True) if there[place])
            for one in parts
        )
        made = self._series.get(chosen)
        if made is None:
            pairs = zip(parts, chosen, strict=True)
            made = tuple(series for one, keys in pairs if keys for series in series_of(one.objective, keys))
            self._series[chosen] = made
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


def _is_known(part: _Part, there: Flags) -> Flags:
    """By beat: whether every role has a series, or plainly has none because nothing of it happened."""
    texts = selectors(part.objective)
    some = {role: there[:, part.place[[one == role for one, _ in part.keys]]].any(axis=1) for role in texts}
    known = np.ones(len(there), dtype=bool)
    for role in texts:
        whole = whole_of(role, texts)
        known &= some[role] | some[whole] if whole else some[role]
    return known


def _joined(parts: Sequence[Samples]) -> Samples:
    """Ascending, each instant once: an edge may belong to two questions."""
    at_ms, first = np.unique(np.concatenate([at for at, _ in parts]), return_index=True)
    return at_ms, np.concatenate([values for _, values in parts])[first]
