"""OpenSLO v1 in full: thresholds, raw ratios, time-slices, calendars, composites."""

from __future__ import annotations

import pytest

from poise.model.objective import (
    Calendar,
    CalendarUnit,
    Combination,
    Comparison,
    Component,
    Gauge,
    IndicatorKind,
    Method,
    Objective,
    Slicing,
)
from poise.spec.problems import Problems
from poise.spec.service import parse_project

SHOP = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec: {command: x, port: 1}
---
"""
SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: search}
spec:
  service: shop
  indicator:
    spec:
      thresholdMetric:
        metricSource: {type: poise, spec: {query: 'histogram_quantile(0.99, sum by (le) (rate(x[5m])))'}}
  timeWindow:
    - duration: 2w
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - {displayName: Good, op: lt, value: 500, target: 0.99}
"""
CALENDAR = """\
    - duration: 1M
      isRolling: false
      calendar: {startTime: 2022-01-01 12:00:00, timeZone: America/New_York}
"""
ROLLING = "    - duration: 2w\n      isRolling: true\n"


def metric(role: str, query: str = "a") -> str:
    return f"        {role}: {{metricSource: {{type: poise, spec: {{query: {query}}}}}}}\n"


def ratio(*sides: str) -> str:
    """The SLO with another metric: a ratio of these sides."""
    begin, end = SLO.index("      thresholdMetric"), SLO.index("  timeWindow")
    body = "      ratioMetric:\n" + "".join(sides)
    return SLO[:begin] + body + SLO[end:].replace("op: lt, value: 500, ", "")


PAIR = ratio(metric("good"), metric("total", "b"))
SLICES = PAIR.replace("Occurrences", "Timeslices")
SLICES = SLICES.replace("target: 0.99}", "target: 0.99, timeSliceTarget: 0.95, timeSliceWindow: 1m}")


def objectives(text: str) -> dict[str, Objective]:
    declared = parse_project(SHOP + text, project="acme").objectives
    return {one.name: one for one in declared if one.name not in ("availability", "latency")}


def refused(text: str) -> list[tuple[str, str]]:
    """Codes and places, lines counted from the first after the service."""
    with pytest.raises(Problems) as caught:
        parse_project(SHOP + text, project="acme")
    places = [problem.where.split(":")[1:] for problem in caught.value.problems]
    return [
        (problem.code, f"{int(line) - SHOP.count(chr(10))}:{column}")
        for problem, (line, column) in zip(caught.value.problems, places, strict=True)
    ]


def test_a_threshold_is_a_gauge_with_the_bound_of_its_objective() -> None:
    """OpenSLO keeps the expression in the indicator and what it is compared with in the objective."""
    found = objectives(SLO)["search"]
    assert (found.indicator, found.title) == (IndicatorKind.THRESHOLD, "Good")
    assert found.gauge == Gauge(
        query="histogram_quantile(0.99, sum by (le) (rate(x[5m])))", op=Comparison.LT, bound=500.0
    )


def test_a_raw_ratio_may_be_one_of_failures() -> None:
    """``rawType`` says which; ``counter`` has no meaning beside ``raw``."""
    for kind, failure in (("success", False), ("failure", True)):
        found = objectives(ratio("        counter: false\n", f"        rawType: {kind}\n", metric("raw")))[
            "search"
        ]
        assert found.indicator is IndicatorKind.RAW_RATIO
        assert found.gauge == Gauge(query="a", failure=failure)


@pytest.mark.parametrize(
    ("sides", "query", "failure"),
    [
        (("good", "total"), "sum(a) / sum(b)", False),
        (("bad", "total"), "sum(a) / sum(b)", True),
        (("good", "bad"), "sum(a) / (sum(a) + sum(b))", False),
    ],
)
def test_gauges_make_a_ratio_at_each_look(sides: tuple[str, str], query: str, failure: bool) -> None:
    """``counter: false``: the numbers go up and down, so nothing is counted between two looks."""
    text = ratio("        counter: false\n", metric(sides[0]), metric(sides[1], "b"))
    assert objectives(text)["search"].gauge == Gauge(query=query, failure=failure)


def test_time_slices_have_a_length_and_a_target() -> None:
    """A bare number is minutes."""
    found = objectives(SLICES)["search"]
    assert (found.method, found.slicing) == (Method.TIMESLICES, Slicing(slice_s=60.0, target_ratio=0.95))
    found = objectives(SLICES.replace("timeSliceWindow: 1m", "timeSliceWindow: 5"))["search"]
    assert found.slicing == Slicing(slice_s=300.0, target_ratio=0.95)
    text = SLICES.replace("Timeslices", "RatioTimeslices").replace("timeSliceTarget: 0.95, ", "")
    found = objectives(text)["search"]
    assert (found.method, found.slicing) == (Method.RATIO_TIMESLICES, Slicing(slice_s=60.0))


@pytest.mark.parametrize(
    ("duration", "unit", "count"),
    [
        ("1M", "M", 1),
        ("1m", "M", 1),
        ("1Q", "Q", 1),
        ("1Y", "Y", 1),
        ("2w", "w", 2),
        ("1d", "d", 1),
        ("12h", "h", 12),
    ],
)
def test_a_window_of_the_calendar_has_a_start_and_a_zone(duration: str, unit: str, count: int) -> None:
    """``1m`` is a month there: OpenSLO's own example writes it so, and no budget lasts a minute."""
    found = objectives(SLO.replace(ROLLING, CALENDAR.replace("1M", duration)))["search"]
    assert found.calendar == Calendar(
        unit=CalendarUnit(unit), count=count, zone="America/New_York", starts="2022-01-01T12:00:00"
    )


