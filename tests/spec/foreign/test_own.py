"""Our objectives for other tools: what comes out reads back as the same, what cannot be said is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.model.objective import (
    Calendar,
    CalendarUnit,
    Comparison,
    Gauge,
    Histogram,
    IndicatorKind,
    Method,
    Objective,
    Queries,
    Slicing,
    Treatment,
    Window,
)
from poise.model.period import longest_s
from poise.model.policy import Alerting, AlertTier, Urgency
from poise.model.service import DataSource
from poise.spec.foreign.own import openslo_of, slos_of
from poise.spec.foreign.sloth_rules import Wanted, rule_file
from poise.spec.foreign.written import as_yaml
from poise.spec.objective_file import parse_objectives
from poise.spec.openslo.documents import check_references, read_openslo
from poise.spec.problems import Problems
from poise.spec.service import parse_project

SHOP = Objective(
    service="acme/production/shop",
    name="orders",
    indicator=IndicatorKind.QUERY,
    target_ratio=0.999,
    window_s=28 * 86_400.0,
    source="slo.yaml",
    queries=Queries(source="prom", total="orders_total", bad='orders_total{code=~"5.."}'),
)
CALENDAR = Calendar(unit=CalendarUnit.MONTH, count=1, zone="Europe/Berlin", starts="2026-01-01T00:00:00")
SLICED = replace(SHOP, method=Method.TIMESLICES, slicing=Slicing(slice_s=60.0, target_ratio=0.95))
PAGE = AlertTier(long_s=3600, short_s=300, factor=10, hold_s=120)
TICKET = AlertTier(long_s=86_400, short_s=7200, factor=1.5, severity=Urgency.TICKET)
SAID = [
    SHOP,
    replace(SHOP, alerts=Alerting(tiers=(PAGE, TICKET))),
    replace(SHOP, queries=Queries(source="prom", total="a_total", good='a_total{ok="1"}'), title="Orders"),
    replace(SHOP, queries=Queries(total="a_total", good='a_total{ok="1"}')),
    replace(SHOP, window_s=90 * 60.0),
    replace(SHOP, window_s=longest_s(CALENDAR), calendar=CALENDAR),
    SLICED,
    replace(SLICED, method=Method.RATIO_TIMESLICES, slicing=Slicing(slice_s=300.0)),
    replace(SHOP, indicator=IndicatorKind.RAW_RATIO, queries=None, gauge=Gauge(query="r", source="prom")),
    replace(SHOP, indicator=IndicatorKind.RAW_RATIO, queries=None,
            gauge=Gauge(query="r", source="prom", failure=True)),
    replace(SHOP, indicator=IndicatorKind.THRESHOLD, queries=None,
            gauge=Gauge(query="q", source="prom", op=Comparison.LT, bound=0.5)),
]  # fmt: skip


def read(text: str) -> tuple[Objective, ...]:
    """As a file that stands alone."""
    made = parse_objectives(
        text, project="acme", environment="production", filename="slo.yaml", url="http://p"
    )
    return made.objectives


@pytest.mark.parametrize("one", SAID)
def test_what_openslo_can_say_reads_back_as_the_same_objective(one: Objective) -> None:
    """Leaving must be as safe as coming: not a bit of the budget may change on the way."""
    assert read(as_yaml(openslo_of([one], {}))) == (one,)


@given(
    target=st.floats(0.5, 0.99999),
    window_s=st.integers(1, 366 * 1440).map(lambda minutes: 60.0 * minutes),
    slice_s=st.one_of(st.none(), st.integers(10, 600).map(float)),
)
def test_any_target_window_and_slice_reads_back(
    target: float, window_s: float, slice_s: float | None
) -> None:
    """A law, so that no odd number is rounded away."""
    one = replace(SHOP, target_ratio=target, window_s=window_s)
    if slice_s is not None and window_s >= 10 * slice_s:
        one = replace(one, method=Method.RATIO_TIMESLICES, slicing=Slicing(slice_s=slice_s))
    if window_s > 9999 * 60 and window_s % 3600:
        return  # a number of a window has four digits
    assert read(as_yaml(openslo_of([one], {}))) == (one,)


def test_alert_policies_are_valid_openslo() -> None:
    """As the specification wants them, targets included."""
    source = DataSource(name="prom", url="http://p:9090")
    text = as_yaml(openslo_of([replace(SHOP, alerts=Alerting(tiers=(PAGE, TICKET)))], {}, [source]))
    found = read_openslo(text, "slo.yaml")
    check_references(found, "slo.yaml")
    (slo,) = [one for one in found if one.kind == "SLO"]
    conditions = [one["spec"]["conditions"][0]["spec"] for one in slo.body["spec"]["alertPolicies"]]
    assert [one["condition"]["lookbackWindow"] for one in conditions] == ["1h", "1d"]
    assert [one["severity"] for one in conditions] == ["page", "ticket"]


def test_a_whole_project_reads_back() -> None:
    """With its service and data source, as ``poise.yaml``."""
    text = as_yaml(
        openslo_of([SHOP], {}, [DataSource(name="prom", url="http://p:9090", stale_after_s=120.0)])
    )
    made = parse_project(text, project="acme", filename="slo.yaml")
    assert [one for one in made.objectives if one.service == SHOP.service] == [SHOP]
    assert made.project.sources[0].stale_after_s == 120.0


UNSAID = [
    (replace(SHOP, group_by=("region",)), "groups", ""),
    (replace(SHOP, also=(Window(window_s=7 * 86_400.0),)), "one window", "one rolling window"),
    (replace(SHOP, requires=("acme/production/pay/paid",)), "requires", None),
    (replace(SHOP, excluded_max_ratio=0.5), "excludedMax", None),
    (replace(SHOP, on_reset=Treatment.IGNORE), "onReset", None),
    (replace(SHOP, indicator=IndicatorKind.COMPOSITE, queries=None), "other objectives", "other objectives"),
    (replace(SHOP, indicator=IndicatorKind.PROBE, queries=None, gauge=Gauge(query="p")), "probe", "probe"),
    (replace(SHOP, indicator=IndicatorKind.AVAILABILITY, queries=None), None, "Envoy"),
    (replace(SHOP, calendar=CALENDAR), None, "rolling window"),
    (SLICED, None, "Timeslices"),
    (replace(SHOP, alerts=Alerting(tiers=(PAGE,), failures_min=9)), "minFailures", "the workbook's tiers"),
    (replace(SHOP, alerts=Alerting(tiers=(replace(PAGE, short_s=60.0),))), "a twelfth", "workbook's tiers"),
    (replace(SHOP, alerts=Alerting(tiers=(replace(PAGE, hold_s=90.0),))), "whole minutes", "workbook's"),
]


@pytest.mark.parametrize(("one", "openslo", "sloth"), UNSAID)
def test_what_cannot_be_said_is_refused_by_name(
    one: Objective, openslo: str | None, sloth: str | None
) -> None:
    """A budget that is counted otherwise elsewhere is another budget; nobody would notice."""
    for make, said in ((openslo_of, openslo), (slos_of, sloth)):
        if said:
            with pytest.raises(Problems) as caught:
                make([SHOP, one], {one.key: "slo.yaml:9:3"})
            assert said in str(caught.value) and "shop/orders" in str(caught.value)
            assert caught.value.where == "slo.yaml:9:3"
        elif said is None:
            make([one], {})


def test_the_rules_count_what_the_objective_counts() -> None:
    """Whoever stays with Prometheus gets Sloth's shape out of our file."""
    histogram = replace(SHOP, name="fast", indicator=IndicatorKind.HISTOGRAM, queries=None,
                        histogram=Histogram(query='d_bucket{job="a"}', bound=0.25))  # fmt: skip
    groups = rule_file(slos_of([SHOP, histogram], {}), Wanted(version="v"))["groups"]
    assert [one["name"] for one in groups][::3] == [
        "sloth-slo-sli-recordings-shop-orders", "sloth-slo-sli-recordings-shop-fast",
    ]  # fmt: skip
    assert groups[0]["rules"][0]["expr"] == (
        '(sum(rate(orders_total{code=~"5.."}[5m])))\n/\n(sum(rate(orders_total[5m])))\n'
    )
    assert 'd_bucket{job="a",le="0.25"}' in groups[3]["rules"][0]["expr"]
    assert groups[1]["rules"][0]["expr"].startswith("vector(0.999")
