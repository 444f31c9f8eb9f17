"""What stands behind the signed acknowledge link: who may say what, and saying it once."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from poise.api.access import Unauthenticated
from poise.api.parts import Parts
from poise.model.errors import Conflict, NotFound, PoiseError
from poise.model.incident import Incident, IncidentState, IncidentVerb
from poise.ports.store import Stale, Transaction
from poise.reliability.incident.controller import give_order
from poise.reliability.paging.link import TOKEN_CHARS, Claim, read

ATTEMPTS: Final = 5


class Gone(PoiseError):
    """It was valid once."""

    exit_code = 3
    http_status = 410


class Acknowledging(Struct, frozen=True, kw_only=True):
    """What the holder of a link sees: the incident, and who has it. ``done``: nothing is left to say."""

    incident: Incident
    person: str
    done: bool
    sentence: str


async def look(parts: Parts, token: str) -> Acknowledging:
    """The incident of a link. Raises ``Unauthenticated`` for a forged one, ``Gone`` for one that expired."""
    claim = _claim(parts, token)
    incident, _ = await parts.store.get(Incident, claim.incident)
    if incident is None:
        raise NotFound("POISE-I404", "the incident of this link is gone", mend="Run: poise incident list")
    return _seen(incident, claim.person)


async def acknowledge(parts: Parts, token: str) -> Acknowledging:
    """Say it in the person's name. The second time it only says who has it. Raises as ``look``."""
    for _ in range(ATTEMPTS):
        seen = await look(parts, token)
        if seen.done:
            return seen
        now = parts.clock.now()
        try:
            decision = await give_order(
                parts.store,
                key=seen.incident.key,
                verb=IncidentVerb.ACKNOWLEDGE,
                by=seen.person,
                text="by the link of a page",
                now=now,
            )
            await parts.store.commit(
                Transaction(at=now, reads=decision.reads, writes=decision.writes, events=decision.events)
            )
        except Stale:
            continue
        except Conflict as error:  # somebody was faster
            return _after(seen, f"Already acknowledged: {error.why}.")
        return _after(seen, f"Acknowledged by {seen.person}. Paging stops.")
    raise Conflict("POISE-I412", "too much is said in this incident just now", mend="Press the button again.")


def _claim(parts: Parts, token: str) -> Claim:
    claim = read(parts.signing_key, token) if len(token) <= TOKEN_CHARS else None
    if claim is None:
        why = "Its signature is not this installation's."
        raise Unauthenticated(
            "POISE-A406", "this link is not valid", why=why, mend="Open the link of the page as it was sent."
        )
    if claim.expires_at <= parts.clock.now():
        n = int(claim.incident.rpartition("/")[2])
        raise Gone(
            "POISE-A410", "this link has expired",
            why=f"It was valid until {claim.expires_at:%Y-%m-%d %H:%M} UTC.",
            mend=f"Run: poise incident ack {n}",
        )  # fmt: skip
    return claim


def _after(seen: Acknowledging, sentence: str) -> Acknowledging:
    return Acknowledging(incident=seen.incident, person=seen.person, done=True, sentence=sentence)


def _seen(incident: Incident, person: str) -> Acknowledging:
    match incident.state:
        case IncidentState.OPEN:
            return Acknowledging(
                incident=incident, person=person, done=False, sentence="Nobody has acknowledged it yet."
            )
        case IncidentState.RESOLVED:
            said = "It is resolved; nothing is needed of you."
        case IncidentState.MERGED:
            said = f"It is part of incident {incident.merged_into} now."
        case _:
            said = f"Already acknowledged by {incident.acknowledged_by or 'somebody'}."
    return Acknowledging(incident=incident, person=person, done=True, sentence=said)
