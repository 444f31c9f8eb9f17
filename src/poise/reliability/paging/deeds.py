"""Sending a page: looks whether it is still wanted, tells, and puts on record that it was told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import anyio
from msgspec.structs import replace

from poise.engine.controller import Again, Dropped
from poise.model import event_types
from poise.model.acts import SendPage
from poise.model.errors import Invalid, PoiseError
from poise.model.grant import Grant
from poise.model.incident import Alert, Incident, IncidentState, Page
from poise.model.oncall import ContactKind
from poise.model.record import Event, Ref, Write
from poise.ports.notifier import Message, Notifier
from poise.ports.store import Store, Transaction
from poise.reliability.paging.decide import is_paged
from poise.reliability.paging.disputes import is_summoned
from poise.reliability.paging.link import LINK_TTL, Claim, sign

GIVE_UP_S: Final = 600.0
BACKOFF_S: Final = 1.0
BACKOFF_CAP_S: Final = 60.0
BUSY_S: Final = 0.5
TURN_S: Final = 1.0
ALERTS_TOLD: Final = 5
LINE_CHARS: Final = 300


class PagePerformer:
    """Sends one page. A crash between telling and recording tells once more, under the same id.

    Messages leave one after another, each recorded before the next, so that a crash tells at most one twice.
    One that takes longer than ``TURN_S`` lets the others go, and at most one at a time goes to one address:
    a receiver that hangs holds up nobody else's page.
    """

    def __init__(
        self, store: Store, notifiers: Mapping[ContactKind, Notifier], signing_key: bytes, url: str
    ) -> None:
        self._store = store
        self._notifiers = notifiers
        self._signing_key = signing_key
        self._url = url.rstrip("/")
        self._sending: set[str] = set()
        self._lock = anyio.Lock()

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """Send it unless it is not wanted any more; ``Again`` with a growing pause until given up."""
        assert isinstance(act, SendPage)
        async with self._turn():
            return await self._deal_with(act, fence, now)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        has_turn = False
        with anyio.move_on_after(TURN_S):
            await self._lock.acquire()
            has_turn = True
        try:
            yield
        finally:
            if has_turn:
                self._lock.release()

    async def _deal_with(self, act: SendPage, fence: int, now: datetime) -> str:
        page, ref = await self._store.get(Page, act.page)
        if page is None:
            raise Dropped("there is no such page")
        if page.sent_at is not None or page.problem:
            return "it was dealt with before"
        message = await self._message(page, now)
        if message is None:
            raise Dropped(f"the {'dispute' if page.dispute else 'incident'} needs this page no more")
        address = page.contact.address
        if address in self._sending:
            raise Again("another message to the same address is under way", BUSY_S)
        self._sending.add(address)
        try:
            receipt = await self._send(page, message)
        except (PoiseError, OSError) as error:
            return await self._failed(page, ref, error, fence, now)
        finally:
            self._sending.discard(address)
        await self._told(page, ref, receipt, fence, now)
        return receipt

    async def _send(self, page: Page, message: Message) -> str:
        return await self._notifiers[page.contact.kind].send(page.contact, message)

    async def _told(self, page: Page, ref: Ref, receipt: str, fence: int, now: datetime) -> None:
        body = replace(page, sent_at=now, attempts=page.attempts + 1)
        end = "the end of " if page.closing else ""
        said = f"{page.person} was told of {end}{_about(page)} by {page.contact.kind}"
        await self._record(body, ref, _event(event_types.PAGE_SENT, body, said, receipt), fence, now)

    async def _failed(self, page: Page, ref: Ref, error: Exception, fence: int, now: datetime) -> str:
        """Record the attempt; raise ``Again``, or give up for good and say so."""
        why = str(error)[:LINE_CHARS]
        attempts = page.attempts + 1
        delay_s = min(BACKOFF_CAP_S, BACKOFF_S * 2 ** min(attempts - 1, 10))
        spent_s = (now - page.asked_at).total_seconds() + delay_s
        if not isinstance(error, Invalid) and spent_s < GIVE_UP_S:
            await self._record(replace(page, attempts=attempts), ref, None, fence, now)
            raise Again(why, delay_s)
        body = replace(page, attempts=attempts, problem=why)
        said = f"{page.person} could not be told of {_about(page)} by {page.contact.kind}: {why}"
        await self._record(body, ref, _event(event_types.PAGE_FAILED, body, said, why), fence, now)
        return f"given up after {attempts} attempts: {why}"

    async def _record(self, page: Page, ref: Ref, event: Event | None, fence: int, now: datetime) -> None:
        write = Write(kind="Page", key=page.key, body=page)
        events = () if event is None else (event,)
        try:
            await self._store.commit(
                Transaction(at=now, reads=(ref,), writes=(write,), events=events, fence=fence)
            )
        except PoiseError as error:  # a page is never dropped because the store was busy
            raise Again(f"not recorded: {error}", BACKOFF_S) from error

    async def _message(self, page: Page, now: datetime) -> Message | None:
        """What the contact is told; None when nobody needs to know it any more."""
        claim = Claim(
            incident=page.incident, dispute=page.dispute, person=page.person,
            expires_at=page.asked_at + LINK_TTL,
        )  # fmt: skip
        link = f"{self._url}/ack/{sign(self._signing_key, claim)}"
        if page.dispute:
            grant, _ = await self._store.get(Grant, page.dispute)
            wanted = grant is not None and is_summoned(grant, now)
            return message_of_dispute(page, grant, link, self._url) if grant and wanted else None
        incident, _ = await self._store.get(Incident, page.incident)
        if incident is None or not is_wanted(page, incident):
            return None
        alerts = [await self._store.get(Alert, key) for key in incident.alerts[:ALERTS_TOLD]]
        return message_of(page, incident, [alert.summary for alert, _ in alerts if alert], link)


def is_wanted(page: Page, incident: Incident) -> bool:
    """Whether the page still has something to say: an open incident, or a resolved one's end."""
    if page.closing:
        return incident.state is IncidentState.RESOLVED
    return is_paged(incident)


