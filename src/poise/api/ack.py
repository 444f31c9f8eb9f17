"""What stands behind the signed acknowledge link: who may say what, and saying it once."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.api.access import Unauthenticated
from poise.api.parts import Parts
from poise.model.errors import Conflict, NotFound, PoiseError
from poise.model.grant import Grant
from poise.model.incident import Incident, IncidentState, IncidentVerb, Summons
from poise.model.record import Decision
from poise.ports.store import Stale, Transaction
from poise.reliability.incident.controller import give_order
from poise.reliability.paging.controller import acknowledge as acknowledge_dispute
from poise.reliability.paging.link import TOKEN_CHARS, Claim, read

ATTEMPTS: Final = 5
DISPUTE: Final = "dispute"


class Gone(PoiseError):
    """It was valid once."""

    exit_code = 3
    http_status = 410


class Acknowledging(Struct, frozen=True, kw_only=True):
    """What the holder of a link sees: what it is about, and who has it. ``done``: nothing is left to say.

    ``severity`` is an incident's, else ``dispute``; ``href`` is the page where it is dealt with.
    """

    key: str
    title: str
    severity: str
    facts: tuple[tuple[str, str], ...]
    person: str
    done: bool
    sentence: str
    href: str = ""


async def look(parts: Parts, token: str) -> Acknowledging:
    """What a link is about. Raises ``Unauthenticated`` for a forged one, ``Gone`` for one that expired."""
    claim = _claim(parts, token)
    if claim.dispute:
        grant, _ = await parts.store.get(Grant, claim.dispute)
        if grant is None:
            raise NotFound("POISE-B407", "the dispute of this link is gone", mend="Run: poise gate grants")
        summons, _ = await parts.store.get(Summons, claim.dispute)
        return _dispute(grant, summons, claim.person, parts.clock.now())
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
            decision = await _said(parts, seen, now)
            await parts.store.commit(
                Transaction(at=now, reads=decision.reads, writes=decision.writes, events=decision.events)
            )
        except Stale:
            continue
        except Conflict as error:  # somebody was faster
            return replace(seen, done=True, sentence=f"Already acknowledged: {error.why}.")
        more = " It still waits for a decision." if seen.severity == DISPUTE else " Paging stops."
        return replace(seen, done=True, sentence=f"Acknowledged by {seen.person}.{more}")
    raise Conflict("POISE-I412", "too much is said about it just now", mend="Press the button again.")


async def _said(parts: Parts, seen: Acknowledging, now: datetime) -> Decision:
    if seen.severity == DISPUTE:
        return await acknowledge_dispute(parts.store, seen.key, seen.person, now)
    return await give_order(
        parts.store, key=seen.key, verb=IncidentVerb.ACKNOWLEDGE, by=seen.person,
        text="by the link of a page", now=now,
    )  # fmt: skip


def _claim(parts: Parts, token: str) -> Claim:
    claim = read(parts.signing_key, token) if len(token) <= TOKEN_CHARS else None
    if claim is None:
        why = "Its signature is not this installation's."
        raise Unauthenticated(
            "POISE-A406", "this link is not valid", why=why, mend="Open the link of the page as it was sent."
        )
    if claim.expires_at <= parts.clock.now():
        key, _, n = (claim.dispute or claim.incident).rpartition("/")
        mend = f"gate grants {key.rpartition('/')[2]}" if claim.dispute else f"incident ack {int(n)}"
        raise Gone(
            "POISE-A410", "this link has expired",
            why=f"It was valid until {claim.expires_at:%Y-%m-%d %H:%M} UTC.", mend=f"Run: poise {mend}",
        )  # fmt: skip
    return claim


def _dispute(grant: Grant, summons: Summons | None, person: str, now: datetime) -> Acknowledging:
    word = "allowed" if grant.allowed else "refused"
    if grant.allowed is not None:
        done, said = True, f"{grant.decided_by} {word} it; nothing is needed of you."
    elif now >= grant.expires_at:
        done, said = True, "It has expired; nothing is needed of you."
    elif summons is not None and summons.acknowledged_at is not None:
        done, said = (
            True,
            f"Already acknowledged by {summons.acknowledged_by}; it waits for a decision.",
        )
    else:
        done, said = False, "Nobody has acknowledged it yet."
    name = grant.service.rpartition("/")[2]
    return Acknowledging(
        key=grant.key,
        title=f"Dispute {grant.n} of {name}",
        severity=DISPUTE,
        facts=(
            ("what", f"{grant.by} disagrees with the gate and asks for a ruling"),
            ("why", grant.reason),
            ("service", grant.service),
            ("since", f"{grant.at:%Y-%m-%d %H:%M:%S} UTC"),
            ("it expires", f"{grant.expires_at:%Y-%m-%d %H:%M} UTC"),
            ("you are", person),
        ),
        person=person,
        done=done,
        sentence=said,
        href=f"/services/{grant.service}",
    )


def _seen(incident: Incident, person: str) -> Acknowledging:
    done = incident.state is not IncidentState.OPEN
    match incident.state:
        case IncidentState.OPEN:
            said = "Nobody has acknowledged it yet."
        case IncidentState.RESOLVED:
            said = "It is resolved; nothing is needed of you."
        case IncidentState.MERGED:
            said = f"It is part of incident {incident.merged_into} now."
        case _:
            said = f"Already acknowledged by {incident.acknowledged_by or 'somebody'}."
    return Acknowledging(
        key=incident.key,
        title=f"Incident {incident.n}",
        severity=str(incident.severity),
        facts=(
            ("what", incident.title),
            ("service", incident.service),
            ("severity", str(incident.severity)),
            ("since", f"{incident.onset_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("you are", person),
        ),
        person=person,
        done=done,
        sentence=said,
    )
