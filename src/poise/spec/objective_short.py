"""``kind: Objective``: Poise's own short form, with groups, journeys and several windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import convert
from msgspec.structs import replace

from poise.model.objective import (
    EXCLUDED_MAX_RATIO,
    GROUPS_MAX,
    LATE_AFTER_S,
    MEASURED_EVERY_S,
    Calendar,
    CalendarUnit,
    Combination,
    Comparison,
    Component,
    Composite,
    Gauge,
    Histogram,
    IndicatorKind,
    Method,
    Objective,
    Slicing,
    Treatment,
    WhenDelayed,
    Window,
)
from poise.model.policy import Alerting
from poise.model.service import DataSource, Probe
from poise.spec.counter import NotCounted, counter
from poise.spec.document import Node
from poise.spec.indicator import Indicator, check_expression
from poise.spec.objective import Draft, Services, check_service, check_slices, records
from poise.spec.problems import (
    CONTRADICTION,
    DECLARED_TWICE,
    EXPRESSION,
    MISSING_KEY,
    UNKNOWN_NAME,
    Report,
    nearest,
    shown,
)
from poise.spec.query import EMBEDDED, queries_of
from poise.spec.read import Document, Found, plain
from poise.spec.tiers import check_tier
from poise.spec.window import WINDOW_S, check_starts, check_zone, named

SLICE_S: Final = 60.0
_COUNTERS: Final[tuple[str, ...]] = ("good", "bad", "total")
_GAUGES: Final = {
    "ratio": IndicatorKind.RAW_RATIO,
    "failureRatio": IndicatorKind.RAW_RATIO,
    "threshold": IndicatorKind.THRESHOLD,
    "boolean": IndicatorKind.BOOLEAN,
}
_COMPOSITES: Final = {
    "allOf": Combination.ALL_OF,
    "anyOf": Combination.ANY_OF,
    "weighted": Combination.WEIGHTED,
}
_BOUNDS: Final = {"below": "lt", "atMost": "lte", "above": "gt", "atLeast": "gte"}
_WAYS: Final = ("requests", *_GAUGES, "histogram", "probe", *_COMPOSITES)
_WAYS_SAID: Final = (
    "'requests: availability', 'good' and 'total', 'threshold', 'ratio', 'boolean', 'histogram', 'probe' and "
    "'allOf'"
)


def short_drafts(
    documents: Sequence[Document],
    services: Services,
    sources: Sequence[DataSource],
    probes: Sequence[Probe],
    report: Report,
) -> Iterator[Draft]:
    """The objectives of documents of kind Objective, in every environment of their service."""
    for document in documents:
        if not document.clean:
            continue
        before, spec = len(report), document.spec
        way = _way(spec, report)
        indicator = None if way is None else _indicator(way, spec, sources, probes, report)
        windows = _windows(spec, report)
        slicing = _slicing(spec, way, report)
        _check_keys(spec, way, report)
        if indicator is not None and check_service(spec, indicator.counts_itself, services, report):
            for window in windows:
                check_slices(slicing, window, spec.at("slice"), report)
        _check_tiers(spec, windows, report)
        if len(report) == before and indicator is not None:
            for key in services[str(spec.text("service"))]:
                yield _draft(document, key, indicator, windows, slicing, report.filename)


def _check_tiers(spec: Found, windows: Sequence[Window], report: Report) -> None:
    alerts = spec.values.get("alerts")
    for tier in records(alerts.get("tiers")) if isinstance(alerts, dict) else []:
        check_tier(tier.values, tier.at("long"), tier.at("short"), windows, report)


def _draft(
    document: Document, service: str, indicator: Indicator, windows: Sequence[Window],
    slicing: Slicing | None, filename: str,
) -> Draft:  # fmt: skip
    spec, values = document.spec, _values(document.spec)
    components, refers = _components(spec, service)
    composite = indicator.composite
    required = {_key(name, service): spec.at("requires") for name in values.get("requires", ())}
    objective = Objective(
        service=service,
        name=document.name,
        indicator=indicator.kind,
        threshold_ms=indicator.threshold_ms,
        target_ratio=values["target"],
        window_s=windows[0].window_s,
        calendar=windows[0].calendar,
        also=tuple(windows[1:]),
        source=filename,
        queries=indicator.queries,
        gauge=indicator.gauge,
        histogram=indicator.histogram,
        composite=composite and replace(composite, components=components),
        method=_method(spec, slicing),
        slicing=slicing,
        group_by=tuple(values.get("group_by", ())),
        groups_max=values.get("groups_max", GROUPS_MAX),
        requires=tuple(required),
        excluded_max_ratio=values.get("excluded_max_ratio", EXCLUDED_MAX_RATIO),
        title=values.get("title", ""),
        alerts=convert(values["alerts"], Alerting) if "alerts" in values else None,
        first_sample=Treatment(values.get("first_sample", Treatment.COUNT)),
        on_reset=Treatment(values.get("on_reset", Treatment.COUNT)),
    )
    return Draft(
        objective=objective, place=document.place, declarer=document.name,
        refers=(*refers, *required.items()),
    )  # fmt: skip


def _way(spec: Found, report: Report) -> str | None:
    """The one key, or ``good``, that says what is measured."""
    given = [key for key in _WAYS if key in spec.nodes]
    if any(key in spec.nodes for key in _COUNTERS):
        given.insert(0, "good")
    if not given:
        what = "an objective needs something to measure"
        report.add(MISSING_KEY, spec.node, what, mend=f"Add one of {_WAYS_SAID}.")
        return None
    if len(given) > 1:
        what = f"an objective measures one thing, not both {given[0]!r} and {given[1]!r}"
        report.add(CONTRADICTION, spec.at(given[1]), what, mend="Make two objectives of it.")
        return None
    return given[0]


def _indicator(
    way: str, spec: Found, sources: Sequence[DataSource], probes: Sequence[Probe], report: Report
) -> Indicator | None:
    source = _source(spec, sources, report)
    if way == "requests":
        return _requests(spec, report)
    if way == "good":
        return _counters(spec, source, sources, report)
    if way in _COMPOSITES:
        return _composite(way, spec, report)
    if way == "histogram":
        return _histogram(spec, source, report)
    if way == "probe":
        return _probe(spec, probes, report)
    text, place = spec.text(_target_of(way)) or "", spec.at(way)
    check_expression(text, place, report)
    bound = _bound(spec, report) if way == "threshold" else (Comparison.GTE, 1.0)
    if bound is None:
        return None
    every_s = spec.values.get("every_s", MEASURED_EVERY_S)
    gauge = Gauge(
        query=text.strip(), source=source, op=bound[0], bound=bound[1], failure=way == "failureRatio",
        every_s=float(every_s) if isinstance(every_s, int | float) else MEASURED_EVERY_S,
    )  # fmt: skip
    return Indicator(kind=_GAUGES[way], gauge=gauge)


def _requests(spec: Found, report: Report) -> Indicator | None:
    kind, within_ms = IndicatorKind(spec.text("requests") or ""), spec.values.get("within_ms")
    if (kind is IndicatorKind.LATENCY) != (within_ms is not None):
        what = "'within' belongs to 'requests: latency', and to it alone"
        mend = "Write e.g. {requests: latency, within: 250ms}."
        report.add(CONTRADICTION, spec.at("within", "requests"), what, mend=mend)
        return None
    return Indicator(kind=kind, threshold_ms=within_ms if isinstance(within_ms, int | float) else None)


def _counters(spec: Found, source: str, sources: Sequence[DataSource], report: Report) -> Indicator | None:
    given: dict[str, str] = {role: spec.text(role) or "" for role in _COUNTERS if role in spec.nodes}
    if len(given) != 2:
        what = f"a ratio of counters needs two of 'good', 'bad' and 'total', not {len(given)}"
        mend = "Remove one of the three." if len(given) == 3 else "Write e.g. 'bad' and 'total'."
        report.add(CONTRADICTION, spec.at(next(iter(given))), what, mend=mend)
        return None
    kind = "poise" if source == EMBEDDED else None
    asked = {role: (text, kind, source or None) for role, text in given.items()}
    queries = queries_of(asked, _flattened(spec, given), "", sources, report)
    return None if queries is None else Indicator(kind=IndicatorKind.QUERY, queries=queries)


def _flattened(spec: Found, given: dict[str, str]) -> Found:
    """The record with the nodes where OpenSLO's documents have them."""
    nodes = {f".{role}.metricSource.spec.query": spec.nodes[role] for role in given}
    return Found(spec.values, {**spec.nodes, **nodes}, spec.node)


