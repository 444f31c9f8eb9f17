"""What a counter elsewhere grew by, exactly: the raw samples of a selector, added up series by series.

Never ``rate`` or ``increase``: those extrapolate to the window's edges. A decrease is a restart and the new
value counts; a series that appears after the others began grew from zero. What an honest server would not
answer (another series, samples of another time, no number) is an error and never a count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.model.errors import Invalid, PoiseError, TooLarge
from poise.model.samples import Labels, Limits
from poise.ports.signals import SignalStore
from poise.spec.counter import Selector

CHUNK_MS: Final = 6 * 3600 * 1000
CHUNK_MIN_MS: Final = 5 * 60 * 1000
BEFORE_MS: Final = 5 * 60 * 1000  # how far before the window a value to count from is looked for
GAP_MS: Final = (
    5 * 60 * 1000
)  # two samples further apart than this do not by themselves cover the time between
LIMITS: Final = Limits(samples=5_000_000, series=10_000, seconds=30.0)

Run = tuple[int, int]  # measured time [from, to], epoch ms
Instants = NDArray[np.int64]
Values = NDArray[np.float64]


class Growth(Struct, frozen=True, eq=False, kw_only=True):
    """One selector's growth: ``delta[n]`` events at ``at_ms[n]``, ascending, and what was measured.

    ``births`` are first values ``(instant, value)`` of each series; ``runs`` are merged measured spans.
    """

    at_ms: Instants
    delta: Values
    births: tuple[tuple[int, float], ...]
    runs: tuple[Run, ...]

    @property
    def first_ms(self) -> int | None:
        """The first sample; None when there is none."""
        return min((at for at, _ in self.births), default=None)

    @property
    def last_ms(self) -> int | None:
        """The newest sample; None when there is none."""
        return max((end for _, end in self.runs), default=None)


class _Last(Struct):
    """Where counting of one series stands, and the run that it is in."""

    at_ms: int
    value: float
    began_ms: int


async def growth(
    signals: SignalStore,
    selector: Selector,
    start_ms: int,
    end_ms: int,
    *,
    where: str,
    told: Callable[[float], None] = lambda share: None,
) -> Growth:
    """The growth of a selector in (start, end], with its values shortly before; ``told`` of the share done.

    Raises a ``PoiseError`` when the source cannot be reached, refuses, or answers what cannot be.
    """
    fold = _Fold(selector, where)
    at = start_ms - BEFORE_MS
    while at < end_ms:
        until = min(at + CHUNK_MS, end_ms)
        await _chunk(signals, selector, at, until, fold)
        at = until
        told((at - start_ms) / (end_ms - start_ms))
    return fold.growth()


async def _chunk(signals: SignalStore, selector: Selector, start_ms: int, end_ms: int, fold: _Fold) -> None:
    """One question, or two halves where the answer would be too large."""
    try:
        frame = await signals.query(f"{selector.text}[{end_ms - start_ms}ms]", end_ms, LIMITS)
    except TooLarge:
        if end_ms - start_ms <= CHUNK_MIN_MS:
            raise
        middle = (start_ms + end_ms) // 2
        await _chunk(signals, selector, start_ms, middle, fold)
        await _chunk(signals, selector, middle, end_ms, fold)
        return
    if frame.ragged is None:
        if len(frame.series):
            raise fold.strange("it answers a range with something else")
        return
    for first, at_ms, rows in frame.ragged.groups():
        for row in range(len(rows)):
            fold.add(frame.ragged.series[first + row], at_ms, rows[row], start_ms, end_ms)


class _Fold:
    """Chunks, oldest first, into one growth."""

    def __init__(self, selector: Selector, where: str) -> None:
        self._selector, self._where = selector, where
        self._series: dict[Labels, _Last] = {}
        self._births: list[tuple[int, float]] = []
        self._runs: list[Run] = []
        self._at: list[Instants] = []
        self._delta: list[Values] = []

    def add(
        self,
        labels: Labels,
        at_ms: Instants,
        values: Values,
        start_ms: int,
        end_ms: int,
    ) -> None:
        """One series' samples of one chunk."""
        self._check(labels, at_ms, values, start_ms, end_ms)
        last = self._series.get(labels)
        if last is not None:  # an edge may belong to two chunks
            newer = at_ms > last.at_ms
            at_ms, values = at_ms[newer], values[newer]
        if not len(at_ms):
            return
        if last is None:
            self._births.append((int(at_ms[0]), float(values[0])))
            last = _Last(at_ms=int(at_ms[0]), value=float(values[0]), began_ms=int(at_ms[0]))
            at_ms, values = at_ms[1:], values[1:]
        before = np.concatenate([[last.value], values[:-1]]) if len(values) else values
        grown = np.where(values >= before, values - before, values)
        self._at.append(at_ms.astype(np.int64))
        self._delta.append(grown)
        self._series[labels] = self._measured(last, at_ms, values, before)

    def _measured(self, last: _Last, at_ms: Instants, values: Values, before: Values) -> _Last:
        """The run goes on over a gap in which the counter went on; a restart in a gap hides what happened."""
        if not len(at_ms):
            return last
        times = np.concatenate([[last.at_ms], at_ms])
        broken = (np.diff(times) > GAP_MS) & (values < before)
        began = last.began_ms
        for place in np.flatnonzero(broken):
            self._runs.append((began, int(times[place])))
            began = int(times[place + 1])
        return _Last(at_ms=int(at_ms[-1]), value=float(values[-1]), began_ms=began)

    def growth(self) -> Growth:
        """All series together."""
        runs = [*self._runs, *((one.began_ms, one.at_ms) for one in self._series.values())]
        if not self._at:
            empty = np.empty(0, np.int64)
            return Growth(at_ms=empty, delta=np.empty(0), births=tuple(self._births), runs=merged(runs))
        at, place = np.unique(np.concatenate(self._at), return_inverse=True)
        delta = np.bincount(place, weights=np.concatenate(self._delta), minlength=len(at))
        return Growth(at_ms=at, delta=delta.astype(np.float64), births=tuple(self._births), runs=merged(runs))

    def _check(
        self,
        labels: Labels,
        at_ms: Instants,
        values: Values,
        start_ms: int,
        end_ms: int,
    ) -> None:
        if wrong := mismatch(self._selector, dict(labels)):
            raise self.strange(f"it answers with another series ({wrong})")
        if len(at_ms) and (at_ms[0] < start_ms or at_ms[-1] > end_ms):
            raise self.strange("it answers with samples of another time")
        if np.any(np.diff(at_ms) <= 0):
            raise self.strange("its samples are not in the order of time")
        if not np.all(np.isfinite(values)) or np.any(values < 0):
            bad = values[~(np.isfinite(values) & (values >= 0))][0]
            raise self.strange(f"a counter has the value {bad:g}")

    def strange(self, why: str) -> PoiseError:
        """An answer that no honest server gives to this question."""
        return Invalid(
            "POISE-H170", f"{self._selector.text} cannot be counted", where=self._where, why=f"{why}.",
            mend="Check the query and the server: curl 'URL/api/v1/query?query=...'",
        )  # fmt: skip


def mismatch(selector: Selector, labels: Mapping[str, str]) -> str:
    """Which part of a selector these labels do not satisfy, as far as equality tells; empty when none."""
    if selector.metric and labels.get("__name__") not in (selector.metric, None):
        return str(labels["__name__"])
    for label, operator, value in selector.matchers:
        found = labels.get(label, "")
        if "\\" in value:
            continue
        if (operator == "=" and found != value) or (operator == "!=" and found == value):
            return f"{label}={found!r}"
    return ""


def merged(runs: list[Run]) -> tuple[Run, ...]:
    """Spans joined where they touch or overlap, ascending."""
    made: list[Run] = []
    for begin, end in sorted(runs):
        if made and begin <= made[-1][1] + GAP_MS:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((begin, end))
    return tuple(made)
