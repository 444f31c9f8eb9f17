"""OpenSLO v1 documents as objectives, and the objectives that every service with a port has anyway."""

from __future__ import annotations

from collections.abc import Mapping as Map
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct, convert

from poise.model.objective import IndicatorKind, Objective, Queries
from poise.model.policy import DAY_S
from poise.model.service import DataSource
from poise.spec import limits
from poise.spec.problems import (
    BAD_VALUE,
    CONTRADICTION,
    DECLARED_TWICE,
    MISSING_KEY,
    TOO_LARGE,
    UNKNOWN_NAME,
    UNSUPPORTED,
    Report,
    nearest,
    shown,
)
from poise.spec.query import queries_of
from poise.spec.read import Document, Found, plain

AVAILABILITY_TARGET_RATIO: Final = 0.999
LATENCY_TARGET_RATIO: Final = 0.99
LATENCY_THRESHOLD_MS: Final = 250.0
WINDOW_S: Final = 28 * DAY_S


class Indicator(Struct, frozen=True):
    """What an objective counts; ``threshold_ms`` for latency alone, ``queries`` for a query alone."""

    kind: IndicatorKind
    threshold_ms: float | None = None
    queries: Queries | None = None


class _Counter(Struct, frozen=True):
    counter: str | None = None
    threshold_ms: float | None = None
    query: str | None = None


class _Source(Struct, frozen=True):
    spec: _Counter
    type: str | None = None
    ref: str | None = None


class _Metric(Struct, frozen=True):
    source: _Source


class _Ratio(Struct, frozen=True):
    good: _Metric | None = None
    bad: _Metric | None = None
    total: _Metric | None = None
    raw: _Metric | None = None
    raw_type: str | None = None


class _IndicatorSpec(Struct, frozen=True):
    ratio: _Ratio


class _Inline(Struct, frozen=True):
    spec: _IndicatorSpec


class _Target(Struct, frozen=True):
    target: float | None = None
    percent: float | None = None


class _Window(Struct, frozen=True):
    duration: float


class _Slo(Struct, frozen=True):
    service: str
    objectives: tuple[_Target, ...]
    indicator: _Inline | None = None
    ref: str | None = None
    window: tuple[_Window, ...] = ()


def default_objectives(service: str) -> tuple[Objective, Objective]:
    """The objectives of a service (by key) that has a port and declares none."""
    return (
        Objective(
            service=service,
            name="availability",
            indicator=IndicatorKind.AVAILABILITY,
            target_ratio=AVAILABILITY_TARGET_RATIO,
            window_s=WINDOW_S,
        ),
        Objective(
            service=service,
            name="latency",
            indicator=IndicatorKind.LATENCY,
            target_ratio=LATENCY_TARGET_RATIO,
            window_s=WINDOW_S,
            threshold_ms=LATENCY_THRESHOLD_MS,
        ),
    )


def objectives_of(
    slos: Sequence[Document],
    slis: Sequence[Document],
    services: Map[str, Map[str, bool]],
    report: Report,
    sources: Sequence[DataSource] = (),
) -> tuple[Objective, ...]:
    """All objectives by service: declared ones first, then the defaults that none replaces.

    ``services`` maps a name to the service's keys, one per environment, and each to whether it has a port
    there; without one it has no counters. Every environment has objectives, and budgets, of its own. A
    declared objective replaces the default of the same name or the same indicator. ``sources`` are those that
    queries may name.
    """
    shared = {document.name: _shared_indicator(document, sources, report) for document in slis}
    declared: dict[str, list[Objective]] = {key: [] for keys in services.values() for key in keys}
    origins: dict[str, str] = {}
    for document in slos:
        for objective in _declared(document, shared, services, sources, report):
            if origins.setdefault(objective.key, document.name) != document.name:
                what = f"the objective {shown(objective.name)} is declared twice"
                report.add(DECLARED_TWICE, document.place, what, mend="Rename one of the two.")
            declared[objective.service].append(objective)
    if sum(map(len, declared.values())) > limits.OBJECTIVES:
        what = f"more than {limits.OBJECTIVES} objectives"
        report.add(TOO_LARGE, slos[-1].place, what, mend="Remove some.")
    result: list[Objective] = []
    counted = {key for keys in services.values() for key, has_port in keys.items() if has_port}
    for key, own in declared.items():
        taken = {objective.name for objective in own} | {objective.indicator.value for objective in own}
        defaults = default_objectives(key) if key in counted else ()
        result += own + [default for default in defaults if default.name not in taken]
    return tuple(result)


