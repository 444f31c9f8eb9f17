"""Who is on call at an instant, and which shifts fill a stretch of time: pure, from the rules alone.

The rules at the edges of daylight saving are GoAlert's (target/goalert, pull request 1252): a shift starts
at the first occurrence of its wall time; a wall time that does not exist is the first instant after the
gap; hourly turns align to the wall clock, so a turn may last an hour more or less; hours of the day end at
the last occurrence. So two turns may meet at an ambiguous hour, but there is never a gap between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from poise.model.oncall import OnCallOverride, OnCallSchedule, Person, Rotation, ShiftUnit

HOLES_LOOKED_FOR: Final = timedelta(weeks=52)
_DAY: Final = timedelta(days=1)
_UNITS: Final = {
    ShiftUnit.HOURLY: timedelta(hours=1),
    ShiftUnit.DAILY: _DAY,
    ShiftUnit.WEEKLY: timedelta(weeks=1),
}


class Shift(Struct, frozen=True, kw_only=True):
    """Half-open, [starts_at, ends_at): who is on call; ``override`` says that a person decided so."""

    person: str
    starts_at: datetime
    ends_at: datetime
    override: bool = False


class Hole(Struct, frozen=True, kw_only=True):
    """Half-open, [starts_at, ends_at): nobody is on call."""

    starts_at: datetime
    ends_at: datetime


def on_call(schedule: OnCallSchedule, overrides: Iterable[OnCallOverride], at: datetime) -> str | None:
    """The name of who is on call at an instant, or None in a hole. O(rotations + overrides)."""
    return _who(schedule, tuple(overrides), at)[0]


def shifts(
    schedule: OnCallSchedule, overrides: Iterable[OnCallOverride], start: datetime, end: datetime
) -> tuple[Shift, ...]:
    """The shifts in [start, end), clipped to it, ascending; turns of one person in a row are one shift.

    O(turns in the stretch), whatever lies before it.
    """
    given = tuple(override for override in overrides if override.schedule == schedule.name)
    edges = sorted({start, *_edges(schedule, given, start, end)})
    found: list[Shift] = []
    for at, until in zip(edges, [*edges[1:], end], strict=True):
        person, override = _who(schedule, given, at)
        last = found[-1] if found else None
        if person is None:
            continue
        if last and last.ends_at == at and (last.person, last.override) == (person, override):
            found[-1] = Shift(person=person, starts_at=last.starts_at, ends_at=until, override=override)
        else:
            found.append(Shift(person=person, starts_at=at, ends_at=until, override=override))
    return tuple(found)


def holes(schedule: OnCallSchedule) -> tuple[Hole, ...]:
    """Stretches of the first 52 weeks of the schedule in which nobody is on call, from its rules alone."""
    zone = ZoneInfo(schedule.zone)
    if not schedule.rotations:
        return ()
    start = min(first_instant(_first(rotation), zone) for rotation in schedule.rotations)
    end = start + HOLES_LOOKED_FOR
    edges = {start, *(at for one in schedule.rotations for at in _covered_edges(one, zone, start, end))}
    found: list[Hole] = []
    ordered = sorted(edges)
    for at, until in zip(ordered, [*ordered[1:], end], strict=True):
        if any(_covers(rotation, zone, at) for rotation in schedule.rotations):
            continue
        joined = found.pop().starts_at if found and found[-1].ends_at == at else at
        found.append(Hole(starts_at=joined, ends_at=until))
    return tuple(found)


def person_of(schedules: Iterable[OnCallSchedule], name: str) -> Person | None:
    """The person of that name in the first schedule that has one."""
    return next((one for schedule in schedules for one in schedule.people if one.name == name), None)


def first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which clocks in ``zone`` show ``wall`` (naive); after a gap, its end."""
    return _instant(wall, zone, fold=0)


