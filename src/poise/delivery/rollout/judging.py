"""What a canary is judged by, what the evidence says, and what follows while nothing is proven."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from poise.delivery.rollout import absolute, sequential, silence, split
from poise.delivery.rollout.facts import Seen
from poise.delivery.rollout.sequential import ERRORS, LATENCY
from poise.model.delivery import Rollout, Split, Trial
from poise.model.service import ASK_BELOW_REQUESTS, EXTEND_MAX_BAKES, OnUnproven, Service, StrategyKind

ASKS: Final = silence.ASKS
DATA_FRESH_S: Final = 30.0  # no step forward on older counters
ALONE: Final = (StrategyKind.BLUE_GREEN,)


def metrics_of(spec: Service) -> tuple[str, ...]:
    """What the releases of a service are judged by. The first objective of a worker without HTTP counts its
    jobs, which stand for requests.
    """
    judged = [one.objective for one in spec.strategy.judged_by]
    if spec.port is None:
        return (ERRORS, *judged[1:])
    return (ERRORS, *((LATENCY,) if spec.strategy.latency else ()), *judged)


def observe(seen: Seen, rollout: Rollout, now: datetime) -> Trial:
    """The trial after what was measured since the last look."""
    strategy, since = rollout.spec.strategy, rollout.step_started_at
    warm = since is not None and now - since >= timedelta(seconds=strategy.warmup_s)
    warm = warm or (is_alone(rollout) and rollout.weight_percent == 0 and not rollout.mirror_percent)
    metrics = metrics_of(rollout.spec)
    trial = rollout.trial
    if trial.objective_bad_ratio is None and seen.objective_bad_ratio is not None:
        # Fixed for the whole trial: a test whose null moves with what is seen would prove nothing.
        trial = replace(trial, objective_bad_ratio=seen.objective_bad_ratio)
    totals = [total for total in seen.totals if total.metric in metrics]
    at = seen.measured_at or now
    after = sequential.consume(
        trial, totals, rollout.n, rollout.baseline, strategy, at, is_warm=warm, closes=since is None,
        metrics=metrics,
    )  # fmt: skip
    if rollout.baseline is not None:
        after = silence.heard(after, seen.probed, rollout.n, rollout.baseline, metrics)
    was_shadow = rollout.shadow is not None and rollout.weight_percent == 0
    return afresh(after) if was_shadow else after  # the last copies are no users


def afresh(trial: Trial) -> Trial:
    """A trial of what comes from now on."""
    return Trial(
        consumed=trial.consumed, objective_bad_ratio=trial.objective_bad_ratio, read_at=trial.read_at
    )


def harm(rollout: Rollout) -> str:
    """Why the canary must go back; empty while its evidence does not say so."""
    trial, alpha = rollout.trial, rollout.alpha_harm
    if rollout.baseline is not None and is_alone(rollout):
        return _harm_alone(rollout)
    if rollout.baseline is None or not sequential.is_harmful(trial, alpha):
        return ""
    blamed = split.culprits(trial.e_by_metric(), alpha)
    said = " and ".join(_blame(rollout, name) for name in blamed)
    return f"{said}, e-value {trial.e_value:.3g} >= {1 / alpha:g}"


def is_alone(rollout: Rollout) -> bool:
    """Whether nobody beside it can be compared with it request by request: all users change over at once, or
    it gets copies, maybe of some kinds of requests alone.
    """
    return rollout.spec.strategy.kind in ALONE or rollout.mirror_percent > 0


def keeps_objective(rollout: Rollout) -> bool:
    """Whether its own counters prove that it fails less than its objective allows."""
    return rollout.trial.e_value_kept >= 1 / rollout.alpha_safe


def _harm_alone(rollout: Rollout) -> str:
    """Why one without concurrent others must go back: it surely fails more often than its objective allows,
    and than the old one did while the trial saw it; or is surely slower than the old one was.

    Alpha is shared as among a canary's metrics. Each rate is bounded at half of its share, at any look;
    nothing is said before the old one answered anything.
    """
    metrics = (ERRORS, LATENCY) if _tells_latency_alone(rollout.spec) else (ERRORS,)
    shares = {name: share * rollout.alpha_harm for name, share in split.weights(metrics).items()}
    failed = _fails_alone(rollout.trial, shares[ERRORS])
    return failed or (_slower_alone(rollout.trial, shares[LATENCY]) if LATENCY in shares else "")


def _tells_latency_alone(spec: Service) -> bool:
    """Whether its latency may be held against the old one's: where both answer the same kinds of requests.

    Copies of some kinds of requests alone are slower or faster than all of them whatever the release does.
    """
    strategy, mirror = spec.strategy, spec.strategy.mirror
    same = strategy.kind is StrategyKind.BLUE_GREEN or (mirror.writes and mirror.percent == 100)
    return strategy.latency and spec.port is not None and same


def _fails_alone(trial: Trial, alpha: float) -> str:
    low, _ = absolute.rate_bounds(trial.canary_requests, trial.canary_errors, alpha / 2)
    _, before = absolute.rate_bounds(trial.baseline_requests, trial.baseline_errors, alpha / 2)
    allowed = trial.objective_bad_ratio or 0.0
    if low <= max(allowed, before):
        return ""
    failed = f"{trial.canary_errors} of {trial.canary_requests} requests failed, so at least {low:.3%}"
    return f"{failed} do; the old one failed at most {before:.3%}, its objective allows {allowed:.3%}"


def _slower_alone(trial: Trial, alpha: float) -> str:
    """The first bound that surely more requests exceed, by so much that it is worth going back for."""
    some = [one for one in trial.splits if one.metric == LATENCY]
    for one in some:
        level = alpha / (2 * len(some))
        low, _ = absolute.rate_bounds(one.canary_requests, one.canary_bad, level)
        _, before = absolute.rate_bounds(one.baseline_requests, one.baseline_bad, level)
        if low > split.GRID_NEAR * before:
            slow = f"{one.canary_bad} of {one.canary_requests} requests took longer than {one.bound_ms:g} ms"
            return f"{slow}, so at least {low:.3%} do; of the old one at most {before:.3%} did"
    return ""


def lacks(seen: Seen, rollout: Rollout, weight: int, now: datetime) -> str:
    """What evidence it lacks to go on to ``weight`` percent of the users; empty when none."""
    strategy = rollout.spec.strategy
    nobody = _nobodys(rollout, now)
    if nobody:
        return nobody
    if _is_short_of_requests(rollout, now):
        few = f"fewer than {strategy.min_canary_requests} canary requests at {rollout.weight_percent} %"
        max_bake_s = strategy.max_bake_s * rollout.bake_factor
        return f"{few}; goes on unproven after {max_bake_s:g} s unless traffic stopped"
    if seen.measured_at is None or now - seen.measured_at > timedelta(seconds=DATA_FRESH_S):
        return f"no counters in the last {DATA_FRESH_S:g} s"
    return unproven(rollout, now) if weight == 100 else ""


def _nobodys(rollout: Rollout, now: datetime) -> str:
    """What silence on both sides still lacks; empty where somebody asked, or it may go on all the same."""
    if rollout.trial.canary_requests or rollout.trial.baseline_requests:
        return ""
    return silence.lacks(
        rollout,
        is_baked=baked(rollout, now),
        is_extended=baked(rollout, now, EXTEND_MAX_BAKES),
        bake_s=rollout.spec.strategy.max_bake_s * rollout.bake_factor,
    )


def _is_short_of_requests(rollout: Rollout, now: datetime) -> bool:
    """Whether this step has too few requests of its own to go on.

    Few are enough once the step was held for maxBake and they still come; none are once a service that
    nobody visits was: it must not wait for ever. Traffic that stopped is neither: silence after noise
    proves nothing.
    """
    trial = rollout.trial
    assert rollout.step_started_at is not None, "a step's time counts from its acknowledgement"
    if trial.canary_requests - rollout.step_requests_from >= rollout.spec.strategy.min_canary_requests:
        return False
    if not trial.canary_requests and not trial.baseline_requests:
        return not baked(rollout, now)
    bake = timedelta(seconds=rollout.spec.strategy.max_bake_s * rollout.bake_factor)
    still_come = trial.last_request_at is not None and now - trial.last_request_at < bake / 2
    return not still_come or now - rollout.step_started_at < bake


def baked(rollout: Rollout, now: datetime, times: float = 1.0) -> bool:
    """Whether it has been out for so long that it is promoted without proof.

    Counted from its first request; from its start where nobody ever asked anything.
    """
    since = rollout.trial.first_request_at or rollout.started_at
    bake_s = rollout.spec.strategy.max_bake_s * rollout.bake_factor * times
    return since is not None and now - since >= timedelta(seconds=bake_s)


def unproven(rollout: Rollout, now: datetime) -> str:
    """Why it may not take all users yet though nothing speaks against it; empty when it may.

    It may when it is proven safe, or unproven as the strategy says. Where neither side ever answered
    anything there is nobody to harm and nothing to wait for.
    """
    strategy, trial = rollout.spec.strategy, rollout.trial
    if sequential.is_proven(trial, rollout.alpha_safe):
        return ""
    max_bake_s, policy = strategy.max_bake_s * rollout.bake_factor, strategy.on_unproven
    nobody = not trial.canary_requests and not trial.baseline_requests
    if policy is OnUnproven.AUTO:
        few = trial.canary_requests < ASK_BELOW_REQUESTS and not nobody
        policy = OnUnproven.ASK if few else OnUnproven.PROMOTE
    if not baked(rollout, now):
        words = {OnUnproven.ASK: "asks a person", OnUnproven.EXTEND: "is extended"}
        then = words.get(policy, "goes on unproven")
        return f"not yet proven safe; {then} after {max_bake_s:g} s"
    if policy is OnUnproven.PROMOTE:
        return ""
    if policy is OnUnproven.EXTEND and not baked(rollout, now, EXTEND_MAX_BAKES):
        return f"not yet proven safe after {max_bake_s:g} s; extended to {EXTEND_MAX_BAKES * max_bake_s:g} s"
    return (
        f"{ASKS}no harm is shown and safety is not proven after {max_bake_s:g} s; "
        f"run poise promote or poise abort {rollout.service_key}"
    )


def driver(trial: Trial, metric: str) -> Split:
    """The kind of bad request of a metric with the largest evidence."""
    if metric == ERRORS:
        return Split(
            metric=ERRORS, canary_requests=trial.canary_requests, canary_bad=trial.canary_errors,
            baseline_requests=trial.baseline_requests, baseline_bad=trial.baseline_errors,
        )  # fmt: skip
    some = [one for one in trial.splits if one.metric == metric]
    return max(some, key=lambda one: one.e_value, default=Split(metric=metric))


def _blame(rollout: Rollout, metric: str) -> str:
    """One culprit in words; of errors the probes too, where the canary failed some."""
    trial = rollout.trial
    if metric != ERRORS or not trial.probes.canary_bad:
        return _said(trial, metric)
    probed = silence.said(rollout.spec, trial.probes)
    return probed if not trial.canary_errors else f"{_said(trial, metric)}, {probed}"


def _said(trial: Trial, metric: str) -> str:
    """One culprit in words."""
    one = driver(trial, metric)
    canary, baseline = (
        f"{one.canary_bad} of {one.canary_requests}",
        f"{one.baseline_bad} of {one.baseline_requests}",
    )
    if metric == ERRORS:
        return f"{canary} canary requests failed against {baseline}"
    if metric == LATENCY:
        return f"{canary} canary requests took longer than {one.bound_ms:g} ms against {baseline}"
    return f"{canary} canary events were bad for objective '{metric}' against {baseline}"
