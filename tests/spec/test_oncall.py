"""On-call schedules and escalation policies: what is wrong is said before anybody must be paged."""

from __future__ import annotations

from datetime import date

import pytest

from poise.model.oncall import ContactKind, EscalationStep, Rotation, ShiftUnit
from poise.spec.problems import Problems
from poise.spec.service import Declared, parse_project

SERVICE = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: hello}
spec: {command: python3 server.py, port: 8080}
"""
SCHEDULE = """\
---
apiVersion: poise.dev/v1
kind: OnCallSchedule
metadata: {name: main}
spec:
  zone: Europe/Berlin
  people:
    - name: anna
      contacts: [{webhook: "http://127.0.0.1:9/hook"}, {email: anna@example.org}]
    - {name: ben, contacts: [{email: ben@example.org}]}
  rotations:
    - {people: [anna, ben], unit: weekly, handoff: "09:00", starts: 2026-01-05}
"""
POLICY = """\
---
apiVersion: poise.dev/v1
kind: EscalationPolicy
metadata: {name: default}
spec:
  steps: [{schedule: main, wait: 5m}, {person: ben, wait: 10m}]
  rounds: 2
  remind: 1h
"""


def parse(text: str) -> Declared:
    return parse_project(SERVICE + text, project="shop")


def problem(text: str) -> tuple[str, str, str, str]:
    """(place, what, why, mend) of the one problem of a text."""
    with pytest.raises(Problems) as raised:
        parse(text)
    (one,) = raised.value.problems
    return one.where, one.what, one.why, one.mend


def test_a_schedule_and_its_policy_are_read() -> None:
    declared = parse(SCHEDULE + POLICY)
    (schedule,), (policy,) = declared.schedules, declared.escalations
    assert (schedule.key, schedule.zone) == ("shop/main", "Europe/Berlin")
    assert [contact.kind for contact in schedule.people[0].contacts] == [
        ContactKind.WEBHOOK,
        ContactKind.EMAIL,
    ]
    assert schedule.rotations == (
        Rotation(people=("anna", "ben"), unit=ShiftUnit.WEEKLY, starts=date(2026, 1, 5)),
    )
    assert (policy.key, policy.rounds, policy.remind_s) == ("shop/default", 2, 3600.0)
    assert policy.steps == (
        EscalationStep(schedule="main", wait_s=300.0),
        EscalationStep(person="ben", wait_s=600.0),
    )


def test_hours_of_the_day_end_at_midnight_as_24_or_00() -> None:
    day = SCHEDULE.replace("2026-01-05}", '2026-01-05, hours: "08:00-24:00"}')
    night = day + '    - {people: [ben], unit: daily, starts: 2026-01-05, hours: "00:00-08:00"}\n'
    rotations = (
        parse(
            night.replace('handoff: "09:00"', 'handoff: "00:00"').replace(
                "daily, ", "daily, handoff: '00:00', "
            )
        )
        .schedules[0]
        .rotations
    )
    assert (rotations[0].from_hour, rotations[0].until_hour) == ("08:00", "00:00")


FAULTS = {
    "an unknown zone": (("Europe/Berlin", "Europe/Berln"), "not a time zone", "'Europe/Berlin'?"),
    "a zone by its city": (("Europe/Berlin", "berlin"), "not a time zone", "Did you mean 'Europe/Berlin'?"),
    "a person without a contact": (
        ("{name: ben, contacts: [{email: ben@example.org}]}", "{name: ben}"),
        "'ben' has no contact",
        "Add e.g. 'contacts:",
    ),
    "an empty list of contacts": (
        ("[{email: ben@example.org}]", "[]"), "'ben' has no contact", "Add e.g. 'contacts:",
    ),
    "an unknown person in a rotation": (("[anna, ben]", "[anna, bem]"), "'bem'", "Did you mean 'ben'?"),
    "the same person twice": (
        ("    - {name: ben", "    - {name: anna, contacts: [{email: a@x}]}\n    - {name: ben"),
        "listed twice",
        "Remove one.",
    ),
    "a bad handoff": (('"09:00"', '"9 am"'), "'9 am' is not allowed", "Change it."),
    "a handoff past midnight": (('"09:00"', '"24:10"'), "'24:10' is not allowed", "Change it."),
    "no turn at all": (("unit: weekly", "unit: weekly, every: 0"), "out of range", "from 1 to 1000"),
    "a webhook that is none": (("http://127.0.0.1:9/hook", "ftp://x/y"), "'ftp://x/y'", "Change it."),
    "an address without @": (("anna@example.org", "anna.example.org"), "'anna.example.org'", "Change it."),
    "a day that is none": (("2026-01-05", "2026-02-30"), "not a day of the calendar", "2026-01-05"),
    "hours that do not last": (
        ("2026-01-05}", '2026-01-05, hours: "09:00-09:00"}'), "end when they begin", "Remove 'hours'",
    ),
    "two ways in one contact": (
        ("{email: anna@example.org}", "{email: anna@example.org, webhook: 'http://x'}"),
        "exactly one of",
        "one contact per item",
    ),
    "a hole": (
        ("2026-01-05}", '2026-01-05, hours: "09:00-17:00"}'),
        "nobody is on call from 17:00 to 09:00",
        "hours: \"17:00-09:00\"'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_schedule_is_told_with_its_place_and_a_mend(fault: str) -> None:
    (before, after), what, mend = FAULTS[fault]
    assert before in SCHEDULE
    where, said, _, mended = problem(SCHEDULE.replace(before, after))
    name, line, column = where.split(":")
    assert (name, int(line) > 5, int(column) > 1) == ("poise.yaml", True, True)
    assert what in said
    assert mend in mended
    assert f"Edit poise.yaml line {line}." in mended


def test_a_hole_says_when_and_how_often() -> None:
    _, _, why, _ = problem(SCHEDULE.replace("2026-01-05}", '2026-01-05, hours: "09:00-17:00"}'))
    assert "364 times in 52 weeks" in why
    assert "2026-01-05 17:00 to 2026-01-06 09:00 (Europe/Berlin)" in why


def test_a_hole_can_be_meant() -> None:
    office = SCHEDULE.replace("2026-01-05}", '2026-01-05, hours: "09:00-17:00"}')
    assert (
        parse(office.replace("zone:", "holes: allowed\n  zone:")).schedules[0].rotations[0].from_hour
        == "09:00"
    )


STEPS = "[{schedule: main, wait: 5m}, {person: ben, wait: 10m}]"
STEP_FAULTS = {
    "no steps": ("[]", "has no steps", "schedule: main"),
    "an unknown schedule": ("[{schedule: mian}]", "no schedule 'mian'", "Did you mean 'main'?"),
    "an unknown person": ("[{person: bem}]", "no person 'bem'", "Did you mean 'ben'?"),
    "neither": ("[{wait: 5m}]", "exactly one of schedule, person", "one step per"),
    "both": ("[{schedule: main, person: ben}]", "exactly one of schedule, person", "one step per"),
    "an unreachable step": (
        "[{schedule: main, wait: 20h}, {person: ben, wait: 5h}, {person: anna}]",
        "step 3 is unreachable",
        "Shorten the waits",
    ),
    "no wait": ("[{schedule: main, wait: 0s}]", "out of range", "e.g. '30s'"),
}


@pytest.mark.parametrize("fault", STEP_FAULTS)
def test_a_fault_of_a_policy_is_told_with_its_place_and_a_mend(fault: str) -> None:
    steps, what, mend = STEP_FAULTS[fault]
    _, said, _, mended = problem(SCHEDULE + POLICY.replace(STEPS, steps))
    assert what in said
    assert mend in mended


def test_a_policy_without_any_schedule_names_what_to_declare() -> None:
    _, said, _, mend = problem(POLICY.replace(STEPS, "[{schedule: main}]"))
    assert "no schedule 'main'" in said
    assert "OnCallSchedule" in mend
