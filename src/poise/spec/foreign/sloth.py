"""Sloth's files: ``prometheus/v1``, and ``PrometheusServiceLevel`` of Kubernetes.

Source: slok/sloth 0e395d8, pkg/prometheus/api/v1, pkg/kubernetes/api/sloth/v1, pkg/common/validation.
"""

from __future__ import annotations

from typing import Any, Final

from poise.spec.document import Mapping, Node
from poise.spec.foreign.checking import Check, check_query, placed_at
from poise.spec.foreign.slo import WINDOW_SIGN, AlertRule, Events, Indicator, RawRatio, Slo
from poise.spec.problems import (
    BAD_VALUE,
    CONTRADICTION,
    EXPRESSION,
    MISSING_KEY,
    Report,
)
from poise.spec.read import plain, read_record
from poise.spec.shape import Anything, Choice, Field, Flag, ListOf, MapOf, Number, Record, Shape, Text

PROMETHEUS_V1: Final = "prometheus/v1"
KUBERNETES_V1: Final = "sloth.slok.dev/v1"
KUBERNETES_KIND: Final = "PrometheusServiceLevel"
SLOS_MAX: Final = 1000
_NAME: Final = Text(
    pattern=r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
    hint="Letters and digits; '-', '_' and '.' in between.",
    any_scalar=True,
)
_LABELS: Final = MapOf(
    name=Text(pattern=r"[a-zA-Z_][a-zA-Z0-9_]*", hint="A label's name: letters, digits and '_'."),
    value=Text(any_scalar=True),
    high=50,
)
_BY_HAND: Final = "Write the query that the plugin makes as 'events' or 'raw'."
_CAMEL: Final = {  # as Kubernetes spells them; read in both formats, and always for what was meant
    "error_query": "errorQuery",
    "total_query": "totalQuery",
    "error_ratio_query": "errorRatioQuery",
    "page_alert": "pageAlert",
    "ticket_alert": "ticketAlert",
}
_NO_PLUGINS: Final = "Remove it: the rules are the standard ones."


def _spelled(key: str, shape: Shape, about: str) -> tuple[Field, ...]:
    return tuple(Field(word, shape, key, about) for word in (key, _CAMEL[key]))


_ALERT: Final = Record(
    fields=(
        Field("disable", Flag(), "disable", "Whether there is no such alert."),
        Field("labels", _LABELS, "labels", "Labels of the alert."),
        Field("annotations", _LABELS, "annotations", "Annotations of the alert."),
    )
)
_ALERTING: Final = Record(
    fields=(
        Field("name", Text(any_scalar=True), "name", "The alerts' name."),
        Field("labels", _LABELS, "labels", "Labels of both alerts."),
        Field("annotations", _LABELS, "annotations", "Annotations of both alerts."),
        *_spelled("page_alert", _ALERT, "The alert that pages."),
        *_spelled("ticket_alert", _ALERT, "The alert that can wait."),
    )
)
_EVENTS: Final = Record(
    fields=(
        *_spelled("error_query", Text(), "Bad events in {{.window}}."),
        *_spelled("total_query", Text(), "All events in {{.window}}."),
    )
)
_RAW: Final = Record(fields=_spelled("error_ratio_query", Text(), "The share of bad events in {{.window}}."))
_SLI: Final = Record(
    fields=(Field("events", _EVENTS, "events", "Bad and all events."), Field("raw", _RAW, "raw", "A ratio.")),
    refused={"plugin": _BY_HAND},
)
_SLO: Final = Record(
    fields=(
        Field("name", _NAME, "name", "The objective's name.", required=True),
        Field("objective", Number(low=0, high=100), "objective", "The target as a percent.", required=True),
        Field("description", Text(any_scalar=True), "description", "A note for people."),
        Field("labels", _LABELS, "labels", "Labels of its rules."),
        Field("sli", _SLI, "sli", "What is measured.", required=True),
        Field("alerting", _ALERTING, "alerting", "Its alerts."),
    ),
    refused={"plugins": _NO_PLUGINS},
)
_SPEC: Final = Record(
    fields=(
        Field("version", Choice(words=(PROMETHEUS_V1,)), "", "The format."),
        Field("service", _NAME, "service", "The service.", required=True),
        Field("labels", _LABELS, "labels", "Labels of every rule."),
        Field("slos", ListOf(item=_SLO, low=1, high=SLOS_MAX), "slos", "The objectives.", required=True),
    ),
    refused={"slo_plugins": _NO_PLUGINS, "sloPlugins": _NO_PLUGINS},
)
_OBJECT: Final = Record(
    fields=(
        Field("apiVersion", Choice(words=(KUBERNETES_V1,)), "", "The format.", required=True),
        Field("kind", Choice(words=(KUBERNETES_KIND,)), "", "The kind.", required=True),
        Field("metadata", Anything(), "", "The object's name; no effect here."),
        Field("spec", Anything(), "", "The objectives.", required=True),
    )
)


