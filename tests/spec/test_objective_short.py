"""Poise's own short form of an objective, and what is told of the ones that cannot be."""

from __future__ import annotations

import pytest

from poise.model.objective import (
    Calendar,
    CalendarUnit,
    Combination,
    Comparison,
    Component,
    Gauge,
    Histogram,
    IndicatorKind,
    Method,
    Objective,
    Queries,
    Slicing,
    Treatment,
    WhenDelayed,
    Window,
)
from poise.model.policy import Alerting, AlertTier, Urgency
from poise.spec.explain_objective import explain_objective, measures
from poise.spec.problems import Problems
from poise.spec.service import parse_project

FILE = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec: {command: x, port: 1}
---
apiVersion: poise.dev/v1
kind: Service
metadata: {name: payments}
spec: {command: x, port: 2}
---
apiVersion: poise.dev/v1
kind: Probe
metadata: {name: home}
spec: {http: 'http://localhost/', every: 5m}
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: mine}
spec: %s
"""


def objective(spec: str) -> Objective:
    found = parse_project(FILE % spec, project="acme").objectives
    return next(one for one in found if one.name == "mine")


def refused(spec: str) -> str:
    with pytest.raises(Problems) as caught:
        parse_project(FILE % spec, project="acme")
    first = caught.value.problems[0]
    assert first.where.startswith("poise.yaml:19:") and first.mend
    return f"{first.code} {first.what}"


def test_each_measurement_has_a_key_of_its_own() -> None:
    """One word is enough to say what is measured."""

    def made(more: str) -> Objective:
        return objective("{service: shop, target: 99.9%, " + more + "}")

    assert made("requests: availability").indicator is IndicatorKind.AVAILABILITY
    one = made("requests: latency, within: 250ms")
    assert (one.indicator, one.threshold_ms) == (IndicatorKind.LATENCY, 250.0)
    one = made("bad: 'x{a=\"b\"}', total: x")
    assert (one.indicator, one.queries) == (IndicatorKind.QUERY, Queries(bad='x{a="b"}', total="x"))
    assert one.target_ratio == 0.999
    one = made("threshold: depth, below: 100")
    assert (one.indicator, one.gauge) == (
        IndicatorKind.THRESHOLD, Gauge(query="depth", op=Comparison.LT, bound=100.0),
    )  # fmt: skip
    assert made("ratio: r").gauge == Gauge(query="r")
    assert made("failureRatio: r, every: 1m").gauge == Gauge(query="r", failure=True, every_s=60.0)
    one = made("boolean: ready")
    assert (one.indicator, one.gauge) == (IndicatorKind.BOOLEAN, Gauge(query="ready"))
    one = made("probe: home")
    assert (one.indicator, one.gauge) == (
        IndicatorKind.PROBE,
        Gauge(query='probe_success{probe="home"}', every_s=300.0),
    )
    one = made("histogram: x_bucket, atMost: 0.25")
    assert one.histogram == Histogram(query="x_bucket", bound=0.25)
    one = made("boolean: ready, method: Timeslices, sliceTarget: 90%")
    assert (one.method, one.slicing) == (Method.TIMESLICES, Slicing(slice_s=60.0, target_ratio=0.9))


def test_windows_are_words_or_lengths_and_there_may_be_several() -> None:
    """The gate knows the first; the month is for the contract."""
    text = "{service: shop, target: 99%, probe: home, window: [30d, month, 2w, 1Q], zone: Europe/Berlin}"
    found = objective(text)
    assert found.window == Window(window_s=30 * 86_400.0)
    month, fortnight, quarter = found.also
    assert month.calendar == Calendar(unit=CalendarUnit.MONTH, zone="Europe/Berlin")
    assert fortnight.calendar is None
    assert quarter.calendar is not None and quarter.calendar.unit is CalendarUnit.QUARTER
    one = objective("{service: shop, target: 99%, probe: home, window: year, starts: 2026-04-01}")
    assert one.calendar is not None and one.calendar.starts == "2026-04-01"


def test_groups_requirements_and_the_cap_are_kept() -> None:
    """What OpenSLO has no words for."""
    found = objective(
        "{service: shop, target: 99%, good: a, total: b, groupBy: region, groupsMax: 5, "
        "requires: payments/availability, excludedMax: 5%, title: Orders}"
    )
    assert (found.group_by, found.groups_max, found.title) == (("region",), 5, "Orders")
    assert found.requires == ("acme/production/payments/availability",)
    assert found.excluded_max_ratio == 0.05


def test_what_a_new_series_and_a_restart_count_as_is_said_of_counters_alone() -> None:
    """Whoever's series are born with history must not have it charged."""
    found = objective("{service: shop, target: 99%, bad: a, total: b, firstSample: ignore, onReset: ignore}")
    assert (found.first_sample, found.on_reset) == (Treatment.IGNORE, Treatment.IGNORE)
    plain = objective("{service: shop, target: 99%, bad: a, total: b}")
    assert (plain.first_sample, plain.on_reset) == (Treatment.COUNT, Treatment.COUNT)
    assert "'firstSample' has no meaning" in refused(
        "{service: shop, target: 99%, probe: home, firstSample: count}"
    )


