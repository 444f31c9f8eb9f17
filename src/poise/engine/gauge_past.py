"""The past of gauges and probes as ``gauges`` would have read it, made at once.

It looks at every multiple of the reader's beat, and what a look adds up to is counted by the same columns.
Only what a look could have seen is seen: a value counts at the first look after its instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from poise.engine.asking import LIMITS, plain
from poise.engine.columns import Columns, Values
from poise.engine.gauges import MISSED_MAX, Gauges
from poise.engine.pages import APART_S, Numbers, Places, too_many_groups
from poise.model.counting import QUERIED
from poise.model.measuring import scale
from poise.model.objective import Objective
from poise.model.samples import STALE_BITS, Frame, Instants, Labels, Limits
from poise.model.samples import Values as Floats
from poise.model.signal import Rows

Flags = NDArray[np.bool_]
Samples = tuple[Instants, Floats]  # of one series, ascending
MS: Final = 1000


class Raw(Protocol):
    """Every sample of a selector in (start, end] as it is kept, by series."""

    async def __call__(self, text: str, start_ms: int, end_ms: int) -> dict[Labels, Samples]: ...


class AsksRanges(Protocol):
    """Whoever evaluates an expression over a grid."""

    async def query_range(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, limits: Limits | None = None
    ) -> Frame: ...


class _Stand(Struct, kw_only=True):
    """Where the reading of an objective stands: its totals, and when each series was last told of."""

    columns: Columns
    last_ms: dict[Labels, int] = {}


class _Told(Struct, frozen=True, eq=False, kw_only=True):
    """Values of a chunk, ascending by instant: whose each is, when, and at which look it is seen."""

    series: Places
    at_ms: NDArray[np.int64]
    value: Numbers
    look_ms: NDArray[np.int64]


class GaugePast:
    """Readings of gauges over a metrics store, chunk after chunk in the order of time."""

    def __init__(
        self,
        signals: AsksRanges,
        raw: Raw,
        objectives: Sequence[Objective],
        *,
        stale_after_s: float,
        last_ms: int | None = None,
    ) -> None:
        self._signals, self._raw = signals, raw
        self._objectives = [one for one in objectives if one.gauge is not None]
        self._stale_after_s, self._period_ms = stale_after_s, round(Gauges.period_s * MS)
        self._last_ms = last_ms
        self._stands: dict[str, _Stand] = {}
        self._problems: dict[str, str] = {}

    def problem(self, objective: str) -> str:
        """Why an objective (by key) was not read at the last look; empty when it was."""
        return self._problems.get(objective, "")

    async def read(self, start_ms: int, end_ms: int, *, anew: bool) -> list[Rows]:
        """What was read in (start, end]; ``anew`` where the chunk before was not read."""
        if anew:
            self._stands = {}
        return [rows for one in self._objectives for rows in await self._read(one, start_ms, end_ms)]

    async def _read(self, objective: Objective, start_ms: int, end_ms: int) -> list[Rows]:
        stand = self._stands.get(objective.key)
        first = stand is None
        if stand is None:
            columns = Columns(f"{QUERIED}past/{objective.key}/", [objective], {}, self._period_ms / MS)
            stand = self._stands[objective.key] = _Stand(columns=columns)
        points = await self._points(objective, start_ms, end_ms, first=first)
        labels = sorted(points)
        told = self._told([points[one] for one in labels], start_ms)
        rows: list[Rows] = []
        for some in self._stretches(told, labels, stand, objective):
            rows += self._taken(objective, stand, labels, told, some)
        gap_s = self._gap_s(objective)
        if end_ms / MS - stand.columns.at_s[0] > gap_s:
            assert objective.gauge is not None
            self._problems[objective.key] = f"{objective.gauge.query} has no value within {gap_s:g} s"
        return rows

    async def _points(
        self, objective: Objective, start_ms: int, end_ms: int, *, first: bool
    ) -> dict[Labels, Samples]:
        """Every value of the chunk; of the first one with those that a first look finds."""
        assert objective.gauge is not None
        query, back_ms = objective.gauge.query.strip(), round(self._gap_s(objective) * MS)
        if plain(query) is not None:
            samples = await self._raw(query, start_ms - (back_ms if first else 0), end_ms)
            return {one: _kept(some) for one, some in samples.items()}
        every_ms = round(objective.gauge.every_s * MS)
        at_ms = (start_ms // every_ms + (0 if first else 1)) * every_ms
        parts: dict[Labels, list[Samples]] = {}
        while at_ms <= end_ms:
            until_ms = min(end_ms // every_ms * every_ms, at_ms + (LIMITS.points - 1) * every_ms)
            frame = await self._signals.query_range(query, at_ms, until_ms, every_ms, LIMITS)
            for row, labels in enumerate(frame.series):
                some = frame.present[row]
                parts.setdefault(labels, []).append((frame.at_ms[some], frame.values[row][some]))
            at_ms = until_ms + every_ms
        return {
            labels: (np.concatenate([at for at, _ in many]), np.concatenate([value for _, value in many]))
            for labels, many in parts.items()
        }

    def _told(self, points: Sequence[Samples], start_ms: int) -> _Told:
        count = [len(at_ms) for at_ms, _ in points]
        series = np.repeat(np.arange(len(points)), count)
        at_ms = np.concatenate([np.empty(0, np.int64), *(at for at, _ in points)]).astype(np.int64)
        value = np.concatenate([np.empty(0), *(values for _, values in points)])
        seen_ms = np.maximum(at_ms, start_ms + 1)  # what is older is found by the first look
        look_ms = -(-seen_ms // self._period_ms) * self._period_ms
        if self._last_ms is not None:
            look_ms = np.where((seen_ms <= self._last_ms) & (look_ms > self._last_ms), self._last_ms, look_ms)
        order = np.lexsort((series, at_ms))
        return _Told(series=series[order], at_ms=at_ms[order], value=value[order], look_ms=look_ms[order])

    def _stretches(
        self, told: _Told, labels: Sequence[Labels], stand: _Stand, objective: Objective
    ) -> list[Flags]:
        """Values by the looks between which the same series tell of themselves: each as flags."""
        gap_ms = self._gap_s(objective) * MS
        bounds: set[int] = set()
        for number, one in enumerate(labels):
            mine = told.series == number
            at_ms = told.at_ms[mine]
            before = np.concatenate([[stand.last_ms.get(one, -(10**15))], at_ms[:-1]])
            bounds |= {*told.look_ms[mine][at_ms - before > gap_ms].tolist()}
        edges = np.array(sorted(bounds), dtype=np.int64)
        stretch = np.searchsorted(edges, told.look_ms, side="right")
        return [stretch == number for number in np.unique(stretch).tolist()]

    def _taken(
        self, objective: Objective, stand: _Stand, labels: Sequence[Labels], told: _Told, some: Flags
    ) -> list[Rows]:
        """Take the values of one stretch; rows dated by the looks that saw them."""
        first_ms, gap_ms = int(told.look_ms[some].min()), self._gap_s(objective) * MS
        mine = {
            labels[number] for number in np.unique(told.series[some & (told.look_ms == first_ms)]).tolist()
        }
        if self._is_plain(objective):
            mine |= {one for one, at_ms in stand.last_ms.items() if at_ms > first_ms - gap_ms}
        mine |= {labels[number] for number in np.unique(told.series[some]).tolist()}
        stand.last_ms = {one: at for one, at in stand.last_ms.items() if at > first_ms - gap_ms}
        stand.last_ms |= dict(
            zip(
                (labels[number] for number in told.series[some].tolist()),
                told.at_ms[some].tolist(),
                strict=True,
            )
        )
        is_odd = scale([objective]).shares(np.zeros(len(told.value), np.intp), told.value)[1]
        self._problems[objective.key] = (
            "it has values that are no ratio: they are not between 0 and 1" if (some & is_odd).any() else ""
        )
        if len({objective.group_of(one) for one in mine}) > objective.groups_max:
            self._problems[objective.key] = too_many_groups(objective)
            return []
        series = tuple(sorted(mine))
        track = {one: number for number, one in enumerate(series)}
        tracks = stand.columns.tracks(series, ((0, one, number) for number, one in enumerate(series)))
        kept = some & ~is_odd
        values = Values(
            track=np.array([track[labels[number]] for number in told.series[kept].tolist()], dtype=np.intp),
            at_s=told.at_ms[kept] / MS, value=told.value[kept],
        )  # fmt: skip
        if not len(values.at_s):
            return []
        gap_s, before_s = np.array([self._gap_s(objective)]), float(stand.columns.at_s[0])
        rows, _, _ = stand.columns.take([(tracks, values)], np.array([0]), float(values.at_s[-1]), gap_s)
        return _dated(rows, told, before_s, first_ms)

    @staticmethod
    def _is_plain(objective: Objective) -> bool:
        return objective.gauge is not None and plain(objective.gauge.query.strip()) is not None

    def _gap_s(self, objective: Objective) -> float:
        assert objective.gauge is not None
        return max(self._stale_after_s, MISSED_MAX * objective.gauge.every_s)


def _dated(many: Sequence[Rows], told: _Told, before_s: float, first_ms: int) -> list[Rows]:
    """Readings at the looks that made them; those of one look lie shortly before it, the last at it.

    What stood at ``before_s`` already is told again by the first look.
    """
    if not many:
        return []
    count = [len(one.at_s) for one in many]
    at_ms = np.concatenate([np.rint(one.values[:, 0] * MS) for one in many])  # each begins with its instant
    look_ms = told.look_ms[np.minimum(np.searchsorted(told.at_ms, at_ms), len(told.at_ms) - 1)]
    look_ms = np.where(at_ms <= before_s * MS, first_ms, look_ms)
    later = np.searchsorted(look_ms, look_ms, side="right") - 1 - np.arange(len(look_ms))
    read_s = look_ms / MS - later * APART_S
    return [
        replace(one, at_s=at_s)
        for one, at_s in zip(many, np.split(read_s, np.cumsum(count)[:-1]), strict=True)
    ]


def _kept(samples: Samples) -> Samples:
    """Without markers that a series has ended."""
    at_ms, values = samples
    usable = values.view(np.uint64) != STALE_BITS
    return at_ms[usable], values[usable]