def prometheus_v1(node: Node, report: Report, check: Check) -> list[Slo]:
    """The objectives of a ``version: prometheus/v1`` document."""
    return _slos(node, report, check, PROMETHEUS_V1)


def kubernetes_v1(node: Node, report: Report, check: Check) -> list[Slo]:
    """The objectives of a ``PrometheusServiceLevel``."""
    found = read_record(_OBJECT, node, "the document", report)
    spec = node.get("spec") if isinstance(node, Mapping) else None
    if found is None or spec is None:
        return []
    return _slos(spec, report, check, KUBERNETES_V1)


def _slos(node: Node, report: Report, check: Check, spec: str) -> list[Slo]:
    before = len(report)
    found = read_record(_SPEC, node, "the file", report)
    if found is None or len(report) > before:
        return []
    values: Any = plain(found)
    made = []
    for place, one in enumerate(values["slos"]):
        at = placed_at(node, "slos", place)
        if one["objective"] <= 0:
            report.add(BAD_VALUE, placed_at(at, "objective"), "an objective of 0 promises nothing",
                       mend="Write a percent above 0, such as 99.9.")  # fmt: skip
        indicator = _indicator(one["sli"], at, report, check)
        if indicator is not None:
            made.append(_slo(values, one, indicator, at, report, spec))
    return made


def _slo(values: Any, one: Any, indicator: Indicator, at: Node, report: Report, spec: str) -> Slo:
    alerting = one.get("alerting", {})
    page, ticket = (_rule(alerting, key) for key in ("page_alert", "ticket_alert"))
    if (page or ticket) and not alerting.get("name"):
        report.add(MISSING_KEY, placed_at(at, "alerting"), "the alerts have no name",
                   mend="Write 'alerting: {name: ...}', or disable both.")  # fmt: skip
    return Slo(
        service=values["service"],
        name=one["name"],
        percent=float(one["objective"]),
        indicator=indicator,
        description=one.get("description", ""),
        labels={**values.get("labels", {}), **one.get("labels", {})},
        alert=alerting.get("name", ""),
        page=page,
        ticket=ticket,
        spec=spec,
        line=at.line,
        column=at.column,
    )


def _rule(alerting: Any, key: str) -> AlertRule | None:
    own = alerting.get(key, {})
    if own.get("disable"):
        return None
    return AlertRule(
        labels={**alerting.get("labels", {}), **own.get("labels", {})},
        annotations={**alerting.get("annotations", {}), **own.get("annotations", {})},
    )


def _indicator(sli: Any, at: Node, report: Report, check: Check) -> Indicator | None:
    place = placed_at(at, "sli")
    if len(sli) != 1:
        what = "an SLI is either 'events' or 'raw'"
        report.add(CONTRADICTION, place, what, mend="Write one of the two.")
        return None
    before = len(report)
    kind, given = next(iter(sli.items()))
    wanted = ("error_ratio_query",) if kind == "raw" else ("error_query", "total_query")
    for key in wanted:
        if key not in given:
            report.add(MISSING_KEY, placed_at(place, kind), f"'{kind}' has no '{key}'", mend=f"Add '{key}'.")
    if len(report) > before:
        return None
    if kind == "raw":
        query = given["error_ratio_query"]
        _checked(query, placed_at(place, "raw", "error_ratio_query", "errorRatioQuery"), report, check)
        return RawRatio(bad=query) if len(report) == before else None
    bad, total = given["error_query"], given["total_query"]
    _checked(bad, placed_at(place, "events", "error_query", "errorQuery"), report, check)
    _checked(total, placed_at(place, "events", "total_query", "totalQuery"), report, check)
    if bad == total:
        what = "the queries of bad and of all events are the same"
        report.add(CONTRADICTION, place, what, mend="Let the first one count bad events alone.")
    return Events(bad=bad, total=total) if len(report) == before else None


def _checked(query: str, place: Node, report: Report, check: Check) -> None:
    if not WINDOW_SIGN.search(query):
        report.add(EXPRESSION, place, "the query has no {{.window}}",
                   mend="Write the window of the range as [{{.window}}].")  # fmt: skip
        return
    check_query(query, place, report, check)
