"""Windows of budgets: which stretch of time an instant belongs to, and the ones before it. Pure.

Every period is half-open, [start, end), and calendar periods follow one another without gap or overlap,
whatever daylight saving does. A wall time that does not exist is the first instant after the gap; one that
exists twice is its first occurrence.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from poise.model.objective import Calendar, CalendarUnit, Window

HISTORY_MAX: Final = 120  # periods of a history
_MONTHS: Final = {CalendarUnit.MONTH: 1, CalendarUnit.QUARTER: 3, CalendarUnit.YEAR: 12}
_DAYS: Final = {CalendarUnit.DAY: 1, CalendarUnit.WEEK: 7}
_LONGEST_DAYS: Final = {
    CalendarUnit.HOUR: 1 / 24,
    CalendarUnit.DAY: 1,
    CalendarUnit.WEEK: 7,
    CalendarUnit.MONTH: 31,
    CalendarUnit.QUARTER: 92,
    CalendarUnit.YEAR: 366,
}
_WORDS: Final = {
    CalendarUnit.HOUR: "hour",
    CalendarUnit.DAY: "day",
    CalendarUnit.WEEK: "week",
    CalendarUnit.MONTH: "month",
    CalendarUnit.QUARTER: "quarter",
    CalendarUnit.YEAR: "year",
}


class Period(Struct, frozen=True, kw_only=True):
    """Half-open, [start, end): the stretch of time that one budget is for; both UTC."""

    start: datetime
    end: datetime

    @property
    def length_s(self) -> float:
        """Elapsed time, so a month with a change of daylight saving is an hour longer or shorter."""
        return (self.end - self.start).total_seconds()


def period(window: Window, at: datetime) -> Period:
    """The period that an instant belongs to; a rolling one ends at it. O(1).

    >>> months = Calendar(unit=CalendarUnit.MONTH, zone="Europe/Berlin")
    >>> found = period(Window(window_s=longest_s(months), calendar=months), datetime(2026, 3, 9, tzinfo=UTC))
    >>> f"{found.start:%d %b %H:%M} to {found.end:%d %b %H:%M}"
    '28 Feb 23:00 to 31 Mar 22:00'
    """
    if window.calendar is None:
        return Period(start=at - timedelta(seconds=window.window_s), end=at)
    calendar = window.calendar
    n = _near(calendar, at)
    while _edge(calendar, n) > at:
        n -= 1
    while _edge(calendar, n + 1) <= at:
        n += 1
    return Period(start=_edge(calendar, n), end=_edge(calendar, n + 1))


def history(window: Window, at: datetime, count: int) -> tuple[Period, ...]:
    """The last ``count`` periods, oldest first; the one that ``at`` belongs to is the last.

    Rolling periods follow one another back from ``at``. At most ``HISTORY_MAX``.
    """
    found = [period(window, at)]
    while len(found) < min(count, HISTORY_MAX):
        earlier = found[-1].start
        found.append(period(window, earlier if window.calendar is None else earlier - _INSTANT))
    return tuple(reversed(found))


def longest_s(calendar: Calendar) -> float:
    """How long a window lasts at most (a day with 25 hours included), for what must look back so far."""
    extra_s = 0.0 if calendar.unit is CalendarUnit.HOUR else 3600.0
    return calendar.count * _LONGEST_DAYS[calendar.unit] * 86_400.0 + extra_s


def name(window: Window) -> str:
    """The window as people call it: ``28d``, ``month (Europe/Berlin)``, ``2 weeks (UTC)``."""
    if window.calendar is None:
        hours = window.window_s / 3600.0
        if hours >= 24 and hours % 24 == 0:
            return f"{hours / 24:.0f}d"
        return f"{hours:.0f}h" if hours >= 1 and hours % 1 == 0 else f"{window.window_s / 60:g}m"
    word, count = _WORDS[window.calendar.unit], window.calendar.count
    return f"{word if count == 1 else f'{count} {word}s'} ({window.calendar.zone})"


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """Wall time (naive) as a UTC instant; in a gap the first one after it, if twice the first of the two."""
    local = wall.replace(tzinfo=zone, fold=0)
    instant = local.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    before, after = instant, wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _gap_end(min(before, after), max(before, after), zone)


_INSTANT: Final = timedelta(microseconds=1)


def _near(calendar: Calendar, at: datetime) -> int:
    """The number of a period at most one off."""
    starts = _starts(calendar.starts)
    local = at.astimezone(_zone(calendar.zone)).replace(tzinfo=None)
    if calendar.unit in _MONTHS:
        months = (local.year - starts.year) * 12 + local.month - starts.month
        return months // (_MONTHS[calendar.unit] * calendar.count)
    if calendar.unit in _DAYS:
        return (local - starts).days // (_DAYS[calendar.unit] * calendar.count)
    elapsed_s = (at - instant_of(starts, _zone(calendar.zone))).total_seconds()
    return int(elapsed_s // (3600 * calendar.count))


@lru_cache(maxsize=4096)
def _edge(calendar: Calendar, n: int) -> datetime:
    """The instant at which period ``n`` begins; period 0 begins at ``starts``."""
    starts, zone = _starts(calendar.starts), _zone(calendar.zone)
    if calendar.unit in _MONTHS:
        return instant_of(_months_on(starts, n * _MONTHS[calendar.unit] * calendar.count), zone)
    if calendar.unit in _DAYS:
        return instant_of(starts + timedelta(days=n * _DAYS[calendar.unit] * calendar.count), zone)
    return instant_of(starts, zone) + timedelta(hours=n * calendar.count)


def _months_on(wall: datetime, months: int) -> datetime:
    """The same day so many months on; the last of the month where it has no such day."""
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    first = wall.replace(year=year, month=month + 1, day=1)
    after = first.replace(year=year + 1, month=1) if month == 11 else first.replace(month=month + 2)
    return first.replace(day=min(wall.day, (after - first).days))


def _gap_end(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The instant in (low, high] at which the offset changes, to the second."""
    offset = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low).total_seconds() // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high


@lru_cache(maxsize=256)
def _starts(text: str) -> datetime:
    return datetime.fromisoformat(text)


@lru_cache(maxsize=256)
def _zone(key: str) -> ZoneInfo:
    return ZoneInfo(key)
