"""The trial of a canary: evidence that may be looked at after every batch.

A batch is what both arms answered since the last look, consumed once. It advances, by the conditional split
(``split``), the evidence that the canary fails more often (harm), its mirror that it fails less than r_max
times as often (safe), and the same for every further kind of bad request: slower than a bound, bad for a
declared objective. A release is rolled back on the weighted mean of the metrics' e-values, so that however
many metrics are watched, good releases are stopped at most alpha of the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.delivery.rollout import absolute, split
from poise.delivery.rollout.split import HARM_GRID, SLOWER_GRID
from poise.model.delivery import Split, Trial
from poise.model.service import Strategy

READING_GAP_S: Final = 10.0  # counters are read every few seconds
INTERVAL_GRID: Final = tuple(10 ** (k / 15) for k in range(-30, 31))
ERRORS: Final = "errors"
LATENCY: Final = "latency"


def safe_grid(relative_risk_max: float) -> tuple[float, ...]:
    """The mirror's alternatives: the harm grid's multiples, below ``relative_risk_max``."""
    return tuple(relative_risk_max / multiple for multiple in HARM_GRID)


class Counts(Struct, frozen=True, kw_only=True):
    """One batch: what both arms answered at the same time, as counts."""

    canary_requests: int = 0
    canary_errors: int = 0
    baseline_requests: int = 0
    baseline_errors: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was answered."""
        return not (self.canary_requests or self.baseline_requests)


class Total(Struct, frozen=True, kw_only=True):
    """Monotone totals of one rollout in one epoch of its source (an Envoy start, a series).

    ``metric`` and ``bound_ms`` say what a failure is; see ``Split``.
    """

    rollout: int
    epoch: str
    trials: float
    failures: float
    metric: str = ERRORS
    bound_ms: float | None = None


def advance(
    trial: Trial,
    batch: Counts,
    strategy: Strategy,
    metrics: Sequence[str] = (ERRORS,),
    *,
    closes: bool = True,
) -> Trial:
    """The trial after more answered requests, judged by ``metrics``.

    They are evidence once their batch ``closes``, or is full; until then they are counted and pending.
    """
    closed, pending = _closed(trial.pending, batch, closes=closes)
    harm = _gained(trial.log_wealth_harm, HARM_GRID, 1.0, closed)
    mirror = safe_grid(strategy.relative_risk_max)
    safe = _gained(trial.log_wealth_safe, mirror, strategy.relative_risk_max, closed)
    likelihood = _gained(trial.log_likelihood, INTERVAL_GRID, 1.0, closed)
    after = replace(
        trial,
        log_wealth_harm=harm,
        log_wealth_safe=safe,
        log_likelihood=likelihood,
        canary_requests=trial.canary_requests + batch.canary_requests,
        canary_errors=trial.canary_errors + batch.canary_errors,
        baseline_requests=trial.baseline_requests + batch.baseline_requests,
        baseline_errors=trial.baseline_errors + batch.baseline_errors,
        e_value_harm=e_value(harm),
        e_value_safe=e_value(safe),
        relative_risk=risk_interval(likelihood, strategy.alpha),
        pending=pending,
    )
    return replace(
        after,
        e_value=_e_value_of(after, metrics),
        e_value_kept=_e_value_kept(after),
        excess_ratio_high=_excess_ratio_high(after, strategy.alpha),
    )


def advance_split(one: Split, batch: Counts, *, closes: bool = True) -> Split:
    """One more kind of bad request after more requests; see ``advance``."""
    grid = SLOWER_GRID if one.metric == LATENCY else HARM_GRID
    closed, pending = _closed(one.pending, batch, closes=closes)
    wealth = _gained(one.log_wealth, grid, 1.0, closed)
    after = replace(
        one,
        log_wealth=wealth,
        canary_requests=one.canary_requests + batch.canary_requests,
        canary_bad=one.canary_bad + batch.canary_errors,
        baseline_requests=one.baseline_requests + batch.baseline_requests,
        baseline_bad=one.baseline_bad + batch.baseline_errors,
    )
    value = e_value(wealth)
    if one.metric == LATENCY:
        counts = (after.canary_requests, after.canary_bad, after.baseline_requests, after.baseline_bad)
        value = float(split.telling(value, *counts))
    return replace(after, e_value=value, pending=pending)


