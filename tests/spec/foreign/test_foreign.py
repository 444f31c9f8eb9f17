"""Files of other tools: read as what they mean, refused at their place, written as Prometheus takes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from poise.adapters.promql.checking import expression_fault
from poise.spec.foreign.counting import counters_of
from poise.spec.foreign.openslo import documents, ratio_of
from poise.spec.foreign.reading import read_slos
from poise.spec.foreign.slo import BooleanGauge, Counters, Events, RawRatio, Slo, Threshold
from poise.spec.foreign.sloth_rules import Wanted, rule_file, span
from poise.spec.foreign.sloth_windows import read_windows
from poise.spec.foreign.written import as_yaml
from poise.spec.problems import Problems
from poise.spec.service import parse_project

SLOTH = """\
version: prometheus/v1
service: shop
labels: {team: money}
slos:
  - name: paid
    objective: 99.9
    description: Payments go through.
    sli:
      events:
        error_query: sum(rate(paid_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(paid_total[{{.window}}]))
    alerting:
      name: Paid
      page_alert: {labels: {severity: critical}}
      ticket_alert: {disable: true}
  - name: fast
    objective: 95
    sli:
      events:
        error_query: |
          (
            sum(rate(paid_seconds_count[{{.window}}]))
            -
            sum(rate(paid_seconds_bucket{le="0.4"}[{{.window}}]))
          )
        total_query: sum(rate(paid_seconds_count[{{.window}}]))
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
"""
PYRRA = """\
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: shop-errors, namespace: shop}
spec:
  target: "99.5"
  window: 4w
  indicator:
    ratio:
      errors: {metric: 'asked_total{code=~"5.."}'}
      total: {metric: asked_total}
      grouping: [handler]
"""
GENERATOR = """\
apiVersion: sre.google.com/v2
kind: ServiceLevelObjective
metadata:
  name: shop-web-latency
  labels: {service_name: shop, feature_name: web, slo_name: latency}
spec:
  backend: prometheus
  method: distribution_cut
  service_level_indicator:
    expression: asked_seconds_bucket{job="web"}
    threshold_bucket: 0.25
  goal: 0.9999
"""
ALPHA = """\
apiVersion: openslo/v1alpha
kind: SLO
metadata: {name: queue, displayName: Queue}
spec:
  service: shop
  indicator:
    thresholdMetric: {source: prometheus, queryType: promql, query: max(queue_length)}
  timeWindows:
    - unit: Week
      count: 1
      isRolling: false
      calendar: {startTime: 2026-01-05 00:00:00, timeZone: Europe/Berlin}
  budgetingMethod: Timeslices
  objectives:
    - {target: 0.98, timeSliceTarget: 0.9, op: lte, value: 100}
