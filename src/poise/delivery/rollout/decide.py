"""The rollout's next move, from what is.

Orders first, then new releases, then the one rollout under way: it starts, takes more traffic step by
step while the sequential test finds no harm, and ends as exactly old or new.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from poise.delivery.rollout import judging, sequential
from poise.delivery.rollout.analysis import evidence
from poise.delivery.rollout.asking import HELD_AGAIN_S, answer, granted_percent, hold_on
from poise.delivery.rollout.facts import Seen, blamed, focus, rejected_by, stumbles
from poise.delivery.rollout.intake import take_release
from poise.delivery.rollout.moves import answer_key, decision, fail, hold, roll_back, superseded, told
from poise.delivery.rollout.orders import take_order, take_request
from poise.delivery.rollout.plan import Plan, plan_of
from poise.delivery.rollout.settings import take_settings
from poise.delivery.rollout.shadow import shadowed
from poise.delivery.rollout.vouching import vouched
from poise.model import event_types
from poise.model.balance import Verdict
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.record import Decision, Event

UNREADY_S: Final = 10.0  # no replica ready for so long ends a canary
FLAPS: Final = 3  # so often ready and then not, while those of the live one are: it flaps
MEANT: Final = {  # Source: POSIX.1-2017, Shell Command Language, 2.8.2; podman-run(1), "Exit Status"
    "exit code 126": "its command cannot be run",
    "exit code 127": "its command is not there",
}
ENGINE_SAYS: Final = {"exit code 125": "the engine could not start it: its log says why"} | MEANT
CRASHES: Final = 3  # restarts before it was ever ready
IDLE_WAKE_S: Final = 60.0


def decide(seen: Seen, now: datetime) -> Decision:
    """The next move of one service's rollouts; at most one rollout is active at any time."""
    taken = take_order(seen, now) or take_request(seen, now) or take_release(seen, now)
    return taken or take_settings(seen, now) or _proceed(seen, now)


def _proceed(seen: Seen, now: datetime) -> Decision:
    rollout = focus(seen.rollouts)
    if rollout is None:
        return decision(seen, now, wake_s=IDLE_WAKE_S)
    match rollout.state:
        case RolloutState.WAITING:
            return vouched(seen, rollout, now, _wait(seen, rollout, now))
        case RolloutState.STARTING:
            return vouched(seen, rollout, now, _start(seen, rollout, now))
        case RolloutState.ROLLING_BACK:
            return _end_rollback(seen, rollout, now)
        case _:
            return _judge(seen, rollout, now)


def _plan(seen: Seen, rollout: Rollout) -> Plan:
    return plan_of(rollout, seen.full(rollout), seen.live)


# -- before traffic -----------------------------------------------------------------------------------


def _wait(seen: Seen, rollout: Rollout, now: datetime) -> Decision:
    """Ask until the gate lets it start."""
    stale = _outlived(seen, rollout)
    if stale:
        after, event = superseded(rollout, now, stale)
        return decision(seen, now, after, events=(event,))
    if rollout.paused:
        return decision(seen, now, wake_s=HELD_AGAIN_S)
    straight = rollout.straight or seen.live is None
    live = seen.live
    baseline = live.n if live else None
    plan = _plan(seen, replace(rollout, straight=straight, baseline=baseline))
    verdict = answer(seen, rollout, now, 1, plan.weight_percent)
    if not isinstance(verdict, Verdict):
        return verdict
    if seen.moving_elsewhere >= verdict.parallel_rollouts:
        few = f"{seen.moving_elsewhere} rollouts are under way in {rollout.environment}, "
        return hold_on(seen, rollout, now, f"hold: {few}the policy allows {verdict.parallel_rollouts}")
    started = replace(
        rollout,
        state=RolloutState.STARTING,
        straight=straight,
        baseline=baseline,
        replicas=plan.replicas,
        beside=plan.beside,
        steps_percent=verdict.steps_percent,
        bake_factor=verdict.bake_factor,
        alpha_factor=verdict.alpha_factor,
        reason="",
        started_at=now,
    )
    gap = "" if plan.beside != 0 else "; the live one is stopped for it: nobody is served until it is ready"
    summary = f"{rollout.service} release {rollout.release} starts: {verdict.sentence}{gap}"
    event = told(
        event_types.ROLLOUT_STARTED, rollout, summary, "gate", verdict=answer_key(rollout),
        verdict_kind=verdict.kind.value, baseline=started.baseline, replicas=started.replicas,
        alpha=started.alpha_harm, alpha_safe=started.alpha_safe,
    )  # fmt: skip
    return decision(seen, now, started, events=(event,))


