"""The rollout's next move, from what is.

Orders first, then new releases, then the one rollout under way: it starts, takes more traffic step by
step while the sequential test finds no harm, and ends as exactly old or new.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from poise.delivery.rollout import judging, sequential
from poise.delivery.rollout.facts import Seen, blamed, focus, rejected_by
from poise.delivery.rollout.intake import take_release
from poise.delivery.rollout.moves import (
    answer_key,
    ask,
    decision,
    fail,
    hold,
    roll_back,
    superseded,
    told,
)
from poise.delivery.rollout.orders import take_order, take_request
from poise.delivery.rollout.settings import take_settings
from poise.model import event_types
from poise.model.balance import Verdict, VerdictKind
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.record import Decision, Event

VERDICT_FRESH_S: Final = 25.0  # under the performer's 30 s, so that what is granted can still be done
ANSWER_WAIT_S: Final = 30.0  # an ask that nobody answered is asked again
HELD_AGAIN_S: Final = 10.0  # a hold is asked again after this, or at once after an override
HELD_LONG_AFTER_S: Final = 600.0  # a release that has waited so long asks more rarely
HELD_LONG_AGAIN_S: Final = 60.0
DATA_FRESH_S: Final = 30.0  # no step forward on older counters
UNREADY_S: Final = 10.0  # no replica ready for so long ends a canary
ENGINE_SAYS: Final = {  # Source: podman-run(1), "Exit Status"
    "exit code 125": "the engine could not start it: its log says why",
    "exit code 126": "its command cannot be run",
    "exit code 127": "its command is not in the image",
}
CRASHES: Final = 3  # restarts before it was ever ready
FULL_FROM_PERCENT: Final = 50  # from this weight on it needs all its replicas
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
            return _wait(seen, rollout, now)
        case RolloutState.STARTING:
            return _start(seen, rollout, now)
        case RolloutState.ROLLING_BACK:
            return _end_rollback(seen, rollout, now)
        case _:
            return _judge(seen, rollout, now)


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
    weight = _next_weight(replace(rollout, straight=straight))
    answer = _answer(seen, rollout, now, 1, weight)
    if not isinstance(answer, Verdict):
        return answer
    if seen.moving_elsewhere >= answer.parallel_rollouts:
        few = f"{seen.moving_elsewhere} rollouts are under way in {rollout.environment}, "
        return _hold_on(seen, rollout, now, f"hold: {few}the policy allows {answer.parallel_rollouts}")
    live = seen.live
    started = replace(
        rollout,
        state=RolloutState.STARTING,
        straight=straight,
        baseline=live.n if live else None,
        replicas=_replicas_needed(seen, replace(rollout, straight=straight), weight),
        steps_percent=answer.steps_percent,
        bake_factor=answer.bake_factor,
        reason="",
        started_at=now,
    )
    summary = f"{rollout.service} release {rollout.release} starts: {answer.sentence}"
    event = told(
        event_types.ROLLOUT_STARTED, rollout, summary, "gate", verdict=answer_key(rollout),
        verdict_kind=answer.kind.value, baseline=started.baseline, replicas=started.replicas,
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
    wanted = max(rollout.replicas, _replicas_needed(seen, rollout, _next_weight(rollout)))
    rollout = replace(rollout, replicas=wanted)
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
    meant = ENGINE_SAYS.get(last, "") if rollout.spec.image else ""
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
    if seen.acked_percent(rollout) != rollout.weight_percent:
        return _await_ack(seen, rollout, now)
    if rollout.step_started_at is None:
        requests = rollout.trial.canary_requests
        rollout = replace(rollout, step_started_at=now, step_requests_from=requests)
    if rollout.state is RolloutState.PROMOTING:
        return _promote(seen, rollout, now)
    return _step(seen, rollout, now)


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
    answer = _answer(seen, rollout, now, rollout.step, rollout.weight_percent)
    if not isinstance(answer, Verdict):
        return answer
    granted = min(rollout.weight_percent, answer.max_weight_percent)
    if rollout.baseline is None:
        granted = rollout.weight_percent
    weight = max(seen.acked_percent(rollout), granted)
    state = RolloutState.PROMOTING if weight == 100 else RolloutState.STEPPING
    after = replace(rollout, weight_percent=weight, state=state, verdict=answer_key(rollout), reason="")
    return decision(seen, now, after)


def _step(seen: Seen, rollout: Rollout, now: datetime) -> Decision:
    """More traffic, when time, data, readiness and the gate allow it."""
    weight = _next_weight(rollout)
    blocker = _blocker(seen, rollout, weight, now)
    if blocker.startswith(judging.ASKS):
        return hold(seen, rollout, now, blocker, rule="unproven", told_by=judging.ASKS)
    if blocker:
        return decision(seen, now, replace(rollout, reason=blocker))
    needed = _replicas_needed(seen, rollout, weight)
    if rollout.replicas < needed:
        return decision(seen, now, replace(rollout, replicas=needed))
    if seen.ready < rollout.replicas:
        reason = f"waits for {rollout.replicas} ready replicas"
        return decision(seen, now, replace(rollout, reason=reason))
    answer = _answer(seen, rollout, now, rollout.step + 1, weight)
    if not isinstance(answer, Verdict):
        return answer
    granted = _granted_percent(rollout, answer, weight)
    if granted <= rollout.weight_percent:
        sentence = f"hold: the gate allows {answer.max_weight_percent} % at most"
        return _hold_on(seen, rollout, now, sentence)
    return _raise(seen, rollout, now, answer, granted)


def _blocker(seen: Seen, rollout: Rollout, weight: int, now: datetime) -> str:
    """Why it may not even ask for the next step; empty when it may."""
    if rollout.paused:
        return "paused"
    if rollout.straight or rollout.step == 0:
        return ""
    strategy = rollout.spec.strategy
    assert rollout.step_started_at is not None, "a step's time counts from its acknowledgement"
    bake_s = strategy.step_s * rollout.bake_factor
    if now - rollout.step_started_at < timedelta(seconds=bake_s):
        return f"watches {rollout.weight_percent} % for {bake_s:g} s"
    max_bake_s = strategy.max_bake_s * rollout.bake_factor
    if _is_short_of_requests(rollout, now):
        few = f"fewer than {strategy.min_canary_requests} canary requests at {rollout.weight_percent} %"
        return f"{few}; goes on unproven after {max_bake_s:g} s unless traffic stopped"
    if seen.measured_at is None or now - seen.measured_at > timedelta(seconds=DATA_FRESH_S):
        return f"no counters in the last {DATA_FRESH_S:g} s"
    return judging.unproven(rollout, now) if weight == 100 else ""


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
        return not judging.baked(rollout, now)
    bake = timedelta(seconds=rollout.spec.strategy.max_bake_s * rollout.bake_factor)
    still_come = trial.last_request_at is not None and now - trial.last_request_at < bake / 2
    return not still_come or now - rollout.step_started_at < bake


def _raise(seen: Seen, rollout: Rollout, now: datetime, verdict: Verdict, weight: int) -> Decision:
    judged = rollout.baseline is not None and rollout.change_class is not ChangeClass.ROLLBACK
    proven = sequential.is_proven(rollout.trial, rollout.spec.strategy) if judged else None
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
    numbers = judging.evidence(rollout, now) | {"weight_percent": weight, "step": after.step}
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
    old = seen.live
    promoted = replace(rollout, state=RolloutState.LIVE, finished_at=now, reason="")
    rolls_back = rollout.change_class is ChangeClass.ROLLBACK
    writes = [promoted]
    if old is not None:
        # What a person rolls back from is rejected, so that its digest does not come back by itself.
        ended = RolloutState.ROLLED_BACK if rolls_back else RolloutState.RETIRED
        reason = f"rollout {rollout.n} took its place"
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
    summary = f"{rollout.service} release {rollout.release} {word}{shown}"
    return told(
        kind, rollout, summary, "promoted", proven=rollout.proven, replaced=old.n if old else None,
        previous_commit=old.commit if old else None, change_class=rollout.change_class.value,
        changes=list(rollout.changes), verdict=rollout.verdict,
        took_s=round((now - rollout.created_at).total_seconds(), 3), **judging.evidence(rollout, now),
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
        kept=rollout.baseline, **judging.evidence(rollout, now),
    )  # fmt: skip
    return decision(seen, now, after, events=(event,))


# -- the gate -----------------------------------------------------------------------------------------


def _answer(seen: Seen, rollout: Rollout, now: datetime, step: int, weight: int) -> Verdict | Decision:
    """The fresh go or slow for this step, digest and at least this weight; else what to do meanwhile."""
    question, verdict = rollout.ask, seen.verdict
    if question is None or question.step != step or question.weight_percent < weight:
        return ask(seen, rollout, now, step, weight)
    if verdict is None:
        if now - question.at > timedelta(seconds=ANSWER_WAIT_S):
            return ask(seen, rollout, now, step, weight)
        return decision(seen, now, rollout)
    fits = (verdict.digest, verdict.step) == (rollout.digest, step)
    if verdict.kind is VerdictKind.HOLD or verdict.max_weight_percent < 1 or not fits:
        sentence = (
            verdict.sentence if verdict.kind is VerdictKind.HOLD else "hold: the gate allows no traffic"
        )
        return _hold_on(seen, rollout, now, sentence)
    age_s = (now - verdict.at).total_seconds()
    if not 0 <= age_s <= VERDICT_FRESH_S:
        return ask(seen, rollout, now, step, weight)
    return verdict


def _hold_on(seen: Seen, rollout: Rollout, now: datetime, sentence: str) -> Decision:
    """Stay; ask again after a while, or at once when an override was given since."""
    question = rollout.ask
    assert question is not None, "only an answered ask can be held"
    waited_s = (now - rollout.created_at).total_seconds()
    is_long = rollout.state is RolloutState.WAITING and waited_s > HELD_LONG_AFTER_S
    again_s = HELD_LONG_AGAIN_S if is_long else HELD_AGAIN_S
    overridden = seen.override_at is not None and seen.override_at > question.at
    left_s = again_s - (now - question.at).total_seconds()
    if overridden or left_s <= 0:
        return ask(seen, rollout, now, question.step, question.weight_percent)
    wake_s = left_s if rollout.state is RolloutState.WAITING else min(1.0, left_s)
    return hold(seen, rollout, now, sentence, wake_s)


def _next_weight(rollout: Rollout) -> int:
    """The next weight in percent; 100 promotes."""
    if rollout.straight:
        return 100
    steps = rollout.steps_percent or rollout.spec.strategy.steps_percent
    return _above(steps, rollout.weight_percent)


def _above(steps: tuple[int, ...], weight: int) -> int:
    return min((step for step in steps if weight < step <= 100), default=100)


def _granted_percent(rollout: Rollout, verdict: Verdict, asked: int) -> int:
    """What the verdict gives of what was asked: its cap, and its own (smaller) steps."""
    if rollout.baseline is None:
        return asked  # there is no one to share with: all or nothing
    weight = min(asked, verdict.max_weight_percent)
    if rollout.straight or not verdict.steps_percent:
        return weight
    return min(weight, _above(verdict.steps_percent, rollout.weight_percent))


def _replicas_needed(seen: Seen, rollout: Rollout, weight: int) -> int:
    full = seen.full(rollout)
    if rollout.straight or weight >= FULL_FROM_PERCENT:
        return full
    return max(1, math.ceil(full * weight / 100))
