"""Objectives of our own for other tools: as OpenSLO v1, and as what Sloth's rules are made from.

What cannot be said there is refused with the objective named, never left out: a budget that is counted
otherwise elsewhere is another budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec.structs import replace

from poise.model.errors import Invalid
from poise.model.objective import (
    EXCLUDED_MAX_RATIO,
    MEASURED_EVERY_S,
    Calendar,
    Comparison,
    Gauge,
    IndicatorKind,
    Method,
    Objective,
    Treatment,
)
from poise.model.policy import AlertTier
from poise.model.service import DataSource
from poise.spec.alert_policies import SHORT_RATIO
from poise.spec.counter import counters_of
from poise.spec.durations import format_duration
from poise.spec.foreign.openslo import OPENSLO_V1
from poise.spec.foreign.slo import AlertRule, BooleanGauge, Counters, Indicator, RawRatio, Slo, Threshold
from poise.spec.problems import Problems

PLAIN: Final = "poise/v1"  # Sloth's label for the format that an objective came in
Places = Mapping[str, str]


def slos_of(objectives: Sequence[Objective], places: Places) -> list[Slo]:
    """What Sloth's rules are made from. Raises ``Problems`` naming each that they cannot say."""
    return _all(objectives, places, _slo)


def openslo_of(
    objectives: Sequence[Objective], places: Places, sources: Sequence[DataSource] = ()
) -> list[dict[str, Any]]:
    """OpenSLO v1: data sources that are declared, services, and an SLO each. Raises ``Problems`` likewise."""
    slos = _all(objectives, places, _document)
    made = [_named("DataSource", one.name, _source(one)) for one in sources]
    services = dict.fromkeys(one.service.rpartition("/")[2] for one in objectives)
    return [*made, *(_named("Service", name, {}) for name in services), *slos]


def _all(objectives: Sequence[Objective], places: Places, make: Any) -> list[Any]:
    made, problems = [], []
    for one in objectives:
        found = make(one)
        if isinstance(found, str):
            name = "/".join(one.key.split("/")[2:])
            problems.append(
                Invalid(
                    "POISE-E236", f"'{name}' cannot be exported: {found}", where=places.get(one.key, ""),
                    mend="Name the others: --only NAME",
                )
            )  # fmt: skip
        else:
            made.append(found)
    if problems:
        raise Problems(problems)
    return made


# -- Sloth's rules --------------------------------------------------------------------------------------


def _slo(one: Objective) -> Slo | str:
    """The objective in the words that other tools share, or why not."""
    if one.calendar is not None or one.also:
        return "rules have one rolling window"
    if one.alerts is not None:
        return "rules have the workbook's tiers, not its own"
    if one.method is not Method.OCCURRENCES:
        return f"rules have no {one.method.value}"
    indicator = _indicator(one)
    if isinstance(indicator, str):
        return indicator
    name = one.service.rpartition("/")[2]
    alert = "".join(part.capitalize() for part in f"{name}-{one.name}".split("-")) + "Burns"
    return Slo(
        service=name, name=one.name, percent=float(Decimal(str(one.target_ratio)) * 100), indicator=indicator,
        window_s=one.window_s, description=one.title, alert=alert,
        page=AlertRule(labels={"severity": "page"}),
        ticket=AlertRule(labels={"severity": "ticket"}), spec=PLAIN,
    )  # fmt: skip


def _indicator(one: Objective) -> Indicator | str:
    counted = counters_of(_ungrouped(one))
    if counted is not None and counted.queries is not None:
        asked = counted.queries
        return Counters(
            good=asked.good or "", bad=asked.bad or "", total=asked.total or "", group_by=one.group_by
        )
    gauge = one.gauge
    if gauge is None or one.indicator is IndicatorKind.PROBE:
        return _UNSAID.get(one.indicator, "it is measured by Poise alone")
    if one.indicator is IndicatorKind.BOOLEAN:
        return BooleanGauge(metric=gauge.query, group_by=one.group_by)
    if one.group_by:
        return "groups are said of counters and booleans alone"
    if one.indicator is IndicatorKind.RAW_RATIO:
        return RawRatio(bad=gauge.query if gauge.failure else f"1 - ({gauge.query})")
    return Threshold(query=gauge.query, op=gauge.op.value, value=gauge.bound)


def _ungrouped(one: Objective) -> Objective:
    return replace(one, group_by=(), method=Method.OCCURRENCES)


_UNSAID: Final = {
    IndicatorKind.AVAILABILITY: "Envoy counts it, which no Prometheus does",
    IndicatorKind.LATENCY: "Envoy counts it, which no Prometheus does",
    IndicatorKind.PROBE: "a probe of Poise measures it",
    IndicatorKind.COMPOSITE: "it is made of other objectives",
}


# -- OpenSLO v1 -----------------------------------------------------------------------------------------


def _document(one: Objective) -> dict[str, Any] | str:
    """The objective as an ``SLO`` that reads back as the same one, or why not."""
    unsaid = _unsaid(one)
    if unsaid:
        return unsaid
    target: dict[str, Any] = {"target": one.target_ratio}
    if one.title:
        target["displayName"] = one.title
    metric = _metric_of(one, target)
    if isinstance(metric, str):
        return metric
    if one.slicing is not None:
        if one.slicing.target_ratio is not None:
            target["timeSliceTarget"] = one.slicing.target_ratio
        target["timeSliceWindow"] = format_duration(one.slicing.slice_s)
    spec = {
        "service": one.service.rpartition("/")[2],
        "indicator": {"metadata": {"name": one.name}, "spec": metric},
        "timeWindow": [_window(one)],
        "budgetingMethod": one.method.value,
        "objectives": [target],
    }
    tiers = one.alerts.tiers if one.alerts else ()
    if tiers:
        spec["alertPolicies"] = [_alert(f"{one.name}-{n}", tier) for n, tier in enumerate(tiers, 1)]
    return _named("SLO", one.name, spec)


