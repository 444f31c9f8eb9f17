"""Windows of budgets as people write them: OpenSLO's ``timeWindow`` and Poise's short forms."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from poise.model.objective import Calendar, CalendarUnit, Window
from poise.model.period import longest_s
from poise.model.policy import DAY_S
from poise.spec import limits
from poise.spec.document import Node
from poise.spec.problems import BAD_VALUE, CONTRADICTION, MISSING_KEY, UNKNOWN_NAME, Report, shown
from poise.spec.read import Found
from poise.spec.shape import Text

WINDOW_S: Final = 28 * DAY_S
SHORTHAND: Final = Text(
    pattern=r"[1-9][0-9]{0,3}(m|h|d|w|M|Q|Y)",
    hint="A window is a number and a unit: m, h, d, w, M (months), Q (quarters) or Y (years), as in '28d'.",
    max_chars=10,
)
NAMED: Final = Text(
    pattern=r"[1-9][0-9]{0,3}(m|h|d|w|M|Q|Y)|day|week|month|quarter|year",
    hint="Write a rolling window as '28d', or one of the calendar: day, week, month, quarter, year, 2M.",
    max_chars=10,
)
_UNITS_S: Final = {"m": 60.0, "h": 3600.0, "d": DAY_S, "w": 7 * DAY_S}
_WORDS: Final = {"day": "1d", "week": "1w", "month": "1M", "quarter": "1Q", "year": "1Y"}
_CALENDAR_ONLY: Final = frozenset("MQY")
_SHORTEST_S: Final = 60.0
_STARTS: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?")


def rolling(text: str, place: Node, report: Report) -> Window | None:
    """A window that moves with time; None, and a problem, for one without a fixed length."""
    count, unit = int(text[:-1]), text[-1]
    if unit in _CALENDAR_ONLY:
        what = f"a rolling window needs a fixed length, and {shown(text)} has none"
        mend = "Write e.g. '30d', or align it with the calendar."
        report.add(BAD_VALUE, place, what, mend=mend)
        return None
    length_s = count * _UNITS_S[unit]
    if not _SHORTEST_S <= length_s <= limits.DURATION_S:
        what = f"the window {shown(text)} is out of range"
        report.add(BAD_VALUE, place, what, why="It lasts from 1m to 366d.", mend="Write e.g. '28d'.")
        return None
    return Window(window_s=length_s)


def aligned(text: str, zone: str, starts: str, place: Node, report: Report) -> Window | None:
    """A window of the calendar. ``m`` is read as months: nobody aligns a budget with minutes.

    Source: OpenSLO, examples/budgeting-method/timeslices-slo.yaml writes ``1m`` for one month.
    """
    count, unit = int(text[:-1]), CalendarUnit("M" if text[-1] == "m" else text[-1])
    calendar = Calendar(unit=unit, count=count, zone=zone, starts=starts.replace(" ", "T"))
    length_s = longest_s(calendar)
    if length_s > limits.DURATION_S + DAY_S:
        what = f"the window {shown(text)} is longer than a year"
        report.add(BAD_VALUE, place, what, mend="Write e.g. '1M', '1Q' or '1Y'.")
        return None
    return Window(window_s=length_s, calendar=calendar)


def named(text: str, zone: str, starts: str, place: Node, report: Report) -> Window | None:
    """Poise's short form: a word or M, Q, Y is of the calendar; everything else rolls."""
    if text in _WORDS or text[-1] in _CALENDAR_ONLY:
        return aligned(_WORDS.get(text, text), zone, starts or Calendar(unit=CalendarUnit.DAY).starts, place,
                       report)  # fmt: skip
    return rolling(text, place, report)


def openslo(item: Found, report: Report) -> Window | None:
    """One item of ``timeWindow``: rolling, or aligned with ``calendar``."""
    text = item.text("duration")
    is_rolling = item.values.get("rolling")
    if text is None:
        return None
    if "calendar" not in item.nodes:
        if is_rolling is False:
            what = "a window that does not roll needs 'calendar'"
            mend = "Add 'calendar: {startTime: 2026-01-01 00:00:00, timeZone: UTC}', or 'isRolling: true'."
            report.add(MISSING_KEY, item.at("isRolling"), what, mend=mend)
            return None
        return rolling(text, item.at("duration"), report)
    if is_rolling is True:
        what = "a window rolls or follows the calendar, not both"
        report.add(CONTRADICTION, item.at("isRolling"), what, mend="Remove 'calendar' or 'isRolling: true'.")
        return None
    zone, starts = item.text("zone"), item.text("starts")
    if zone is None or starts is None:
        return None
    before = len(report)
    check_zone(zone, item.at("calendar.timeZone"), report)
    check_starts(starts, item.at("calendar.startTime"), report)
    return aligned(text, zone, starts, item.at("duration"), report) if len(report) == before else None


def check_zone(zone: str, place: Node, report: Report) -> None:
    """Report a zone that IANA does not have."""
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):
        report.add(UNKNOWN_NAME, place, f"{shown(zone)} is not an IANA time zone",
                   mend="Write e.g. 'Europe/Berlin'.")  # fmt: skip


def check_starts(starts: str, place: Node, report: Report) -> None:
    """Report a start that is no wall time."""
    try:
        fits = _STARTS.fullmatch(starts) is not None and 1970 <= datetime.fromisoformat(starts).year < 2200
    except ValueError:
        fits = False
    if not fits:
        what = f"{shown(starts)} is not a wall time without a zone"
        report.add(BAD_VALUE, place, what, mend="Write e.g. '2026-01-01 00:00:00'.")