"""


def read(text: str) -> tuple[Slo, ...]:
    return read_slos(text, "slo.yaml", expression_fault)


def problems(text: str) -> list[str]:
    with pytest.raises(Problems) as refused:
        read(text)
    return [f"{one.code} {one.where}" for one in refused.value.problems]


def test_sloths_queries_are_counters_where_they_only_sum_growth() -> None:
    """A selector lets Poise count every event; a rate would have to be asked again and again."""
    paid, fast = read(SLOTH)
    assert counters_of(paid.indicator) == Counters(bad='paid_total{code=~"5.."}', total="paid_total")
    assert counters_of(fast.indicator) == Counters(
        good='paid_seconds_bucket{le="0.4"}', total="paid_seconds_count"
    )
    assert (paid.service, paid.percent, paid.window_s, paid.labels) == (
        "shop", 99.9, 30 * 86_400, {"team": "money"}
    )  # fmt: skip
    assert paid.page is not None and paid.page.labels == {"severity": "critical"}
    assert paid.ticket is None


def test_pyrras_grouping_target_and_window_are_kept() -> None:
    (one,) = read(PYRRA)
    assert one.indicator == Counters(
        bad='asked_total{code=~"5.."}', total="asked_total", group_by=("handler",)
    )
    assert (one.service, one.percent, one.window_s) == ("shop", 99.5, 28 * 86_400)


def test_a_cut_of_a_histogram_is_its_bucket_over_its_count() -> None:
    (one,) = read(GENERATOR)
    good = 'asked_seconds_bucket{job="web",le="0.25"}'
    assert one.indicator == Counters(good=good, total='asked_seconds_count{job="web"}')
    assert (one.service, one.name, ratio_of(one.percent)) == ("shop", "web-latency", 0.9999)


def test_a_threshold_of_openslo_v1alpha_keeps_its_calendar_and_slices() -> None:
    (one,) = read(ALPHA)
    assert one.indicator == Threshold(query="max(queue_length)", op="lte", value=100.0)
    service, made = documents([one])
    assert (service["kind"], service["metadata"]) == ("Service", {"name": "shop"})
    assert made["spec"]["timeWindow"] == [
        {
            "duration": "1w",
            "isRolling": False,
            "calendar": {"startTime": "2026-01-05 00:00:00", "timeZone": "Europe/Berlin"},
        }
    ]
    assert made["spec"]["objectives"] == [
        {"target": 0.98, "op": "lte", "value": 100.0, "timeSliceTarget": 0.9, "timeSliceWindow": "1m"}
    ]


NOT_COUNTED = [
    Events(bad="max(rate(a[{{.window}}]))", total="sum(rate(t[{{.window}}]))"),
    Events(bad="sum(rate(x[{{.window}}])) - sum(rate(g[{{.window}}]))", total="sum(rate(t[{{.window}}]))"),
    RawRatio(bad="avg_over_time(m[{{.window}}])"),
    RawRatio(bad="2 - (sum(rate(g[{{.window}}])) / sum(rate(t[{{.window}}])))"),
    RawRatio(bad="sum(rate(a[{{.window}}])) / sum(rate(b[{{.window}}])) / 2"),
    BooleanGauge(metric="up"),
]


@pytest.mark.parametrize("indicator", NOT_COUNTED, ids=str)
def test_a_query_that_does_more_than_sum_is_never_counted_as_if_it_did(indicator: Any) -> None:
    """A wrong guess would be a wrong budget."""
    assert counters_of(indicator) is None


@pytest.mark.parametrize(
    ("bad", "selector"),
    [
        ('sum(rate(a{x="(- /"}[{{.window}}])) or vector(0)', 'a{x="(- /"}'),
        ("(sum(rate(a[{{.window}}])) OR on() vector(0))", "a"),
        ("((sum by (x) (increase(a[{{.window}}]))))", "a"),
    ],
)
def test_parentheses_and_a_zero_to_fall_back_on_change_nothing(bad: str, selector: str) -> None:
    found = counters_of(Events(bad=bad, total="sum(rate(t[{{.window}}]))"))
    assert found == Counters(bad=selector, total="t")


REFUSED = {
    "version: prometheus/v1\nservice: a b\nslos: []\n": [
        "POISE-S113 slo.yaml:2:10",
        "POISE-S113 slo.yaml:3:7",
    ],
    SLOTH.replace("99.9", "101"): ["POISE-S113 slo.yaml:6:16"],
    SLOTH.replace('code=~"5.."}[{{.window}}]', 'code=~"5.."}[5m]'): ["POISE-S130 slo.yaml:10:22"],
    SLOTH.replace("      name: Paid\n", ""): ["POISE-S111 slo.yaml:13:7"],
    SLOTH.replace("name: fast", "name: paid"): ["POISE-S117 slo.yaml:16:5"],
    SLOTH.replace("sum(rate(paid_total[", "sum(rat(paid_total["): ["POISE-S130 slo.yaml:11:22"],
    SLOTH.replace("    sli:\n      events:", "    slx:\n      events:", 1): ["POISE-S110 slo.yaml:8:5"],
    PYRRA.replace('"99.5"', '"0"'): ["POISE-S113 slo.yaml:5:11"],
    PYRRA.replace("4w", "4 weeks"): ["POISE-S113 slo.yaml:6:11"],
    PYRRA.replace("    ratio:", "    latencyNative:"): ["POISE-S114 slo.yaml:8:5"],
    GENERATOR.replace("prometheus", "datadog"): ["POISE-S114 slo.yaml:7:12"],
    GENERATOR.replace("distribution_cut", "query_slo"): ["POISE-S114 slo.yaml:8:11"],
    ALPHA.replace("source: prometheus", "source: datadog"): ["POISE-S114 slo.yaml:7:31"],
    ALPHA.replace(", value: 100", ""): ["POISE-S111 slo.yaml:15:7"],
    "apiVersion: v1\nkind: ConfigMap\n": ["POISE-S120 slo.yaml:1:1"],
}


@pytest.mark.parametrize(("text", "told"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_cannot_be_read_is_told_at_its_place(text: str, told: list[str]) -> None:
    assert problems(text) == told


def test_the_rules_are_seventeen_and_alert_where_sloth_would() -> None:
    """Factors and bounds to the last bit: an alert that moved would be noticed by whoever is paged."""
    groups = rule_file(read(SLOTH)[:1], Wanted(version="v"))["groups"]
    assert [len(group["rules"]) for group in groups] == [8, 7, 1]
    told = groups[2]["rules"][0]
    assert "ratio_rate1h" in told["expr"] and "(14.4 * 0.0009999999999999432)" in told["expr"]
    assert told["labels"] == {"severity": "critical", "sloth_severity": "page"}
    period = groups[0]["rules"][-1]
    assert period["record"] == "slo:sli_error:ratio_rate30d" and "count_over_time" in period["expr"]


def test_tiers_of_another_period_are_read_and_used() -> None:
    text = "apiVersion: sloth.slok.dev/v1\nkind: AlertWindows\nspec:\n  sloPeriod: 7d\n"
    for severity, long in (("page", ("1h", "6h")), ("ticket", ("1d", "3d"))):
        text += f"  {severity}:\n"
        for speed, window in zip(("quick", "slow"), long, strict=True):
            text += f"    {speed}: {{errorBudgetPercent: 8, shortWindow: 5m, longWindow: {window}}}\n"
    own = read_windows(text, "windows.yaml")
    assert (own.period_s, own.tiers.page[0].long_s) == (7 * 86_400, 3600)
    groups = rule_file(read(SLOTH)[:1], Wanted(version="v", tiers=own.tiers))["groups"]
    assert "(57.6 * " in groups[2]["rules"][0]["expr"]  # 8 % of 30 days within an hour
    with pytest.raises(Problems, match=r"windows\.yaml:6"):
        read_windows(
            text.replace("shortWindow: 5m, longWindow: 1h", "shortWindow: 2h, longWindow: 1h"), "windows.yaml"
        )


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "text", [SLOTH, PYRRA, GENERATOR, ALPHA], ids=["sloth", "pyrra", "generator", "alpha"]
)
def test_prometheus_takes_the_rules(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(as_yaml([rule_file(read(text), Wanted(version="v"))]))
    checked = subprocess.run(
        ["promtool", "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    "text", [SLOTH, PYRRA, GENERATOR, ALPHA], ids=["sloth", "pyrra", "generator", "alpha"]
)
def test_what_is_written_is_a_poise_yaml_as_it_is(text: str) -> None:
    """One command and one push: a service that runs elsewhere, its objectives, their source."""
    found = read(text)
    declared = parse_project(as_yaml(documents(found, url="http://localhost:9090")), project="acme")
    assert all(one.runs_elsewhere for one in declared.services)
    assert {one.name: one.target_ratio for one in declared.objectives} == {
        one.name: ratio_of(one.percent) for one in found
    }
    groups = {one.name: one.group_by for one in declared.objectives}
    assert groups == {one.name: getattr(one.indicator, "group_by", ()) for one in found}


def test_what_is_written_reads_back_as_it_was() -> None:
    for text in (SLOTH, PYRRA, GENERATOR, ALPHA):
        made = documents(read(text), url="http://localhost:9090")
        assert list(YAML(typ="safe").load_all(as_yaml(made))) == made


@given(st.integers(1, 9_999_999).map(lambda n: n / 100_000))
def test_a_percent_is_the_ratio_that_people_mean(percent: float) -> None:
    """99.9 / 100 is not 0.999 in floats; a target that is not the one declared is a wrong budget."""
    assert f"{ratio_of(percent) * 100:.5f}" == f"{percent:.5f}"
    assert len(repr(ratio_of(percent))) <= 12


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    """A problem is told, a stack trace never is."""
    for start in ("", "version: prometheus/v1\n", "apiVersion: pyrra.dev/v1alpha1\n"):
        try:
            read(start + text)
        except Problems as told:
            assert told.problems


@pytest.mark.parametrize(
    ("seconds", "text"), [(300, "5m"), (604_800, "1w"), (2_419_200, "4w"), (2_592_000, "30d"), (90, "1m30s")]
)
def test_spans_are_written_as_prometheus_writes_them(seconds: float, text: str) -> None:
    assert span(seconds) == text
