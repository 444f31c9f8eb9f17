"""The sequential test of relative risk: evidence that may be looked at after every batch.

In one batch the canary answered ``N_c`` requests with ``x_c`` errors and the concurrent baseline ``N_b``
with ``x_b``. Given the exposures and the sum of errors, their split tells the relative risk RR apart
from the null ``r0``, whatever the error rate itself does between batches:

    ln e(r) = x_c ln(r / r0) - (x_c + x_b) ln((r N_c + N_b) / (r0 N_c + N_b))
    E = mean over the grid of exp(sum over batches of ln e(r_j));   decide when E >= 1 / alpha

By Ville's inequality a null that holds is rejected at any time with probability at most alpha. That is
exact for Poisson errors and conservative for the harm test (r0 = 1) on Bernoulli requests; the mirror
(r0 > 1) leans on errors being rare. Where no request or no error came, the evidence does not move.

Source: Lindon & Malek 2022 (anytime-valid inference for counts), Hoeffding 1963, Ville 1939.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.model.delivery import Trial
from poise.model.service import Strategy

GRID_POINTS: Final = 20
GRID_NEAR: Final = 1.25  # nearest alternative, as a multiple of the null
GRID_FAR: Final = 100.0
READING_GAP_S: Final = 10.0  # counters are read every few seconds
LOG_LIMIT: Final = 690.0  # exp of it is still a finite float, so an e-value is always a JSON number


def log_spaced(low: float, high: float, points: int) -> tuple[float, ...]:
    """``points`` numbers from ``low`` to ``high``, ascending, each the same multiple of the one before."""
    return tuple(low * (high / low) ** (i / (points - 1)) for i in range(points))


HARM_GRID: Final = log_spaced(GRID_NEAR, GRID_FAR, GRID_POINTS)
INTERVAL_GRID: Final = tuple(10 ** (k / 15) for k in range(-30, 31))


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
    """Monotone totals of one rollout in one epoch of its source (an Envoy start)."""

    rollout: int
    epoch: str
    trials: float
    failures: float


def log_e(risk: float, null: float, batch: Counts) -> float:
    """Natural log of the batch's likelihood ratio of RR = ``risk`` against RR = ``null``.

    >>> round(math.exp(log_e(10, 1, Counts(canary_requests=10, canary_errors=2, baseline_requests=90))), 1)
    27.7
    """
    canary, baseline = batch.canary_requests, batch.baseline_requests
    errors = batch.canary_errors + batch.baseline_errors
    if canary <= 0 or baseline <= 0 or errors <= 0:
        return 0.0
    exposure = math.log(risk * canary + baseline) - math.log(null * canary + baseline)
    return batch.canary_errors * math.log(risk / null) - errors * exposure


def advance(trial: Trial, batch: Counts, strategy: Strategy) -> Trial:
    """The trial after one more batch."""
    mirror = safe_grid(strategy.relative_risk_max)
    harm = _gain(trial.log_wealth_harm, HARM_GRID, 1.0, batch)
    safe = _gain(trial.log_wealth_safe, mirror, strategy.relative_risk_max, batch)
    likelihood = _gain(trial.log_likelihood, INTERVAL_GRID, 1.0, batch)
    return replace(
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
    )


def consume(
    trial: Trial,
    totals: Iterable[Total],
    canary: int,
    baseline: int | None,
    strategy: Strategy,
    at: datetime,
) -> Trial:
    """The trial after everything in ``totals`` that it has not consumed; unchanged when that is nothing.

    ``at`` is when the totals were read. The canary's cluster is its own, so all of it counts. What the
    baseline answered before the trial began is only marked: it is not concurrent.
    """
    batch, consumed = take(trial.consumed, totals, canary, baseline)
    if consumed == trial.consumed:
        return trial
    first = trial.first_request_at
    if first is None and batch.canary_requests:
        # It came after the reading before: the earlier bound is the honest one, within a reading's gap.
        first = max(trial.read_at or at, at - timedelta(seconds=READING_GAP_S))
    last = at if batch.canary_requests else trial.last_request_at
    return replace(
        advance(trial, batch, strategy), consumed=consumed, first_request_at=first, last_request_at=last,
        read_at=at,
    )  # fmt: skip


def take(
    consumed: dict[str, float], totals: Iterable[Total], canary: int, baseline: int | None
) -> tuple[Counts, dict[str, float]]:
    """The batch in ``totals`` beyond ``consumed``, and what is consumed then. Never negative.

    Errors that were read ahead of their requests stay for the next batch.
    """
    marking = baseline is not None and not any(key.startswith(f"{baseline}:") for key in consumed)
    after, requests, errors = dict(consumed), {canary: 0, baseline: 0}, {canary: 0, baseline: 0}
    for total in totals:
        if total.rollout not in requests:
            continue
        trials_key = f"{total.rollout}:{total.epoch}:trials"
        failures_key = f"{total.rollout}:{total.epoch}:failures"
        if marking and total.rollout == baseline:
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


def is_harmful(trial: Trial, strategy: Strategy) -> bool:
    """Whether the canary fails more often than the baseline, at level alpha, at any time."""
    return trial.e_value_harm >= 1 / strategy.alpha


def is_proven(trial: Trial, strategy: Strategy) -> bool:
    """Whether RR < ``relative_risk_max`` is shown, at level alpha, at any time."""
    return trial.e_value_safe >= 1 / strategy.alpha


def e_value(log_wealth: Sequence[float]) -> float:
    """The mixture's e-value: mean over the grid; finite whatever the wealth; 1 before any batch."""
    return math.exp(min(LOG_LIMIT, _log_mean(log_wealth))) if log_wealth else 1.0


def risk_interval(log_likelihood: Sequence[float], alpha: float) -> tuple[float, float | None] | None:
    """All RR that the two-sided mixture does not reject at ``alpha``, widened to the grid's next points.

    Its upper end is None while unbounded, the whole is None while both ends are. For display.
    """
    if not log_likelihood:
        return None
    bar = _log_mean(log_likelihood) - math.log(1 / alpha)
    inside = [i for i, value in enumerate(log_likelihood) if value > bar]
    first, last = inside[0], inside[-1]
    if first == 0 and last == len(INTERVAL_GRID) - 1:
        return None
    low = INTERVAL_GRID[first - 1] if first else 0.0
    high = INTERVAL_GRID[last + 1] if last + 1 < len(INTERVAL_GRID) else None
    return low, high


def _gain(wealth: Sequence[float], grid: Sequence[float], null: float, batch: Counts) -> tuple[float, ...]:
    held = wealth or (0.0,) * len(grid)
    return tuple(w + log_e(risk, null, batch) for w, risk in zip(held, grid, strict=True))


def _log_mean(logs: Sequence[float]) -> float:
    """ln of the mean of the exponentials, without leaving the range of floats."""
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs) / len(logs))
