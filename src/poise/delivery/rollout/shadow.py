"""The end of mirroring: what copies of requests showed, and what follows; alone they promote nobody."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from poise.delivery.rollout import judging
from poise.delivery.rollout.analysis import evidence
from poise.delivery.rollout.facts import Seen
from poise.delivery.rollout.moves import decision, told
from poise.model import event_types
from poise.model.delivery import Rollout, RolloutState
from poise.model.record import Decision
from poise.model.service import AfterMirror


def shadowed(seen: Seen, rollout: Rollout, now: datetime) -> Decision:
    """It answered copies and showed no harm: on as a canary with a new trial, to all users, or the end."""
    then, proven = rollout.spec.strategy.mirror.then, judging.keeps_objective(rollout)
    after = replace(
        rollout, mirror_percent=0, shadow=rollout.trial, trial=judging.afresh(rollout.trial),
        step_requests_from=0, step_started_at=None, reason="",
    )  # fmt: skip
    match then:
        case AfterMirror.END:
            why = "it was only to be mirrored to"
            after = replace(after, state=RolloutState.SHADOWED, reason=why, finished_at=now)
        case AfterMirror.PROMOTE if proven:
            after, why = replace(after, straight=True), "proven to keep its objective: it goes to all users"
        case _:
            why = "it goes on as a canary"
    trial = rollout.trial
    told_of = f"{trial.canary_errors} of {trial.canary_requests} copied requests failed"
    summary = f"{rollout.service} release {rollout.release} was mirrored to: {told_of}; {why}"
    numbers = evidence(rollout, now)
    event = told(event_types.ROLLOUT_SHADOWED, rollout, summary, "shadow", then=then.value, **numbers)
    return decision(seen, now, after, events=(event,))
