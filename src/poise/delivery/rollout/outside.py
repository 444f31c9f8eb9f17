"""A canary that somebody else rolls out, judged by its counters alone: what Argo, Flagger and a workflow ask.

Nothing is remembered between two questions: each one judges all that both arms answered since the trial
began, batch by batch as it came. The same past yields the same evidence, so asking as often as one likes is
one test, and harm once shown stays shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from poise.delivery.rollout import absolute, sequential
from poise.delivery.rollout.replay import Reading
from poise.delivery.rollout.sequential import Total
from poise.engine.arms import Grown
from poise.model.analysis import ArmCount
from poise.model.delivery import Trial
from poise.model.service import Strategy

CANARY: Final = 2
BASELINE: Final = 1
_START: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Finding(StrEnum):
    """What the evidence says by now; silence and few requests leave it undecided."""

    HARM = "harm"  # the canary fails more often: roll back
    SAFE = "safe"  # it surely fails less than relativeRiskMax times as often, or keeps its objective: promote
    UNDECIDED = "undecided"


VALUES: Final = {Finding.HARM: -1, Finding.UNDECIDED: 0, Finding.SAFE: 1}


class Judgement(Struct, frozen=True, kw_only=True):
    """What both arms' counters say so far; ``value`` is 1 safe, 0 undecided, -1 harm.

    Evidence of harm decides at ``threshold`` = 1/``alpha``, as does that of safety. ``risk_low`` to
    ``risk_high`` is the anytime-valid interval of the canary's error ratio over the baseline's. ``harm_at_s``
    is when harm was shown, in seconds from the start.
    """

    value: int
    finding: Finding
    sentence: str
    canary: ArmCount
    baseline: ArmCount
    e_value: float
    e_value_safe: float
    alpha: float
    threshold: float
    risk_low: float | None = None
    risk_high: float | None = None
    proof: str | None = None
    harm_at_s: float | None = None
    seconds: float = 0.0


def judged(
    readings: Sequence[Reading], strategy: Strategy, objective_bad_ratio: float | None = None
) -> Judgement:
    """The finding of all ``readings``, ascending; ``objective_bad_ratio`` is what the objective lets fail."""
    trial = Trial(objective_bad_ratio=objective_bad_ratio)
    sums = [0, 0, 0, 0]
    trial = sequential.consume(trial, _totals(sums), CANARY, BASELINE, strategy, _START)
    harm_at_s, peak = None, 0.0
    for one in readings:
        more = (one.canary_requests, one.canary_errors, one.baseline_requests, one.baseline_errors)
        sums = [total + grown for total, grown in zip(sums, more, strict=True)]
        at = _START + timedelta(seconds=one.at_s)
        trial = sequential.consume(trial, _totals(sums), CANARY, BASELINE, strategy, at)
        if harm_at_s is None and sequential.is_harmful(trial, strategy.alpha):
            harm_at_s = one.at_s
        peak = max(peak, trial.e_value)
    proof = sequential.proof(trial, strategy.alpha)
    shown = Finding.SAFE if proof else Finding.UNDECIDED
    finding = shown if harm_at_s is None else Finding.HARM
    risk = sequential.risk_interval(trial.log_likelihood, strategy.alpha)
    return Judgement(
        value=VALUES[finding],
        finding=finding,
        sentence=_said(finding, trial, peak, strategy),
        canary=_arm(trial.canary_requests, trial.canary_errors, strategy.alpha),
        baseline=_arm(trial.baseline_requests, trial.baseline_errors, strategy.alpha),
        e_value=peak,
        e_value_safe=max(trial.e_value_safe, trial.e_value_kept),
        alpha=strategy.alpha,
        threshold=1 / strategy.alpha,
        risk_low=risk[0] if risk else None,
        risk_high=risk[1] if risk else None,
        proof=proof,
        harm_at_s=harm_at_s,
        seconds=readings[-1].at_s if readings else 0.0,
    )


def readings_of(steps: Sequence[Grown]) -> list[Reading]:
    """Whole counts of each step; what is rounded off comes with the next one."""
    found, sums, told = [], [0.0] * 4, [0] * 4
    for one in steps:
        sums = [a + b for a, b in zip(sums, (one.canary, one.canary_bad, one.baseline, one.baseline_bad),
                                      strict=True)]  # fmt: skip
        more = [round(total) - before for total, before in zip(sums, told, strict=True)]
        told = [before + grew for before, grew in zip(told, more, strict=True)]
        found.append(
            Reading(
                at_s=one.at_s, canary_requests=more[0], canary_errors=more[1], baseline_requests=more[2],
                baseline_errors=more[3],
            )
        )  # fmt: skip
    return found


def _said(finding: Finding, trial: Trial, peak: float, strategy: Strategy) -> str:
    needed = 1 / strategy.alpha
    if not trial.canary_requests:
        return "undecided: no request reached the canary, and no data is no evidence"
    if not trial.baseline_requests:
        return "undecided: nothing was answered beside the canary, so there is nothing to compare it with"
    counts = f"{trial.canary_errors:,} of {trial.canary_requests:,} canary requests failed against "
    counts += f"{trial.baseline_errors:,} of {trial.baseline_requests:,}"
    match finding:
        case Finding.HARM:
            return f"harm: {counts}, e-value {peak:.3g} >= {needed:g}"
        case Finding.SAFE if trial.e_value_safe >= needed:
            return f"safe: {counts}; it surely fails less than {strategy.relative_risk_max:g} times as often"
        case Finding.SAFE:
            return f"safe: {counts}; by itself it surely keeps its objective"
        case _:
            return f"undecided: {counts}; evidence of harm {peak:.3g}, {needed:g} decides"


def _arm(requests: int, bad: int, alpha: float) -> ArmCount:
    low, high = absolute.rate_bounds(requests, bad, alpha)
    return ArmCount(requests=requests, bad=bad, low=low, high=high)


def _totals(sums: Sequence[int]) -> list[Total]:
    return [
        Total(rollout=CANARY, epoch="", trials=sums[0], failures=sums[1]),
        Total(rollout=BASELINE, epoch="", trials=sums[2], failures=sums[3]),
    ]
