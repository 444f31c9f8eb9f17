"""From schedules and overrides to the on-call page: every wall time is the schedule's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from poise.api.parts import Parts
from poise.model import roster
from poise.model.errors import Invalid
from poise.model.oncall import OnCallOverride, OnCallSchedule
from poise.model.roster import Shift
from poise.web import views
from poise.web.oncall import Day, OnCallView, OverrideLine, ScheduleView, ShiftRow, Slot

WEEKS: Final = 4
SCHEDULES_MAX: Final = 20
OVERRIDES_SEEN: Final = 500
OVERRIDES_SHOWN: Final = 20


async def oncall(parts: Parts, project: str, around: views.Chrome) -> OnCallView:
    """Every schedule of a project."""
    schedules, _ = await parts.store.scan(OnCallSchedule, f"{project}/", limit=SCHEDULES_MAX)
    shown = []
    for schedule in schedules:
        overrides, _ = await parts.store.scan(
            OnCallOverride, f"{schedule.key}/", limit=OVERRIDES_SEEN, last=True
        )
        shown.append(schedule_view(schedule, overrides, parts.clock.now()))
    return OnCallView(chrome=around, project=project, schedules=tuple(shown))


def schedule_view(schedule: OnCallSchedule, overrides: list[OnCallOverride], now: datetime) -> ScheduleView:
    """One schedule at an instant. O(turns in five weeks)."""
    zone = ZoneInfo(schedule.zone)
    monday = _midnight(now.astimezone(zone)) - timedelta(days=now.astimezone(zone).weekday())
    edges = [roster.first_instant(monday + timedelta(days=k), zone) for k in range(7 * WEEKS + 1)]
    found = roster.shifts(schedule, overrides, edges[0], edges[-1])
    whole = _with_holes(found, edges[0], edges[-1])
    coming = [row for row in whole if row.ends_at > now]
    days = [_day(whole, at, until, now, zone) for at, until in pairwise(edges)]
    holes = [row for row in coming if row.person is None]
    return ScheduleView(
        name=schedule.name,
        zone=schedule.zone,
        sentence=_sentence(schedule, overrides, now, zone),
        hole=bool(coming) and coming[0].person is None,
        weeks=tuple(tuple(days[k : k + 7]) for k in range(0, len(days), 7)),
        shifts=tuple(_local(row, zone) for row in coming),
        holes=tuple(f"from {_wall(row.starts_at, zone)} to {_wall(row.ends_at, zone)}" for row in holes),
        overrides=tuple(_line(one, now, zone) for one in overrides[: -OVERRIDES_SHOWN - 1 : -1]),
        people=tuple(person.name for person in schedule.people),
    )


def instant(text: str, zone: str, name: str) -> datetime:
    """The instant of a form's wall time in a schedule's zone; Invalid when it is none."""
    try:
        wall = datetime.fromisoformat(text)
        if wall.tzinfo is None and 2000 <= wall.year < 2200:
            return roster.first_instant(wall, ZoneInfo(zone))
    except (ValueError, OverflowError):
        pass
    raise Invalid("POISE-O422", f"'{name}' is not a time", where=text[:40], mend="Use e.g. 2026-01-05T09:00")


def _midnight(local: datetime) -> datetime:
    return local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)


def _sentence(
    schedule: OnCallSchedule, overrides: list[OnCallOverride], now: datetime, zone: ZoneInfo
) -> str:
    coming = roster.shifts(schedule, overrides, now, now + timedelta(weeks=WEEKS))
    if not coming or coming[0].starts_at > now:
        until = f" until {_soon(coming[0].starts_at, now, zone)}" if coming else ""
        return f"Nobody is on call for {schedule.name}{until}."
    who = f"{coming[0].person} is on call for {schedule.name}"
    if coming[0].ends_at >= now + timedelta(weeks=WEEKS):
        return f"{who} for the next four weeks."
    follows = next((one for one in coming[1:] if one.starts_at == coming[0].ends_at), None)
    then = f", then {follows.person}" if follows else ", then nobody"
    return f"{who} until {_soon(coming[0].ends_at, now, zone)}{then}."


def _with_holes(found: tuple[Shift, ...], start: datetime, end: datetime) -> list[ShiftRow]:
    """The shifts with the stretches between them that nobody has."""
    rows, at = [], start

    def add(person: str | None, since: datetime, until: datetime, override: bool = False) -> None:
        rows.append(
            ShiftRow(
                person=person, starts_local="", ends_local="", starts_at=since, ends_at=until,
                override=override,
            )
        )  # fmt: skip

    for shift in found:
        if at < shift.starts_at:
            add(None, at, shift.starts_at)
        add(shift.person, shift.starts_at, shift.ends_at, shift.override)
        at = shift.ends_at
    if at < end:
        add(None, at, end)
    return rows


def _day(whole: list[ShiftRow], at: datetime, until: datetime, now: datetime, zone: ZoneInfo) -> Day:
    slots = []
    for row in whole:
        since, to = max(row.starts_at, at), min(row.ends_at, until)
        if since >= to:
            continue
        begins = f"{since.astimezone(zone):%H:%M}"
        ends = "24:00" if to == until else f"{to.astimezone(zone):%H:%M}"
        clock = "" if (since, to) == (at, until) else f"{begins} to {ends}"
        slots.append(Slot(person=row.person, clock=clock, override=row.override))
    local = at.astimezone(zone)
    return Day(
        label=f"{local.day} {local:%b}", today=at <= now < until, past=until <= now, slots=tuple(slots)
    )


def _local(row: ShiftRow, zone: ZoneInfo) -> ShiftRow:
    return ShiftRow(
        person=row.person,
        starts_local=_wall(row.starts_at, zone),
        ends_local=_wall(row.ends_at, zone),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        override=row.override,
    )


def _line(one: OnCallOverride, now: datetime, zone: ZoneInfo) -> OverrideLine:
    return OverrideLine(
        n=one.n,
        person=one.person,
        starts_local=_wall(one.starts_at, zone),
        ends_local=_wall(one.ends_at, zone),
        starts_at=one.starts_at,
        ends_at=one.ends_at,
        by=one.by,
        reason=one.reason,
        cancelled=one.cancelled,
        over=one.ends_at <= now,
    )


def _wall(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(UTC).astimezone(zone)
    return f"{local:%a} {local.day} {local:%b} {local:%H:%M}"


def _soon(at: datetime, now: datetime, zone: ZoneInfo) -> str:
    """A day of this week by its name, a later one by its date."""
    local = at.astimezone(zone)
    return f"{local:%a %H:%M}" if at - now < timedelta(days=6) else _wall(at, zone)