def harmed(trial: Trial, batch: Counts, metrics: Sequence[str]) -> Trial:
    """The trial after a batch that is evidence of harm alone: nobody's requests, and no proof of anything."""
    harm = _gained(trial.log_wealth_harm, HARM_GRID, 1.0, batch)
    after = replace(trial, log_wealth_harm=harm, e_value_harm=e_value(harm))
    return replace(after, e_value=_e_value_of(after, metrics))


def consume(
    trial: Trial,
    totals: Iterable[Total],
    canary: int,
    baseline: int | None,
    strategy: Strategy,
    at: datetime,
    *,
    is_warm: bool = True,
    closes: bool = False,
    metrics: Sequence[str] = (ERRORS,),
) -> Trial:
    """The trial after everything in ``totals`` that it has not consumed; unchanged when that is nothing.

    ``at`` is when the totals were read. The canary's cluster is its own, so all of it counts. What the
    baseline answered before the trial began is only marked: it is not concurrent. Before it ``is_warm``,
    latency is only marked too. ``closes``: the weights change, so what is pending is a batch of its own.
    ``metrics`` are those that the release is judged by.
    """
    known = tuple(totals)
    errors = [total for total in known if total.metric == ERRORS]
    batch, consumed = take(trial.consumed, errors, canary, baseline)
    splits, consumed = _take_splits(trial, consumed, known, canary, baseline, is_warm, closes)
    if consumed == trial.consumed and not (closes and _is_pending(trial)):
        return trial
    first = trial.first_request_at
    if first is None and batch.canary_requests:
        # It came after the reading before: the earlier bound is the honest one, within a reading's gap.
        first = max(trial.read_at or at, at - timedelta(seconds=READING_GAP_S))
    last = at if batch.canary_requests else trial.last_request_at
    split_up = replace(
        trial, consumed=consumed, first_request_at=first, last_request_at=last, read_at=at, splits=splits
    )
    return advance(split_up, batch, strategy, metrics, closes=closes)


def take(
    consumed: dict[str, float],
    totals: Iterable[Total],
    canary: int,
    baseline: int | None,
    *,
    prefix: str = "",
    is_marking: bool = False,
) -> tuple[Counts, dict[str, float]]:
    """The batch in ``totals`` beyond ``consumed``, and what is consumed then. Never negative.

    Errors that were read ahead of their requests stay for the next batch. ``is_marking``: nothing counts.
    """
    marking = baseline is not None and not any(key.startswith(f"{prefix}{baseline}:") for key in consumed)
    after, requests, errors = dict(consumed), {canary: 0, baseline: 0}, {canary: 0, baseline: 0}
    for total in totals:
        if total.rollout not in requests:
            continue
        trials_key = f"{prefix}{total.rollout}:{total.epoch}:trials"
        failures_key = f"{prefix}{total.rollout}:{total.epoch}:failures"
        if is_marking or (marking and total.rollout == baseline):
            after[trials_key], after[failures_key] = total.trials, total.failures
            continue
        trials_before, failures_before = after.get(trials_key, 0.0), after.get(failures_key, 0.0)
        answered = max(0, round(total.trials - trials_before))
        failed = min(answered, max(0, round(total.failures - failures_before)))
        requests[total.rollout] += answered
        errors[total.rollout] += failed
        after[trials_key], after[failures_key] = trials_before + answered, failures_before + failed
    counts = Counts(
        canary_requests=requests[canary],
        canary_errors=errors[canary],
        baseline_requests=0 if baseline is None else requests[baseline],
        baseline_errors=0 if baseline is None else errors[baseline],
    )
    return counts, after


def _take_splits(
    trial: Trial,
    consumed: dict[str, float],
    totals: Sequence[Total],
    canary: int,
    baseline: int | None,
    is_warm: bool,
    closes: bool,
) -> tuple[tuple[Split, ...], dict[str, float]]:
    """Every further kind of bad request, each with its own batch of the totals."""
    by_kind: dict[tuple[str, float | None], list[Total]] = {}
    for total in totals:
        if total.metric != ERRORS:
            by_kind.setdefault((total.metric, total.bound_ms), []).append(total)
    known = {(one.metric, one.bound_ms): one for one in trial.splits}
    for kind, some in by_kind.items():
        metric, bound_ms = kind
        prefix = f"{metric}:" if bound_ms is None else f"{metric}>{bound_ms:g}:"
        cold = metric == LATENCY and not is_warm
        batch, consumed = take(consumed, some, canary, baseline, prefix=prefix, is_marking=cold)
        one = known.get(kind) or Split(metric=metric, bound_ms=bound_ms)
        idle = batch.is_empty and not (closes and any(one.pending))
        known[kind] = one if idle else advance_split(one, batch, closes=closes)
    return tuple(known[kind] for kind in sorted(known, key=lambda kind: (kind[0], kind[1] or 0.0))), consumed


