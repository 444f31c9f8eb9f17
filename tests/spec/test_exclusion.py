"""Exclusions as people write them, and when they happen."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.model.exclusion import Exclusion
from poise.spec.problems import Problems
from poise.spec.recurrence import EVENTS_MAX, NotARule, check, stretches
from poise.spec.service import parse_project

FILE = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec: {command: x, port: 1}
---
apiVersion: poise.dev/v1
kind: Exclusion
metadata: {name: night-work}
spec: %s
"""
WEEKLY = (
    "{reason: database, firstEventStart: 2026-03-22 02:00:00, zone: Europe/Berlin, duration: 1h, "
    "rrule: FREQ=WEEKLY, slos: [shop/latency, shop]}"
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def exclusion(starts: str, rrule: str = "", zone: str = "UTC", hours: float = 1.0) -> Exclusion:
    return Exclusion(
        project="acme", name="x", starts=starts, duration_s=hours * 3600, reason="r", by="ann", rrule=rrule,
        zone=zone,
    )  # fmt: skip


def begins(one: Exclusion, start: str, end: str) -> list[str]:
    found = stretches(one, utc(start), utc(end))
    return [f"{datetime.fromtimestamp(begin, UTC):%m-%d %H:%M}" for begin, _ in found]


def test_it_is_declared_with_a_reason_and_for_named_objectives() -> None:
    """Who reads the budget later wants to know why and for what."""
    (found,) = parse_project(FILE % WEEKLY, project="acme").exclusions
    assert found == Exclusion(
        project="acme", name="night-work", starts="2026-03-22 02:00:00", duration_s=3600.0, reason="database",
        by="poise.yaml", rrule="FREQ=WEEKLY", zone="Europe/Berlin",
        objectives=("acme/production/shop/latency", "acme/production/shop"),
    )  # fmt: skip
    assert found.key == "acme/declared/night-work"


def test_wall_time_stays_what_it_is_over_daylight_saving() -> None:
    """The job runs at 02:00 on people's clocks; where there is no such hour it begins after the gap."""
    (one,) = parse_project(FILE % WEEKLY, project="acme").exclusions
    assert begins(one, "2026-03-20", "2026-04-10") == ["03-22 01:00", "03-29 01:00", "04-05 00:00"]


TABLE = [
    ("2026-01-05T02:00:00", "", "2026-01-01", "2026-02-01", ["01-05 02:00"]),
    ("2026-01-05T02:00:00+01:00", "", "2026-01-01", "2026-02-01", ["01-05 01:00"]),
    ("2026-01-05T02:00:00Z", "", "2026-01-05T02:30", "2026-01-05T02:40", ["01-05 02:00"]),
    ("2026-01-05T02:00:00", "", "2026-01-05T03:00", "2026-01-06", []),
    ("2026-01-05", "FREQ=DAILY;COUNT=3", "2026-01-01", "2026-02-01",
     ["01-05 00:00", "01-06 00:00", "01-07 00:00"]),
    ("2026-01-05", "FREQ=DAILY;UNTIL=20260106T000000Z", "2026-01-01", "2026-02-01",
     ["01-05 00:00", "01-06 00:00"]),
    ("2026-01-05", "RRULE:FREQ=WEEKLY;BYDAY=MO,TH;INTERVAL=2", "2026-01-05", "2026-01-25",
     ["01-05 00:00", "01-08 00:00", "01-19 00:00", "01-22 00:00"]),
    ("2026-01-01", "FREQ=MONTHLY;BYDAY=-1FR", "2026-01-01", "2026-03-10", ["01-30 00:00", "02-27 00:00"]),
    ("2026-01-31", "FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-01", "2026-03-10", ["01-31 00:00", "02-28 00:00"]),
    ("2020-02-29", "FREQ=YEARLY", "2021-01-01", "2029-01-01", ["02-29 00:00", "02-29 00:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("starts", "rrule", "start", "end", "expected"), TABLE)
def test_events_are_what_rfc_5545_says(
    starts: str, rrule: str, start: str, end: str, expected: list[str]
) -> None:
    """The calendar of the team that does the work."""
    one = exclusion(starts, rrule)
    check(one)
    assert begins(one, start, end) == expected


@given(
    days=st.integers(1, 6), hours=st.integers(1, 30), first=st.integers(0, 2000), length=st.integers(1, 1500)
)
def test_events_equal_counting_by_hand(days: int, hours: int, first: int, length: int) -> None:
    """Every event that reaches into the stretch, and no other."""
    one = exclusion("2026-01-01", f"FREQ=DAILY;INTERVAL={days}", hours=hours)
    origin = utc("2026-01-01").timestamp()
    start, end = origin + first * 3600.0, origin + (first + length) * 3600.0
    found = stretches(one, datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
    every = (origin + n * days * 86_400.0 for n in range(1000))
    assert found == tuple(
        (at, at + hours * 3600.0) for at in every if at < end and at + hours * 3600.0 > start
    )


def test_a_rule_of_many_years_stays_within_its_limit() -> None:
    """The newest ones matter."""
    one = exclusion("2001-01-01", "FREQ=DAILY")
    found = stretches(one, utc("2001-01-01"), utc("2026-01-01"))
    assert len(found) == EVENTS_MAX and found[-1][0] == utc("2025-12-31").timestamp()


@pytest.mark.parametrize(
    ("rrule", "told"),
    [
        ("FREQ=HOURLY", "FREQ=HOURLY is not read"),
        ("BYDAY=MO", "no FREQ"),
        ("FREQ=DAILY;FOO=1", "'FOO' is not read"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "no such month has such a day"),
        ("FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=31;UNTIL=20260201", "never happens"),
        ("FREQ=DAILY;COUNT=1;UNTIL=20260101", "COUNT or by UNTIL"),
        ("FREQ=DAILY;UNTIL=20261301", "cannot be read"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY=XX is not read"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(rrule: str, told: str) -> None:
    """A rule that never happens is a mistake that nobody would see."""
    with pytest.raises(NotARule, match=told):
        check(exclusion("2026-02-05T00:00:00", rrule))


@pytest.mark.parametrize(
    ("spec", "told", "place"),
    [
        (WEEKLY.replace("shop]", "shp]"), "S115 no service or objective 'shp'", "9:125"),
        (WEEKLY.replace("Berlin", "Berln"), "S113 'Europe/Berln' is not an IANA", "9:70"),
        (WEEKLY.replace("FREQ=WEEKLY", "FREQ=WEEKLI"), "S113 FREQ=WEEKLI is not read", "9:106"),
        (
            WEEKLY.replace("2026-03-22 02:00:00", "next Sunday"),
            "S113 'next Sunday' is not an instant",
            "9:43",
        ),
        (WEEKLY.replace("1h", "40d"), "S113 'duration'", "9:95"),
        (WEEKLY.replace("reason: database, ", ""), "S111 'spec' has no 'reason'", "9:7"),
        (WEEKLY.replace("slos:", "environments: [prod], slos:"), "S115 no environment 'prod'", "9:133"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(spec: str, told: str, place: str) -> None:
    """Maintenance that is not excluded after all freezes a team."""
    with pytest.raises(Problems) as caught:
        parse_project(FILE % spec, project="acme")
    first = caught.value.problems[0]
    assert f"{first.code} {first.what}".startswith(f"POISE-{told}")
    assert first.where == f"poise.yaml:{place}" and first.mend
