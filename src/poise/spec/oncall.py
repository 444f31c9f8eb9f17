"""On-call schedules and escalation policies, and what is wrong with them before anybody must be paged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import accumulate
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from msgspec import convert

from poise.model.oncall import Contact, ContactKind, EscalationPolicy, OnCallSchedule, Person
from poise.model.roster import Hole, holes
from poise.spec import limits
from poise.spec.checks import items_of
from poise.spec.document import Node, Scalar
from poise.spec.durations import format_duration
from poise.spec.keys_oncall import DAY_S
from poise.spec.problems import (
    BAD_VALUE,
    CONTRADICTION,
    DECLARED_TWICE,
    MISSING_KEY,
    TOO_LARGE,
    UNKNOWN_NAME,
    Report,
    guess,
    nearest,
    shown,
)
from poise.spec.read import Document, Found, plain

OnCall = tuple[tuple[OnCallSchedule, ...], tuple[EscalationPolicy, ...]]
_WAIT_S: Final = 300.0


def oncall_of(documents: Sequence[Document], project: str, report: Report) -> OnCall:
    """The schedules and policies among a file's documents; every problem goes to the report."""
    schedules = [document for document in documents if document.kind == "OnCallSchedule"]
    policies = [document for document in documents if document.kind == "EscalationPolicy"]
    for many in (schedules, policies):
        if len(many) > limits.SERVICES:
            what = f"more than {limits.SERVICES} documents of kind {many[0].kind}"
            report.add(TOO_LARGE, many[limits.SERVICES].place, what, mend="Remove some.")
    for document in schedules:
        _check_schedule(document, report)
    people = {name for document in schedules for name in _names(document)}
    for document in policies:
        _check_policy(document, [one.name for one in schedules], people, report)
    if len(report):
        return (), ()
    made = tuple(_schedule(document, project) for document in schedules)
    for document, schedule in zip(schedules, made, strict=True):
        if document.spec.values.get("holes") != "allowed" and (found := holes(schedule)):
            _tell_holes(document, schedule, found, report)
    return made, tuple(_policy(document, project) for document in policies)


# -- schedules ----------------------------------------------------------------------------------------


def _check_schedule(document: Document, report: Report) -> None:
    _check_zone(document, report)
    seen: set[str] = set()
    for person in _records(document, "people"):
        name = person.text("name")
        if name in seen:
            what = f"person {shown(name or '')} is listed twice"
            report.add(DECLARED_TWICE, person.at("name"), what, mend="Remove one.")
        seen.add(name or "")
        _check_contacts(person, name or "", report)
    for rotation in _records(document, "rotations"):
        _check_rotation(rotation, seen, report)


def _check_zone(document: Document, report: Report) -> None:
    zone = document.spec.text("zone")
    if zone is None or zone in (known := available_timezones()):
        return
    by_city = {name.rpartition("/")[2]: name for name in sorted(known)}
    close = guess(zone, known) or by_city.get(guess(zone.replace(" ", "_"), by_city) or "")
    mend = f"Did you mean '{close}'?" if close else "Use an IANA name such as Europe/Berlin or UTC."
    what = f"{shown(zone)} is not a time zone"
    report.add(UNKNOWN_NAME, document.spec.at("zone"), what, mend=mend)


def _check_contacts(person: Found, name: str, report: Report) -> None:
    node = person.nodes.get("contacts")
    if node is None or not items_of(node):
        what = f"person {shown(name)} has no contact"
        mend = "Add e.g. 'contacts: [{email: anna@example.org}]'."
        why = "When this person is on call, nobody would be told."
        report.add(MISSING_KEY, person.at("name"), what, why=why, mend=mend)
    for contact in _found(person.values.get("contacts")):
        if len(contact.nodes) != 1:
            what = f"a contact of {shown(name)} needs exactly one of webhook, email"
            report.add(CONTRADICTION, contact.node, what, mend="Write one contact per item.")


