"""Objectives of other tools as OpenSLO v1 documents, which is what Poise reads.

Counters are named where they can be told; then Poise counts every event. What only a query can tell is a raw
ratio or a threshold, whose values are counted instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from poise.spec.durations import format_duration
from poise.spec.foreign.counting import counters_of
from poise.spec.foreign.slo import (
    BooleanGauge,
    Counters,
    Events,
    Indicator,
    RawRatio,
    Slo,
    Threshold,
    in_window,
)

OPENSLO_V1: Final = "openslo/v1"
POISE_V1: Final = "poise.dev/v1"
RATE_WINDOW: Final = "5m"  # of a ratio that only a query tells: it is asked again and again


def documents(slos: Sequence[Slo], *, source: str = "prometheus", url: str = "") -> list[dict[str, Any]]:
    """A ``DataSource`` where ``url`` is told, each ``Service``, and an objective for each that asks it.

    What has a budget for each value of a label is Poise's own ``Objective``, for OpenSLO has no word for it.
    """
    made: list[dict[str, Any]] = []
    if url:
        made.append(
            {
                "apiVersion": OPENSLO_V1,
                "kind": "DataSource",
                "metadata": {"name": source},
                "spec": {"type": "Prometheus", "connectionDetails": {"url": url}},
            }
        )
    for name in dict.fromkeys(slo.service for slo in slos):
        metadata = {"name": name}
        made.append({"apiVersion": OPENSLO_V1, "kind": "Service", "metadata": metadata, "spec": {}})
    return [*made, *(document(slo, source) for slo in slos)]


def document(slo: Slo, source: str) -> dict[str, Any]:
    """One objective as an ``SLO`` with its indicator inline, or as an ``Objective`` where it is grouped."""
    group_by = getattr(slo.indicator, "group_by", ())
    if group_by:
        return _grouped(slo, source)
    target: dict[str, Any] = {"target": ratio_of(slo.percent)}
    indicator = _indicator(slo.indicator, source, target)
    if slo.slicing is not None:
        if slo.slicing.target_ratio is not None:
            target["timeSliceTarget"] = slo.slicing.target_ratio
        target["timeSliceWindow"] = format_duration(slo.slicing.slice_s)
    metadata: dict[str, Any] = {"name": slo.name}
    if slo.display:
        metadata["displayName"] = slo.display
    spec: dict[str, Any] = {"description": slo.description} if slo.description else {}
    spec |= {
        "service": slo.service,
        "indicator": {"metadata": {"name": slo.name}, "spec": indicator},
        "timeWindow": [_window(slo)],
        "budgetingMethod": slo.slicing.method if slo.slicing else "Occurrences",
        "objectives": [target],
    }
    return {"apiVersion": OPENSLO_V1, "kind": "SLO", "metadata": metadata, "spec": spec}


def _grouped(slo: Slo, source: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"service": slo.service, "target": ratio_of(slo.percent), "source": source}
    match slo.indicator:
        case Counters(good=good, bad=bad, total=total, group_by=group_by):
            sides = (("good", good), ("bad", bad), ("total", total))
            spec |= {role: text for role, text in sides if text}
        case BooleanGauge(metric=metric, group_by=group_by):
            spec["boolean"] = metric
        case _:
            raise AssertionError(f"not grouped: {slo.indicator}")
    spec |= {"window": format_duration(slo.window_s), "groupBy": list(group_by)}
    return {"apiVersion": POISE_V1, "kind": "Objective", "metadata": {"name": slo.name}, "spec": spec}


def is_counted(slo: Slo) -> bool:
    """Whether every event of it is counted, rather than values of a query."""
    return counters_of(slo.indicator) is not None


def ratio_of(percent: float) -> float:
    """A percent as a ratio, free of the float's noise.

    >>> ratio_of(99.9), ratio_of(0.999 * 100), ratio_of(95)
    (0.999, 0.999, 0.95)
    """
    return float(Decimal(repr(round(percent, 10))) / 100)


def _window(slo: Slo) -> dict[str, Any]:
    if slo.calendar is None:
        return {"duration": format_duration(slo.window_s), "isRolling": True}
    calendar = {"startTime": slo.calendar.starts, "timeZone": slo.calendar.zone}
    return {"duration": _shorthand(slo.window_s), "isRolling": False, "calendar": calendar}


def _shorthand(seconds: float) -> str:
    """A calendar window as OpenSLO shortens it; a month of 30 days is a month."""
    for unit, size in (("Y", 365 * 86_400), ("Q", 90 * 86_400), ("M", 30 * 86_400), ("w", 7 * 86_400)):
        if seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return format_duration(seconds)


def _indicator(indicator: Indicator, source: str, target: dict[str, Any]) -> dict[str, Any]:
    counted = counters_of(indicator)
    if counted is not None:
        return {"ratioMetric": _ratio(counted, source)}
    match indicator:
        case BooleanGauge(metric=metric):
            target |= {"op": "gte", "value": 1}
            return {"thresholdMetric": _metric(metric, source)}
        case Threshold(query=query, op=op, value=value):
            target |= {"op": op, "value": value}
            return {"thresholdMetric": _metric(query, source)}
        case RawRatio(bad=bad):
            return {"ratioMetric": {"rawType": "failure", "raw": _metric(_windowed(bad), source)}}
        case Events(bad="", good=good, total=total):
            whole = f"({good}) / ({total})"
            return {"ratioMetric": {"rawType": "success", "raw": _metric(_windowed(whole), source)}}
        case Events(bad=bad, total=total):
            whole = f"({bad}) / ({total})"
            return {"ratioMetric": {"rawType": "failure", "raw": _metric(_windowed(whole), source)}}
        case _:
            raise AssertionError(f"no indicator: {indicator}")


def _ratio(counters: Counters, source: str) -> dict[str, Any]:
    sides = (("good", counters.good), ("bad", counters.bad), ("total", counters.total))
    return {"counter": True, **{role: _metric(text, source) for role, text in sides if text}}


def _metric(query: str, source: str) -> dict[str, Any]:
    named = {"metricSourceRef": source, "type": "Prometheus", "spec": {"query": query}}
    return {"metricSource": named}


def _windowed(query: str) -> str:
    return in_window(query, RATE_WINDOW).strip()
