"""Pyrra's ``ServiceLevelObjective`` (pyrra.dev/v1alpha1).

The service is the one of the label ``pyrra.dev/service`` or ``service``, else the object's namespace, else
its name: Pyrra itself has no word for it. Source: pyrra-dev/pyrra 1ba95af, kubernetes/api/v1alpha1.
"""

from __future__ import annotations

from typing import Any, Final

from poise.spec.document import Node
from poise.spec.durations import parse_span
from poise.spec.foreign.checking import Check, check_query, placed_at
from poise.spec.foreign.slo import AlertRule, BooleanGauge, Counters, Indicator, Slo
from poise.spec.problems import BAD_VALUE, CONTRADICTION, UNSUPPORTED, Report, shown
from poise.spec.read import plain, read_record
from poise.spec.shape import Anything, Choice, Field, Flag, ListOf, MapOf, Record, Text

V1ALPHA1: Final = "pyrra.dev/v1alpha1"
SERVICE_LABELS: Final = ("pyrra.dev/service", "service")
_ANY: Final = Text(any_scalar=True)
_QUERY: Final = Record(fields=(Field("metric", Text(), "metric", "A selector.", required=True),))
_GROUPING: Final = Field("grouping", ListOf(item=Text()), "grouping", "A budget for each of their values.")
_NATIVE: Final = "Use 'latency' with a classic histogram's bucket; native histograms are not kept."
_INDICATOR: Final = Record(
    fields=(
        Field("ratio", Record(fields=(
            Field("errors", _QUERY, "errors", "Bad events.", required=True),
            Field("total", _QUERY, "total", "All events.", required=True),
            _GROUPING,
        )), "ratio", "Bad over all."),
        Field("latency", Record(fields=(
            Field("success", _QUERY, "success", "Fast events: one bucket.", required=True),
            Field("total", _QUERY, "total", "All events.", required=True),
            _GROUPING,
        )), "latency", "Fast over all."),
        Field("bool_gauge", Record(fields=(
            Field("metric", Text(), "metric", "A gauge that is 1 when good.", required=True),
            _GROUPING,
        )), "gauge", "A gauge."),
    ),
    refused={"latencyNative": _NATIVE},
)  # fmt: skip
_ALERTING: Final = Record(
    fields=(
        Field("disabled", Flag(), "disabled", "Whether there are no alerts."),
        Field("burnrates", Flag(), "burnrates", "Whether there are burn-rate alerts."),
        Field("absent", Flag(), "", "Whether a missing metric alerts; Poise always tells."),
        Field("name", _ANY, "name", "The alerts' name."),
        Field("absentName", _ANY, "", "The missing metric's alert."),
        Field("severities", Anything(), "", "Severities; the budget policy's are used."),
    )
)
_SPEC: Final = Record(
    fields=(
        Field("description", _ANY, "description", "A note for people."),
        Field("target", Text(any_scalar=True), "target", "A percent.", required=True),
        Field("window", Text(), "window", "The period, such as 4w.", required=True),
        Field("indicator", _INDICATOR, "indicator", "What is measured.", required=True),
        Field("alerting", _ALERTING, "alerting", "Its alerts."),
        Field("performance_over_accuracy", Flag(), "", "Poise's sums are exact and cheap."),
        Field("performanceOverAccuracy", Flag(), "", "Poise's sums are exact and cheap."),
        Field("partial_response_strategy", Anything(), "", "Of Thanos' ruler; no effect."),
        Field("ruleOutput", Anything(), "", "Of Pyrra's rules; no effect."),
    )
)
_METADATA: Final = Record(
    fields=(
        Field("name", _ANY, "name", "The name.", required=True),
        Field("namespace", _ANY, "namespace", "Its namespace."),
        Field("labels", MapOf(name=_ANY, value=_ANY, high=100), "labels", "Labels."),
        Field("annotations", Anything(), "", "Notes; no effect."),
    )
)
_OBJECT: Final = Record(
    fields=(
        Field("apiVersion", Choice(words=(V1ALPHA1,)), "", "The format.", required=True),
        Field("kind", Choice(words=("ServiceLevelObjective",)), "", "The kind.", required=True),
        Field("metadata", _METADATA, "metadata", "Its name.", required=True),
        Field("spec", _SPEC, "spec", "The objective.", required=True),
        Field("status", Anything(), "", "Written by Pyrra; no effect."),
    )
)