def test_a_journey_names_its_steps() -> None:
    """Of any service of the environment; the defaults are objectives as well."""
    found = objective(
        "{service: shop, target: 99%, allOf: [latency, {objective: payments/availability, weight: 2}], "
        "maxDelay: 1m, whenDelayed: CountAsBad}"
    )
    made = found.composite
    assert made is not None and made.combination is Combination.ALL_OF
    assert made.components == (
        Component(objective="acme/production/shop/latency"),
        Component(objective="acme/production/payments/availability", weight=2.0),
    )
    assert (made.max_delay_s, made.when_delayed) == (60.0, WhenDelayed.COUNT_AS_BAD)
    assert (found.method, found.slicing) == (Method.RATIO_TIMESLICES, Slicing(slice_s=60.0))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("", "S111 an objective needs something to measure"),
        ("requests: latency", "S118 'within' belongs to 'requests: latency'"),
        ("requests: availability, within: 1s", "S118 'within' belongs to 'requests: latency'"),
        ("requests: latency, within: 1s, groupBy: a", "S118 'groupBy' has no meaning beside 'requests'"),
        ("probe: home, within: 1s", "S118 'within' has no meaning beside 'probe'"),
        ("good: a", "S118 a ratio of counters needs two"),
        ("good: a, bad: b, total: c", "S118 a ratio of counters needs two"),
        ("good: a, total: 'rate(b)'", "S130 events cannot be counted"),
        ("good: a, total: b, probe: home", "S118 an objective measures one thing"),
        ("threshold: x", "S111 a threshold needs exactly one"),
        ("threshold: x, below: 1, above: 2", "S118 a threshold needs exactly one"),
        ("threshold: 'max(x', below: 1", "S130 this is no expression"),
        ("boolean: x, below: 1", "S118 'below' has no meaning beside 'boolean'"),
        ("histogram: x_count, atMost: 1", "S130 a histogram is selected by its '_bucket'"),
        ("histogram: x_bucket", "S111 a histogram counts what is 'atMost'"),
        ("probe: hme", "S115 no probe 'hme'"),
        ("probe: home, window: 1Z", "S113 an item of 'window'"),
        ("probe: home, zone: Europe/Berlin", "S118 'zone' belongs to windows of the calendar"),
        ("probe: home, window: month, zone: Europe/Berln", "S115 'Europe/Berln' is not an IANA time zone"),
        ("probe: home, window: month, starts: 2026-13-01", "S113 '2026-13-01' is not a wall time"),
        ("probe: home, sliceTarget: 90%", "S118 'sliceTarget' belongs to 'method: Timeslices'"),
        ("probe: home, slice: 1m", "S118 'slice' belongs to a method with slices"),
        ("probe: home, method: Timeslices", "S111 'sliceTarget' belongs to"),
        ("probe: home, method: RatioTimeslices, slice: 7d", "S113 slices of"),
        ("probe: home, groupBy: a", "S118 'groupBy' has no meaning beside 'probe'"),
        ("good: a, total: b, groupsMax: 5", "S118 'groupsMax' belongs to 'groupBy'"),
        ("good: a, total: b, source: prom", "S115 no data source 'prom'"),
        ("allOf: [latency, payments/nothing]", "S115 no objective 'payments/nothing'"),
        ("allOf: [latency, latency]", "S117 'latency' is a part twice"),
        ("allOf: [latency]", "S113 'allOf' needs at least 2"),
        ("allOf: [latency, availability], method: Occurrences", "S118 a composite is counted in slices"),
        ("probe: home, requires: payments/x", "S115 no objective 'payments/x'"),
        ("probe: home, maxDelay: 1m", "S118 'maxDelay' has no meaning"),
        ("probe: home, target: 99%", "S102"),
        ("probe: home, burn: 1", "S110 unknown key 'burn'"),
    ],
)
def test_what_cannot_be_is_told_with_its_place_and_a_mend(more: str, told: str) -> None:
    """The person who pushes sees at once what to change."""
    assert refused("{service: shop, target: 99%, " + more + "}").startswith(f"POISE-{told}")


def test_a_composite_that_is_a_part_of_itself_is_refused() -> None:
    """It would wait for itself for ever."""
    spec = "{service: shop, target: 99%, allOf: [other, latency]}"
    other = "---\napiVersion: poise.dev/v1\nkind: Objective\nmetadata: {name: other}\nspec: " + spec.replace(
        "other", "mine"
    )
    with pytest.raises(Problems) as caught:
        parse_project(FILE % spec + other, project="acme")
    assert "S116 composites are made of one another" in str(caught.value)