def _declared(
    document: Document,
    shared: Map[str, Indicator | None],
    services: Map[str, Map[str, bool]],
    sources: Sequence[DataSource],
    report: Report,
) -> list[Objective]:
    """The objectives of one SLO document in every environment; several targets are numbered from 1."""
    spec = document.spec
    if not document.clean:
        return []
    name = spec.text("service")
    if name is not None and name not in services:
        mend = nearest(name, services)
        report.add(UNKNOWN_NAME, spec.at("service"), f"no service {shown(name)} in this file", mend=mend)
    indicator = _indicator_of(document, shared, sources, report)
    counts_itself = indicator is not None and indicator.kind is IndicatorKind.QUERY
    if name in services and not (counts_itself or any(services[str(name)].values())):
        what = f"service {shown(str(name))} has no port, so nothing counts its requests"
        report.add(BAD_VALUE, spec.at("service"), what, mend="Give it a port, or remove this objective.")
    ratios = [_target(target, report) for target in _records(spec.values.get("objectives"))]
    slo = convert(plain(spec), _Slo)
    if slo.service not in services or indicator is None or None in ratios:
        return []
    return [
        Objective(
            service=key,
            name=document.name if len(ratios) == 1 else f"{document.name}-{number}",
            indicator=indicator.kind,
            target_ratio=ratio,
            window_s=slo.window[0].duration if slo.window else WINDOW_S,
            threshold_ms=indicator.threshold_ms,
            source=report.filename,
            queries=indicator.queries,
        )
        for key, has_port in services[slo.service].items()
        for number, ratio in enumerate(ratios, 1)
        if ratio is not None and (has_port or counts_itself)
    ]


def _records(value: object) -> list[Found]:
    return [item for item in value if isinstance(item, Found)] if isinstance(value, list) else []


def _target(target: Found, report: Report) -> float | None:
    given = [key for key in ("target", "targetPercent") if key in target.nodes]
    if len(given) != 1:
        what = "a target needs exactly one of 'target' and 'targetPercent'"
        place = target.at("targetPercent") if given else target.node
        code = CONTRADICTION if given else MISSING_KEY
        report.add(code, place, what, mend="Write e.g. 'target: 0.999'.")
        return None
    ratio, percent = target.values.get("target"), target.values.get("percent")
    if isinstance(percent, int | float):
        return float(Decimal(str(percent)) / 100)  # 99.9 / 100 in binary is not 0.999
    return float(ratio) if isinstance(ratio, int | float) else None


def _indicator_of(
    document: Document,
    shared: Map[str, Indicator | None],
    sources: Sequence[DataSource],
    report: Report,
) -> Indicator | None:
    spec = document.spec
    given = [key for key in ("indicator", "indicatorRef") if key in spec.nodes]
    if len(given) != 1:
        what = "an SLO needs exactly one of 'indicator' and 'indicatorRef'"
        place = spec.at("indicatorRef") if given else spec.node
        report.add(CONTRADICTION if given else MISSING_KEY, place, what, mend="Keep or add one of them.")
        return None
    ref = spec.text("ref")
    if ref is not None:
        if ref not in shared:
            what = f"no SLI {shown(ref)} in this file"
            report.add(UNKNOWN_NAME, spec.at("indicatorRef"), what, mend=nearest(ref, shared))
        return shared.get(ref)
    inline = convert(plain(spec.values.get("indicator")), _Inline)
    return _counted(inline.spec.ratio, spec, "indicator.spec.ratioMetric", sources, report)


def _shared_indicator(document: Document, sources: Sequence[DataSource], report: Report) -> Indicator | None:
    if not document.clean:
        return None
    ratio = convert(plain(document.spec), _IndicatorSpec).ratio
    return _counted(ratio, document.spec, "ratioMetric", sources, report)


