"""The evidence on a rollout as data and in words: each metric of both arms, with counts and bounds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from poise.delivery.rollout import absolute, advisory, judging, sequential, silence, split
from poise.delivery.rollout.sequential import ERRORS, LATENCY
from poise.model.analysis import Analysis, ArmCount, MetricAnalysis
from poise.model.delivery import ChangeClass, Rollout, RolloutState, Split, Trial
from poise.model.signal import FAILURES_TOTAL, QUERY_TOTAL, ROLLOUT_LATENCY_BUCKET, TRIALS_TOTAL


def analysis(rollout: Rollout) -> Analysis:
    """What is known of a rollout now."""
    trial, strategy = rollout.trial, rollout.spec.strategy
    risk = sequential.risk_interval(trial.log_likelihood, strategy.alpha)
    return Analysis(
        sentence=sentence(rollout),
        n=rollout.n,
        release=rollout.release,
        state=rollout.state,
        is_over=rollout.state.is_final or rollout.state is RolloutState.LIVE,
        weight_percent=rollout.weight_percent,
        step=rollout.step,
        e_value=trial.e_value,
        e_value_safe=max(trial.e_value_safe, trial.e_value_kept),
        threshold=1 / rollout.alpha_harm,
        threshold_safe=1 / rollout.alpha_safe,
        alpha=rollout.alpha_harm,
        alpha_safe=rollout.alpha_safe,
        alpha_declared=strategy.alpha,
        metrics=_metrics(rollout),
        risk_low=risk[0] if risk else None,
        risk_high=risk[1] if risk else None,
        errors_burned=trial.errors_burned,
        budget_share_burned=_share_burned(rollout),
        probes=trial.probes,
    )


def _metrics(rollout: Rollout) -> tuple[MetricAnalysis, ...]:
    trial, alpha = rollout.trial, rollout.spec.strategy.alpha
    by_metric, level = trial.e_by_metric(), rollout.alpha_harm
    blamed = split.culprits(by_metric, level) if sequential.is_harmful(trial, level) else ()
    found = []
    for name, share in split.weights(judging.metrics_of(rollout.spec)).items():
        one = judging.driver(trial, name)
        found.append(
            MetricAnalysis(
                metric=name,
                bound_ms=one.bound_ms,
                share=share,
                e_value=by_metric.get(name, 1.0),
                is_culprit=name in blamed,
                canary=_arm(one.canary_requests, one.canary_bad, alpha),
                baseline=_arm(one.baseline_requests, one.baseline_bad, alpha),
                query=_query(rollout, one),
            )
        )
    return tuple(found)


def _arm(requests: int, bad: int, alpha: float) -> ArmCount:
    low, high = absolute.rate_bounds(requests, bad, alpha)
    return ArmCount(requests=requests, bad=bad, low=low, high=high)


def sentence(rollout: Rollout) -> str:
    """Where a rollout is and what the evidence says so far, in words."""
    if rollout.state is RolloutState.LIVE and rollout.change_class is ChangeClass.ROLLBACK:
        return f"Live again: {rollout.summary}."
    if rollout.state is RolloutState.LIVE:
        proof = {
            True: "proven no worse",
            False: "unproven: nothing spoke against it",
            None: "the first release",
        }
        return f"Live, {proof[rollout.proven]}."
    if rollout.state is RolloutState.STEPPING and rollout.spec.strategy.is_sized:
        where = f"The canary takes {rollout.weight_percent} %, step {rollout.step}"
        return f"{where}; {_so_far(rollout)}.{_level(rollout)}{_waits(rollout)}"
    said = rollout.state.value.replace("_", " ").capitalize()
    return f"{said}: {rollout.reason}" if rollout.reason else f"{said}."


def _so_far(rollout: Rollout) -> str:
    trial, needed = rollout.trial, 1 / rollout.alpha_harm
    counts = f"{trial.canary_errors:,} of {trial.canary_requests:,} canary requests failed"
    if not trial.canary_requests:
        probed = silence.said(rollout.spec, trial.probes) if trial.probes.canary else ""
        return f"no request has reached it yet{probed and f'; {probed}'}"
    if rollout.baseline is not None:
        counts += f" against {trial.baseline_errors:,} of {trial.baseline_requests:,}"
    if sequential.is_proven(trial, rollout.alpha_safe):
        return f"{counts}; it is proven safe"
    if trial.e_value > needed**0.5:
        return f"{counts}; it looks worse (evidence {trial.e_value:.3g}, {needed:g} rolls it back)"
    return f"{counts}; no harm is shown"


def _level(rollout: Rollout) -> str:
    """At which level it is tested, where that is not the declared one."""
    if rollout.alpha_factor == 1:
        return ""
    declared = f"not {rollout.spec.strategy.alpha:g}"
    return (
        f" It started on a burdened budget, so harm is tested at alpha {rollout.alpha_harm:g} and safety at "
        f"{rollout.alpha_safe:g}, {declared}."
    )


def _waits(rollout: Rollout) -> str:
    if rollout.paused:
        return " It is paused."
    return f" Waits: {rollout.reason}." if rollout.reason else ""


def evidence(rollout: Rollout, now: datetime) -> dict[str, Any]:
    """The numbers that the canary was judged by; ``detected_after_s`` counts from its first request."""
    trial = rollout.trial
    first = trial.first_request_at
    return {
        "detected_after_s": None if first is None else round((now - first).total_seconds(), 3),
        "canary_requests": trial.canary_requests,
        "canary_errors": trial.canary_errors,
        "baseline_requests": trial.baseline_requests,
        "baseline_errors": trial.baseline_errors,
        "e_value": trial.e_value,
        "e_value_errors": trial.e_value_harm,
        "e_value_safe": trial.e_value_safe,
        "e_value_kept": trial.e_value_kept,
        "objective_bad_ratio": trial.objective_bad_ratio,
        "proof": sequential.proof(trial, rollout.alpha_safe),
        "relative_risk": None if trial.relative_risk is None else list(trial.relative_risk),
        "errors_burned": round(trial.errors_burned, 3),
        "budget_share_burned": _share_burned(rollout),
        "excess_ratio_high": round(trial.excess_ratio_high, 6),
        "alpha": rollout.alpha_harm,
        "alpha_safe": rollout.alpha_safe,
        "threshold": 1 / rollout.alpha_harm,
        "weight_percent": rollout.weight_percent,
        "step": rollout.step,
        "from": None if first is None else first.isoformat(),
        "until": None if trial.read_at is None else trial.read_at.isoformat(),
        "metrics": [_as_data(one) for one in _metrics(rollout)],
        "probes": {
            "path": rollout.spec.probe_path,
            "canary": [trial.probes.canary_bad, trial.probes.canary],
            "baseline": [trial.probes.baseline_bad, trial.probes.baseline],
        },
        "advisory": _advice(trial),
    }


def _as_data(one: MetricAnalysis) -> dict[str, Any]:
    return {
        "metric": one.metric,
        "share": round(one.share, 4),
        "e_value": one.e_value,
        "culprit": one.is_culprit,
        "bound_ms": one.bound_ms,
        "canary": [one.canary.bad, one.canary.requests],
        "baseline": [one.baseline.bad, one.baseline.requests],
        "query": one.query,
    }


def _advice(trial: Trial) -> dict[str, Any] | None:
    """The means, which decide nothing; None while they are too few to tell."""
    found = advisory.means([one for one in trial.splits if one.metric == LATENCY])
    if found is None:
        return None
    return {
        "canary_latency_ms_mean": round(found.canary_ms, 3),
        "baseline_latency_ms_mean": round(found.baseline_ms, 3),
        "e_value": found.e_value,
    }


def _share_burned(rollout: Rollout) -> float | None:
    """Of the availability objective's budget of a whole period; None where that is not known."""
    allowed = rollout.budget_allowed
    return round(rollout.trial.errors_burned / allowed, 6) if allowed else None


def _query(rollout: Rollout, one: Split) -> str:
    """Which counters tell, in PromQL; both arms by their rollout number."""
    arms = f'service="{rollout.service_key}",rollout=~"{rollout.n}|{rollout.baseline}"'
    if one.metric == ERRORS and rollout.spec.port is not None:
        return f"{FAILURES_TOTAL}{{{arms}}} / {TRIALS_TOTAL}{{{arms}}}"
    if one.metric == LATENCY:
        bound = f',le="{one.bound_ms:g}"' if one.bound_ms is not None else ""
        return f"{ROLLOUT_LATENCY_BUCKET}{{{arms}{bound}}}"
    judged = rollout.spec.strategy.judged_by
    name = judged[0].objective if one.metric == ERRORS and judged else one.metric
    return f'{QUERY_TOTAL}{{objective="{rollout.service_key}/{name}"}}'
