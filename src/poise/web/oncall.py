"""The on-call page: who is on call now, in words; four weeks as a calendar; holes as trouble; overrides."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import htpy as h
from msgspec import Struct

from poise.web import links
from poise.web.parts import (
    REASON_LENGTH_MAX,
    card,
    command,
    csrf_field,
    document,
    headline,
    pill,
    scroll,
    table,
)
from poise.web.views import Chrome
from poise.web.wording import plural, utc

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Slot(Struct, frozen=True, kw_only=True):
    """A part of a day: who has it; ``person`` None is a hole; ``clock`` is "" for the whole day."""

    person: str | None
    clock: str = ""
    override: bool = False


class Day(Struct, frozen=True, kw_only=True):
    """One day of the calendar in the schedule's zone."""

    label: str
    today: bool = False
    past: bool = False
    slots: tuple[Slot, ...] = ()


class ShiftRow(Struct, frozen=True, kw_only=True):
    """A shift, or a hole when ``person`` is None; local texts are in the schedule's zone."""

    person: str | None
    starts_local: str
    ends_local: str
    starts_at: datetime
    ends_at: datetime
    override: bool = False


class OverrideLine(Struct, frozen=True, kw_only=True):
    """A person's decision about who is on call."""

    n: int
    person: str
    starts_local: str
    ends_local: str
    starts_at: datetime
    ends_at: datetime
    by: str
    reason: str
    cancelled: bool = False
    over: bool = False


class ScheduleView(Struct, frozen=True, kw_only=True):
    """One schedule; ``weeks`` are rows of seven days from Monday; ``hole`` says that nobody has it now."""

    name: str
    zone: str
    sentence: str
    hole: bool = False
    weeks: tuple[tuple[Day, ...], ...] = ()
    shifts: tuple[ShiftRow, ...] = ()
    holes: tuple[str, ...] = ()
    overrides: tuple[OverrideLine, ...] = ()
    people: tuple[str, ...] = ()


class OnCallView(Struct, frozen=True, kw_only=True):
    """Every schedule of a project."""

    chrome: Chrome
    project: str
    schedules: tuple[ScheduleView, ...] = ()


def oncall(view: OnCallView) -> str:
    """The on-call page as a document."""
    trouble = any(one.hole or one.holes for one in view.schedules)
    tone = pill("hole", "hold") if trouble else pill("covered", "go") if view.schedules else None
    said = " ".join(one.sentence for one in view.schedules) or "Nobody is on call: no schedule is declared."
    main = h.fragment[
        headline("On-call", f"· {view.project}", tone, said),
        [_schedule(view, one, n) for n, one in enumerate(view.schedules)] or _teach(),
    ]
    return document(view.chrome, "On-call", main, current="On-call", live=view.project)


def _teach() -> h.Element:
    return card(
        "Declare a schedule",
        h.p(".mute")["Add a document of kind OnCallSchedule to poise.yaml, then:"],
        command("poise apply"),
    )


def _schedule(view: OnCallView, one: ScheduleView, n: int) -> h.Fragment:
    return h.fragment[
        card(
            f"{one.name}: four weeks, times in {one.zone}",
            _holes(one) if one.holes else None,
            _calendar(one),
            h.details(f"#shifts-{n}")[h.summary["Every shift, also in UTC"], _shifts(one)],
        ),
        card(
            f"{one.name}: overrides",
            _overrides(view, one)
            if one.overrides
            else h.p(".mute")["None: the rotation stands as declared."],
            _add(view, one, n) if view.chrome.may_say and one.people else None,
        ),
    ]


def _holes(one: ScheduleView) -> h.Element:
    more = len(one.holes) - 1
    again = f", and {plural(more, 'time')} more in these weeks" if more else ""
    mend = " Add a rotation or an override that covers it."
    return h.p(".problem")[h.strong["Nobody is on call "], one.holes[0], again, ".", mend]


def _calendar(one: ScheduleView) -> h.Element:
    head = h.tr[h.th(scope="col")["week"], (h.th(scope="col")[name] for name in DAYS)]
    rows = (h.tr[h.th(scope="row")[week[0].label], (_day(day) for day in week)] for week in one.weeks if week)
    return scroll(f"Calendar of {one.name}", h.table(".calendar")[h.thead[head], h.tbody[rows]])


def _day(day: Day) -> h.Element:
    classes = " ".join(["today"] * day.today + ["past"] * day.past)
    return h.td(class_=classes or None, aria_current="date" if day.today else None)[
        h.span(".date")[day.label, day.today and " · today"],
        (_slot(slot) for slot in day.slots),
    ]


def _slot(slot: Slot) -> h.Element:
    who = h.strong(".bad")["nobody"] if slot.person is None else slot.person
    return h.p[
        slot.clock and h.span(".mute")[slot.clock, " "],
        who,
        slot.override and h.em(".mute")[" (override)"],
    ]


def _shifts(one: ScheduleView) -> h.Element:
    rows = [
        (
            h.strong(".bad")["nobody"] if row.person is None else row.person,
            f"{row.starts_local} to {row.ends_local}",
            f"{utc(row.starts_at)} to {utc(row.ends_at)}",
            "override" if row.override else "rotation" if row.person is not None else "hole",
        )
        for row in one.shifts
    ]
    return table(f"Shifts of {one.name}", ("who", f"in {one.zone}", "in UTC", "by"), rows)


def _overrides(view: OnCallView, one: ScheduleView) -> h.Element:
    rows = [
        (
            [row.person, " ", row.cancelled and pill("cancelled", "unknown")],
            f"{row.starts_local} to {row.ends_local}",
            f"{utc(row.starts_at)} to {utc(row.ends_at)}",
            [row.reason, h.span(".mute")[f" {row.by}"]],
            _cancel(view, one, row) if view.chrome.may_say and not (row.cancelled or row.over) else None,
        )
        for row in one.overrides
    ]
    head = ("who", f"in {one.zone}", "in UTC", "why, by whom", "act")
    return table(f"Overrides of {one.name}", head, rows)


def _cancel(view: OnCallView, one: ScheduleView, row: OverrideLine) -> h.Element:
    action = links.oncall_act(view.project, one.name, "cancel")
    return h.form(method="post", action=action)[
        csrf_field(view.chrome),
        h.input(type="hidden", name="n", value=str(row.n)),
        h.button(type="submit", aria_label=f"Cancel override {row.n}")["Cancel"],
    ]


def _add(view: OnCallView, one: ScheduleView, n: int) -> h.Element:
    action = links.oncall_act(view.project, one.name, "override")
    return h.details(f"#override-{n}")[
        h.summary["Put somebody else on call for a time"],
        h.form(".stack", method="post", action=action)[
            csrf_field(view.chrome),
            h.label(for_=f"person-{n}")["Who"],
            h.select(f"#person-{n}", name="person")[_options(one.people)],
            h.label(for_=f"starts-{n}")[f"From, in {one.zone}"],
            h.input(f"#starts-{n}", type="datetime-local", name="starts", required=True),
            h.label(for_=f"ends-{n}")[f"Until, in {one.zone}"],
            h.input(f"#ends-{n}", type="datetime-local", name="ends", required=True),
            h.label(for_=f"reason-{n}")["Reason, for the journal"],
            h.textarea(
                f"#reason-{n}", name="reason", required=True, rows="2", maxlength=str(REASON_LENGTH_MAX)
            ),
            h.div(".buttons")[h.button(".primary", type="submit")["Put on call"]],
        ],
    ]


def _options(people: Sequence[str]) -> list[h.Element]:
    return [h.option(value=name)[name] for name in people]