def _check_rotation(rotation: Found, known: set[str], report: Report) -> None:
    for item in items_of(rotation.nodes.get("people")):
        if isinstance(item, Scalar) and item.text not in known:
            what = f"the rotation names {shown(item.text)}, who is not among this schedule's people"
            report.add(UNKNOWN_NAME, item, what, mend=nearest(item.text, sorted(known)))
    starts = rotation.text("starts")
    if starts is not None and not _is_date(starts):
        what = f"{shown(starts)} is not a day of the calendar"
        report.add(BAD_VALUE, rotation.at("starts"), what, mend="Write e.g. 2026-01-05.")
    hours = rotation.text("hours")
    if hours is not None:
        begin, _, end = hours.partition("-")
        if begin == end:
            what = "'hours' end when they begin"
            mend = "Remove 'hours' to cover the whole day."
            report.add(CONTRADICTION, rotation.at("hours"), what, mend=mend)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _tell_holes(document: Document, schedule: OnCallSchedule, found: Sequence[Hole], report: Report) -> None:
    zone = ZoneInfo(schedule.zone)
    begin, end = (at.astimezone(zone) for at in (found[0].starts_at, found[0].ends_at))
    times = "once" if len(found) == 1 else f"{len(found)} times in 52 weeks"
    what = f"schedule {shown(document.name)} has a hole: nobody is on call from {begin:%H:%M} to {end:%H:%M}"
    why = f"It is so {times}, first from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} ({schedule.zone})."
    hours = f"{begin:%H:%M}-{end:%H:%M}"
    mend = f"Add a rotation with 'hours: \"{hours}\"' from {begin:%Y-%m-%d}, or write 'holes: allowed'."
    report.add(CONTRADICTION, document.spec.at("rotations"), what, why=why, mend=mend)


def _schedule(document: Document, project: str) -> OnCallSchedule:
    values: dict[str, Any] = _plain(document)
    values.pop("holes", None)
    people = tuple(
        Person(
            name=person["name"],
            contacts=tuple(
                Contact(kind=ContactKind(kind), address=address)
                for contact in person["contacts"]
                for kind, address in contact.items()
            ),
        )
        for person in values.pop("people")
    )
    for rotation in values["rotations"]:
        hours = rotation.pop("hours", None)
        if hours is not None:
            begin, _, end = hours.partition("-")
            rotation |= {"from_hour": begin, "until_hour": "00:00" if end == "24:00" else end}
    named = {"project": project, "name": document.name, "people": people}
    return convert({**values, **named}, OnCallSchedule)


# -- escalation ---------------------------------------------------------------------------------------


def _check_policy(document: Document, schedules: Sequence[str], people: set[str], report: Report) -> None:
    node = document.spec.nodes.get("steps")
    if node is not None and not items_of(node):
        what = f"escalation policy {shown(document.name)} has no steps"
        mend = f"Add e.g. 'steps: [{{schedule: {next(iter(schedules), 'main')}, wait: 5m}}]'."
        report.add(MISSING_KEY, node, what, why="Nobody would be paged.", mend=mend)
    steps = _records(document, "steps")
    for step in steps:
        _check_step(step, schedules, people, report)
    _check_reach(steps, report)


def _check_step(step: Found, schedules: Sequence[str], people: set[str], report: Report) -> None:
    named = [key for key in ("schedule", "person") if key in step.nodes]
    if len(named) != 1:
        what = "a step needs exactly one of schedule, person"
        report.add(CONTRADICTION, step.node, what, mend="Write one step per schedule or person.")
    for key, known in (("schedule", schedules), ("person", sorted(people))):
        word = step.text(key)
        if word is not None and word not in known:
            mend = nearest(word, known) or "Declare a document of kind OnCallSchedule."
            report.add(UNKNOWN_NAME, step.at(key), f"no {key} {shown(word)} in this file", mend=mend)


def _check_reach(steps: Sequence[Found], report: Report) -> None:
    """A step is out of reach when those before it wait longer than an acknowledge link lives."""
    waits = [value if isinstance(value := step.values.get("wait_s"), float) else _WAIT_S for step in steps]
    for number, (step, before_s) in enumerate(zip(steps[1:], accumulate(waits), strict=False), 2):
        if before_s > DAY_S:
            what = f"step {number} is unreachable: the steps before it wait {format_duration(before_s)}"
            why = f"An incident is escalated within {format_duration(DAY_S)} or never."
            report.add(CONTRADICTION, step.node, what, why=why, mend="Shorten the waits before it.")
            return


def _policy(document: Document, project: str) -> EscalationPolicy:
    return convert({**_plain(document), "project": project, "name": document.name}, EscalationPolicy)


# -- reading ------------------------------------------------------------------------------------------


def _records(document: Document, target: str) -> list[Found]:
    return _found(document.spec.values.get(target))


def _found(value: object) -> list[Found]:
    return [one for one in value if isinstance(one, Found)] if isinstance(value, list) else []


def _names(document: Document) -> Iterable[str]:
    """The people's names as they are written, be the rest of them readable or not."""
    node: Node | None = document.spec.nodes.get("people")
    for item in items_of(node):
        name = None if isinstance(item, Scalar) or not hasattr(item, "get") else item.get("name")
        if isinstance(name, Scalar):
            yield name.text


def _plain(document: Document) -> dict[str, Any]:
    values = plain(document.spec)
    assert isinstance(values, dict)
    return values
