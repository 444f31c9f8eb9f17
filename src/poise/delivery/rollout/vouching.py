"""Nothing starts whose release was not verified just now: the provenance room is asked, and waited for."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from poise.delivery.rollout.facts import Seen
from poise.delivery.rollout.moves import decision, fail
from poise.model.acts import VerifyRelease
from poise.model.attestation import VERIFIED_FRESH_S
from poise.model.delivery import Rollout, RolloutState
from poise.model.record import Decision, Intent

VERIFYING = "its release is being verified"


def vouched(seen: Seen, rollout: Rollout, now: datetime, wanted: Decision) -> Decision:
    """``wanted`` of a rollout that waits or starts, unless its release must be verified first or was refused.

    It is asked for once the gate lets the rollout start, and before anything is started or stopped for it: a
    release that is refused leaves what is live as it is. One that already starts (since before this was asked
    at all) goes on meanwhile: fleet starts nothing of it until then.
    """
    found, waits = seen.verification, rollout.state is RolloutState.WAITING
    if waits and not _starts(wanted):
        return wanted
    is_fresh = found is not None and (now - found.at).total_seconds() <= VERIFIED_FRESH_S
    if found is not None and found.is_refused and (is_fresh or not waits):
        return fail(seen, rollout, now, "provenance", found.text)
    if waits and not is_fresh:
        return decision(seen, now, replace(rollout, reason=VERIFYING), intents=(_verify(rollout),))
    return wanted if found is not None else replace(wanted, intents=(*wanted.intents, _verify(rollout)))


def _starts(wanted: Decision) -> bool:
    bodies = (write.body for write in wanted.writes)
    return any(isinstance(body, Rollout) and body.state is RolloutState.STARTING for body in bodies)


def _verify(rollout: Rollout) -> Intent:
    """Another one for each ask: what the gate held since the last look is looked at again."""
    ask = rollout.ask.n if rollout.ask else 0
    return Intent(key=f"verify/{rollout.key}/{ask}", act=VerifyRelease(rollout=rollout.key))
