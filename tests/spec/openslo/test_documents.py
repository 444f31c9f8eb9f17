"""OpenSLO v1: what the specification allows is read and written unchanged, the rest is told at its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.spec.foreign.written import as_yaml
from poise.spec.openslo.documents import check_references, read_openslo, write_openslo
from poise.spec.problems import Problems

SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: web-fast
  labels: {team: [a, b], env: prod}
spec:
  service: web
  indicator:
    metadata: {name: fast}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: 'asked{le="0.4"}'}}}
        total: {metricSource: {metricSourceRef: prom, spec: {query: asked}}}
  timeWindow:
    - duration: 1M
      calendar: {startTime: 2026-01-01 00:00:00, timeZone: Europe/Berlin}
  budgetingMethod: Timeslices
  objectives:
    - {target: 0.995, timeSliceTarget: 0.95, timeSliceWindow: 5}
  alertPolicies:
    - alertPolicyRef: loud
"""
POLICY = """\
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: loud}
spec:
  alertWhenBreaching: true
  conditions:
    - kind: AlertCondition
      metadata: {name: fast-burn}
      spec:
        severity: page
        condition: {kind: burnrate, op: gte, threshold: 14.4, lookbackWindow: 1h, alertAfter: 5m}
  notificationTargets: [{targetRef: mail}]
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: mail}
spec: {target: email}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: prom}
spec: {type: Prometheus, connectionDetails: {url: 'http://localhost:9090', more: [1, 2.5, null, true]}}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(Problems) as refused:
        check_references(read_openslo(text, "slo.yaml"), "slo.yaml")
    return [f"{one.code} {one.where}" for one in refused.value.problems]


def test_every_kind_reads_and_writes_back_as_it_was() -> None:
    """A team that leaves takes its objectives along."""
    found = read_openslo(f"{SLO}---\n{POLICY}", "slo.yaml")
    assert [one.kind for one in found] == ["SLO", "AlertPolicy", "AlertNotificationTarget", "DataSource"]
    again = read_openslo(write_openslo(found), "again.yaml")
    assert [one.body for one in again] == [one.body for one in found]
    check_references(found, "slo.yaml")


def test_a_list_of_objects_is_as_good_as_documents() -> None:
    listed = (
        "- apiVersion: openslo/v1\n  kind: Service\n  metadata: {name: web}\n  spec: {description: Web.}\n"
    )
    assert [one.name for one in read_openslo(listed, "slo.yaml")] == ["web"]


REFUSED = {
    SLO: ["POISE-S115 slo.yaml:1:1", "POISE-S115 slo.yaml:1:1"],  # loud and prom are elsewhere
    SLO.replace("openslo/v1", "openslo/v2alpha"): ["POISE-S113 slo.yaml:1:13"],
    SLO.replace("kind: SLO", "kind: SLOs"): ["POISE-S120 slo.yaml:2:7"],
    SLO.replace("0.995", "1"): ["POISE-S113 slo.yaml:20:16"],
    SLO.replace("target: 0.995, ", ""): ["POISE-S111 slo.yaml:20:7"],
    SLO.replace("target: 0.995", "target: 0.995, targetPercent: 99.5"): ["POISE-S118 slo.yaml:20:38"],
    SLO.replace(", timeSliceTarget: 0.95", ""): ["POISE-S111 slo.yaml:20:7"],
    SLO.replace("timeSliceWindow: 5", "timeSliceWindow: 5 minutes"): ["POISE-S113 slo.yaml:20:63"],
    SLO.replace("Europe/Berlin", "Berlin"): ["POISE-S113 slo.yaml:17:60"],
    SLO.replace("2026-01-01", "2026-02-30"): ["POISE-S113 slo.yaml:17:29"],
    SLO.replace("duration: 1M", "duration: 1M\n      isRolling: true"): ["POISE-S118 slo.yaml:16:7"],
    SLO.replace("        total:", "        bad: {metricSource: {spec: {}}}\n        total:"): [
        "POISE-S118 slo.yaml:14:14"
    ],
    SLO.replace("total:", "raw:"): ["POISE-S111 slo.yaml:12:9", "POISE-S118 slo.yaml:12:9"],
    SLO.replace("  indicator:\n", "  indicatorRef: fast\n  indicator:\n"): ["POISE-S118 slo.yaml:8:17"],
    SLO.replace("team: [a, b]", "te/am: [a, b]"): ["POISE-S113 slo.yaml:5:12"],
    POLICY.replace("alertWhenBreaching: true", "alertWhenNoData: false"): ["POISE-S111 slo.yaml:5:3"],
    POLICY.replace("targetRef: mail", "target: mail"): [
        "POISE-S118 slo.yaml:12:25",
        "POISE-S110 slo.yaml:12:26",
    ],
    POLICY.replace("op: gte, ", ""): ["POISE-S111 slo.yaml:11:20"],
}


@pytest.mark.parametrize(("text", "told"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_the_specification_forbids_is_told_at_its_place(text: str, told: list[str]) -> None:
    assert problems(text) == told


WORDS = st.text("abcXYZ019 .:#-{}[]'\"\\,&*!|>%@`~?\n", max_size=9)
DETAILS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS.filter(bool), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(WORDS.filter(bool), DETAILS.filter(lambda one: one is not None), min_size=1, max_size=3)
)
def test_whatever_a_source_wants_comes_back(details: dict[str, object]) -> None:
    """Connection details are free; none of them may be lost or change its kind."""
    body = {"apiVersion": "openslo/v1", "kind": "DataSource", "metadata": {"name": "a"}}
    text = as_yaml([{**body, "spec": {"type": "x", "connectionDetails": details}}])
    found = read_openslo(text, "slo.yaml")
    assert read_openslo(write_openslo(found), "again")[0].body == found[0].body