def _histogram(spec: Found, source: str, report: Report) -> Indicator | None:
    text, place = spec.text("histogram") or "", spec.at("histogram")
    bound = spec.values.get("lte")
    if not isinstance(bound, int | float) or any(key in spec.nodes for key in ("below", "above", "atLeast")):
        what = "a histogram counts what is 'atMost' a bound"
        report.add(MISSING_KEY, place, what, mend="Add e.g. 'atMost: 0.25', in the histogram's own unit.")
        return None
    try:
        selector = counter(text)
    except NotCounted as error:
        report.add(EXPRESSION, place, f"this is no histogram: {error.what}", mend=error.mend)
        return None
    if not selector.metric.endswith("_bucket") or any(label == "le" for label, _, _ in selector.matchers):
        what = "a histogram is selected by its '_bucket' series, without 'le'"
        report.add(EXPRESSION, place, what, mend="Write e.g. 'http_request_duration_seconds_bucket'.")
        return None
    made = Histogram(query=selector.text, bound=float(bound), source=source)
    return Indicator(kind=IndicatorKind.HISTOGRAM, histogram=made)


def _probe(spec: Found, probes: Sequence[Probe], report: Report) -> Indicator | None:
    name = spec.text("probe") or ""
    known = {one.name: one for one in probes}
    if name not in known:
        mend = nearest(name, known) or "Add a document of kind Probe."
        report.add(UNKNOWN_NAME, spec.at("probe"), f"no probe {shown(name)} in this file", mend=mend)
        return None
    looks = Gauge(query=f'probe_success{{probe="{name}"}}', every_s=known[name].every_s)
    return Indicator(kind=IndicatorKind.PROBE, gauge=looks)