def _counted(
    ratio: _Ratio, spec: Found, path: str, sources: Sequence[DataSource], report: Report
) -> Indicator | None:
    """The counters behind a ratio; None, and a problem, when they do not make one."""
    metrics = {"good": ratio.good, "bad": ratio.bad, "total": ratio.total, "raw": ratio.raw}
    sides = {role: metric.source for role, metric in metrics.items() if metric is not None}
    if not _is_plain(sides, spec, path, report):
        return None
    if any(one.spec.query is not None for one in sides.values()):
        asked = {role: (one.spec.query or "", one.type, one.ref) for role, one in sides.items()}
        queries = queries_of(asked, spec, path, sources, report)
        return Indicator(IndicatorKind.QUERY, queries=queries) if queries is not None else None
    return _of_envoy(ratio, spec, path, report)


def _is_plain(sides: Map[str, _Source], spec: Found, path: str, report: Report) -> bool:
    """Whether each side names one thing, and all the same kind of thing."""
    before = len(report)
    for role, one in sides.items():
        below = f"{path}.{role}.metricSource"
        elsewhere = one.ref is not None or one.type in ("Prometheus", "prometheus")
        if (one.spec.counter is None) == (one.spec.query is None):
            what = "a counter needs exactly one of 'counter' and 'query'"
            place = spec.at(f"{below}.spec.query", f"{below}.spec", below)
            report.add(CONTRADICTION, place, what, mend="Write e.g. 'counter: availability'.")
        elif one.ref is not None and one.type == "poise":
            what = "'type: poise' is no data source"
            report.add(
                CONTRADICTION, spec.at(f"{below}.type"), what, mend="Remove the type or the reference."
            )
        elif one.ref is None and one.type is None:
            what = "a metricSource needs 'type' or 'metricSourceRef'"
            report.add(MISSING_KEY, spec.at(below), what, mend="Write 'type: poise'.")
        elif elsewhere and one.spec.counter is not None:
            what = "a data source is asked by 'query'"
            mend = "Write 'query: http_requests_total', or 'type: poise'."
            report.add(CONTRADICTION, spec.at(f"{below}.spec.counter"), what, mend=mend)
    if len({one.spec.query is None for one in sides.values()}) > 1:
        what = "one side is a counter of Envoy's, another a query"
        report.add(CONTRADICTION, spec.at(path), what, mend="Write both as queries or both as counters.")
    return len(report) == before


def _of_envoy(ratio: _Ratio, spec: Found, path: str, report: Report) -> Indicator | None:
    if ratio.bad is not None:
        mend = "Write 'good' and 'total', or 'raw' with 'rawType: success'."
        report.add(
            UNSUPPORTED, spec.at(f"{path}.bad"), "'bad' is not supported for Envoy's counters", mend=mend
        )
        return None
    pair = ratio.good is not None and ratio.total is not None and ratio.raw is None
    single = ratio.raw is not None and ratio.raw_type is not None and not (ratio.good or ratio.total)
    if not (pair or single):
        what = "a ratio needs 'good' and 'total', or 'raw' with 'rawType: success'"
        report.add(CONTRADICTION, spec.at(path), what, mend="Write one of the two.")
        return None
    metric, side = (ratio.good, "good") if ratio.good is not None else (ratio.raw, "raw")
    assert metric is not None
    counter = metric.source.spec
    below = f"{path}.{side}.metricSource.spec"
    if counter.counter == "requests" or counter.counter is None:
        mend = "Use 'availability' or 'latency'."
        report.add(BAD_VALUE, spec.at(f"{below}.counter"), "'requests' counts all, not good ones", mend=mend)
        return None
    if (counter.counter == "latency") != (counter.threshold_ms is not None):
        what = "'thresholdMs' belongs to 'counter: latency', and to it alone"
        place = spec.at(f"{below}.thresholdMs", f"{below}.counter")
        report.add(CONTRADICTION, place, what, mend="Write e.g. {counter: latency, thresholdMs: 250}.")
        return None
    if ratio.total is not None and ratio.total.source.spec not in (counter, _Counter("requests")):
        place = spec.at(f"{path}.total.metricSource.spec.counter")
        report.add(CONTRADICTION, place, "'total' counts something else", mend="Write 'counter: requests'.")
        return None
    return Indicator(IndicatorKind(counter.counter), counter.threshold_ms)
