"""When what is declared by the calendar happens: its events, by an RFC 5545 rule, as stretches of time.

A subset of the rules is read: days, weeks, months and years. Each of them ends, so that no rule can keep the
server busy; one that never happens is refused where it is written.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr  # type: ignore[import-untyped]

from poise.model.exclusion import Stretch
from poise.model.period import instant_of

EVENTS_MAX: Final = 2000  # of one declaration in one expansion; more are left out, the newest first kept
LENGTH_MAX: Final = 500
_PARTS: Final = {
    "FREQ": re.compile(r"DAILY|WEEKLY|MONTHLY|YEARLY"),
    "INTERVAL": re.compile(r"[1-9][0-9]{0,2}"),
    "COUNT": re.compile(r"[1-9][0-9]{0,3}"),
    "UNTIL": re.compile(r"[0-9]{8}(T[0-9]{6}Z?)?"),
    "BYDAY": re.compile(r"[+-]?[1-5]?(MO|TU|WE|TH|FR|SA|SU)(,[+-]?[1-5]?(MO|TU|WE|TH|FR|SA|SU))*"),
    "BYMONTHDAY": re.compile(r"-?([1-9]|[12][0-9]|3[01])(,-?([1-9]|[12][0-9]|3[01]))*"),
    "BYMONTH": re.compile(r"([1-9]|1[0-2])(,([1-9]|1[0-2]))*"),
    "BYSETPOS": re.compile(r"-?1"),
    "WKST": re.compile(r"MO|TU|WE|TH|FR|SA|SU"),
}
_LEAP_YEAR: Final = 2024


class Recurring(Protocol):
    """What happens once, or again and again: an exclusion, a freeze window.

    ``starts`` is the first event's start, an instant or wall time in ``zone``; each lasts ``duration_s``;
    ``rrule`` (RFC 5545, empty: none) repeats it.
    """

    @property
    def starts(self) -> str: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def rrule(self) -> str: ...
    @property
    def zone(self) -> str: ...


class NotARule(ValueError):
    """What is not read (``key``: zone, starts or rrule), with what is wrong and a mend."""

    def __init__(self, what: str, mend: str, key: str = "rrule") -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend
        self.key = key


def check(one: Recurring) -> None:
    """Raise ``NotARule`` for a start, zone or rule that cannot be read, or that never happens."""
    zone = _zone(one.zone)
    _wall(one.starts, zone)
    if one.rrule:
        _check_parts(one.rrule)
        if next(iter(_rule(one, zone)), None) is None:
            raise NotARule("this rule never happens", "Change it, or remove it for a single event.")


def stretches(one: Recurring, start: datetime, end: datetime) -> tuple[Stretch, ...]:
    """Its events that reach into [start, end), ascending, UTC epoch seconds, not clipped.

    O(events since its first one). Wall time follows the zone: 02:00 stays 02:00 after a change of daylight
    saving; each event lasts ``duration_s`` of elapsed time.
    """
    zone = _zone(one.zone)
    first, length = _wall(one.starts, zone), timedelta(seconds=one.duration_s)
    if not one.rrule:
        found = [first]
    else:
        low = (start - length).astimezone(zone).replace(tzinfo=None) - timedelta(hours=3)
        high = end.astimezone(zone).replace(tzinfo=None) + timedelta(hours=3)
        found = _rule(one, zone).between(low, high, inc=True)[-EVENTS_MAX - 2 :]
    begins = [instant_of(one, zone) for one in found]
    inside = [begin for begin in begins if begin < end and begin + length > start]
    return tuple((begin.timestamp(), (begin + length).timestamp()) for begin in inside[-EVENTS_MAX:])


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise NotARule(f"{name!r} is not an IANA time zone", "Write e.g. 'Europe/Berlin'.", "zone") from None


def _wall(text: str, zone: ZoneInfo) -> datetime:
    """The first event's wall time in the zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise NotARule(f"{text!r} is not an instant", "Write e.g. '2026-01-05T02:00:00'.", "starts") from None
    if not 2000 <= at.year < 2200:
        raise NotARule(f"the year {at.year} is out of range", "Write a year from 2000 to 2199.", "starts")
    return at if at.tzinfo is None else at.astimezone(zone).replace(tzinfo=None)


def _check_parts(text: str) -> None:
    if len(text) > LENGTH_MAX:
        raise NotARule("the rule is too long", f"Use at most {LENGTH_MAX} characters.")
    parts = dict(part.partition("=")[::2] for part in text.removeprefix("RRULE:").split(";"))
    for name, value in parts.items():
        if name not in _PARTS:
            raise NotARule(f"{name[:30]!r} is not read in a rule", f"Known here: {', '.join(_PARTS)}.")
        if not _PARTS[name].fullmatch(value):
            raise NotARule(f"{name}={value[:30]} is not read", "Write e.g. 'FREQ=WEEKLY;BYDAY=MO'.")
    if "FREQ" not in parts:
        raise NotARule("the rule has no FREQ", "Write e.g. 'FREQ=WEEKLY;BYDAY=MO'.")
    if "COUNT" in parts and "UNTIL" in parts:
        raise NotARule("a rule ends by COUNT or by UNTIL", "Keep one of the two.")
    _check_days(parts)


def _check_days(parts: dict[str, str]) -> None:
    """Whether some month has such a day at all: dateutil would look for it until the year 9999."""
    if "BYMONTHDAY" not in parts:
        return
    months = [int(one) for one in parts.get("BYMONTH", "1").split(",")]
    longest = max(monthrange(_LEAP_YEAR, month)[1] for month in months)
    if all(abs(int(day)) > longest for day in parts["BYMONTHDAY"].split(",")):
        raise NotARule("no such month has such a day", "Change BYMONTHDAY or BYMONTH.")


def _rule(one: Recurring, zone: ZoneInfo):  # type: ignore[no-untyped-def]
    text = one.rrule.removeprefix("RRULE:")
    until = re.search(r"UNTIL=([0-9]{8}T[0-9]{6})Z", text)
    if until is not None:  # dateutil wants it in the kind of time that the start has: wall time
        instant = datetime.strptime(until[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        text = text.replace(until[0], f"UNTIL={instant.astimezone(zone):%Y%m%dT%H%M%S}")
    try:
        return rrulestr(text, dtstart=_wall(one.starts, zone))
    except (ValueError, TypeError) as error:
        raise NotARule(f"the rule cannot be read: {error}", "Write e.g. 'FREQ=WEEKLY;BYDAY=MO'.") from None