def _outlived(seen: Seen, rollout: Rollout) -> str:
    """Why a waiting rollout has nothing to do any more; empty when it has."""
    live = seen.live
    if live is not None and live.revision == rollout.revision:
        return f"the same revision is live as rollout {live.n}"
    if rollout.order is not None or rollout.back_to is not None:
        return ""
    rejecting = seen.rejected_by(rollout.digest)
    if rejecting is not None:
        return f"its digest was rejected by rollout {rejecting.n}"
    before = rejected_by(seen.before or (), rollout.digest)
    if before is not None and "release" in rollout.changes:
        return f"its digest was rejected by rollout {before.n} in {before.environment}"
    return ""


def _start(seen: Seen, rollout: Rollout, now: datetime) -> Decision:
    """Wait for its replicas; they take no traffic yet."""
    started_at = rollout.started_at
    assert started_at is not None, "a starting rollout has a start"
    plan = _plan(seen, rollout)
    rollout = replace(rollout, replicas=max(rollout.replicas, plan.replicas), beside=plan.beside)
    if judging.is_alone(rollout):  # what the old one fails is only seen before the switch
        rollout = replace(rollout, trial=judging.observe(seen, rollout, now))
    if seen.ready >= rollout.replicas:
        return decision(seen, now, replace(rollout, state=RolloutState.STEPPING))
    crashes = max((replica.restarts for replica in seen.replicas if not replica.ready), default=0)
    if crashes >= CRASHES:
        reason = f"a replica ended {crashes} times before it was ready{_last_end(seen, rollout)}"
        return fail(seen, rollout, now, "crash_loop", reason)
    timeout_s = rollout.spec.strategy.start_timeout_s
    if now - started_at >= timedelta(seconds=timeout_s):
        reason = f"{seen.ready} of {rollout.replicas} replicas were ready after {timeout_s:g} s"
        return fail(seen, rollout, now, "start_timeout", reason + _unready(seen, rollout))
    return decision(seen, now, rollout)


def _unready(seen: Seen, rollout: Rollout) -> str:
    """What is known of those that are not ready: they run and do not answer, or they ended."""
    deaf = sum(one.identity is not None and not one.ready for one in seen.replicas)
    if deaf and rollout.spec.port is not None:
        return f"; {deaf} run, and fail GET {rollout.spec.health.path} on $PORT"
    return _last_end(seen, rollout)


def _last_end(seen: Seen, rollout: Rollout) -> str:
    """How the newest end of a replica that is not ready went, in words; empty where nobody knows."""
    ended = [
        (one.exited_at, one.ended) for one in seen.replicas if one.ended and one.exited_at and not one.ready
    ]
    if not ended:
        return ""
    last = max(ended)[1]
    meant = (ENGINE_SAYS if rollout.spec.image else MEANT).get(last, "")
    return f"; the last end: {last}{meant and f' ({meant})'}"


# -- with traffic -------------------------------------------------------------------------------------