def message_of(page: Page, incident: Incident, alerts: list[str], link: str) -> Message:
    """What the contact is told: plain text, one fact a line."""
    head = f"[{incident.severity.upper()}]" if not page.closing else "[RESOLVED]"
    facts = [
        f"Incident {incident.n} of {incident.project}/{incident.environment}, severity {incident.severity}",
        f"Service: {incident.service}",
        f"Since: {incident.onset_at:%Y-%m-%d %H:%M:%S} UTC",
        *(f"Alert: {_line(summary)}" for summary in alerts),
    ]
    if page.closing:
        by = f" by {incident.resolved_by}" if incident.resolved_by else ""
        facts.append(f"It is resolved{_line(by)}. Nothing is needed of you.")
    else:
        facts += [f"To: {page.person}, step {page.step + 1}, round {page.round + 1}", f"Acknowledge: {link}"]
    return Message(
        id=page.key,
        title=f"{head} {_line(incident.title)}",
        detail="\n".join(facts),
        severity=incident.severity,
        link=link,
        kind="resolved" if page.closing else "page",
        incident=incident.key,
    )


def message_of_dispute(page: Page, grant: Grant, link: str, url: str) -> Message:
    """What the contact is told of a dispute: who wants what and why, and where it is decided."""
    name = grant.service.rpartition("/")[2]
    facts = [
        f"{grant.by} disputes what the gate says of {grant.service} and asks for a ruling.",
        f"Why: {_line(grant.reason)}",
        f"Since: {grant.at:%Y-%m-%d %H:%M:%S} UTC; it expires at {grant.expires_at:%Y-%m-%d %H:%M} UTC",
        f"To: {page.person}",
        f"Decide: {url}/services/{grant.service} or: poise gate rule {name} {grant.n} --allow --reason '...'",
        f"Acknowledge: {link}",
    ]
    return Message(
        id=page.key,
        title=f"[DISPUTE] {name}: {_line(grant.reason)}",
        detail="\n".join(facts),
        severity="",
        link=link,
        kind="dispute",
    )


def _line(text: str) -> str:
    """Text of others as one bounded line."""
    return "".join(char if char.isprintable() else " " for char in text[:LINE_CHARS])


def _about(page: Page) -> str:
    """``incident 7``, ``dispute 3 of web``."""
    key, _, number = page.about.rpartition("/")
    return f"dispute {int(number)} of {key.rpartition('/')[2]}" if page.dispute else f"incident {int(number)}"


def _event(kind: str, page: Page, said: str, receipt: str) -> Event:
    facts = {
        "page": page.key, "person": page.person, "by": str(page.contact.kind), "attempts": page.attempts,
        "closing": page.closing, "receipt": receipt[:LINE_CHARS],
    }  # fmt: skip
    return Event(type=kind, subject=page.about, summary=said, data=facts)