def _composite(way: str, spec: Found, report: Report) -> Indicator | None:
    names = [str(one["objective"]) for one in _values(spec)[_target_of(way)]]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        what = f"{shown(twice)} is a part twice"
        report.add(DECLARED_TWICE, spec.at(way), what, mend="Remove one, or give it more weight.")
        return None
    values = _values(spec)
    made = Composite(
        combination=_COMPOSITES[way],
        components=(),
        max_delay_s=values.get("max_delay_s", LATE_AFTER_S),
        when_delayed=WhenDelayed(values.get("when_delayed", WhenDelayed.UNKNOWN)),
    )
    return Indicator(kind=IndicatorKind.COMPOSITE, composite=made)


def _components(spec: Found, service: str) -> tuple[tuple[Component, ...], tuple[tuple[str, Node], ...]]:
    """The parts of a composite by their keys, and where each is written."""
    for way in _COMPOSITES:
        if way in spec.nodes:
            parts = _values(spec)[_target_of(way)]
            made = tuple(
                Component(objective=_key(one["objective"], service), weight=float(one.get("weight", 1.0)))
                for one in parts
            )
            return made, tuple((one.objective, spec.at(way)) for one in made)
    return (), ()


def _bound(spec: Found, report: Report) -> tuple[Comparison, float] | None:
    given = [key for key in _BOUNDS if key in spec.nodes]
    if len(given) != 1:
        what = "a threshold needs exactly one of 'below', 'atMost', 'above' and 'atLeast'"
        place, code = (spec.at(given[1]), CONTRADICTION) if given else (spec.at("threshold"), MISSING_KEY)
        report.add(code, place, what, mend="Write e.g. 'below: 500'.")
        return None
    value = spec.values[_BOUNDS[given[0]]]
    return Comparison(_BOUNDS[given[0]]), float(value) if isinstance(value, int | float) else 0.0


def _windows(spec: Found, report: Report) -> list[Window]:
    zone, starts = spec.text("zone") or "UTC", spec.text("starts") or ""
    before = len(report)
    if "zone" in spec.nodes:
        check_zone(zone, spec.at("zone"), report)
    if "starts" in spec.nodes:
        check_starts(starts, spec.at("starts"), report)
    if len(report) > before:
        return []
    if "window" not in spec.nodes:
        found: list[Window | None] = [Window(window_s=WINDOW_S)]
    else:
        texts = _values(spec)["windows"]
        begins = starts or Calendar(unit=CalendarUnit.DAY).starts
        found = [named(text, zone, begins, spec.at("window"), report) for text in texts]
    windows = [one for one in found if one is not None]
    for key in ("zone", "starts"):
        if key in spec.nodes and windows and all(one.calendar is None for one in windows):
            what = f"'{key}' belongs to windows of the calendar"
            report.add(CONTRADICTION, spec.at(key), what, mend="Remove it, or write 'window: month'.")
    return windows