def _judge(seen: Seen, rollout: Rollout, now: datetime) -> Decision:
    """Take in what was measured; back at once when it harms; forward when everything says so."""
    rollout = _observe(seen, rollout, now)
    harmful = judging.harm(rollout)
    if harmful:
        return roll_back(seen, rollout, now, "harm", harmful)
    unready_since = rollout.unready_since
    if unready_since is not None and now - unready_since >= timedelta(seconds=_patience_s(rollout)):
        return roll_back(
            seen, rollout, now, "unready", f"no replica was ready for {_patience_s(rollout):g} s"
        )
    flaps = _flaps(seen, rollout)
    if flaps:
        return roll_back(seen, rollout, now, "flaps", flaps)
    if seen.acked_percent(rollout) != rollout.weight_percent:
        return _await_ack(seen, rollout, now)
    if rollout.step_started_at is None:
        requests = rollout.trial.canary_requests
        rollout = replace(rollout, step_started_at=now, step_requests_from=requests)
    if rollout.state is RolloutState.PROMOTING:
        return _promote(seen, rollout, now)
    return _step(seen, rollout, now)


def _flaps(seen: Seen, rollout: Rollout) -> str:
    """That its replicas are ready by turns; empty where they are not, or those beside it are too."""
    times = stumbles(seen.replicas, rollout)
    is_way_back = rollout.baseline is None or rollout.change_class is ChangeClass.ROLLBACK
    if is_way_back or len(times) < FLAPS or seen.beside_lost:
        return ""
    health = "" if rollout.spec.port is None else f": GET {rollout.spec.health.path} fails by turns"
    span_s = (times[-1] - times[0]).total_seconds()
    return f"its replicas ceased to be ready {len(times)} times within {span_s:.0f} s{health}"


def _observe(seen: Seen, rollout: Rollout, now: datetime) -> Rollout:
    trial = judging.observe(seen, rollout, now)
    unready_since = None if seen.ready else rollout.unready_since or now
    allowed = rollout.budget_allowed if rollout.budget_allowed is not None else seen.budget_allowed
    return replace(rollout, trial=trial, unready_since=unready_since, budget_allowed=allowed)


def _patience_s(rollout: Rollout) -> float:
    """How long no replica may be ready; the only release has nothing to give way to, so healing gets time."""
    return UNREADY_S if rollout.baseline is not None else rollout.spec.strategy.start_timeout_s


def _await_ack(seen: Seen, rollout: Rollout, now: datetime) -> Decision:
    """Keep the permission for the wanted weight fresh until Envoy has confirmed the weight."""
    verdict = answer(seen, rollout, now, rollout.step, rollout.weight_percent)
    if not isinstance(verdict, Verdict):
        return verdict
    granted = min(rollout.weight_percent, verdict.max_weight_percent)
    if rollout.baseline is None:
        granted = rollout.weight_percent
    weight = max(seen.acked_percent(rollout), granted)
    state = RolloutState.PROMOTING if weight == 100 else RolloutState.STEPPING
    trouble = seen.route.trouble if seen.route else ""
    reason = f"Envoy has not taken {weight} % for it: {trouble}" if trouble else ""
    after = replace(rollout, weight_percent=weight, state=state, verdict=answer_key(rollout), reason=reason)
    return decision(seen, now, after)


def _step(seen: Seen, rollout: Rollout, now: datetime) -> Decision:
    """More traffic, when time, data, readiness and the gate allow it."""
    plan = _plan(seen, rollout)
    blocker = _blocker(seen, rollout, plan, now)
    if blocker.startswith(judging.ASKS):
        rule = "promotion" if plan.asks else "unproven"
        return hold(seen, rollout, now, blocker, rule=rule, told_by=judging.ASKS)
    if blocker:
        mirror_percent = plan.mirror_percent
        return decision(seen, now, replace(rollout, reason=blocker, mirror_percent=mirror_percent))
    if plan.mirror_percent:
        return shadowed(seen, rollout, now)
    if seen.ready < rollout.replicas:
        return _await_ready(seen, rollout, now)
    rollout = replace(rollout, grown_at=None)
    if rollout.replicas < plan.replicas or rollout.beside != plan.beside:
        more = max(rollout.replicas, plan.replicas)
        return decision(seen, now, replace(rollout, replicas=more, beside=plan.beside, grown_at=now))
    verdict = answer(seen, rollout, now, rollout.step + 1, plan.weight_percent)
    if not isinstance(verdict, Verdict):
        return verdict
    granted = granted_percent(rollout, verdict, plan.weight_percent)
    if granted <= rollout.weight_percent:
        sentence = f"hold: the gate allows {verdict.max_weight_percent} % at most"
        return hold_on(seen, rollout, now, sentence)
    return _raise(seen, rollout, now, verdict, granted)


