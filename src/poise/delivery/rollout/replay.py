"""A recorded rollout judged again: by Poise, and by the rules that a team may come from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from poise.delivery.rollout import kayenta, rivals, sequential
from poise.delivery.rollout.sequential import Total
from poise.model.delivery import Trial
from poise.model.service import Strategy


class Reading(Struct, frozen=True, kw_only=True):
    """What both arms answered since the reading before, at ``at_s`` seconds from the start."""

    at_s: float
    canary_requests: int
    canary_errors: int
    baseline_requests: int
    baseline_errors: int


class Judged(Struct, frozen=True, kw_only=True):
    """What one judge says: ``rollback``, ``promote``, ``undecided``; when, after how many errors, why."""

    judge: str
    verdict: str
    at_s: float | None
    canary_errors: int
    why: str


def judged(readings: Sequence[Reading], strategy: Strategy, check_s: float = 60.0) -> list[Judged]:
    """Every judge's verdict. The others check every ``check_s`` seconds, Poise at each reading."""
    checks = _checks(readings, check_s)
    requests = [float(one.canary_requests) for one in checks]
    bad = [float(one.canary_errors) for one in checks]
    return [
        _poise(readings, strategy),
        _kayenta(checks),
        _counted("flagger", checks, check_s, int(rivals.flagger(requests, bad)), rivals.FLAGGER_FAILURES),
        _counted("argo", checks, check_s, int(rivals.argo(requests, bad)), rivals.ARGO_FAILURES),
    ]


def _poise(readings: Sequence[Reading], strategy: Strategy) -> Judged:
    trial, start = Trial(), datetime(2000, 1, 1, tzinfo=UTC)
    sums = [0, 0, 0, 0]
    trial = sequential.consume(trial, _totals(sums), 2, 1, strategy, start)
    shown: Judged | None = None
    for one in readings:
        more = (one.canary_requests, one.canary_errors, one.baseline_requests, one.baseline_errors)
        sums = [total + grown for total, grown in zip(sums, more, strict=True)]
        at = start + timedelta(seconds=one.at_s)
        trial = sequential.consume(trial, _totals(sums), 2, 1, strategy, at)
        if sequential.is_harmful(trial, strategy.alpha):
            why = f"e-value {trial.e_value:.3g} >= {1 / strategy.alpha:g}"
            return Judged(
                judge="poise", verdict="rollback", at_s=one.at_s, canary_errors=trial.canary_errors, why=why
            )
        if shown is None and sequential.is_proven(trial, strategy.alpha):
            why = f"fails less than {strategy.relative_risk_max:g} times as often"
            shown = Judged(
                judge="poise", verdict="promote", at_s=one.at_s, canary_errors=trial.canary_errors, why=why
            )
    why = f"e-value of harm {trial.e_value:.3g}, of safety {trial.e_value_safe:.3g}"
    return shown or Judged(
        judge="poise", verdict="undecided", at_s=None, canary_errors=trial.canary_errors, why=why
    )


def _totals(sums: Sequence[int]) -> list[Total]:
    return [
        Total(rollout=2, epoch="", trials=sums[0], failures=sums[1]),
        Total(rollout=1, epoch="", trials=sums[2], failures=sums[3]),
    ]


def _kayenta(checks: Sequence[Reading]) -> Judged:
    """One verdict at the end, on error ratios per check; a check without requests is no point."""
    control = [one.baseline_errors / one.baseline_requests for one in checks if one.baseline_requests]
    experiment = [one.canary_errors / one.canary_requests for one in checks if one.canary_requests]
    said = kayenta.classify(control, experiment, kayenta.Metric(direction="increase"))
    score = kayenta.score([said])
    verdict = "promote" if score >= kayenta.PASS_SCORE else "rollback"
    why = (
        f"Mann-Whitney at 98 % of {len(experiment)} canary and {len(control)} baseline points: "
        f"{said.label}, score {score:g}"
    )
    errors = sum(one.canary_errors for one in checks)
    at_s = checks[-1].at_s if checks else None
    return Judged(judge="kayenta", verdict=verdict, at_s=at_s, canary_errors=errors, why=why)


def _counted(judge: str, checks: Sequence[Reading], check_s: float, stopped: int, failures: int) -> Judged:
    """``stopped``: the check of the rollback, -1: never."""
    is_back = stopped >= 0
    errors = sum(one.canary_errors for one in (checks[: stopped + 1] if is_back else checks))
    if not checks:
        return Judged(judge=judge, verdict="undecided", at_s=None, canary_errors=0, why="nothing was checked")
    return Judged(
        judge=judge,
        verdict="rollback" if is_back else "promote",
        at_s=(stopped + 1) * check_s if is_back else checks[-1].at_s,
        canary_errors=errors,
        why=f"{'' if is_back else 'fewer than '}{failures} checks failed 99 %",
    )


def _checks(readings: Sequence[Reading], check_s: float) -> list[Reading]:
    """The readings summed by check; checks in which nothing was read are there, with zeros."""
    if not readings:
        return []
    by_check: dict[int, list[Reading]] = {}
    for one in readings:
        by_check.setdefault(int(one.at_s // check_s), []).append(one)
    found = []
    for check in range(max(by_check) + 1):
        mine = by_check.get(check, [])
        found.append(
            Reading(
                at_s=(check + 1) * check_s,
                canary_requests=sum(one.canary_requests for one in mine),
                canary_errors=sum(one.canary_errors for one in mine),
                baseline_requests=sum(one.baseline_requests for one in mine),
                baseline_errors=sum(one.baseline_errors for one in mine),
            )
        )
    return found
