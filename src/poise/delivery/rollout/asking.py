"""The gate's permission for the next step: asked for, waited for, fresh, and how much of it is granted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from poise.delivery.rollout.facts import Seen
from poise.delivery.rollout.moves import ask, decision, hold
from poise.delivery.rollout.plan import above
from poise.model.balance import Verdict, VerdictKind
from poise.model.delivery import Rollout, RolloutState
from poise.model.record import Decision

VERDICT_FRESH_S: Final = 25.0  # under the performer's 30 s, so that what is granted can still be done
ANSWER_WAIT_S: Final = 30.0  # an ask that nobody answered is asked again
HELD_AGAIN_S: Final = 10.0  # a hold is asked again after this, or at once after an override
HELD_LONG_AFTER_S: Final = 600.0  # a release that has waited so long asks more rarely
HELD_LONG_AGAIN_S: Final = 60.0


def answer(seen: Seen, rollout: Rollout, now: datetime, step: int, weight: int) -> Verdict | Decision:
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
        return hold_on(seen, rollout, now, sentence)
    if seen.override_at is not None and seen.override_at > verdict.at:
        return ask(seen, rollout, now, step, weight)  # somebody may have locked it since
    age_s = (now - verdict.at).total_seconds()
    has_lapsed = verdict.lapses_at is not None and verdict.lapses_at <= now
    if has_lapsed or not 0 <= age_s <= VERDICT_FRESH_S:
        return ask(seen, rollout, now, step, weight)
    return verdict


def hold_on(seen: Seen, rollout: Rollout, now: datetime, sentence: str) -> Decision:
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


def granted_percent(rollout: Rollout, verdict: Verdict, asked: int) -> int:
    """What the verdict gives of what was asked: its cap, and its own (smaller) steps."""
    if rollout.baseline is None or rollout.beside == 0:
        return asked  # there is no one to share with: all or nothing
    weight = min(asked, verdict.max_weight_percent)
    if rollout.straight or not verdict.steps_percent or not rollout.spec.strategy.is_sized:
        return weight
    return min(weight, above(verdict.steps_percent, rollout.weight_percent))
