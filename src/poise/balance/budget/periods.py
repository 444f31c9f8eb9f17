"""The budget over each window of an objective, all on the same counts: shown beside the gate's. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from poise.model.balance import PeriodBudget
from poise.model.exclusion import Stretch, effective, length_s
from poise.model.increments import Summed
from poise.model.objective import Objective
from poise.model.period import Period, history, name

SHOWN_BEFORE: int = 1  # whole periods of the calendar before the present one


def periods(
    objective: Objective, place: int, sums: Summed, since_s: float, until_s: float, now: datetime,
    excluded: Sequence[Stretch] = (),
) -> tuple[PeriodBudget, ...]:  # fmt: skip
    """The gate's window first; one of the calendar with the period before, as far as was measured.

    ``until_s`` is the newest known instant. Nothing for an objective with one rolling window: its budget
    says it all.
    """
    if objective.calendar is None and not objective.also:
        return ()
    found = []
    for window in objective.windows:
        count = 1 if window.calendar is None else 1 + SHOWN_BEFORE
        for one in reversed(history(window, now, count)):
            if one.end.timestamp() > since_s:
                label = name(window)
                most_s = objective.excluded_max_ratio * window.window_s
                inside = effective(excluded, max(since_s, one.start.timestamp()), until_s, most_s)
                found.append(_measured(objective, label, one, place, sums, since_s, until_s, inside))
    return tuple(found)


def _measured(
    objective: Objective, label: str, period: Period, place: int, sums: Summed, since_s: float,
    until_s: float, excluded: Sequence[Stretch],
) -> PeriodBudget:  # fmt: skip
    start_s, end_s = max(period.start.timestamp(), since_s), period.end.timestamp()
    is_over = end_s < until_s  # a rolling one ends now, with all that is known
    good, bad, known_s = _sums(sums, place, start_s, end_s if is_over else None)
    inside = [(begin, min(end, end_s)) for begin, end in excluded if begin < end_s]
    for begin, end in inside:
        less = _sums(sums, place, begin, end if end < until_s else None)
        good, bad, known_s = good - less[0], bad - less[1], known_s - less[2]
    good, bad = max(0.0, good), max(0.0, bad)
    allowed = (1.0 - objective.target_ratio) * (good + bad)
    lasted_s = min(end_s, until_s) - start_s - length_s(inside)
    return PeriodBudget(
        name=label,
        start=datetime.fromtimestamp(period.start.timestamp(), UTC),
        end=datetime.fromtimestamp(end_s, UTC),
        good=good,
        bad=bad,
        allowed=allowed,
        left_ratio=1.0 if bad <= 0 else 1.0 - bad / allowed if allowed > 0 else min(0.0, 1.0 - bad),
        coverage_ratio=min(1.0, max(0.0, known_s / lasted_s)) if lasted_s > 0 else 1.0,
    )


def _sums(sums: Summed, place: int, start_s: float, end_s: float | None) -> tuple[float, float, float]:
    found = sums.between(start_s, end_s)
    return float(found.good[place]), float(found.bad[place]), float(found.known_s[place])
