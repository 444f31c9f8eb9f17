"""Escalation as a pure function: who is paged next, when it stops, and that it never forgets."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.model import event_types
from poise.model.incident import Escalation, Incident, IncidentState, Page, Severity
from poise.model.oncall import (
    Contact,
    ContactKind,
    EscalationPolicy,
    EscalationStep,
    OnCallOverride,
    OnCallSchedule,
    Person,
    Rotation,
)
from poise.model.record import Decision
from poise.reliability.paging.decide import NOBODY_AGAIN_S, Seen, decide

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)


def person(name: str, contacts: int = 1) -> Person:
    kinds = (ContactKind.WEBHOOK, ContactKind.EMAIL)
    return Person(
        name=name,
        contacts=tuple(Contact(kind=kinds[k % 2], address=f"{name}{k}@x") for k in range(contacts)),
    )


def schedule(name: str, *people: Person, **rotation: Any) -> OnCallSchedule:
    turns = Rotation(people=tuple(one.name for one in people), starts=date(2026, 1, 5), **rotation)
    return OnCallSchedule(project="shop", name=name, zone="UTC", people=people, rotations=(turns,))


FIRST, SECOND = schedule("first", person("anna", 2)), schedule("second", person("ben"))
OFFICE = schedule("office", person("olga"), from_hour="08:00", until_hour="10:00")
POLICY = EscalationPolicy(
    project="shop",
    name="default",
    steps=(
        EscalationStep(schedule="first", wait_s=60.0),
        EscalationStep(schedule="second", wait_s=120.0),
    ),
    rounds=2,
    remind_s=600.0,
)


def incident(**more: Any) -> Incident:
    base = {
        "project": "shop", "environment": "production", "n": 7, "title": "web burns",
        "severity": Severity.SEV2, "service": "shop/production/web", "services": ("shop/production/web",),
        "onset_at": T0, "opened_at": T0,
    }  # fmt: skip
    return Incident(**{**base, **more})


class World:
    """The store of one incident, told at instants; ``paged`` lists who was asked for, in order."""

    def __init__(self, **seen: Any) -> None:
        given_seen = {"incident": incident(), "policies": (POLICY,), "schedules": (FIRST, SECOND)} | seen
        self.seen = Seen(**given_seen)
        self.now = T0
        self.paged: list[tuple[float, str]] = []
        self.events: list[str] = []
        self.last = Decision()

    def look(self, at: float) -> Decision:
        self.now = T0 + timedelta(seconds=at)
        self.last = decide(self.seen, self.now)
        for write in self.last.writes:
            if isinstance(write.body, Escalation):
                self.seen = replace(self.seen, escalation=write.body)
            if isinstance(write.body, Page):
                self.seen = replace(self.seen, pages=(*self.seen.pages, write.body))
                self.paged.append((at, f"{write.body.person}{'.' if write.body.closing else ''}"))
        self.events += [event.type.rpartition(".")[2] for event in self.last.events]
        return self.last

    def run(self, until: float, start: float = 0.0) -> None:
        at = start
        while at <= until:
            decision = self.look(at)
            if decision.wake_at is None:
                return
            at = (decision.wake_at - T0).total_seconds()

    def becomes(self, **more: Any) -> None:
        self.seen = replace(self.seen, incident=replace(self.seen.incident, **more))

    def settle(self, **fields: Any) -> None:
        self.seen = replace(self.seen, pages=tuple(replace(page, **fields) for page in self.seen.pages))


def test_every_step_is_taken_in_order_round_after_round_and_then_the_last_is_repeated_forever() -> None:
    world = World()
    world.run(until=3600)
    assert world.paged == [
        (0.0, "anna"), (0.0, "anna"), (60.0, "ben"),
        (180.0, "anna"), (180.0, "anna"), (240.0, "ben"),
        (360.0, "ben"), (960.0, "ben"), (1560.0, "ben"), (2160.0, "ben"), (2760.0, "ben"), (3360.0, "ben"),
    ]  # fmt: skip


def test_a_step_pages_every_contact_of_the_person_each_as_an_intent_of_its_own() -> None:
    decision = World().look(0)
    assert [intent.key for intent in decision.intents] == [
        "page/shop/000007/000001",
        "page/shop/000007/000002",
    ]
    assert [intent.act.page for intent in decision.intents] == ["shop/000007/000001", "shop/000007/000002"]  # type: ignore[attr-defined]
    assert decision.wake_at == T0 + timedelta(seconds=60)


def test_between_steps_nothing_is_written() -> None:
    world = World()
    world.look(0)
    assert world.look(30).is_empty
    assert world.last.wake_at == T0 + timedelta(seconds=60)


def test_an_acknowledgement_ends_it() -> None:
    for state in (IncidentState.ACKNOWLEDGED, IncidentState.MITIGATED, IncidentState.MERGED):
        world = World()
        world.look(0)
        world.becomes(state=state)
        world.run(until=7200, start=10)
        assert len(world.paged) == 2
        assert world.seen.escalation is not None and world.seen.escalation.ended


def test_what_does_not_wake_anybody_is_not_paged() -> None:
    world = World(incident=incident(severity=Severity.SEV3))
    world.run(until=7200)
    assert (world.paged, world.seen.escalation) == ([], None)


def test_a_reopened_incident_is_paged_from_the_first_step_under_new_keys() -> None:
    world = World()
    world.run(until=100)
    world.becomes(state=IncidentState.ACKNOWLEDGED)
    world.look(110)
    world.becomes(state=IncidentState.OPEN)
    world.look(200)
    assert [page.k for page in world.seen.pages] == [1, 2, 3, 4, 5]
    assert world.paged[-1] == (200, "anna")


def test_a_severity_raised_to_sev1_pages_again_from_the_first_step() -> None:
    world = World()
    world.run(until=100)
    assert world.paged[-1][1] == "ben"
    world.becomes(severity=Severity.SEV1)
    world.look(110)
    assert world.paged[-1] == (110, "anna")
    assert world.look(111).is_empty  # once, not at every look


def test_nobody_on_call_at_that_instant_takes_the_next_step_at_once_and_says_so() -> None:
    steps = (EscalationStep(schedule="office"), EscalationStep(schedule="second"))
    world = World(policies=(replace(POLICY, steps=steps),), schedules=(OFFICE, SECOND))
    world.look(0)
    assert world.paged == [(0, "ben")]
    assert world.events.count("nobody") == 1


def test_nobody_at_all_is_said_once_with_a_mend_and_looked_at_again() -> None:
    world = World(policies=(), schedules=())
    world.run(until=600)
    assert world.events == ["nobody"]
    assert world.seen.escalation is not None and "no on-call schedule" in world.seen.escalation.problem
    assert world.last.wake_at == world.now + timedelta(seconds=NOBODY_AGAIN_S)
    world.seen = replace(world.seen, schedules=(FIRST,))
    world.look(700)
    assert world.paged == [(700, "anna"), (700, "anna")]
    assert world.seen.escalation.problem == ""


def test_the_mend_of_nobody_can_be_pasted() -> None:
    (event,) = World(policies=(), schedules=()).look(0).events
    assert (event.type, event.subject) == (event_types.PAGE_NOBODY, "shop/000007")
    assert "poise apply" in event.data["mend"]


def test_a_schedule_without_a_policy_is_paged_every_five_minutes() -> None:
    world = World(policies=(), schedules=(SECOND,))
    world.run(until=1000)
    assert world.paged == [(0.0, "ben"), (300.0, "ben"), (600.0, "ben"), (900.0, "ben")]


def test_of_several_policies_the_default_is_followed_and_without_one_nobody_is_guessed() -> None:
    others = (replace(POLICY, name="a", steps=(EscalationStep(person="ben"),)), POLICY)
    world = World(policies=others)
    world.look(0)
    assert world.paged[0][1] == "anna"
    world = World(policies=(others[0], replace(POLICY, name="b")))
    world.look(0)
    assert world.events == ["nobody"]


def test_an_override_decides_who_is_paged() -> None:
    both = schedule("first", person("anna"), person("ben"))
    swap = OnCallOverride(
        project="shop", schedule="first", n=1, person="ben", starts_at=T0 - timedelta(hours=1),
        ends_at=T0 + timedelta(hours=1), by="ben", reason="swap", at=T0,
    )  # fmt: skip
    world = World(schedules=(both, SECOND), overrides=(swap,))
    world.look(0)
    assert world.paged == [(0, "ben")]


def test_when_every_page_of_a_step_failed_nobody_waits_for_an_answer() -> None:
    world = World()
    world.look(0)
    first, second = world.seen.pages
    world.seen = replace(world.seen, pages=(replace(first, problem="refused"), second))
    assert world.look(5).is_empty  # one contact may still be reached
    world.settle(problem="refused")
    world.look(10)
    assert world.paged[-1] == (10, "ben")


def test_a_long_absence_pages_once_not_as_often_as_was_missed() -> None:
    world = World()
    world.look(0)
    world.look(100_000)
    assert world.paged[2:] == [(100_000, "ben")]


def test_once_resolved_each_contact_that_was_told_is_told_of_the_end_once() -> None:
    world = World()
    world.run(until=200)
    world.settle(sent_at=T0)
    world.becomes(state=IncidentState.RESOLVED)
    world.look(300)
    assert sorted(name for at, name in world.paged if at == 300) == ["anna.", "anna.", "ben."]
    assert world.look(301).is_empty
    world.becomes(state=IncidentState.OPEN)
    world.look(400)
    world.becomes(state=IncidentState.RESOLVED)
    world.look(500)  # the pages at 400 were not sent: nobody was told that it is open again
    assert [name for at, name in world.paged if at == 500] == []


def test_a_mitigated_incident_is_closed_when_it_is_resolved() -> None:
    world = World()
    world.look(0)
    world.settle(sent_at=T0)
    world.becomes(state=IncidentState.MITIGATED)
    assert not [name for name in world.look(10).writes if name.kind == "Page"]
    world.becomes(state=IncidentState.RESOLVED)
    world.look(20)
    assert [name for at, name in world.paged if at == 20] == ["anna.", "anna."]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["first", "second", "office", "ben", "absent"]), min_size=1, max_size=4),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(1, 4000), st.sampled_from([*IncidentState, *Severity])), max_size=6),
)
def test_an_open_incident_always_has_a_next_look_and_no_key_is_used_twice(
    names: list[str], rounds: int, changes: list[tuple[int, IncidentState | Severity]]
) -> None:
    """Whatever people do in between: while it is open, somebody will be paged or looked for again."""
    steps = tuple(
        EscalationStep(person=name) if name in ("ben", "absent") else EscalationStep(schedule=name)
        for name in names
    )
    policy = replace(POLICY, steps=steps, rounds=rounds)
    world = World(policies=(policy,), schedules=(FIRST, SECOND, OFFICE))
    at = 0.0
    for after_s, change in [*changes, (1, IncidentState.OPEN), (1, Severity.SEV1)]:
        world.run(until=at + after_s, start=at)
        at += after_s
        world.becomes(**({"state": change} if isinstance(change, IncidentState) else {"severity": change}))
    decision = world.look(at)
    assert decision.wake_at is not None and decision.wake_at > world.now
    assert [page.k for page in world.seen.pages] == list(range(1, len(world.seen.pages) + 1))
    longest_s = max(policy.remind_s, 300.0)
    assert decision.wake_at <= world.now + timedelta(seconds=longest_s)
