"""Rule groups and alerts in Prometheus' own JSON."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from poise.api.own_metrics import families
from poise.api.prometheus_form import Form
from poise.api.rules import NEVER, alerts, groups, only
from poise.engine.ruling import GroupStanding, RuleStanding
from poise.model.rules import Rule, RuleAlert, RuleAlertState, RuleGroup, RuleMemory

AT = datetime(2026, 11, 1, 12, 0, 0, 500_000, tzinfo=UTC)
RECORD = Rule(record="r", expr="sum(x)")
ALERT = Rule(alert="A", expr="x > 1", for_s=60, labels={"severity": "page"}, annotations={"summary": "s"})


def alert(state: RuleAlertState) -> RuleAlert:
    return RuleAlert(
        rule="1", labels=(("alertname", "A"), ("i", state.value)), state=state, value="0.25", active_at=AT
    )


GROUP = RuleGroup(name="g", interval_s=30, limit=5, labels={"team": "a"}, rules=(RECORD, ALERT))
STANDING = GroupStanding(
    project="shop",
    file="rules/a.yml",
    group=GROUP,
    rules=(
        RuleStanding(rule=RECORD, error="no", seconds=0.5, evaluated_at=AT),
        RuleStanding(rule=ALERT, memory=RuleMemory(alerts=tuple(map(alert, RuleAlertState)))),
    ),
    evaluated_at=AT,
    seconds=0.75,
)


def test_groups_have_the_shape_that_grafana_and_promtool_read() -> None:
    (group,) = groups([STANDING])
    assert {key: value for key, value in group.items() if key != "rules"} == {
        "name": "g", "file": "shop/rules/a.yml", "interval": 30, "limit": 5, "evaluationTime": 0.75,
        "lastEvaluation": "2026-11-01T12:00:00.500000Z",
    }  # fmt: skip
    record, alerting = group["rules"]
    assert record == {
        "name": "r", "query": "sum(x)", "labels": {"team": "a"}, "health": "err", "lastError": "no",
        "evaluationTime": 0.5, "lastEvaluation": "2026-11-01T12:00:00.500000Z", "type": "recording",
    }  # fmt: skip
    assert (alerting["state"], alerting["health"], alerting["lastEvaluation"]) == ("firing", "unknown", NEVER)
    assert (alerting["duration"], alerting["keepFiringFor"]) == (60, 0)
    assert alerting["labels"] == {"team": "a", "severity": "page"}
    assert [one["state"] for one in alerting["alerts"]] == ["pending", "firing"]
    assert alerting["alerts"][0] == {
        "labels": {"alertname": "A", "i": "pending"}, "annotations": {}, "state": "pending",
        "activeAt": "2026-11-01T12:00:00.500000Z", "value": "2.5e-01",
    }  # fmt: skip


def test_alerts_are_those_that_are_pending_or_fire() -> None:
    assert [one["state"] for one in alerts([STANDING])] == ["pending", "firing"]


@pytest.mark.parametrize(
    ("given", "kind", "names"),
    [
        ({}, None, ["r", "A"]),
        ({}, "alerting", ["A"]),
        ({"rule_name[]": ["r"]}, None, ["r"]),
        ({"rule_name[]": ["r"]}, "alerting", None),
        ({"rule_group[]": ["other"]}, None, None),
        ({"file[]": ["shop/rules/a.yml"]}, None, ["r", "A"]),
        ({"file[]": ["elsewhere"]}, None, None),
    ],
)
def test_a_request_names_what_it_wants(
    given: dict[str, list[str]], kind: str | None, names: list[str] | None
) -> None:
    found = only(groups([STANDING]), Form(given, AT), kind)
    assert [[one["name"] for one in group["rules"]] for group in found] == ([names] if names else [])


def test_alerts_can_be_left_out() -> None:
    found = only(groups([STANDING]), Form({"exclude_alerts": ["true"]}, AT), "alerting")
    assert "alerts" not in found[0]["rules"][0]


def test_how_rules_go_is_told_as_metrics(house: Any) -> None:
    """So that a rule can watch the rules."""
    parts = replace(house.parts, rules=lambda: [STANDING])
    told = {one.about.name: one.samples for one in families(parts)}
    labels = (("group", "g"), ("rule_file", "shop/rules/a.yml"))
    assert told["poise_rules_failing"] == ((labels, 1.0),)
    assert told["poise_rule_group_last_duration_seconds"] == ((labels, 0.75),)
    assert "poise_rules_failing" not in {one.about.name for one in families(house.parts)}
