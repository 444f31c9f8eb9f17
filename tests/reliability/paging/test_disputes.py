"""A dispute that stays open reaches one person who can end it: once, whoever dies meanwhile."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.adapters.memory import MemoryStore
from poise.engine.controller import Dropped
from poise.model.acts import SendPage
from poise.model.errors import Conflict, Invalid
from poise.model.grant import Grant, GrantKind
from poise.model.incident import Page, Summons
from poise.model.oncall import (
    Contact,
    ContactKind,
    EscalationPolicy,
    EscalationStep,
    OnCallSchedule,
    Person,
    Rotation,
)
from poise.model.policy import BudgetPolicy
from poise.model.record import Decision, Ref, Write
from poise.model.service import Project
from poise.ports.notifier import Message
from poise.ports.store import Transaction
from poise.reliability.paging.controller import DisputeController, PagingController, acknowledge
from poise.reliability.paging.deeds import PagePerformer
from poise.reliability.paging.disputes import SeenDispute, decide_dispute
from poise.reliability.paging.link import read

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEY = b"k" * 32
AFTER_S = BudgetPolicy().escalate_after_s
GRANT = Grant(
    kind=GrantKind.RULING, service="shop/production/web", n=3, by="dan", reason="the fair opens", at=T0,
    expires_at=T0 + timedelta(hours=24),
)  # fmt: skip


def person(name: str, contacts: int = 1) -> Person:
    kinds = (ContactKind.WEBHOOK, ContactKind.EMAIL)
    return Person(
        name=name,
        contacts=tuple(Contact(kind=kinds[k % 2], address=f"{name}{k}@x") for k in range(contacts)),
    )


def schedule(*people: Person) -> OnCallSchedule:
    turns = Rotation(people=(people[0].name,), starts=date(2026, 1, 5))
    return OnCallSchedule(project="shop", name="first", zone="UTC", people=people, rotations=(turns,))


PEOPLE = schedule(person("anna"), person("ben"), person("cto", 2), person("dan"))
LEVELS = EscalationPolicy(
    project="shop",
    name="default",
    steps=(EscalationStep(schedule="first"), EscalationStep(person="dan"), EscalationStep(person="ben")),
)


class World:
    """The store of one dispute, told at instants; ``paged`` lists who was asked for, in order."""

    def __init__(self, *named: str, **seen: Any) -> None:
        given_seen = {"policies": (LEVELS,), "schedules": (PEOPLE,)} | seen
        self.seen = SeenDispute(grant=GRANT, policy=BudgetPolicy(escalate_to=named), **given_seen)
        self.paged: list[str] = []
        self.events: list[str] = []
        self.last = Decision()

    def look(self, at_s: float) -> Decision:
        self.last = decide_dispute(self.seen, T0 + timedelta(seconds=at_s))
        for write in self.last.writes:
            if isinstance(write.body, Summons):
                self.seen = replace(self.seen, summons=write.body)
            if isinstance(write.body, Page):
                self.seen = replace(self.seen, pages=(*self.seen.pages, write.body))
                self.paged.append(write.body.person)
        self.events += [event.type.rpartition(".")[2] for event in self.last.events]
        return self.last

    def settle(self, **fields: Any) -> None:
        self.seen = replace(self.seen, pages=tuple(replace(page, **fields) for page in self.seen.pages))


def test_nobody_is_paged_before_it_has_stayed_open() -> None:
    """Most disagreements end by talking."""
    world = World("cto")
    assert world.look(0).wake_at == T0 + timedelta(seconds=AFTER_S)
    assert world.look(AFTER_S - 1).is_empty
    world.look(AFTER_S)
    assert world.paged == ["cto", "cto"] and world.events == ["escalated"]
    assert [intent.key for intent in world.last.intents] == [
        "page/shop/dispute/production/web/000003/000001",
        "page/shop/dispute/production/web/000003/000002",
    ]


@pytest.mark.parametrize(
    ("named", "more", "expected"),
    [
        (("cto",), {}, ["cto", "cto"]),
        (("nobody-knows", "ben"), {}, ["ben"]),
        (("dan", "cto"), {}, ["cto", "cto"]),  # who disputes does not rule
        ((), {}, ["ben"]),  # the next level, but for who disputes
        ((), {"policies": ()}, ["anna"]),  # a schedule alone: who is on call
        (("nobody-knows",), {"policies": (), "schedules": ()}, []),
    ],
    ids=["named", "one without a contact", "the disputer", "next level", "one schedule", "nobody"],
)
def test_it_reaches_whom_the_policy_names_else_the_next_level(
    named: tuple[str, ...], more: dict[str, Any], expected: list[str]
) -> None:
    world = World(*named, **more)
    world.look(AFTER_S)
    assert world.paged == expected
    assert world.events == (["escalated"] if expected else ["nobody"])


def test_that_nobody_could_be_paged_is_said_once_and_looked_at_again() -> None:
    """A contact that is declared a minute later is a contact."""
    world = World("cto", policies=(), schedules=())
    world.look(AFTER_S)
    assert "cto has no contact" in world.last.events[0].summary
    assert world.look(AFTER_S + 30).is_empty and world.last.wake_at is not None
    world.seen = replace(world.seen, schedules=(PEOPLE,))
    world.look(AFTER_S + 60)
    assert world.paged == ["cto", "cto"]


def test_only_what_reached_nobody_goes_on_to_the_next() -> None:
    """One of two contacts that works has told; none has not."""
    world = World("cto", "ben")
    world.look(AFTER_S)
    first, second = world.seen.pages
    world.seen = replace(world.seen, pages=(replace(first, problem="gone"), second))
    assert world.look(AFTER_S + 600).is_empty
    world.settle(problem="gone")
    world.look(AFTER_S + 700)
    world.settle(problem="gone")
    world.look(AFTER_S + 800)
    assert world.paged == ["cto", "cto", "ben", "anna"]
    world.settle(problem="gone")
    world.look(AFTER_S + 900)
    assert world.events[-1] == "nobody" and len(world.paged) == 4


@given(
    named=st.lists(st.sampled_from(("anna", "ben", "cto", "dan", "eve")), max_size=4, unique=True),
    fates=st.lists(st.sampled_from(("sent", "failed", "nothing", "acknowledged", "again")), max_size=12),
)
def test_nobody_is_ever_paged_twice(named: list[str], fates: list[str]) -> None:
    """Told twice, late, or after a crash between any two looks: one person, one time."""
    world = World(*named)
    for k, fate in enumerate(fates):
        world.look(AFTER_S + 60 * k)
        match fate:
            case "sent":
                world.settle(sent_at=T0, problem="")
            case "failed":
                world.settle(problem="gone", sent_at=None)
            case "acknowledged" if world.seen.summons is not None:
                world.seen = replace(
                    world.seen, summons=replace(world.seen.summons, acknowledged_at=T0, acknowledged_by="ben")
                )
            case "again":
                world.look(AFTER_S + 60 * k)
    told = [(page.person, page.contact.address) for page in world.seen.pages]
    assert len(told) == len(set(told)) and "dan" not in world.paged


@pytest.mark.parametrize("end", ["allowed", "refused", "expired", "acknowledged"])
def test_what_is_over_or_seen_pages_nobody_more(end: str) -> None:
    world = World("cto", "ben")
    world.look(AFTER_S)
    assert world.seen.summons is not None
    if end == "acknowledged":
        seen_it = replace(world.seen.summons, acknowledged_at=T0, acknowledged_by="cto")
        world.seen = replace(world.seen, summons=seen_it)
    elif end != "expired":
        world.seen = replace(world.seen, grant=replace(GRANT, allowed=end == "allowed", decided_by="cto"))
    world.settle(problem="gone")
    world.look(AFTER_S + (86_400 if end == "expired" else 60))
    assert world.paged == ["cto", "cto"]
    assert world.seen.summons.ended == (end != "acknowledged")


class Receiver:
    """Takes messages, or refuses them for good."""

    def __init__(self, kind: ContactKind, *, refuses: bool = False) -> None:
        self.kind, self.got, self._refuses = kind, list[Message](), refuses

    async def send(self, contact: Contact, message: Message) -> str:
        if self._refuses:
            raise Invalid("POISE-N501", "no such address")
        self.got.append(message)
        return "204"


async def commit(store: MemoryStore, decision: Decision, at: datetime) -> None:
    await store.commit(
        Transaction(at=at, reads=decision.reads, writes=decision.writes, events=decision.events)
    )


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_the_page_leaves_by_the_outbox_says_what_it_is_about_and_is_acknowledged() -> None:
    """From the store to the phone and back, with every part but the wire."""
    store, now = MemoryStore(), T0 + timedelta(seconds=AFTER_S)
    project = Project(name="shop", policy=BudgetPolicy(escalate_to=("cto",)))
    kept = (("Project", "shop", project), ("OnCallSchedule", PEOPLE.key, PEOPLE), ("Grant", GRANT.key, GRANT))
    writes = [Write(kind=kind, key=key, body=body) for kind, key, body in kept]
    await store.commit(Transaction(at=T0, writes=writes))
    controller = DisputeController(store)
    assert list(await controller.keys()) == [GRANT.key]
    assert controller.wakes(Ref("Grant", GRANT.key, 1)) == GRANT.key
    decision = await controller.look(GRANT.key, now)
    await commit(store, decision, now)
    assert (await controller.look(GRANT.key, now)).is_empty, "looked at twice, paged twice"
    page = decision.writes[1].body
    assert isinstance(page, Page)
    assert controller.wakes(Ref("Page", page.key, 1)) == GRANT.key
    assert PagingController(store).wakes(Ref("Page", page.key, 1)) is None

    phones = {kind: Receiver(kind, refuses=kind is ContactKind.EMAIL) for kind in ContactKind}
    performer = PagePerformer(store, phones, KEY, "https://poise.test")  # type: ignore[arg-type]
    for intent in decision.intents:
        assert isinstance(intent.act, SendPage)
        await performer.perform(intent.act, intent.key, 0, now)
        await performer.perform(intent.act, intent.key, 0, now)
    (message,) = phones[ContactKind.WEBHOOK].got
    assert message.title == "[DISPUTE] web: the fair opens" and message.kind == "dispute"
    assert "poise gate rule web 3" in message.detail and "/services/shop/production/web" in message.detail
    told = [row.event.summary for row in await store.journal()]
    assert "cto was told of dispute 3 of web by webhook" in told
    assert (await controller.look(GRANT.key, now)).is_empty, "one contact was reached"

    claim = read(KEY, message.link.rpartition("/")[2])
    assert claim is not None and (claim.dispute, claim.person) == (GRANT.key, "cto")
    await commit(store, await acknowledge(store, claim.dispute, claim.person, now), now)
    with pytest.raises(Conflict, match="cannot be acknowledged"):
        await acknowledge(store, claim.dispute, "ben", now)
    assert (await store.get(Summons, GRANT.key))[0].acknowledged_by == "cto"  # type: ignore[union-attr]


@pytest.mark.anyio
async def test_a_page_of_a_dispute_that_was_decided_meanwhile_is_not_sent() -> None:
    store, receiver = MemoryStore(), Receiver(ContactKind.WEBHOOK)
    page = Page(
        incident="", dispute=GRANT.key, k=1, person="cto", contact=person("cto").contacts[0], step=0, round=0,
        asked_at=T0,
    )  # fmt: skip
    decided = replace(GRANT, allowed=False, decided_by="cto")
    writes = [Write(kind="Grant", key=GRANT.key, body=decided), Write(kind="Page", key=page.key, body=page)]
    await store.commit(Transaction(at=T0, writes=writes))
    performer = PagePerformer(store, {ContactKind.WEBHOOK: receiver}, KEY, "https://poise.test")  # type: ignore[dict-item]
    with pytest.raises(Dropped, match="the dispute needs this page no more"):
        await performer.perform(SendPage(page=page.key), f"page/{page.key}", 0, T0)
    assert receiver.got == []
