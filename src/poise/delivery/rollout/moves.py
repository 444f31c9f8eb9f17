"""What a rollout does next, as decisions: write, ask, hold, roll back, fail, give way."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from poise.delivery.rollout.analysis import evidence
from poise.delivery.rollout.facts import Seen
from poise.model import event_types
from poise.model.balance import verdict_key
from poise.model.delivery import Ask, Rollout, RolloutState
from poise.model.record import Decision, Event, Intent, Write

LOOK_S: Final = 1.0  # how often an active rollout is looked at


def decision(
    seen: Seen,
    now: datetime,
    *rollouts: Rollout,
    events: tuple[Event, ...] = (),
    intents: tuple[Intent, ...] = (),
    wake_s: float = LOOK_S,
) -> Decision:
    """Write those of ``rollouts`` that differ from what was seen; look again after ``wake_s``."""
    known = {rollout.key: rollout for rollout in seen.rollouts}
    changed = [rollout for rollout in rollouts if known.get(rollout.key) != rollout]
    return Decision(
        reads=seen.reads,
        writes=tuple(Write(kind="Rollout", key=rollout.key, body=rollout) for rollout in changed),
        events=events,
        intents=intents,
        wake_at=now + timedelta(seconds=wake_s),
    )


def told(kind: str, rollout: Rollout, summary: str, rule: str, actor: str = "poise", **data: Any) -> Event:
    """An event about a rollout, with the rule that fired and its numbers."""
    facts = {
        "service": rollout.service_key,
        "rollout": rollout.n,
        "release": rollout.release,
        "digest": rollout.digest,
        "commit": rollout.commit,
        "rule": rule,
    }
    if rollout.config or rollout.secret:
        facts |= {"config": rollout.config, "secret": rollout.secret}
    return Event(type=kind, subject=rollout.key, summary=summary, actor=actor, data=facts | data)


def created(seen: Seen, now: datetime, rollout: Rollout, rule: str, actor: str) -> Decision:
    """A new rollout that waits, also for the one under way; those that waited before it give way."""
    if seen.active is not None:
        rollout = replace(rollout, reason=f"rollout {seen.active.n} is under way")
    settings = f"release {rollout.release} with {rollout.summary}"
    newer = (
        f"release {rollout.release} is newer" if "release" in rollout.changes else "its settings are newer"
    )
    ended = [superseded(old, now, newer) for old in seen.waiting]
    what = f"release {rollout.release} is to be rolled out: {rollout.summary}"
    summary = f"{rollout.service} {what if 'release' in rollout.changes else settings}"
    event = told(
        event_types.ROLLOUT_CREATED, rollout, summary, rule, actor, change_class=rollout.change_class.value,
        order=rollout.order, revision=rollout.revision, changes=list(rollout.changes),
        back_to=rollout.back_to,
    )  # fmt: skip
    events = (*(event for _, event in ended), event)
    return decision(seen, now, *(old for old, _ in ended), rollout, events=events)


def ask(seen: Seen, rollout: Rollout, now: datetime, step: int, weight_percent: int) -> Decision:
    """Ask the gate afresh; an ask is answered once, so each one has a number of its own."""
    number = rollout.ask.n + 1 if rollout.ask else 1
    question = Ask(n=number, step=step, digest=rollout.digest, weight_percent=weight_percent, at=now)
    return decision(seen, now, replace(rollout, ask=question))


def hold(
    seen: Seen,
    rollout: Rollout,
    now: datetime,
    sentence: str,
    wake_s: float = LOOK_S,
    *,
    rule: str = "gate",
    told_by: str = "hold:",
) -> Decision:
    """Stay where it is because the gate (or another rule) says so; said once in the journal until it goes on.

    ``told_by`` is how a sentence of this rule begins.
    """
    if rollout.reason == sentence:
        return decision(seen, now, rollout, wake_s=wake_s)
    told_before = rollout.reason.startswith(told_by)
    event = told(
        event_types.ROLLOUT_HELD,
        rollout,
        f"{rollout.service} release {rollout.release} waits: {sentence}",
        rule,
        ask=rollout.ask.n if rollout.ask else None,
        verdict=answer_key(rollout),
        weight_percent=rollout.weight_percent,
    )
    events = () if told_before else (event,)
    return decision(seen, now, replace(rollout, reason=sentence), events=events, wake_s=wake_s)


def roll_back(
    seen: Seen, rollout: Rollout, now: datetime, rule: str, reason: str, actor: str = "poise", order: int = 0
) -> Decision:
    """Take all traffic from it at once; needs no verdict."""
    after = replace(
        rollout,
        state=RolloutState.ROLLING_BACK,
        weight_percent=0,
        mirror_percent=0,
        beside=0 if rollout.beside == 0 else None,  # what cannot run twice comes back once this one is gone
        paused=False,
        reason=reason,
        orders_seen=max(rollout.orders_seen, order),
    )
    summary = f"{rollout.service} release {rollout.release} is rolled back: {reason}"
    numbers = evidence(rollout, now)
    event = told(event_types.ROLLOUT_ROLLING_BACK, rollout, summary, rule, actor, reason=reason, **numbers)
    return decision(seen, now, after, events=(event,))


def fail(seen: Seen, rollout: Rollout, now: datetime, rule: str, reason: str) -> Decision:
    """End a rollout that never became ready; it took no traffic."""
    after = replace(rollout, state=RolloutState.FAILED, weight_percent=0, reason=reason, finished_at=now)
    restarts = sum(replica.restarts for replica in seen.replicas)
    summary = f"{rollout.service} release {rollout.release} failed to start: {reason}"
    event = told(
        event_types.ROLLOUT_FAILED, rollout, summary, rule, ready=seen.ready, restarts=restarts, reason=reason
    )
    return decision(seen, now, after, events=(event,))


def superseded(rollout: Rollout, now: datetime, reason: str) -> tuple[Rollout, Event]:
    """A waiting rollout that gives way, and the event that says so."""
    after = replace(rollout, state=RolloutState.SUPERSEDED, reason=reason, finished_at=now)
    summary = f"{rollout.service} release {rollout.release} gives way: {reason}"
    return after, told(event_types.ROLLOUT_SUPERSEDED, rollout, summary, "superseded", reason=reason)


def answer_key(rollout: Rollout) -> str | None:
    """The key at which the answer to the current ask stands."""
    return verdict_key(rollout.key, rollout.ask.n) if rollout.ask else None
