"""Windows of budgets: tables of the calendar, and what holds of every window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.model.objective import Calendar, CalendarUnit, Window
from poise.model.period import HISTORY_MAX, history, longest_s, name, period

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]


def calendar(unit: CalendarUnit, zone: str, count: int = 1, starts: str = "2024-01-01T00:00:00") -> Window:
    made = Calendar(unit=unit, zone=zone, count=count, starts=starts)
    return Window(window_s=longest_s(made), calendar=made)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


M, Q, Y, W, D, H = (CalendarUnit(unit) for unit in "MQYwdh")
NEW_YEAR, BERLIN, NEW_YORK = "2024-01-01T00:00:00", "Europe/Berlin", "America/New_York"
TABLE = [
    # unit, zone, count, starts, at (UTC), start (UTC), end (UTC)
    (M, "UTC", 1, NEW_YEAR, "2026-02-10", "2026-02-01", "2026-03-01"),
    (M, "UTC", 1, NEW_YEAR, "2024-02-29T23:59:59", "2024-02-01", "2024-03-01"),
    (M, "UTC", 1, NEW_YEAR, "2026-03-01", "2026-03-01", "2026-04-01"),
    (M, BERLIN, 1, NEW_YEAR, "2026-03-15", "2026-02-28T23:00", "2026-03-31T22:00"),
    (M, BERLIN, 1, NEW_YEAR, "2026-10-31T22:59", "2026-09-30T22:00", "2026-10-31T23:00"),
    (M, NEW_YORK, 1, "2022-01-01T12:00:00", "2026-03-01T16:59", "2026-02-01T17:00", "2026-03-01T17:00"),
    (M, "UTC", 1, "2024-01-31T00:00:00", "2026-02-20", "2026-01-31", "2026-02-28"),
    (M, "UTC", 2, NEW_YEAR, "2026-02-10", "2026-01-01", "2026-03-01"),
    (M, "UTC", 1, "2030-01-01T00:00:00", "2026-02-10", "2026-02-01", "2026-03-01"),
    (Q, "UTC", 1, NEW_YEAR, "2026-05-10", "2026-04-01", "2026-07-01"),
    (Q, "UTC", 1, "2024-02-01T00:00:00", "2026-05-10", "2026-05-01", "2026-08-01"),
    (Y, "UTC", 1, NEW_YEAR, "2026-12-31T23:59", "2026-01-01", "2027-01-01"),
    (Y, "UTC", 1, "2023-04-01T00:00:00", "2026-03-31", "2025-04-01", "2026-04-01"),
    (W, "UTC", 1, NEW_YEAR, "2026-11-26", "2026-11-23", "2026-11-30"),
    (W, BERLIN, 1, NEW_YEAR, "2026-03-29T12:00", "2026-03-22T23:00", "2026-03-29T22:00"),
    (W, "UTC", 2, NEW_YEAR, "2024-01-09", "2024-01-01", "2024-01-15"),
    (D, BERLIN, 1, NEW_YEAR, "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
    (D, BERLIN, 1, NEW_YEAR, "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
    (D, "Asia/Kathmandu", 1, NEW_YEAR, "2026-10-25T18:15", "2026-10-25T18:15", "2026-10-26T18:15"),
    # 02:30 does not exist on 29 March: the day begins with the first instant after the gap
    (D, BERLIN, 1, "2024-01-01T02:30:00", "2026-03-29T12:00", "2026-03-29T01:00", "2026-03-30T00:30"),
    # 02:30 exists twice on 25 October: the first of the two
    (D, BERLIN, 1, "2024-01-01T02:30:00", "2026-10-25T00:30", "2026-10-25T00:30", "2026-10-26T01:30"),
    (H, BERLIN, 6, NEW_YEAR, "2026-07-01T05:00", "2026-07-01T05:00", "2026-07-01T11:00"),
]  # fmt: skip


@pytest.mark.parametrize(("unit", "zone", "count", "starts", "at", "start", "end"), TABLE)
def test_a_calendar_period_is_what_the_calendar_of_the_zone_says(
    unit: CalendarUnit, zone: str, count: int, starts: str, at: str, start: str, end: str
) -> None:
    """A contract counts months where the customer lives, daylight saving and short months included."""
    found = period(calendar(unit, zone, count, starts), utc(at))
    assert (found.start, found.end) == (utc(start), utc(end))


def test_a_month_with_a_change_of_daylight_saving_is_an_hour_off() -> None:
    """Budgets of time-slices are shares of the length that really passes."""
    month = calendar(M, "Europe/Berlin")
    lengths = [period(month, utc(at)).length_s / 3600 for at in ("2026-03-10", "2026-10-10", "2026-05-10")]
    assert lengths == [31 * 24 - 1, 31 * 24 + 1, 31 * 24]


def test_a_rolling_period_ends_now() -> None:
    """The usual window."""
    found = period(Window(window_s=28 * 86_400.0), utc("2026-11-26"))
    assert (found.start, found.end) == (utc("2026-10-29"), utc("2026-11-26"))


def test_the_history_of_months_ends_with_this_one() -> None:
    """People ask how the last months went."""
    found = history(calendar(M, "America/New_York"), utc("2026-04-10"), 3)
    starts = ("2026-02-01T05:00", "2026-03-01T05:00", "2026-04-01T04:00")
    assert [one.start for one in found] == [utc(start) for start in starts]
    assert len(history(calendar(D, "UTC"), utc("2026-04-10"), 10**6)) == HISTORY_MAX


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (Window(window_s=28 * 86_400.0), "28d"),
        (Window(window_s=3600.0), "1h"),
        (Window(window_s=300.0), "5m"),
        (calendar(M, "Europe/Berlin"), "month (Europe/Berlin)"),
        (calendar(W, "UTC", 2), "2 weeks (UTC)"),
    ],
)
def test_a_window_has_a_name(window: Window, said: str) -> None:
    """Pages and the command line call it alike."""
    assert name(window) == said


instants = st.integers(1_100_000_000, 2_200_000_000).map(lambda at: datetime.fromtimestamp(at, UTC))
calendars = st.builds(
    calendar,
    unit=st.sampled_from(list(CalendarUnit)),
    zone=st.sampled_from(ZONES),
    count=st.integers(1, 5),
    starts=st.integers(950_000_000, 1_900_000_000).map(
        lambda at: f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}"
    ),
)


@given(window=calendars, at=instants)
def test_every_instant_is_in_exactly_one_period(window: Window, at: datetime) -> None:
    """A gap would lose failures, an overlap would count them twice."""
    found = period(window, at)
    assert found.start <= at < found.end
    assert period(window, found.start) == found
    assert period(window, found.end - timedelta(microseconds=1)) == found
    assert period(window, found.end).start == found.end


@given(window=calendars, at=instants, count=st.integers(1, 8))
def test_a_history_has_no_gap_and_no_period_is_longer_than_told(
    window: Window, at: datetime, count: int
) -> None:
    """What is kept is sized by the longest one."""
    found = history(window, at, count)
    assert len(found) == count
    assert all(one.end == next_.start for one, next_ in pairwise(found))
    assert all(0 < one.length_s <= window.window_s for one in found)
