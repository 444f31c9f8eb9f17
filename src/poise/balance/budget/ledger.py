"""The running totals of one objective: any window's events in O(log n), equal to adding them up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poise.model.counting import Steps

FULL_STEP_S = 86_400.0
MINUTE_STEP_S = 7 * 86_400.0
COMPACT_EVERY_S = 3600.0


class Ledger:
    """Cumulative total and good events at ascending instants; grows at the end, forgets at the front.

    Memory follows the signal store's thinning: whole steps for 24 h, then 1 min, after 7 d 5 min; a
    merged step keeps its last instant, so sums stay exact and only a window's edge may be off by one.
    """

    def __init__(self, horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self._at: NDArray[np.float64] = np.zeros(256)
        self._total: NDArray[np.float64] = np.zeros(256)
        self._good: NDArray[np.float64] = np.zeros(256)
        self._size = 1  # entry 0 is the origin: nothing counted before everything
        self._at[0] = -np.inf
        self._compacted_at: float | None = None

    def add(self, steps: Steps) -> None:
        """Append ``steps``. An instant not after the last one counts at the last one: none is lost."""
        for at, total, good in zip(steps.at, steps.total, steps.good, strict=True):
            self._grow()
            i = self._size
            self._at[i] = max(at, self._at[i - 1])
            self._total[i] = self._total[i - 1] + total
            self._good[i] = self._good[i - 1] + good
            self._size += 1
        if steps.at:
            self._tidy(steps.at[-1])

    def window(self, start: float, end: float) -> tuple[float, float]:
        """(good, bad) events in (start, end]; never negative."""
        first, last = self._place(start), self._place(end)
        total = float(self._total[last] - self._total[first])
        good = float(self._good[last] - self._good[first])
        bad = min(max(0.0, total - good), max(0.0, total))
        return max(0.0, total - bad), bad

    def bad_falls_to(self, start: float, end: float, most: float) -> float | None:
        """The earliest window start, at or after ``start``, from which at most ``most`` are bad."""
        first, last = self._place(start), self._place(end)
        bad = self._total[: self._size] - self._good[: self._size]
        enough = np.flatnonzero(bad[last] - bad[first : last + 1] <= most)
        return float(self._at[first + enough[0]]) if enough.size else None

    @property
    def size(self) -> int:
        """How many steps are held."""
        return self._size - 1

    def _place(self, at: float) -> int:
        return int(self._at[: self._size].searchsorted(at, side="right")) - 1

    def _grow(self) -> None:
        if self._size == len(self._at):
            self._at, self._total, self._good = (
                np.concatenate([column, np.zeros(len(column))])
                for column in (self._at, self._total, self._good)
            )

    def _tidy(self, now: float) -> None:
        if self._compacted_at is None:
            self._compacted_at = float(self._at[1])
        if now - self._compacted_at < COMPACT_EVERY_S:
            return
        self._compacted_at = now
        at = self._at[1 : self._size]
        step_s = np.where(now - at <= MINUTE_STEP_S, 60.0, 300.0)
        bucket = np.floor(at / step_s)
        same = (bucket[1:] == bucket[:-1]) & (step_s[1:] == step_s[:-1]) & (now - at[1:] > FULL_STEP_S)
        keep = np.append(~same, True) & (now - at <= self._horizon_s)
        origin = int(np.count_nonzero(now - at > self._horizon_s))  # forgotten: the new zero
        for column in (self._total, self._good):
            kept = np.concatenate([[column[origin]], column[1 : self._size][keep]])
            column[: len(kept)] = kept
        self._at[1 : 1 + int(keep.sum())] = at[keep]
        self._size = 1 + int(keep.sum())