def _await_ready(seen: Seen, rollout: Rollout, now: datetime) -> Decision:
    """Wait for the replicas that the next step needs; back when they do not come."""
    timeout_s = rollout.spec.strategy.start_timeout_s
    if rollout.grown_at is not None and now - rollout.grown_at >= timedelta(seconds=timeout_s):
        few = f"{seen.ready} of {rollout.replicas} replicas were ready after {timeout_s:g} s"
        return roll_back(seen, rollout, now, "start_timeout", few + _unready(seen, rollout))
    reason = f"waits for {rollout.replicas} ready replicas"
    return decision(seen, now, replace(rollout, reason=reason))


def _blocker(seen: Seen, rollout: Rollout, plan: Plan, now: datetime) -> str:
    """Why it may not even ask for the next step; empty when it may."""
    if rollout.paused and plan.beside != 0:  # while nobody is served there is nothing to wait for
        return "paused"
    if plan.asks:
        how = f"run poise promote or poise abort {rollout.service_key}"
        return f"{judging.ASKS}it is ready beside the live one and takes no traffic; {how}"
    if _is_held(seen, rollout, plan, now) and plan.mirror_percent:
        return f"copies of {plan.mirror_percent} % of the requests go to it for {plan.hold_s:g} s"
    if _is_held(seen, rollout, plan, now):
        last = max(_stumbled(seen, rollout), default=None)
        anew = "" if last is None else f" anew: a replica of it was not ready at {last:%H:%M:%S} UTC"
        return f"watches {rollout.weight_percent} % for {plan.hold_s:g} s{anew}"
    return judging.lacks(seen, rollout, plan.weight_percent, now) if plan.judged else ""


def _is_held(seen: Seen, rollout: Rollout, plan: Plan, now: datetime) -> bool:
    assert rollout.step_started_at is not None, "a step's time counts from its acknowledgement"
    since = max((rollout.step_started_at, *_stumbled(seen, rollout)))
    return now - since < timedelta(seconds=plan.hold_s)


def _stumbled(seen: Seen, rollout: Rollout) -> list[datetime]:
    """When a replica of it ended by itself or ceased to be ready in the present step: it is watched anew."""
    crashed = (at for one in seen.replicas for at in one.crashes)
    began = rollout.step_started_at
    return [at for at in (*stumbles(seen.replicas, rollout), *crashed) if began is not None and at >= began]


def _raise(seen: Seen, rollout: Rollout, now: datetime, verdict: Verdict, weight: int) -> Decision:
    judged = rollout.baseline is not None and rollout.change_class is not ChangeClass.ROLLBACK
    proven = sequential.is_proven(rollout.trial, rollout.alpha_safe) if judged else None
    after = replace(
        rollout,
        state=RolloutState.PROMOTING if weight == 100 else RolloutState.STEPPING,
        step=rollout.step + 1,
        weight_percent=weight,
        step_started_at=None,
        bake_factor=verdict.bake_factor,
        steps_percent=verdict.steps_percent,
        verdict=answer_key(rollout),
        proven=proven if weight == 100 else rollout.proven,
        reason="",
    )
    summary = (
        f"{rollout.service} release {rollout.release} goes from {rollout.weight_percent} % to {weight} %"
    )
    numbers = evidence(rollout, now) | {"weight_percent": weight, "step": after.step}
    event = told(
        event_types.ROLLOUT_STEPPED, rollout, f"{summary}: {verdict.sentence}", "gate",
        from_percent=rollout.weight_percent, verdict=after.verdict, verdict_kind=verdict.kind.value,
        override=verdict.override, bake_factor=verdict.bake_factor, proven=after.proven, **numbers,
    )  # fmt: skip
    return decision(seen, now, after, events=(event,))


