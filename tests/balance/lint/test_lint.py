"""A corpus seeded with every defect that is known of SLO tools, and nothing said of what is healthy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.balance.lint.finding import Finding, Measured, RoleSeen, Severity
from poise.balance.lint.rules import lint, traffic_bound_per_h
from poise.model.objective import (
    Calendar,
    CalendarUnit,
    Gauge,
    IndicatorKind,
    Method,
    Objective,
    Queries,
    Slicing,
)
from poise.model.policy import Alerting, AlertTier, BudgetPolicy, BurnTier

SHOP = Objective(
    service="acme/production/shop",
    name="orders",
    indicator=IndicatorKind.QUERY,
    target_ratio=0.999,
    queries=Queries(total="orders_total", good='orders_total{code="200"}'),
)
HOURS = 168


def healthy(per_h: float = 10_000.0, **more: Any) -> Measured:
    """A week of traffic with a fault now and then."""
    total = np.full(HOURS, per_h)
    bad = np.where(np.arange(HOURS) % 24 == 7, 0.002 * per_h, 0.0)
    roles = {
        "total": RoleSeen(text="orders_total", series=2, interval_s=60.0, steps=10_000, decreases=2),
        "good": RoleSeen(text='orders_total{code="200"}', series=1, interval_s=60.0, steps=10_000),
    }
    made = Measured(roles=roles, good=total - bad, total=total, lasted_s=HOURS * 3600.0)
    return replace(made, **more)


def role(**more: Any) -> dict[str, RoleSeen]:
    roles = healthy().roles
    return {"total": replace(roles["total"], **more), "good": roles["good"]}


def found(
    one: Objective = SHOP, seen: Measured | None = None, policy: BudgetPolicy | None = None
) -> list[Finding]:
    places = {one.key: "slo.yaml:3:18"}
    return list(lint([one], policy or BudgetPolicy(), places, None if seen is None else {one.key: seen}))


CALENDAR = Calendar(unit=CalendarUnit.MONTH, zone="Europe/Berlin", starts="2026-01-01T00:00:00")
STATIC = [
    ("tier-cannot-fire", "warning", replace(SHOP, target_ratio=0.93)),
    ("tier-cannot-fire", "error", replace(SHOP, target_ratio=0.5)),
    ("same-counters", "error", replace(SHOP, queries=Queries(total="a_total", good=" a_total"))),
    ("same-counters", "error", replace(SHOP, queries=Queries(total='a{x="1"}', bad='a{x="1"}'))),
    ("tier-over-window", "warning", replace(SHOP, window_s=3600.0)),
    ("fixed-zone", "warning", replace(SHOP, calendar=replace(CALENDAR, zone="EST"))),
    ("fixed-zone", "warning", replace(SHOP, calendar=replace(CALENDAR, zone="Etc/GMT+5"))),
    ("short-months", "warning", replace(SHOP, calendar=replace(CALENDAR, starts="2026-01-31T00:00:00"))),
    ("skipped-hour", "warning", replace(SHOP, calendar=replace(CALENDAR, starts="2026-03-29T02:30:00"))),
    ("values-not-events", "warning", replace(SHOP, indicator=IndicatorKind.RAW_RATIO, queries=None,
                                             gauge=Gauge(query="ratio"))),
]  # fmt: skip
TOTAL = np.full(HOURS, 10_000.0)
MEASURED = [
    ("unreachable", "error", healthy(problem="it does not answer", mend="Start it.")),
    (
        "no-series",
        "error",
        healthy(roles=role(series=0, missing="there is no metric orders_total", mend="x")),
    ),
    (
        "missing-label",
        "error",
        healthy(roles=role(series=0, missing="orders_total has no label 'code'", mend="x")),
    ),
    ("not-a-counter", "error", healthy(roles=role(decreases=4000))),
    ("window-under-two-scrapes", "error", healthy(roles=role(interval_s=200.0))),
    ("stale-between-scrapes", "error", healthy(roles=role(interval_s=120.0))),
    ("good-over-total", "error", healthy(good=TOTAL + 100.0)),
    ("good-over-total", "error", healthy(good=TOTAL - 3 * TOTAL)),
    ("low-traffic", "warning", healthy(per_h=60.0)),
    ("no-traffic", "warning", healthy(good=np.zeros(HOURS), total=np.zeros(HOURS))),
    ("no-burn", "warning", healthy(good=TOTAL)),
    ("constant-burn", "warning", healthy(good=0.95 * TOTAL)),
    ("gaps", "warning", healthy(known_ratio=0.7)),
]


@pytest.mark.parametrize(("rule", "severity", "one"), STATIC)
def test_what_cannot_work_is_found_without_data(rule: str, severity: str, one: Objective) -> None:
    """These mistakes are visible in the file alone; a review would miss them."""
    (finding,) = [each for each in found(one) if each.rule == rule][:1]
    assert finding.severity.value == severity and finding.where == "slo.yaml:3:18"
    assert finding.what and finding.mend


@pytest.mark.parametrize(("rule", "severity", "seen"), MEASURED)
def test_what_the_data_says_against_it_is_found(rule: str, severity: str, seen: Measured) -> None:
    """Most dead objectives are dead because of what is counted, not of how they are written."""
    (finding,) = [each for each in found(seen=seen) if each.rule == rule][:1]
    assert finding.severity.value == severity and finding.mend


def test_a_healthy_objective_is_left_in_peace() -> None:
    """A linter that cries wolf is turned off."""
    assert found(seen=healthy()) == []
    assert found(replace(SHOP, calendar=CALENDAR), healthy()) == []


def test_a_slice_needs_two_scrapes_as_well() -> None:
    """A minute of one scrape is judged by one delta."""
    one = replace(SHOP, method=Method.TIMESLICES, slicing=Slicing(slice_s=60.0, target_ratio=0.9))
    rules = [each.what for each in found(one, healthy()) if each.rule == "window-under-two-scrapes"]
    assert rules and "time slice of 1m" in rules[0]


def test_what_dependencies_do_not_allow_is_said() -> None:
    """Nobody can be better than what they stand on."""
    payments = replace(SHOP, service="acme/production/payments", name="paid", target_ratio=0.99)
    shop = replace(SHOP, requires=(payments.key,))
    (finding,) = lint([shop, payments], BudgetPolicy(), {})
    assert (finding.rule, finding.objective, finding.severity) == ("infeasible", shop.key, Severity.ERROR)
    assert "99 %" in finding.mend


def test_no_series_of_failures_is_no_error() -> None:
    """A service that never failed has no such series yet."""
    roles = {**healthy().roles, "bad": RoleSeen(text="x", is_part=True, missing="no series of it has 500")}
    (finding,) = [each for each in found(seen=healthy(roles=roles)) if each.rule == "no-series"]
    assert finding.severity is Severity.WARNING


@given(st.floats(0.9, 0.99999), st.sampled_from([14.4, 6.0, 3.0]), st.sampled_from([3600.0, 21_600.0]))
def test_below_the_bound_one_failure_is_over_the_tier(target: float, factor: float, long_s: float) -> None:
    """The bound is the workbook's arithmetic, not a rule of thumb."""
    tier = BurnTier(long_s=long_s, short_s=long_s / 12, factor=factor)
    bound = traffic_bound_per_h(replace(SHOP, target_ratio=target), tier)
    for per_h, is_over in ((bound * 0.99, True), (bound * 1.01, False)):
        rate = 1.0 / (per_h * long_s / 3600.0) / (1.0 - target)
        assert (rate > factor) is is_over


def test_own_tiers_are_looked_over_instead_of_the_policys() -> None:
    """One that cannot fire is a mistake of the file itself, whoever else alerts."""
    mute = AlertTier(long_s=3600, short_s=300, factor=30)
    own = replace(SHOP, target_ratio=0.9, alerts=Alerting(tiers=(mute,)))
    (dead,) = [one for one in found(own) if one.rule == "tier-cannot-fire"]
    assert dead.severity is Severity.ERROR and "in its alerts" in dead.mend and "30x" in dead.what
    heard = replace(own, alerts=Alerting(tiers=(replace(mute, factor=5.0),)))
    assert not [one for one in found(heard) if one.rule == "tier-cannot-fire"]
    short = replace(heard, alerts=Alerting(tiers=(replace(mute, factor=5.0, short_s=60.0),)))
    rules = {one.rule for one in found(short, healthy())}
    assert "window-under-two-scrapes" in rules
