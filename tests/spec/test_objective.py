"""OpenSLO v1 documents as objectives."""

from __future__ import annotations

import pytest

from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import DAY_S, Alerting, AlertTier, Urgency
from poise.spec.problems import Problems
from poise.spec.service import parse_project

SHOP = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec: {command: x, port: 1}
---
apiVersion: poise.dev/v1
kind: Service
metadata: {name: worker}
spec: {command: x}
---
"""

SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: fast-enough
  displayName: Fast enough
  labels: {team: [web]}
spec:
  description: Most answers are quick.
  service: shop
  indicator:
    metadata: {name: quick}
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: poise
            spec: {counter: latency, thresholdMs: 100}
        total:
          metricSource: {type: poise, spec: {counter: requests}}
  timeWindow:
    - duration: 7d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.95
"""

SLI = """\
apiVersion: openslo/v1
kind: SLI
metadata: {name: good-answers}
spec:
  ratioMetric:
    rawType: success
    raw: {metricSource: {type: poise, spec: {counter: availability}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: steady}
spec:
  service: shop
  indicatorRef: good-answers
  objectives:
    - targetPercent: 99.9
"""


def objectives(text: str) -> dict[str, Objective]:
    declared = parse_project(SHOP + text, project="acme").objectives
    return {objective.name: objective for objective in declared}


def refused(text: str) -> list[tuple[str, str]]:
    """Codes and places, lines counted from the first after the services."""
    with pytest.raises(Problems) as caught:
        parse_project(SHOP + text, project="acme")
    result = []
    for problem in caught.value.problems:
        _, line, column = problem.where.split(":")
        result.append((problem.code, f"{int(line) - SHOP.count(chr(10))}:{column}"))
    return result


def test_an_slo_replaces_the_default_of_its_indicator() -> None:
    """Two latency objectives that nobody asked for would gate twice."""
    found = objectives(SLO)
    assert set(found) == {"fast-enough", "availability"}
    assert found["fast-enough"] == Objective(
        service="acme/production/shop",
        name="fast-enough",
        indicator=IndicatorKind.LATENCY,
        target_ratio=0.95,
        window_s=7 * DAY_S,
        threshold_ms=100.0,
        source="poise.yaml",
    )


def test_an_slo_replaces_the_default_of_its_name() -> None:
    """A name is one objective."""
    found = objectives(SLI.replace("steady", "latency"))
    assert set(found) == {"latency"}
    assert found["latency"].indicator is IndicatorKind.AVAILABILITY


def test_an_slo_may_refer_to_an_sli() -> None:
    """OpenSLO's way to share an indicator; 99.9 % is 0.999 exactly."""
    found = objectives(SLI)
    assert found["steady"].indicator is IndicatorKind.AVAILABILITY
    assert found["steady"].target_ratio == 0.999
    assert found["steady"].window_s == 28 * DAY_S
    assert set(found) == {"steady", "latency"}


def test_several_targets_are_numbered() -> None:
    """OpenSLO allows a list of targets; each is an objective of its own."""
    found = objectives(SLO + "    - target: 0.5\n")
    assert [found[f"fast-enough-{n}"].target_ratio for n in (1, 2)] == [0.95, 0.5]


CALENDAR = "calendar: {startTime: 2026-01-01 00:00:00, timeZone: Europe/Berlin}"

BAD = [
    (SLO.replace("service: shop", "service: shp"), "POISE-S115", "9:12"),
    (SLO.replace("service: shop", "service: worker"), "POISE-S113", "9:12"),
    (SLO.replace("target: 0.95", "target: 1"), "POISE-S113", "26:15"),
    (SLO.replace("target: 0.95", "target: 95%"), "POISE-S112", "26:15"),
    (SLO.replace("target: 0.95", "displayName: x"), "POISE-S111", "26:7"),
    (SLO.replace("target: 0.95", "{target: 0.9, targetPercent: 90}"), "POISE-S118", "26:36"),
    (SLO.replace("target: 0.95", "{target: 0.9, compositeWeight: 1}"), "POISE-S118", "26:38"),
    (SLO.replace("Occurrences", "RatioTimeslices"), "POISE-S111", "26:7"),
    (SLO.replace("Occurrences", "occurrences"), "POISE-S113", "24:20"),
    (SLO.replace("7d", "1Q"), "POISE-S113", "22:17"),
    (SLO.replace("isRolling: true", "isRolling: false"), "POISE-S111", "23:18"),
    (SLO.replace("isRolling: true", CALENDAR.replace("Berlin", "Berln")), "POISE-S115", "23:60"),
    (SLO.replace("isRolling: true", CALENDAR.replace("01-01", "13-01")), "POISE-S113", "23:29"),
    (SLO.replace("isRolling: true", f"{CALENDAR}\n      isRolling: true"), "POISE-S118", "24:18"),
    (SLO.replace("type: poise\n", "type: Prometheus\n"), "POISE-S118", "18:29"),
    (SLO.replace("type: poise\n", "type: pose\n"), "POISE-S113", "17:19"),
    (SLO.replace("type: poise\n", "metricSourceRef: x\n            type: poise\n"), "POISE-S118", "18:19"),
    (SLO.replace("good:", "bad:"), "POISE-S114", "15:9"),
    (SLO.replace("latency, thresholdMs: 100", "latency"), "POISE-S118", "18:29"),
    (SLO.replace("latency, thresholdMs", "availability, thresholdMs"), "POISE-S118", "18:56"),
    (SLO.replace("latency, thresholdMs: 100", "requests"), "POISE-S113", "18:29"),
    (SLO.replace("counter: requests", "counter: availability"), "POISE-S118", "20:55"),
    (SLO.replace("counter: true", "counter: false"), "POISE-S118", "14:18"),
    (SLO.replace("  service: shop", "  service: shop\n  indicatorRef: x"), "POISE-S118", "10:17"),
    (SLO + "---\n" + SLO, "POISE-S117", "31:9"),
    (SLI.replace("indicatorRef: good-answers", "indicatorRef: good-answer"), "POISE-S115", "14:17"),
    (SLI.replace("  indicatorRef: good-answers\n", ""), "POISE-S111", "13:3"),
    (SLI.replace("    rawType: success\n", ""), "POISE-S111", "5:3"),
    (SLI.replace("rawType: success", "rawType: failure"), "POISE-S114", "6:14"),
    ("apiVersion: openslo/v1\nkind: AlertPolicy\nmetadata: {name: x}\nspec: {}\n", "POISE-S111", "4:7"),
]