def test_a_composite_of_a_grouped_objective_is_refused() -> None:
    """It would be unknown for ever."""
    spec = "{service: shop, target: 99%, boolean: up, groupBy: region}"
    other = "---\napiVersion: poise.dev/v1\nkind: Objective\nmetadata: {name: whole}\nspec: "
    with pytest.raises(Problems) as caught:
        parse_project(
            FILE % spec + other + "{service: shop, target: 99%, allOf: [mine, latency]}", project="acme"
        )
    assert "S118 a composite cannot be made of 'mine'" in str(caught.value)


def test_the_target_is_below_100_percent() -> None:
    """Without a budget there is nothing to pace by."""
    assert refused("{service: shop, target: 100%, probe: home}").startswith("POISE-S113 'target'")


def test_explain_says_what_is_measured_and_what_cannot_be_met() -> None:
    """People read this before they believe a number."""
    found = parse_project(
        FILE % "{service: shop, target: 99.95%, allOf: [latency, payments/availability], "
        "requires: payments/availability}",
        project="acme",
    ).objectives
    mine = next(one for one in found if one.name == "mine")
    rows = {field: (value, source) for field, value, source in explain_objective(mine, found)}
    assert rows["measures"] == ("all of latency, payments/availability", "declared")
    assert rows["method"] == ("RatioTimeslices of 1m", "declared")
    assert rows["excludedMax"] == ("10%", "default")
    assert rows["warning"][0].endswith("shop/latency and payments/availability: at best 98.9010%")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("requests: latency, within: 1s", "answers within 1000 ms"),
        ("threshold: depth, below: 100", "depth < 100"),
        ("failureRatio: r", "1 - r"),
        ("boolean: ready", "ready is 1"),
        ("probe: home", 'probe_success{probe="home"} is 1'),
        ("histogram: x_bucket, atMost: 0.25", "x_bucket of at most 0.25"),
        ("good: a, total: b", "a of b"),
        ("good: a, bad: b", "a of a and b"),
        ("bad: a, total: b", "all but a of b"),
        ("weighted: [{objective: latency, weight: 3}, availability]",
         "the weighted mean of latency x 3, availability"),
    ],
)  # fmt: skip
def test_each_measurement_is_said_in_one_phrase(more: str, said: str) -> None:
    """As one would say it, not as it is stored."""
    assert measures(objective("{service: shop, target: 99%, " + more + "}")) == said


def test_tiers_of_its_own_are_kept_and_told() -> None:
    one = objective(
        "{service: shop, target: 99.9%, good: g, total: t, alerts: {minFailures: 10, tiers: ["
        "{long: 1h, short: 5m, factor: 10, severity: page, for: 2m}, "
        "{long: 1d, short: 2h, factor: 2, severity: ticket}, {long: 3h, short: 15m, factor: 5}]}}"
    )
    assert one.alerts == Alerting(
        tiers=(
            AlertTier(long_s=3600, short_s=300, factor=10, severity=Urgency.PAGE, hold_s=120),
            AlertTier(long_s=86_400, short_s=7200, factor=2, severity=Urgency.TICKET),
            AlertTier(long_s=10_800, short_s=900, factor=5),
        ),
        failures_min=10,
    )
    rows = explain_objective(one)
    assert ("alerts", "10x over 1h and 5m for 2m: page", "declared") in rows
    assert ("minFailures", "10", "declared") in rows


@pytest.mark.parametrize(
    ("tier", "told"),
    [
        ("{long: 5m, short: 1h, factor: 10}", "'short' must be shorter"),
        ("{long: 30d, short: 1h, factor: 10}", "outlasts the window"),
        ("{long: 1m, short: 5s, factor: 10}", "less than two readings"),
        ("{long: 1h, short: 5m}", "factor"),
        ("{long: 1h, short: 5m, factor: 10, severity: sms}", "severity"),
        ("{long: 1h, short: 5m, factor: 10, burnRate: 10}", "burnRate"),
    ],
)
def test_a_tier_that_cannot_be_is_refused_at_its_place(tier: str, told: str) -> None:
    assert told in refused(f"{{service: shop, target: 99%, good: g, total: t, alerts: {{tiers: [{tier}]}}}}")


def test_a_target_of_its_own_takes_the_place_of_the_default() -> None:
    """Whoever promises less than 99.9 % says so in one line."""
    found = parse_project(
        FILE % "{service: shop, target: 99.5%, requests: availability}", project="acme"
    ).objectives
    shop = {one.name: one.target_ratio for one in found if one.service.endswith("/shop")}
    assert shop == {"mine": 0.995, "latency": 0.99}