COMPOSITE = """\
apiVersion: openslo/v1
kind: SLI
metadata: {name: answers}
spec:
  ratioMetric:
    rawType: success
    raw: {metricSource: {type: poise, spec: {counter: availability}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: journey}
spec:
  service: shop
  budgetingMethod: Occurrences
  objectives:
    - {indicatorRef: answers, target: 0.999}
    - target: 0.99
      compositeWeight: 0.5
      indicator:
        spec:
          ratioMetric:
            good: {metricSource: {type: poise, spec: {query: a}}}
            total: {metricSource: {type: poise, spec: {query: b}}}
"""


def test_a_composite_is_made_of_objectives_with_an_indicator_each() -> None:
    """Its parts have budgets of their own, so people see which one burns."""
    found = objectives(COMPOSITE)
    assert set(found) == {"journey", "journey-1", "journey-2"}
    whole = found["journey"]
    assert (whole.indicator, whole.target_ratio) == (IndicatorKind.COMPOSITE, 0.99)
    assert whole.composite is not None and whole.composite.combination is Combination.BURN
    assert whole.composite.components == (
        Component(objective="acme/production/shop/journey-1"),
        Component(objective="acme/production/shop/journey-2", weight=0.5),
    )
    assert found["journey-1"].indicator is IndicatorKind.AVAILABILITY
    assert found["journey-2"].indicator is IndicatorKind.QUERY


def test_a_composite_of_time_slices_is_bad_when_one_part_is() -> None:
    """OpenSLO: binary."""
    slices = "timeSliceTarget: 0.9, timeSliceWindow: 1m"
    text = COMPOSITE.replace("Occurrences", "Timeslices").replace(
        "answers, target", f"answers, {slices}, target"
    )
    text = text.replace(
        "      compositeWeight: 0.5\n", "      timeSliceTarget: 0.8\n      timeSliceWindow: 1m\n"
    )
    whole = objectives(text)["journey"]
    assert whole.composite is not None and whole.composite.combination is Combination.ALL_OF
    assert whole.slicing is not None and whole.slicing.slice_s == 60.0


BAD = [
    (SLO.replace("op: lt, ", ""), "POISE-S111", "15:7"),
    (SLO.replace("value: 500, ", ""), "POISE-S111", "15:7"),
    (SLO.replace("op: lt", "op: less"), "POISE-S113", "15:31"),
    (SLO.replace("Occurrences", "Timeslices"), "POISE-S111", "15:7"),
    (SLO.replace("target: 0.99", "timeSliceTarget: 0.9, target: 0.99"), "POISE-S118", "15:64"),
    (SLO.replace("target: 0.99", "target: 1.0"), "POISE-S113", "15:55"),
    (SLO.replace("rate(x[5m])))", "rate(x[5m]))"), "POISE-S130", "9:51"),
    (SLO.replace("{query: 'histogram", "{counter: availability, query: 'histogram"), "POISE-S118", "9:74"),
    (SLO.replace("2w", "1M"), "POISE-S113", "11:17"),
    (SLO.replace("2w", "2wk"), "POISE-S113", "11:17"),
    (SLO.replace("      isRolling: true\n", "      isRolling: false\n"), "POISE-S111", "12:18"),
    (SLO.replace(ROLLING, CALENDAR.replace("New_York", "New_Yrk")), "POISE-S115", "13:60"),
    (SLO.replace(ROLLING, CALENDAR.replace("12:00:00", "12:00:00Z")), "POISE-S113", "13:29"),
    (SLO.replace(ROLLING, CALENDAR.replace("false", "true")), "POISE-S118", "12:18"),
    (SLO.replace(ROLLING, CALENDAR.replace("1M", "2Y")), "POISE-S113", "11:17"),
    (ratio(metric("good"), metric("bad", "b"), metric("total", "c")), "POISE-S118", "10:9"),
    (ratio("        rawType: success\n", metric("good"), metric("total", "b")), "POISE-S118", "9:18"),
    (ratio("        rawType: success\n", metric("raw"), metric("total", "b")), "POISE-S118", "10:9"),
    (ratio(metric("raw")), "POISE-S111", "8:7"),
    (PAIR.replace("target:", "value: 5, target:"), "POISE-S118", "16:34"),
    (PAIR.replace("target:", "op: lt, target:"), "POISE-S118", "16:31"),
    (SLICES.replace("timeSliceWindow: 1m", "timeSliceWindow: 1s"), "POISE-S113", "16:7"),
    (SLICES.replace("timeSliceWindow: 1m", "timeSliceWindow: 7d"), "POISE-S113", "16:7"),
    (SLICES.replace("Timeslices", "RatioTimeslices"), "POISE-S118", "16:58"),
    (COMPOSITE.replace("  service: shop\n", "  service: shop\n  indicatorRef: x\n"), "POISE-S118", "14:17"),
    (COMPOSITE.replace("0.5", "0"), "POISE-S113", "18:24"),
    (COMPOSITE[: COMPOSITE.index("    - target")], "POISE-S113", "16:5"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "place"), BAD)
def test_a_contradictory_objective_is_refused_at_its_place(text: str, code: str, place: str) -> None:
    """A budget that means something else than was written is worse than none."""
    assert refused(text)[0] == (code, place)
