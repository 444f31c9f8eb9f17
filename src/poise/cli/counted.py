"""Growth of counters as a budget: sums over windows, coverage, and when what was spent expires."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.adapters.prometheus.increase import GAP_MS, Growth, Run
from poise.model.balance import Budget, Burn
from poise.model.counting import selectors, weights
from poise.model.errors import Invalid
from poise.model.objective import Objective
from poise.model.policy import DAY_S, BudgetPolicy
from poise.spec.counter import counter

BURN_WINDOWS_S: Final = (300.0, 1800.0, 3600.0, 21_600.0, 3 * DAY_S)


class Counts(Struct, frozen=True, eq=False, kw_only=True):
    """Cumulative events at ascending instants (epoch s), measured spans, and the newest reading."""

    at: NDArray[np.float64]
    good: NDArray[np.float64]
    bad: NDArray[np.float64]
    runs: tuple[Run, ...]
    since: float
    last: float

    def window(self, start: float, end: float) -> tuple[float, float]:
        """(good, bad) events in (start, end]."""
        first, last = np.searchsorted(self.at, [start, end], side="right")
        return float(self.good[first:last].sum()), float(self.bad[first:last].sum())

    def coverage(self, start: float, end: float) -> float:
        """The measured share of (start, end], 0..1."""
        if end <= start:
            return 0.0
        known = sum(max(0.0, min(to / 1000, end) - max(begin / 1000, start)) for begin, to in self.runs)
        return min(1.0, known / (end - start))


def counts_of(objective: Objective, grown: Mapping[str, Growth], where: str) -> Counts:
    """Good and bad events out of each role's growth. ``Invalid`` for what lacks or contradicts itself.

    Failures of which there is no series are none where their selector plainly matches some of the series of
    a total that is there: nothing has failed yet.
    """
    texts = selectors(objective)
    whole = "total" if "total" in texts else "good"
    parts_known = {role: role != whole and _is_part(texts[role], texts[whole]) for role in texts}
    for role, one in grown.items():
        if one.first_ms is None and not (role == "bad" and parts_known[role]):
            raise Invalid(
                "POISE-H171", f"{texts[role]} ({role}) has no sample", where=where,
                mend="Check the query; is its target scraped?",
            )  # fmt: skip
    measured = grown[whole]
    assert measured.first_ms is not None and measured.last_ms is not None, "the whole has samples"
    at, parts = _on_one_axis(objective, grown, measured.first_ms)
    total = parts["total"] if "total" in parts else parts["good"] + parts["bad"]
    good = parts["good"] if "good" in parts else total - parts["bad"]
    _check(objective, float(total.sum()), float(good.sum()), where)
    newest = [one.last_ms for role, one in grown.items() if one.last_ms is not None and not parts_known[role]]
    return Counts(
        at=at / 1000.0, good=good, bad=total - good, runs=measured.runs, since=measured.first_ms / 1000.0,
        last=min(newest) / 1000.0,
    )  # fmt: skip


def _is_part(part: str, whole: str) -> bool:
    """Whether what has the one is scraped with the other, so that its silence means that nothing happened."""
    return counter(part).is_within(counter(whole)) or counter(part).metric == counter(whole).metric


def _on_one_axis(
    objective: Objective, grown: Mapping[str, Growth], first_ms: int
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Every role's deltas at the same instants; a series born after the whole began grew from zero."""
    firsts = [one.first_ms for one in grown.values() if one.first_ms is not None]
    began_ms = min(firsts, default=first_ms) + GAP_MS / 2
    steps = {}
    for role, one in grown.items():
        born = [(at, value) for at, value in one.births if at > began_ms]
        instants = np.array([at for at, _ in born], np.int64)
        values = np.array([value for _, value in born], np.float64)
        steps[role] = np.concatenate([one.at_ms, instants]), np.concatenate([one.delta, values])
    axis = np.unique(np.concatenate([at for at, _ in steps.values()]))
    parts = {
        role: np.bincount(np.searchsorted(axis, at), weights=delta, minlength=len(axis)).astype(np.float64)
        for role, (at, delta) in steps.items()
    }
    assert set(parts) == set(weights(objective)), "each role has its growth"
    return axis.astype(np.float64), parts


def _check(objective: Objective, total: float, good: float, where: str) -> None:
    """One event of slack: two counters are never read at the same instant."""
    if good > total + 1.0 or good < -1.0:
        texts = " and ".join(selectors(objective).values())
        raise Invalid(
            "POISE-H172", f"there is more of a part than of the whole ({good:g} good of {total:g})",
            where=where, why=f"{texts} contradict one another.",
            mend="Check that 'good' or 'bad' are part of 'total'.",
        )  # fmt: skip


def budget_of(objective: Objective, policy: BudgetPolicy, counts: Counts, now: datetime) -> Budget:
    """The budget now, by the same rules as a server of Poise."""
    end = now.timestamp()
    start = max(end - objective.window_s, counts.since)
    good, bad = counts.window(start, end)
    good, bad = max(0.0, good), max(0.0, bad)
    age_s = max(0.0, end - counts.since)
    bootstrap = age_s < policy.bootstrap_s or good + bad < policy.bootstrap_events
    events = good + bad
    if bootstrap and age_s > 0:
        events = max(events, events * objective.window_s / min(age_s, objective.window_s))
    allowed = (1.0 - objective.target_ratio) * events
    left = 1.0 if bad <= 0 else 1.0 - bad / allowed if allowed > 0 else min(0.0, 1.0 - bad)
    windows = sorted({*policy.burn_windows_s, *BURN_WINDOWS_S})
    fresh = end - counts.last <= policy.stale_after_s
    until = counts.last if fresh else end
    return Budget(
        service=objective.service, objective=objective.name, target_ratio=objective.target_ratio,
        window_s=objective.window_s, good=good, bad=bad, allowed=allowed, left_ratio=left,
        burns=tuple(_burn(objective, counts, window_s, end, until) for window_s in windows),
        coverage_ratio=counts.coverage(start, until), bootstrap=bootstrap,
        since=datetime.fromtimestamp(counts.since, UTC),
        measured_at=datetime.fromtimestamp(counts.last, UTC), at=now,
        rate_per_s=max(_rate(counts, end, 3600.0), _rate(counts, end, 300.0)),
        recovers_at=_recovers_at(objective, counts, start, allowed) if left <= 0 else None,
    )  # fmt: skip


def _burn(objective: Objective, counts: Counts, window_s: float, end: float, until: float) -> Burn:
    start = max(end - window_s, counts.since)
    good, bad = (max(0.0, one) for one in counts.window(start, end))
    known = counts.coverage(start, until)
    rate: float | None = None if known <= 0 else 0.0
    if good + bad > 0:
        rate = bad / (good + bad) / max(1e-9, 1.0 - objective.target_ratio)
    return Burn(window_s=window_s, rate=rate, coverage_ratio=known, events=good + bad, bad=bad)


def _rate(counts: Counts, end: float, window_s: float) -> float:
    start = max(end - window_s, counts.since)
    return sum(counts.window(start, end)) / (end - start) if end > start else 0.0


def _recovers_at(objective: Objective, counts: Counts, start: float, allowed: float) -> datetime | None:
    """When enough of what was spent has left the window, if nothing more is."""
    inside = counts.at > start
    at, bad = counts.at[inside], counts.bad[inside]
    left = bad.sum() - np.cumsum(bad)
    enough = np.flatnonzero(left < allowed * (1.0 - 1e-9))
    if not len(enough):
        return None
    return datetime.fromtimestamp(float(at[enough[0]]), UTC) + timedelta(seconds=objective.window_s)