# -- the end ------------------------------------------------------------------------------------------


def _promote(seen: Seen, rollout: Rollout, now: datetime) -> Decision:
    """All users are on it: it becomes the live one and the old one retires, in one transaction."""
    rollout = replace(rollout, replicas=max(rollout.replicas, seen.full(rollout)))  # the load may have grown
    if seen.ready < rollout.replicas:
        return decision(seen, now, rollout)
    plan = _plan(seen, rollout)
    if _is_held(seen, rollout, plan, now):
        kept = f"takes all traffic; the old one is kept for {plan.hold_s:g} s"
        return decision(seen, now, replace(rollout, reason=kept))
    if plan.hold_s and rollout.proven is False:
        rollout = replace(rollout, proven=sequential.is_proven(rollout.trial, rollout.alpha_safe))
    old = seen.live
    promoted = replace(rollout, state=RolloutState.LIVE, finished_at=now, reason="")
    rolls_back = rollout.change_class is ChangeClass.ROLLBACK
    writes = [promoted]
    if old is not None:
        # What a person rolls back from is rejected, so that its digest does not come back by itself.
        ended = RolloutState.ROLLED_BACK if rolls_back else RolloutState.RETIRED
        reason = f"rollout {rollout.n} took its place" + (f", {rollout.summary}" if rolls_back else "")
        writes.append(replace(old, state=ended, weight_percent=0, reason=reason))
    return decision(seen, now, *writes, events=(_promoted(rollout, old, now),), wake_s=IDLE_WAKE_S)


def _promoted(rollout: Rollout, old: Rollout | None, now: datetime) -> Event:
    if old is None:
        kind, word = event_types.SERVICE_DEPLOYED, "is live"
    elif rollout.change_class is ChangeClass.ROLLBACK:
        kind, word = event_types.SERVICE_ROLLED_BACK, f"is live again instead of {_other(rollout, old)}"
    else:
        kind, word = event_types.SERVICE_UPGRADED, f"is live instead of {_other(rollout, old)}"
    shown = {True: ", proven safe", False: ", unproven", None: ""}[rollout.proven]
    took_s = (now - rollout.created_at).total_seconds()
    gap_s = (now - rollout.started_at).total_seconds() if rollout.beside == 0 and rollout.started_at else None
    gap = "" if gap_s is None else f"; nobody was served for {gap_s:.0f} s at most, while it was recreated"
    summary = f"{rollout.service} release {rollout.release} {word}{shown}{gap}"
    return told(
        kind, rollout, summary, "promoted", proven=rollout.proven, replaced=old.n if old else None,
        previous_commit=old.commit if old else None, change_class=rollout.change_class.value,
        changes=list(rollout.changes), verdict=rollout.verdict,
        took_s=round(took_s, 3), interrupted_s=gap_s, **evidence(rollout, now),
    )  # fmt: skip


def _other(rollout: Rollout, old: Rollout) -> str:
    """What took the users' place before, by what differs: the release, or its settings alone."""
    if old.release != rollout.release:
        return f"release {old.release}"
    return f"rollout {old.n}, the same release with other settings"


def _end_rollback(seen: Seen, rollout: Rollout, now: datetime) -> Decision:
    if not seen.is_drained(rollout):
        return decision(seen, now)
    after = replace(rollout, state=RolloutState.ROLLED_BACK, finished_at=now)
    named = {
        "release": "its digest",
        "config": f"config {rollout.config}",
        "secret": f"secret {rollout.secret}",
    }
    bad = " and ".join(named[kind] for kind in sorted(blamed(rollout, seen.rollouts), key=list(named).index))
    summary = f"{rollout.service} release {rollout.release} is rolled back; rejected: {bad}"
    event = told(
        event_types.SERVICE_ROLLED_BACK, rollout, summary, "rolled_back", reason=rollout.reason,
        kept=rollout.baseline, **evidence(rollout, now),
    )  # fmt: skip
    return decision(seen, now, after, events=(event,))