def _alert(name: str, tier: AlertTier) -> dict[str, Any]:
    """A whole policy; whom it tells says a kind of our own, and OpenSLO wants a target."""
    condition = {
        "kind": "burnrate",
        "op": "gt",
        "threshold": tier.factor,
        "lookbackWindow": _rolling(tier.long_s),
        "alertAfter": _rolling(tier.hold_s) if tier.hold_s else "0m",
    }
    spec = {"severity": tier.severity.value, "condition": condition}
    return {
        "kind": "AlertPolicy",
        "metadata": {"name": name},
        "spec": {
            "alertWhenBreaching": True,
            "conditions": [{"kind": "AlertCondition", "metadata": {"name": name}, "spec": spec}],
            "notificationTargets": [
                {
                    "kind": "AlertNotificationTarget",
                    "metadata": {"name": "escalation"},
                    "spec": {"target": "poise"},
                }
            ],
        },
    }


def _unsaid(one: Objective) -> str:
    """What of it OpenSLO v1 has no word for; empty when it has one for all."""
    if one.group_by:
        return "OpenSLO v1 has no groups"
    if one.also:
        return "OpenSLO v1 has one window"
    if one.alerts is not None:
        if one.alerts.failures_min is not None:
            return "OpenSLO v1 has no 'minFailures'"
        if any(tier.short_s * SHORT_RATIO != tier.long_s for tier in one.alerts.tiers):
            return "OpenSLO v1 has one window a condition: 'short' must be a twelfth of 'long'"
        if any(tier.hold_s % 60 or tier.long_s % 60 for tier in one.alerts.tiers):
            return "OpenSLO v1 has whole minutes alone for 'long' and 'for'"
    if one.requires:
        return "OpenSLO v1 has no 'requires'"
    if (one.first_sample, one.on_reset) != (Treatment.COUNT, Treatment.COUNT):
        return "OpenSLO v1 has no 'firstSample' and no 'onReset'"
    if one.excluded_max_ratio != EXCLUDED_MAX_RATIO:
        return "OpenSLO v1 has no 'excludedMax'"
    if one.gauge is not None and one.gauge.every_s != MEASURED_EVERY_S:
        return "OpenSLO v1 has no 'every'"
    return ""


def _metric_of(one: Objective, target: dict[str, Any]) -> dict[str, Any] | str:
    counted = counters_of(_ungrouped(one))
    if counted is not None and counted.queries is not None:
        asked = counted.queries
        sides = (("good", asked.good), ("bad", asked.bad), ("total", asked.total))
        made = {role: _asked(text, asked.source) for role, text in sides if text}
        return {"ratioMetric": {"counter": True, **made}}
    if one.gauge is None or one.indicator is IndicatorKind.PROBE:
        return _envoy(one) or _UNSAID.get(one.indicator, "it is measured by Poise alone")
    return _gauge(one.indicator, one.gauge, target)


def _envoy(one: Objective) -> dict[str, Any] | None:
    """Envoy's counters, in the words that Poise reads."""
    if one.indicator not in (IndicatorKind.AVAILABILITY, IndicatorKind.LATENCY):
        return None
    counter: dict[str, Any] = {"counter": one.indicator.value}
    if one.threshold_ms is not None:
        counter["thresholdMs"] = one.threshold_ms
    good = {"metricSource": {"type": "poise", "spec": counter}}
    total = {"metricSource": {"type": "poise", "spec": {"counter": "requests"}}}
    return {"ratioMetric": {"counter": True, "good": good, "total": total}}


def _gauge(kind: IndicatorKind, gauge: Gauge, target: dict[str, Any]) -> dict[str, Any]:
    metric = _asked(gauge.query, gauge.source)
    if kind is IndicatorKind.RAW_RATIO:
        return {"ratioMetric": {"rawType": "failure" if gauge.failure else "success", "raw": metric}}
    op, bound = (Comparison.GTE, 1.0) if kind is IndicatorKind.BOOLEAN else (gauge.op, gauge.bound)
    target |= {"op": op.value, "value": bound}
    return {"thresholdMetric": metric}


def _asked(query: str, source: str) -> dict[str, Any]:
    """A query of a data source; of the embedded store where none is named."""
    named = {"metricSourceRef": source, "type": "Prometheus"} if source else {"type": "poise"}
    return {"metricSource": {**named, "spec": {"query": query}}}


def _window(one: Objective) -> dict[str, Any]:
    if one.calendar is None:
        return {"duration": _rolling(one.window_s), "isRolling": True}
    calendar: Calendar = one.calendar
    told = {"startTime": calendar.starts.replace("T", " "), "timeZone": calendar.zone}
    return {"duration": f"{calendar.count}{calendar.unit.value}", "isRolling": False, "calendar": told}


def _rolling(seconds: float) -> str:
    """One number and one unit, the largest that is whole, weeks aside."""
    for unit, size in (("d", 86_400), ("h", 3600)):
        if seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 60:.0f}m"


def _source(one: DataSource) -> dict[str, Any]:
    details: dict[str, Any] = {"url": one.url}
    if one.stale_after_s != DataSource(name="", url="").stale_after_s:
        details["staleAfter"] = format_duration(one.stale_after_s)
    return {"type": "Prometheus", "connectionDetails": details}


def _named(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": OPENSLO_V1, "kind": kind, "metadata": {"name": name}, "spec": spec}
