"""The statistics behind a diagnosis: counts of versions, when failures began, whether two differ.

Everything here is arithmetic on counted requests. ``bad`` are failed (or slow) ones among ``trials``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.model.counting import increments
from poise.model.signal import Points

MIN_TRIALS: Final = 10.0  # of each side; fewer say nothing
MIN_BAD: Final = 3.0
STEP_GAIN: Final = 5.0  # log-likelihood that a step must gain over no step (odds of 150)
Floats = NDArray[np.float64]


class Count(Struct, frozen=True):
    """Requests in a window and how many of them were bad."""

    trials: float = 0.0
    bad: float = 0.0

    @property
    def ratio(self) -> float:
        """Bad over trials; 0 without trials."""
        return min(1.0, self.bad / self.trials) if self.trials > 0 else 0.0

    def __add__(self, other: Count) -> Count:
        return Count(self.trials + other.trials, self.bad + other.bad)


class Flow(Struct, frozen=True):
    """Requests over time: at ascending instants (UTC epoch seconds), how many since the instant before."""

    at: tuple[float, ...] = ()
    trials: tuple[float, ...] = ()
    bad: tuple[float, ...] = ()

    def count(self, start: float, end: float) -> Count:
        """The requests in (start, end]."""
        first, last = np.searchsorted(self.at, (start, end), side="right")
        return Count(float(sum(self.trials[first:last])), float(sum(self.bad[first:last])))

    @property
    def span(self) -> tuple[float, float] | None:
        """The first and the last instant at which it had a request; None without any."""
        busy = [at for at, trials in zip(self.at, self.trials, strict=True) if trials > 0]
        return (busy[0], busy[-1]) if busy else None


class Step(Struct, frozen=True):
    """The instant at which the share of bad requests most likely rose, and how sure that is (log ratio)."""

    at: float
    gain: float


def flow_of(trials: Iterable[Points], bad: Iterable[Points], after: float, until: float) -> Flow:
    """One version's flow from its two counters, over all epochs."""
    by_at: dict[float, list[float]] = {}
    for place, found in enumerate((trials, bad)):
        for points in found:
            for at, grown in increments(points, after, until):
                by_at.setdefault(at, [0.0, 0.0])[place] += grown
    rows = [(at, *by_at[at]) for at in sorted(by_at)]
    return Flow(*(tuple(column) for column in zip(*rows, strict=True))) if rows else Flow()


def merged(flows: Iterable[Flow]) -> Flow:
    """Several versions of a service as one."""
    by_at: dict[float, list[float]] = {}
    for flow in flows:
        for at, trials, bad in zip(flow.at, flow.trials, flow.bad, strict=True):
            entry = by_at.setdefault(at, [0.0, 0.0])
            entry[0] += trials
            entry[1] += bad
    rows = [(at, *by_at[at]) for at in sorted(by_at)]
    return Flow(*(tuple(column) for column in zip(*rows, strict=True))) if rows else Flow()


def rise(flow: Flow, start: float, end: float) -> Step | None:
    """When the share of bad requests rose in (start, end], if it clearly did. O(points).

    **Source:** maximum-likelihood change point of a Bernoulli sequence (Hinkley and Hinkley, 1970).
    """
    first, last = np.searchsorted(flow.at, (start, end), side="right")
    if last - first < 2:
        return None
    trials = np.cumsum(flow.trials[first:last])
    bad = np.minimum(np.cumsum(flow.bad[first:last]), trials)
    left_n, left_x = trials[:-1], bad[:-1]
    right_n, right_x = trials[-1] - left_n, bad[-1] - left_x
    rises = (left_n > 0) & (right_n > 0) & (right_x * left_n > left_x * right_n)
    gain = _likelihood(left_x, left_n) + _likelihood(right_x, right_n)
    gain = np.where(rises, gain - _likelihood(bad[-1:], trials[-1:]), 0.0)
    best = int(np.argmax(gain))
    if gain[best] < STEP_GAIN or right_x[best] < MIN_BAD:
        return None
    return Step(flow.at[first + best], float(gain[best]))


def _likelihood(bad: Floats, trials: Floats) -> Floats:
    """The greatest log-likelihood of ``bad`` among ``trials``: at their own ratio."""
    ratio = np.clip(bad / np.maximum(trials, 1e-9), 1e-12, 1 - 1e-12)
    made: Floats = bad * np.log(ratio) + (trials - bad) * np.log1p(-ratio)
    return made


class Comparison(Struct, frozen=True, kw_only=True):
    """Two counts against one another.

    ``log_ratio`` is the log-likelihood ratio that the first is worse (0: it is not). ``attributable`` is the
    share of its bad requests that it would not have had at the other's ratio, 0..1.
    """

    new: Count
    old: Count
    log_ratio: float
    attributable: float

    @property
    def strength(self) -> float:
        """How strongly the first is to blame, 0..1: attributable x (1 - exp(-log_ratio / 2))."""
        return self.attributable * -math.expm1(-self.log_ratio / 2.0)


def compare(new: Count, old: Count, elsewhere: float = 0.0) -> Comparison | None:
    """Whether ``new`` is worse than ``old``; None when there are too few requests to say.

    ``elsewhere`` is by how much the ratio rose where nothing changed: the difference in differences takes
    it off. **Source:** likelihood-ratio test of two proportions (G-test); attributable fraction among the
    exposed; Card and Krueger (1994) for the difference in differences.
    """
    if new.trials < MIN_TRIALS or old.trials < MIN_TRIALS:
        return None
    expected = min(1.0, old.ratio + max(0.0, elsewhere))
    if new.ratio <= expected:
        return Comparison(new=new, old=old, log_ratio=0.0, attributable=0.0)
    base = np.array([min(old.trials, expected * old.trials)])
    x, n, m = np.array([min(new.bad, new.trials)]), np.array([new.trials]), np.array([old.trials])
    together = _likelihood(x + base, n + m)
    apart = _likelihood(x, n) + _likelihood(base, m)
    ratio = float((apart - together)[0]) if new.bad >= MIN_BAD else 0.0
    return Comparison(
        new=new, old=old, log_ratio=max(0.0, ratio), attributable=(new.ratio - expected) / new.ratio
    )


def median(values: Sequence[float]) -> float:
    """The middle value; 0 without any."""
    return float(np.median(values)) if values else 0.0
