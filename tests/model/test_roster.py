"""Who is on call: shifts tile time in every zone, whatever its clocks do."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.model import roster
from poise.model.oncall import OnCallOverride, OnCallSchedule, Rotation, ShiftUnit
from poise.model.roster import first_instant, holes, last_instant, on_call, shifts

ZONES = (
    "Australia/Lord_Howe", "America/New_York", "Europe/Berlin", "Pacific/Apia", "Europe/Dublin",
    "Africa/Casablanca", "Asia/Kolkata", "America/St_Johns", "Antarctica/Troll", "Asia/Gaza", "UTC",
)  # fmt: skip
TEAM = ("anna", "ben", "cleo")


def schedule(zone: str, *rotations: Rotation) -> OnCallSchedule:
    return OnCallSchedule(project="shop", name="main", zone=zone, people=(), rotations=rotations)


def override(n: int, person: str, start: datetime, end: datetime, cancelled: bool = False) -> OnCallOverride:
    return OnCallOverride(
        project="shop", schedule="main", n=n, person=person, starts_at=start, ends_at=end, by="owner",
        reason="swap", at=start, cancelled=cancelled,
    )  # fmt: skip


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


wall = datetime.fromisoformat
rotations = st.builds(
    Rotation,
    people=st.sampled_from([TEAM, TEAM[:2], TEAM[:1]]),
    unit=st.sampled_from(ShiftUnit),
    every=st.integers(1, 12),
    starts=st.dates(date(2024, 1, 1), date(2024, 1, 31)),
    handoff=st.sampled_from(["00:00", "01:30", "02:00", "02:15", "02:30", "03:00", "09:00", "23:59"]),
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ZONES), rotations, st.integers(0, 6 * 365), st.randoms(use_true_random=False))
def test_shifts_tile_time_and_agree_with_who_is_on_call(
    zone: str, rotation: Rotation, day: int, dice: random.Random
) -> None:
    given_schedule = schedule(zone, rotation)
    start = utc(2024, 2, 5) + timedelta(days=day)
    end = start + timedelta(days=45)
    found = shifts(given_schedule, (), start, end)
    assert (found[0].starts_at, found[-1].ends_at) == (start, end)
    assert all(one.ends_at == two.starts_at for one, two in pairwise(found))
    assert all(one.starts_at < one.ends_at for one in found)
    for shift in found[:20]:
        inside = shift.starts_at + (shift.ends_at - shift.starts_at) * dice.random() * 0.999
        for at in (shift.starts_at, inside, shift.ends_at - timedelta(microseconds=1)):
            assert on_call(given_schedule, (), at) == shift.person


@pytest.mark.parametrize("zone", ZONES)
def test_every_handoff_of_seven_years_is_at_the_wall_time_and_leaves_no_gap(zone: str) -> None:
    given_schedule = schedule(
        zone, Rotation(people=TEAM, unit=ShiftUnit.DAILY, starts=date(2024, 1, 1), handoff="02:15")
    )
    found = shifts(given_schedule, (), utc(2024, 1, 3), utc(2031, 1, 1))
    assert all(one.ends_at == two.starts_at for one, two in pairwise(found))
    walls = [shift.starts_at.astimezone(ZoneInfo(zone)) for shift in found[1:]]
    off = [wall for wall in walls if (wall.hour, wall.minute) != (2, 15)]
    assert len(found) in (2555, 2556)
    assert len(off) <= 14  # at most two changes of clocks a year; after the gap, never before it
    assert all((wall.hour, wall.minute) > (2, 15) for wall in off)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZONES), st.sampled_from(["02:00", "02:15", "09:00", "22:30"]), st.integers(0, 2500))
def test_two_rotations_that_share_the_day_leave_no_gap_where_clocks_change(
    zone: str, edge: str, day: int
) -> None:
    """Hours end at the last occurrence of their wall time, and begin at the first: an overlap, no gap."""
    other = "17:45"
    first = Rotation(people=("anna",), starts=date(2024, 1, 1), from_hour=edge, until_hour=other)
    second = Rotation(people=("ben",), starts=date(2024, 1, 1), from_hour=other, until_hour=edge)
    both = schedule(zone, first, second)
    start = utc(2024, 1, 9) + timedelta(days=day)
    found = shifts(both, (), start, start + timedelta(days=30))
    assert all(one.ends_at == two.starts_at for one, two in pairwise(found))
    assert (found[0].starts_at, found[-1].ends_at) == (start, start + timedelta(days=30))


def test_a_wall_time_that_does_not_exist_is_the_first_instant_after_the_gap() -> None:
    new_york, lord_howe = ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")
    assert first_instant(wall("2026-03-08T02:30"), new_york) == utc(2026, 3, 8, 7)  # 03:00 EDT
    assert first_instant(wall("2026-10-04T02:10"), lord_howe) == utc(2026, 10, 3, 15, 30)  # 02:30 +11
    assert first_instant(wall("2011-12-30T09:00"), ZoneInfo("Pacific/Apia")) == utc(2011, 12, 30, 10)


def test_a_shift_starts_at_the_first_of_two_occurrences_and_hours_end_at_the_last() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    twice = wall("2026-10-25T02:30")
    assert (first_instant(twice, berlin), last_instant(twice, berlin)) == (
        utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 30),
    )  # fmt: skip


def test_hourly_turns_align_to_the_wall_clock() -> None:
    """Six-hour turns start at 00, 06, 12 and 18 on the day that has 23 hours, too."""
    turns = Rotation(people=TEAM, unit=ShiftUnit.HOURLY, every=6, starts=date(2026, 1, 1), handoff="00:00")
    found = shifts(schedule("Europe/Berlin", turns), (), utc(2026, 3, 28, 23), utc(2026, 3, 29, 22))
    zone = ZoneInfo("Europe/Berlin")
    assert [shift.starts_at.astimezone(zone).hour for shift in found] == [0, 6, 12, 18]
    assert found[0].ends_at - found[0].starts_at == timedelta(hours=5)


def test_a_weekly_handoff_keeps_its_wall_time_through_the_year() -> None:
    weekly = Rotation(people=("anna", "ben"), starts=date(2026, 1, 5))
    found = shifts(schedule("Europe/Berlin", weekly), (), utc(2026, 1, 6), utc(2026, 12, 1))
    zone = ZoneInfo("Europe/Berlin")
    starts = [shift.starts_at.astimezone(zone) for shift in found[1:]]
    assert {(at.weekday(), at.hour, at.minute) for at in starts} == {(0, 9, 0)}
    assert [shift.person for shift in found[:3]] == ["anna", "ben", "anna"]


def test_the_newest_override_that_covers_wins_and_a_cancelled_one_does_not() -> None:
    weekly = schedule("UTC", Rotation(people=("anna",), starts=date(2026, 1, 5)))
    day = utc(2026, 2, 2)
    given_overrides = (
        override(1, "ben", day, day + timedelta(hours=8)),
        override(2, "cleo", day + timedelta(hours=2), day + timedelta(hours=4)),
        override(3, "dora", day, day + timedelta(hours=8), cancelled=True),
    )
    found = shifts(weekly, given_overrides, day - timedelta(hours=1), day + timedelta(hours=9))
    assert [(shift.person, shift.override) for shift in found] == [
        ("anna", False), ("ben", True), ("cleo", True), ("ben", True), ("anna", False),
    ]  # fmt: skip
    assert on_call(weekly, given_overrides, day + timedelta(hours=3)) == "cleo"


def test_before_its_start_a_rotation_covers_nobody() -> None:
    weekly = schedule("UTC", Rotation(people=("anna",), starts=date(2026, 1, 5)))
    assert on_call(weekly, (), utc(2026, 1, 5, 8, 59)) is None
    assert on_call(weekly, (), utc(2026, 1, 5, 9)) == "anna"
    assert shifts(weekly, (), utc(2026, 1, 1), utc(2026, 1, 5)) == ()


def test_holes_are_found_from_the_rules_alone() -> None:
    office = Rotation(people=TEAM, starts=date(2026, 1, 5), from_hour="09:00", until_hour="17:00")
    night = Rotation(people=TEAM, starts=date(2026, 1, 5), from_hour="17:00", until_hour="09:00")
    found = holes(schedule("Europe/Berlin", office))
    assert (found[0].starts_at, found[0].ends_at) == (utc(2026, 1, 5, 16), utc(2026, 1, 6, 8))
    assert len(found) in (364, 365)
    assert holes(schedule("Europe/Berlin", office, night)) == ()
    assert holes(schedule("Europe/Berlin", Rotation(people=TEAM, starts=date(2026, 1, 5)))) == ()


def test_a_rotation_that_starts_later_leaves_a_hole_before_it() -> None:
    office = Rotation(people=TEAM, starts=date(2026, 1, 5), from_hour="09:00", until_hour="17:00")
    late = Rotation(people=TEAM, starts=date(2026, 1, 7))
    assert len(holes(schedule("UTC", office, late))) == 2


def test_a_far_instant_is_reached_by_a_jump() -> None:
    """Fifty years of hourly turns are not walked through: the answer takes a bounded number of steps."""
    hourly = schedule(
        "Australia/Lord_Howe", Rotation(people=TEAM, unit=ShiftUnit.HOURLY, starts=date(1980, 1, 1))
    )
    roster._instant.cache_clear()
    assert on_call(hourly, (), utc(2030, 6, 1)) in TEAM
    assert roster._instant.cache_info().misses < 12