@pytest.mark.parametrize(("text", "code", "place"), BAD)
def test_what_openslo_allows_and_poise_does_not_is_refused(text: str, code: str, place: str) -> None:
    """An objective that is read as something else gates releases on a fiction."""
    assert refused(text) == [(code, place)]


CONDITION = """\
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: fast}
spec:
  severity: page
  condition: {kind: burnrate, op: gt, threshold: 10, lookbackWindow: 1h, alertAfter: 2m}
"""
POLICY = """\
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: wake}
spec:
  alertWhenBreaching: true
  conditions: [{conditionRef: fast}]
  notificationTargets: [{targetRef: phone}]
"""
TARGET = """\
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: phone}
spec: {target: sms}
"""
INLINE = (
    "{kind: AlertPolicy, metadata: {name: later}, spec: {alertWhenBreaching: true, conditions: [{kind: "
    "AlertCondition, metadata: {name: slow}, spec: {severity: ticket, condition: {kind: burnrate, op: gt, "
    "threshold: 1.5, lookbackWindow: 1d}}}], notificationTargets: [{targetRef: phone}]}}"
)


def alerting(policies: str, documents: str = f"{CONDITION}---\n{POLICY}---\n{TARGET}") -> str:
    return f"{documents}---\n{SLO}  alertPolicies: {policies}\n"


def test_alert_policies_are_tiers_of_the_objectives_own() -> None:
    """By name, as a mapping with the name, and as a whole; the short window is the workbook's twelfth."""
    page = AlertTier(long_s=3600, short_s=300, factor=10, hold_s=120)
    ticket = AlertTier(long_s=DAY_S, short_s=7200, factor=1.5, severity=Urgency.TICKET)
    for written, tiers in (
        ("[wake]", (page,)),
        (f"[{{alertPolicyRef: wake}}, {INLINE}]", (page, ticket)),
        ("[]", None),
    ):
        found = objectives(alerting(written))["fast-enough"]
        assert found.alerts == (None if tiers is None else Alerting(tiers=tiers))


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (alerting("[wakes]"), "POISE-S115", 47),
        (alerting("[{alertPolicyRef: wake, kind: AlertPolicy, spec: {}}]"), "POISE-S111", 47),
        (alerting("[wake]").replace("conditionRef: fast", "conditionRef: fats"), "POISE-S115", 13),
        (alerting("[wake]").replace("op: gt", "op: lte"), "POISE-S114", 6),
        (alerting("[wake]").replace("severity: page", "severity: sev1"), "POISE-S113", 5),
        (alerting("[wake]").replace("kind: burnrate", "kind: breach"), "POISE-S113", 6),
        (alerting("[wake]").replace("lookbackWindow: 1h", "lookbackWindow: 1M"), "POISE-S113", 6),
        (alerting("[wake]").replace("lookbackWindow: 1h", "lookbackWindow: 1m"), "POISE-S118", 47),
        (alerting("[wake]").replace("lookbackWindow: 1h", "lookbackWindow: 8d"), "POISE-S118", 47),
        (alerting("[wake]").replace("alertWhenBreaching: true", "alertWhenNoData: true"), "POISE-S111", 13),
    ],
)
def test_what_no_tier_can_say_is_refused_at_its_line(text: str, code: str, line: int) -> None:
    """An alert that is read as something else, or not at all, is relied upon."""
    ((found, place),) = refused(text)
    assert (found, int(place.split(":")[0])) == (code, line)