def last_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The last instant at which clocks in ``zone`` show ``wall`` (naive); after a gap, its end."""
    return _instant(wall, zone, fold=1)


@lru_cache(maxsize=20_000)
def _instant(wall: datetime, zone: ZoneInfo, fold: int) -> datetime:
    at = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    if _wall(at, zone) == wall:
        return at
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)  # in a gap fold 1 counts from behind it
    after = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def _who(
    schedule: OnCallSchedule, overrides: Sequence[OnCallOverride], at: datetime
) -> tuple[str | None, bool]:
    covering = [
        override
        for override in overrides
        if override.schedule == schedule.name
        and not override.cancelled
        and override.starts_at <= at < override.ends_at
    ]
    if covering:
        return max(covering, key=lambda override: override.n).person, True
    zone = ZoneInfo(schedule.zone)
    for rotation in schedule.rotations:
        if rotation.people and _covers(rotation, zone, at):
            return rotation.people[_turn(rotation, zone, at) % len(rotation.people)], False
    return None, False


# -- turns ------------------------------------------------------------------------------------------


def _first(rotation: Rotation) -> datetime:
    return datetime.combine(rotation.starts, _time(rotation.handoff))


def _handoff(rotation: Rotation, zone: ZoneInfo, turn: int) -> datetime:
    """When a turn starts."""
    return first_instant(_first(rotation) + turn * rotation.every * _UNITS[rotation.unit], zone)


def _turn(rotation: Rotation, zone: ZoneInfo, at: datetime) -> int:
    """The number of the turn at an instant: guessed from the wall clock, then put right."""
    turn = (_wall(at, zone) - _first(rotation)) // (rotation.every * _UNITS[rotation.unit])
    while _handoff(rotation, zone, turn) > at:
        turn -= 1
    while _handoff(rotation, zone, turn + 1) <= at:
        turn += 1
    return turn


# -- hours of the day ---------------------------------------------------------------------------------


def _covers(rotation: Rotation, zone: ZoneInfo, at: datetime) -> bool:
    """Whether the rotation has started and its hours of the day hold the instant."""
    if at < first_instant(_first(rotation), zone):
        return False
    if rotation.from_hour is None or rotation.until_hour is None:
        return True
    today = _wall(at, zone).date()
    windows = (_window(rotation, zone, day) for day in (today - _DAY, today))
    return any(start <= at < end for start, end in windows)


def _window(rotation: Rotation, zone: ZoneInfo, day: date) -> tuple[datetime, datetime]:
    """The hours that begin on ``day``; they end on the next one when they pass midnight."""
    assert rotation.from_hour is not None and rotation.until_hour is not None
    begin, end = _time(rotation.from_hour), _time(rotation.until_hour)
    last_day = day if end > begin else day + _DAY
    return (
        first_instant(datetime.combine(day, begin), zone),
        last_instant(datetime.combine(last_day, end), zone),
    )


def _edges(
    schedule: OnCallSchedule, overrides: Iterable[OnCallOverride], start: datetime, end: datetime
) -> Iterator[datetime]:
    """Every instant strictly within the stretch at which who is on call may change."""
    zone = ZoneInfo(schedule.zone)
    for override in overrides:
        yield from (at for at in (override.starts_at, override.ends_at) if start < at < end)
    for rotation in schedule.rotations:
        yield from _covered_edges(rotation, zone, start, end)
        turn = max(0, _turn(rotation, zone, start))
        while (at := _handoff(rotation, zone, turn)) < end:
            if at > start:
                yield at
            turn += 1


def _covered_edges(rotation: Rotation, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """Where a rotation's coverage begins or ends."""
    first = first_instant(_first(rotation), zone)
    if start < first < end:
        yield first
    if rotation.from_hour is None or rotation.until_hour is None:
        return
    day = _wall(start, zone).date() - _DAY
    last = _wall(end, zone).date()
    while day <= last:
        yield from (at for at in _window(rotation, zone, day) if start < at < end)
        day += _DAY


def _time(text: str) -> time:
    return time.fromisoformat(text)
