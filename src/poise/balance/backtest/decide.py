"""What a history supports: the tightest target that it meets with margin, and why none tighter. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.balance.backtest.report import Candidate, Recommendation

TARGETS: Final = (0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)  # that people use
MARGIN_RATIO: Final = 0.2  # of the budget that the worst window must leave
FAILURE_MAX_RATIO: Final = 0.02  # of a budget that one failure may cost: the workbook's fastest tier
SHORT_RATIO: Final = 0.5  # of the window: a shorter history says little
DAY_S: Final = 86_400.0
COVERAGE_MIN_RATIO: Final = 0.9
Floats = NDArray[np.float64]


class Counts(Struct, frozen=True, eq=False, kw_only=True):
    """Events in each step of ``step_s`` since measuring began, and how much of each was measured (0..1)."""

    step_s: float
    good: Floats
    bad: Floats
    known: Floats


def recommend(counts: Counts, window_s: float, targets: Sequence[float] = TARGETS) -> Recommendation:
    """The tightest of ``targets`` whose worst window of the history would have left ``MARGIN_RATIO``.

    One failure may not cost more than ``FAILURE_MAX_RATIO`` of the budget, or its fastest alert would be an
    alarm for single errors. **Source:** SRE workbook, chapter 5, "Low-traffic services and error budget
    alerting": 0.02 of 30 days' budget at 99.9 % is one error below 69 requests an hour.
    """
    lasted_s = len(counts.good) * counts.step_s
    events = float(counts.good.sum() + counts.bad.sum())
    if not events or lasted_s < DAY_S:
        return Recommendation(target_ratio=None, reason=_nothing(events, lasted_s), caveats=(), candidates=())
    worst, in_window = _worst_ratio(counts, window_s)
    per_window = max(events * window_s / lasted_s, in_window) if lasted_s < window_s else in_window
    made = tuple(_candidate(one, worst, per_window) for one in targets)
    fit = [one for one in made if not one.problem]
    caveats = _caveats(counts, lasted_s, window_s)
    if not fit:
        reason = f"not even {percent(made[0].target_ratio)} would do: {made[0].problem}"
        return Recommendation(target_ratio=None, reason=reason, caveats=caveats, candidates=made)
    best = fit[-1]
    above = next((one for one in made if one.target_ratio > best.target_ratio), None)
    reason = f"the worst window would have left {best.left_ratio:.0%} of the budget"
    if above is not None:
        reason += f"; not {percent(above.target_ratio)}: {above.problem}"
    return Recommendation(target_ratio=best.target_ratio, reason=reason, caveats=caveats, candidates=made)


def percent(ratio: float) -> str:
    """A target for people.

    >>> percent(0.9995), percent(0.9)
    ('99.95 %', '90 %')
    """
    return f"{round(100 * ratio, 6):g} %"


def _candidate(target_ratio: float, worst_ratio: float, per_window: float) -> Candidate:
    allowed = 1.0 - target_ratio
    left, failure = 1.0 - worst_ratio / allowed, 1.0 / (per_window * allowed)
    problem = ""
    if left < MARGIN_RATIO:
        problem = f"the worst window failed {worst_ratio:.3%}"
        problem += f", {1 - left:.0%} of its budget" if left < 0 else f" and left {left:.0%} alone"
    elif failure > FAILURE_MAX_RATIO:
        problem = f"with {per_window:,.0f} events a window one failure costs {failure:.1%} of its budget"
    return Candidate(target_ratio=target_ratio, left_ratio=left, failure_ratio=failure, problem=problem)


def _worst_ratio(counts: Counts, window_s: float) -> tuple[float, float]:
    """The largest ratio of failures of any window of the history, and the fewest events of one.

    Windows end at every step; a history shorter than the window is one.
    """
    bad, total = (np.concatenate([[0.0], np.cumsum(one)]) for one in (counts.bad, counts.good + counts.bad))
    steps = min(len(counts.good), max(1, round(window_s / counts.step_s)))
    failed, events = bad[steps:] - bad[:-steps], total[steps:] - total[:-steps]
    some = events > 0
    return float((failed[some] / events[some]).max(initial=0.0)), float(events.min(initial=np.inf))


def _nothing(events: float, lasted_s: float) -> str:
    if not events:
        return "no event was counted, so nothing can be said"
    return f"{lasted_s / 3600:.1f} hours of history are too short: a day at least, the window at best"


def _caveats(counts: Counts, lasted_s: float, window_s: float) -> tuple[str, ...]:
    found = []
    if lasted_s < window_s:
        days, of = lasted_s / DAY_S, window_s / DAY_S
        low = "too short to rely on" if lasted_s < SHORT_RATIO * window_s else "short"
        found.append(f"the history is {low}: {days:.1f} of {of:g} days")
    known = float(counts.known.mean())
    if known < COVERAGE_MIN_RATIO:
        found.append(f"only {known:.0%} of its time was measured")
    return tuple(found)