def _is_pending(trial: Trial) -> bool:
    return any(trial.pending) or any(any(one.pending) for one in trial.splits)


def _closed(
    pending: tuple[int, int, int, int], batch: Counts, *, closes: bool
) -> tuple[Counts, tuple[int, int, int, int]]:
    """What is a closed batch now, maybe nothing, and what is pending then."""
    n_c, x_c = pending[0] + batch.canary_requests, pending[1] + batch.canary_errors
    n_b, x_b = pending[2] + batch.baseline_requests, pending[3] + batch.baseline_errors
    if not closes and not bool(split.is_full(n_c, n_b)):
        return Counts(), (n_c, x_c, n_b, x_b)
    whole = Counts(canary_requests=n_c, canary_errors=x_c, baseline_requests=n_b, baseline_errors=x_b)
    return whole, (0, 0, 0, 0)


def _e_value_of(trial: Trial, metrics: Sequence[str]) -> float:
    return float(split.combined(trial.e_by_metric(), split.weights(metrics)))


def _e_value_kept(trial: Trial) -> float:
    rate = trial.objective_bad_ratio
    if rate is None:
        return 1.0
    logs = absolute.log_e_below(trial.canary_requests, trial.canary_errors, rate)
    return math.exp(min(split.LOG_LIMIT, logs))


def _excess_ratio_high(trial: Trial, alpha: float) -> float:
    """The canary's highest rate minus the baseline's lowest, each at half of ``alpha``."""
    _, high = absolute.rate_bounds(trial.canary_requests, trial.canary_errors, alpha / 2)
    low, _ = absolute.rate_bounds(trial.baseline_requests, trial.baseline_errors, alpha / 2)
    return max(0.0, high - low)


def is_harmful(trial: Trial, alpha: float) -> bool:
    """Whether the canary is worse than the baseline by the evidence of all metrics, at ``alpha``."""
    return trial.e_value >= 1 / alpha


def is_proven(trial: Trial, alpha: float) -> bool:
    """Whether the canary is shown to be safe, at any time; see ``proof``."""
    return proof(trial, alpha) is not None


def proof(trial: Trial, alpha: float) -> str | None:
    """What is shown at ``alpha``: ``relative`` (RR < ``relative_risk_max``), ``objective`` (by itself it
    fails less than the objective allows), or None.
    """
    if trial.e_value_safe >= 1 / alpha:
        return "relative"
    return "objective" if trial.e_value_kept >= 1 / alpha else None


def e_value(log_wealth: Sequence[float]) -> float:
    """The mixture's e-value: mean over the grid; finite whatever the wealth; 1 before any batch."""
    return float(split.e_values(log_wealth)) if log_wealth else 1.0


def risk_interval(log_likelihood: Sequence[float], alpha: float) -> tuple[float, float | None] | None:
    """All RR that the two-sided mixture does not reject at ``alpha``, widened to the grid's next points.

    Its upper end is None while unbounded, the whole is None while both ends are. For display.
    """
    if not log_likelihood:
        return None
    first, last = split.interval(log_likelihood, alpha)
    if first == 0 and last == len(INTERVAL_GRID) - 1:
        return None
    low = INTERVAL_GRID[first - 1] if first else 0.0
    high = INTERVAL_GRID[last + 1] if last + 1 < len(INTERVAL_GRID) else None
    return low, high


def _gained(wealth: Sequence[float], grid: Sequence[float], null: float, batch: Counts) -> tuple[float, ...]:
    held = wealth or (0.0,) * len(grid)
    if batch.is_empty:
        return tuple(held)
    more = split.gain(
        grid, null, batch.canary_requests, batch.canary_errors, batch.baseline_requests, batch.baseline_errors
    )
    return tuple((held + more).tolist())
