"""Sending pages: one after another, each on record before the next, and none held up for long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from poise.adapters.memory import MemoryStore
from poise.engine.controller import Again, Dropped
from poise.model import event_types
from poise.model.acts import SendPage
from poise.model.errors import Invalid, Unreachable
from poise.model.incident import Incident, IncidentState, Page, Severity
from poise.model.oncall import Contact, ContactKind
from poise.model.record import Write
from poise.ports.notifier import Message
from poise.ports.store import Transaction
from poise.reliability.paging import deeds
from poise.reliability.paging.deeds import GIVE_UP_S, PagePerformer

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
INCIDENT = Incident(
    project="shop", environment="production", n=7, title="web burns", severity=Severity.SEV1,
    service="shop/production/web", services=("shop/production/web",), state=IncidentState.OPEN,
    opened_at=NOW, onset_at=NOW,
)  # fmt: skip


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Receiver:
    """Takes messages; ``answer`` says what happens while one is under way."""

    kind = ContactKind.WEBHOOK

    def __init__(self, answer: Callable[[Message], Awaitable[None]] | None = None) -> None:
        self.got: list[Message] = []
        self._answer = answer

    async def send(self, contact: Contact, message: Message) -> str:
        self.got.append(message)
        if self._answer is not None:
            await self._answer(message)
        return "204"


def page(k: int, **more: Any) -> Page:
    contact = Contact(kind=ContactKind.WEBHOOK, address=f"http://127.0.0.1/{k}")
    base: dict[str, Any] = {"incident": INCIDENT.key, "k": k, "person": "anna", "contact": contact}
    return Page(**(base | {"asked_at": NOW, "step": 0, "round": 0} | more))


async def office(receiver: Receiver, *pages: Page, incident: Incident = INCIDENT) -> Any:
    store = MemoryStore()
    writes = [Write(kind="Incident", key=incident.key, body=incident)]
    writes += [Write(kind="Page", key=one.key, body=one) for one in pages]
    await store.commit(Transaction(at=NOW, writes=writes))
    return store, PagePerformer(store, {ContactKind.WEBHOOK: receiver}, b"k" * 32, "https://poise.test/")


def send(performer: PagePerformer, one: Page, now: datetime = NOW) -> Awaitable[str]:
    return performer.perform(SendPage(page=one.key), f"page/{one.key}", 0, now)


async def test_a_page_that_was_told_is_on_record_and_not_told_again() -> None:
    receiver, one = Receiver(), page(1)
    store, performer = await office(receiver, one)
    assert await send(performer, one) == "204"
    assert await send(performer, one) == "it was dealt with before"
    assert [message.id for message in receiver.got] == [one.key]
    kept, _ = await store.get(Page, one.key)
    assert kept.sent_at == NOW
    assert kept.attempts == 1


async def test_each_page_is_on_record_before_the_next_one_leaves() -> None:
    """Else one crash could double two."""
    pages = [page(k) for k in (1, 2, 3)]

    async def look(message: Message) -> None:
        await anyio.sleep(0)
        told = [(await store.get(Page, one.key))[0].sent_at is not None for one in pages]
        seen.append(told.count(True))

    seen: list[int] = []
    receiver = Receiver(look)
    store, performer = await office(receiver, *pages)
    async with anyio.create_task_group() as group:
        for one in pages:
            group.start_soon(send, performer, one)
    assert seen == [0, 1, 2]


async def test_a_receiver_that_hangs_holds_up_the_others_for_a_turn_only(monkeypatch: Any) -> None:
    monkeypatch.setattr(deeds, "TURN_S", 0.01)
    hung, told = anyio.Event(), anyio.Event()

    async def answer(message: Message) -> None:
        if message.id == first.key:
            await hung.wait()
        else:
            told.set()

    first, second = page(1), page(2)
    _, performer = await office(Receiver(answer), first, second)
    async with anyio.create_task_group() as group:
        group.start_soon(send, performer, first)
        group.start_soon(send, performer, second)
        with anyio.fail_after(10):
            await told.wait()
        hung.set()


async def test_what_cannot_be_reached_is_tried_again_with_growing_pauses_and_then_given_up() -> None:
    async def refuse(message: Message) -> None:
        raise Unreachable("phone", "it is off")

    one = page(1)
    store, performer = await office(Receiver(refuse), one)
    pauses: list[float] = []
    now, said = NOW, ""
    while not said:
        try:
            said = await send(performer, one, now)
        except Again as again:
            pauses.append(again.delay_s)
            now += timedelta(seconds=again.delay_s)
    assert pauses == sorted(pauses)
    assert pauses[:3] == [1.0, 2.0, 4.0]
    assert (now - NOW).total_seconds() <= GIVE_UP_S
    kept, _ = await store.get(Page, one.key)
    assert "it is off" in kept.problem
    assert (await store.journal())[-1].event.type == event_types.PAGE_FAILED


async def test_an_address_that_can_never_be_told_is_given_up_at_once() -> None:
    async def refuse(message: Message) -> None:
        raise Invalid("contact", "no such scheme")

    one = page(1)
    _, performer = await office(Receiver(refuse), one)
    assert "no such scheme" in await send(performer, one)


async def test_a_page_whose_incident_was_acknowledged_meanwhile_is_dropped() -> None:
    receiver, one = Receiver(), page(1)
    _, performer = await office(receiver, one, incident=replace(INCIDENT, state=IncidentState.ACKNOWLEDGED))
    with pytest.raises(Dropped):
        await send(performer, one)
    assert receiver.got == []