def v1alpha1(node: Node, report: Report, check: Check) -> list[Slo]:
    """The objective of a document."""
    before = len(report)
    found = read_record(_OBJECT, node, "the document", report)
    if found is None or len(report) > before:
        return []
    values: Any = plain(found)
    spec, metadata, at = values["spec"], values["metadata"], placed_at(node, "spec")
    percent, window_s = _percent(spec, at, report), parse_span(spec["window"])
    if not window_s:
        what = f"{shown(spec['window'])} is not a duration"
        report.add(BAD_VALUE, placed_at(at, "window"), what, mend="Write e.g. 'window: 4w'.")
    indicator = _indicator(spec["indicator"], placed_at(at, "indicator"), report, check)
    if len(report) > before or indicator is None or not window_s:
        return []
    alerting = spec.get("alerting", {})
    alerts = alerting.get("burnrates", True) and not alerting.get("disabled", False)
    labels = metadata.get("labels", {})
    service = next((labels[key] for key in SERVICE_LABELS if labels.get(key)), "")
    rule = AlertRule() if alerts else None
    return [
        Slo(
            service=service or metadata.get("namespace") or metadata["name"],
            name=metadata["name"],
            percent=percent,
            indicator=indicator,
            window_s=window_s,
            description=spec.get("description", ""),
            labels={key: value for key, value in labels.items() if "/" not in key},
            alert=alerting.get("name") or "ErrorBudgetBurn",
            page=rule,
            ticket=rule,
            spec=V1ALPHA1,
            line=node.line,
            column=node.column,
        )
    ]


def _percent(spec: Any, at: Node, report: Report) -> float:
    try:
        percent = float(spec["target"])
    except ValueError:
        percent = -1.0
    if not 0 < percent <= 100:
        what = f"{shown(spec['target'])} is not a percent above 0 and up to 100"
        report.add(BAD_VALUE, placed_at(at, "target"), what, mend="Write e.g. 'target: \"99.9\"'.")
    return percent


def _indicator(given: Any, at: Node, report: Report, check: Check) -> Indicator | None:
    if len(given) != 1:
        what = "an indicator is one of 'ratio', 'latency' and 'bool_gauge'"
        report.add(CONTRADICTION, at, what, mend="Write exactly one.")
        return None
    kind, one = next(iter(given.items()))
    group_by = tuple(one.get("grouping", ()))
    if kind == "gauge":
        check_query(one["metric"], placed_at(at, "bool_gauge", "metric"), report, check)
        return BooleanGauge(metric=one["metric"], group_by=group_by)
    total = one["total"]["metric"]
    key, side = ("latency", "success") if kind == "latency" else ("ratio", "errors")
    other = one[side]["metric"]
    check_query(total, placed_at(at, key, "total", "metric"), report, check)
    check_query(other, placed_at(at, key, side, "metric"), report, check)
    if other == total:
        place = placed_at(at, key, side, "metric")
        report.add(CONTRADICTION, place, f"'{side}' and 'total' are the same", mend="Change one of them.")
    if kind == "latency" and "le=" not in other.replace(" ", ""):
        report.add(UNSUPPORTED, placed_at(at, key, side, "metric"), "'success' names no bucket",
                   mend="Add a matcher such as le=\"0.5\".")  # fmt: skip
    if kind == "latency":
        return Counters(good=other, total=total, group_by=group_by)
    return Counters(bad=other, total=total, group_by=group_by)