def _slicing(spec: Found, way: str | None, report: Report) -> Slicing | None:
    """The slices; a composite has some whatever is written: the events of its parts are not the same."""
    method = spec.text("method")
    target = spec.values.get("slice_target")
    if way in _COMPOSITES:
        if method == Method.OCCURRENCES:
            what = "a composite is counted in slices of time"
            mend = "Remove 'method', or write 'method: Timeslices'."
            report.add(CONTRADICTION, spec.at("method"), what, mend=mend)
        method = method or Method.RATIO_TIMESLICES
    if (target is not None) != (method == Method.TIMESLICES):
        what = "'sliceTarget' belongs to 'method: Timeslices', and to it alone"
        code = CONTRADICTION if target is not None else MISSING_KEY
        report.add(code, spec.at("sliceTarget", "method"), what, mend="Write e.g. 'sliceTarget: 95%'.")
    if method in (None, Method.OCCURRENCES):
        if "slice" in spec.nodes:
            what, mend = "'slice' belongs to a method with slices", "Add 'method: Timeslices', or remove it."
            report.add(CONTRADICTION, spec.at("slice"), what, mend=mend)
        return None
    slice_s = spec.values.get("slice_s", SLICE_S)
    return Slicing(
        slice_s=float(slice_s) if isinstance(slice_s, int | float) else SLICE_S,
        target_ratio=float(target) if isinstance(target, int | float) else None,
    )


def _method(spec: Found, slicing: Slicing | None) -> Method:
    given = spec.text("method")
    return Method(given) if given else Method.RATIO_TIMESLICES if slicing else Method.OCCURRENCES


def _check_keys(spec: Found, way: str | None, report: Report) -> None:
    """Keys that have a meaning beside some measurements alone."""
    only = {
        "below": ("threshold",), "atMost": ("threshold", "histogram"), "above": ("threshold",),
        "atLeast": ("threshold",), "every": tuple(_GAUGES), "maxDelay": tuple(_COMPOSITES),
        "whenDelayed": tuple(_COMPOSITES), "source": ("good", *_GAUGES, "histogram"),
        "groupBy": ("good", "threshold", "boolean", "ratio", "failureRatio", "histogram"),
        "firstSample": ("good", "histogram"), "onReset": ("good", "histogram"), "within": ("requests",),
    }  # fmt: skip
    for key, ways in only.items():
        if way is not None and key in spec.nodes and way not in ways:
            what = f"'{key}' has no meaning beside '{way}'"
            report.add(CONTRADICTION, spec.at(key), what, mend=f"Remove '{key}'.")
    if "groupsMax" in spec.nodes and "groupBy" not in spec.nodes:
        report.add(CONTRADICTION, spec.at("groupsMax"), "'groupsMax' belongs to 'groupBy'",
                   mend="Add 'groupBy', or remove it.")  # fmt: skip


def _source(spec: Found, sources: Sequence[DataSource], report: Report) -> str:
    name = spec.text("ref")
    names = [one.name for one in sources]
    if name is not None and name not in names:
        mend = nearest(name, names) or "Add a document of kind DataSource."
        report.add(UNKNOWN_NAME, spec.at("source"), f"no data source {shown(name)} in this file", mend=mend)
    return name or EMBEDDED


def _key(name: str, service: str) -> str:
    """The key of an objective as it is named beside one of ``service``."""
    if "/" not in name:
        return f"{service}/{name}"
    return f"{service.rpartition('/')[0]}/{name}"


def _target_of(way: str) -> str:
    return {"failureRatio": "failure_ratio", "allOf": "all_of", "anyOf": "any_of"}.get(way, way)


def _values(spec: Found) -> dict[str, Any]:
    values = plain(spec)
    assert isinstance(values, dict)
    return values
