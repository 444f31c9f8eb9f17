"""OpenSLO v1 documents as objectives, and the objectives that every service with a port has anyway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Map
from decimal import Decimal
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.model.objective import (
    Combination,
    Comparison,
    Component,
    Composite,
    Gauge,
    IndicatorKind,
    Method,
    Objective,
    Slicing,
    Window,
)
from poise.model.service import DataSource
from poise.spec import limits
from poise.spec.alert_policies import AlertPolicies, alert_policies, alerting_of
from poise.spec.checks import circle
from poise.spec.document import Node
from poise.spec.durations import parse_duration
from poise.spec.indicator import Indicator, indicator_of
from poise.spec.problems import (
    BAD_VALUE,
    CONTRADICTION,
    CYCLE,
    DECLARED_TWICE,
    MISSING_KEY,
    TOO_LARGE,
    UNKNOWN_NAME,
    Report,
    nearest,
    shown,
)
from poise.spec.read import Document, Found
from poise.spec.window import WINDOW_S, openslo

AVAILABILITY_TARGET_RATIO: Final = 0.999
LATENCY_TARGET_RATIO: Final = 0.99
LATENCY_THRESHOLD_MS: Final = 250.0
SLICE_MIN_S: Final = 10.0
SLICES_MIN: Final = 10  # of a window: fewer are no budget
Services = Map[str, Map[str, bool]]  # name -> its keys, one per environment, each with whether it has a port
Shared = Map[str, Indicator | None]


class Draft(Struct, frozen=True, kw_only=True):
    """An objective of a document, before it is known whether what it refers to is there.

    ``refers`` are keys of objectives that must exist, with the place where each is written; ``declarer`` is
    the document's name, since one document may make several objectives.
    """

    objective: Objective
    place: Node
    declarer: str
    refers: tuple[tuple[str, Node], ...] = ()


class _Part(Struct, frozen=True, kw_only=True):
    """One item of ``objectives``: what it measures and how much must be good."""

    indicator: Indicator
    target_ratio: float
    slicing: Slicing | None
    weight: float
    title: str
    place: Node


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


def objectives_of(drafts: Sequence[Draft], services: Services, report: Report) -> tuple[Objective, ...]:
    """All objectives by service: declared ones first, then the defaults that none replaces.

    Every environment has objectives, and budgets, of its own. A declared objective replaces the default of
    the same name or the same indicator. Without a port a service has no counters.
    """
    declared: dict[str, list[Objective]] = {key: [] for keys in services.values() for key in keys}
    origins: dict[str, str] = {}
    for draft in drafts:
        objective = draft.objective
        if origins.setdefault(objective.key, draft.declarer) != draft.declarer:
            what = f"the objective {shown(objective.name)} is declared twice"
            report.add(DECLARED_TWICE, draft.place, what, mend="Rename one of the two.")
        declared[objective.service].append(objective)
    if sum(map(len, declared.values())) > limits.OBJECTIVES:
        what = f"more than {limits.OBJECTIVES} objectives"
        report.add(TOO_LARGE, drafts[-1].place, what, mend="Remove some.")
    result: list[Objective] = []
    counted = {key for keys in services.values() for key, has_port in keys.items() if has_port}
    for key, own in declared.items():
        taken = {objective.name for objective in own} | {objective.indicator.value for objective in own}
        defaults = default_objectives(key) if key in counted else ()
        result += own + [default for default in defaults if default.name not in taken]
    _check_references(drafts, {objective.key for objective in result}, report)
    _check_circles(drafts, report)
    _check_parts(drafts, report)
    return tuple(result)


def openslo_drafts(
    documents: Sequence[Document], services: Services, report: Report, sources: Sequence[DataSource] = ()
) -> Iterator[Draft]:
    """The objectives of OpenSLO's documents, in every environment of their service.

    Several targets are numbered from 1; where each has an indicator of its own they are the parts of a
    composite, which has the document's name. ``sources`` are those that queries may name.
    """
    shared = {
        one.name: indicator_of(one.spec, one.spec, "", sources, report) if one.clean else None
        for one in documents
        if one.kind == "SLI"
    }
    policies = alert_policies(documents, report)
    for document in documents:
        if document.clean and document.kind == "SLO":
            yield from _declared(document, shared, services, sources, policies, report)


def check_service(spec: Found, counts_itself: bool, services: Services, report: Report) -> bool:
    """Whether the document's ``service`` is there and can have such an objective."""
    name = spec.text("service") or ""
    if name not in services:
        mend = nearest(name, services)
        report.add(UNKNOWN_NAME, spec.at("service"), f"no service {shown(name)} in this file", mend=mend)
        return False
    if not (counts_itself or any(services[name].values())):
        what = f"service {shown(name)} has no port, so nothing counts its requests"
        report.add(BAD_VALUE, spec.at("service"), what, mend="Give it a port, or remove this objective.")
        return False
    return True


def check_slices(slicing: Slicing | None, window: Window, place: Node, report: Report) -> None:
    """Report slices that are shorter than anything measures, or too few for a budget."""
    if slicing is None:
        return
    if not SLICE_MIN_S <= slicing.slice_s <= window.window_s / SLICES_MIN:
        what = f"slices of {slicing.slice_s:g} s do not fit the window"
        why = f"They last at least {SLICE_MIN_S:g} s, and a window has at least {SLICES_MIN} of them."
        report.add(BAD_VALUE, place, what, why=why, mend="Write e.g. '1m'.")


def _declared(
    document: Document, shared: Shared, services: Services, sources: Sequence[DataSource],
    policies: AlertPolicies, report: Report,
) -> Iterator[Draft]:  # fmt: skip
    spec, before = document.spec, len(report)
    items = records(spec.values.get("objectives"))
    method = Method(spec.text("method") or Method.OCCURRENCES)
    is_composite = any(key in item.nodes for item in items for key in ("indicator", "indicatorRef"))
    whole = None if is_composite else _indicator(spec, "indicator.spec", shared, sources, report)
    check_service(spec, is_composite or (whole is not None and whole.counts_itself), services, report)
    window = _window(spec, report)
    alerts = alerting_of(spec, policies, window, report)
    if is_composite:
        _check_composite(spec, items, report)
    parts = [
        _part(item, whole, shared, sources, method, is_composite=is_composite, report=report)
        for item in items
    ]
    if window is not None:
        for part in parts:
            if part is not None:
                check_slices(part.slicing, window, part.place, report)
    if len(report) > before or window is None:
        return
    made = [part for part in parts if part is not None]
    for key, has_port in services[str(spec.text("service"))].items():
        own = [
            _objective(document, part, key, n if len(made) > 1 else None, method, window, report.filename)
            for n, part in enumerate(made, 1)
            if has_port or part.indicator.counts_itself
        ]
        for objective in own:
            if not is_composite:
                objective = replace(objective, alerts=alerts)
            yield Draft(objective=objective, place=document.place, declarer=document.name)
        if is_composite and own:
            whole_one = _composite(document, made, own, method)
            yield replace(whole_one, objective=replace(whole_one.objective, alerts=alerts))


def _objective(
    document: Document, part: _Part, service: str, number: int | None, method: Method, window: Window,
    filename: str,
) -> Objective:  # fmt: skip
    indicator = part.indicator
    return Objective(
        service=service,
        name=document.name if number is None else f"{document.name}-{number}",
        indicator=indicator.kind,
        target_ratio=part.target_ratio,
        window_s=window.window_s,
        threshold_ms=indicator.threshold_ms,
        source=filename,
        queries=indicator.queries,
        gauge=indicator.gauge,
        method=method,
        slicing=part.slicing,
        calendar=window.calendar,
        title=part.title,
    )


def _composite(document: Document, parts: Sequence[_Part], own: Sequence[Objective], method: Method) -> Draft:
    """The whole: it burns when a part does. The target is the lowest, which OpenSLO does not tell."""
    slicing = own[0].slicing
    components = tuple(
        Component(objective=one.key, weight=part.weight) for one, part in zip(own, parts, strict=False)
    )
    is_binary = method is Method.TIMESLICES  # a bad minute of one is a bad minute of the whole
    objective = Objective(
        service=own[0].service,
        name=document.name,
        indicator=IndicatorKind.COMPOSITE,
        target_ratio=min(one.target_ratio for one in own),
        window_s=own[0].window_s,
        source=own[0].source,
        composite=Composite(
            combination=Combination.ALL_OF if is_binary else Combination.BURN, components=components
        ),
        method=method,
        slicing=slicing,
        calendar=own[0].calendar,
    )
    return Draft(objective=objective, place=document.place, declarer=document.name)


def _part(
    item: Found, whole: Indicator | None, shared: Shared, sources: Sequence[DataSource], method: Method, *,
    is_composite: bool, report: Report,
) -> _Part | None:  # fmt: skip
    before = len(report)
    indicator = _indicator(item, "indicator.spec", shared, sources, report) if is_composite else whole
    ratio = _target(item, report)
    slicing = _slicing(item, method, report)
    indicator = indicator and _bounded(indicator, item, report)
    if "compositeWeight" in item.nodes and not is_composite:
        what = "'compositeWeight' belongs to a composite, whose objectives have an indicator each"
        mend = "Remove it, or move the indicator into the objectives."
        report.add(CONTRADICTION, item.at("compositeWeight"), what, mend=mend)
    if indicator is None or ratio is None or len(report) > before:
        return None
    weight = item.values.get("weight", 1.0)
    return _Part(
        indicator=indicator, target_ratio=ratio, slicing=slicing, title=item.text("title") or "",
        weight=float(weight) if isinstance(weight, int | float) else 1.0, place=item.node,
    )  # fmt: skip


def _check_composite(spec: Found, items: Sequence[Found], report: Report) -> None:
    for key in ("indicator", "indicatorRef"):
        if key in spec.nodes:
            what = "a composite has its indicators in 'objectives' alone"
            report.add(CONTRADICTION, spec.at(key), what, mend=f"Remove '{key}' here.")
    lengths = {item.text("slice") for item in items}
    if len(items) < 2:
        what = "a composite needs at least two objectives"
        report.add(BAD_VALUE, spec.at("objectives"), what, mend="Add one, or move the indicator out.")
    elif len(lengths) > 1:
        what = "the objectives of a composite have slices of one length"
        report.add(CONTRADICTION, spec.at("objectives"), what, mend="Write the same 'timeSliceWindow'.")


def _window(spec: Found, report: Report) -> Window | None:
    items = records(spec.values.get("window"))
    return openslo(items[0], report) if items else Window(window_s=WINDOW_S)


def records(value: object) -> list[Found]:
    """The records of a list as read."""
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


def _slicing(item: Found, method: Method, report: Report) -> Slicing | None:
    """The slices that the method wants; None for occurrences, or after a problem."""
    wanted = {
        "timeSliceWindow": method is not Method.OCCURRENCES,
        "timeSliceTarget": method is Method.TIMESLICES,
    }
    before = len(report)
    for key, needed in wanted.items():
        if (key in item.nodes) == needed:
            continue
        if needed:
            what, mend = f"{method.value} need '{key}'", f"Add e.g. '{key}: {_EXAMPLES[key]}'."
            report.add(MISSING_KEY, item.node, what, mend=mend)
        else:
            methods = "Timeslices" if key == "timeSliceTarget" else "Timeslices and RatioTimeslices"
            what = f"'{key}' belongs to {methods}, not to {method.value}"
            report.add(CONTRADICTION, item.at(key), what, mend="Remove it, or change 'budgetingMethod'.")
    text, target = item.text("slice"), item.values.get("slice_target")
    if len(report) > before or method is Method.OCCURRENCES or text is None:
        return None
    slice_s = float(text) * 60 if text.isdecimal() else parse_duration(text)
    assert slice_s is not None  # the shape has let nothing else through
    return Slicing(slice_s=slice_s, target_ratio=float(target) if isinstance(target, int | float) else None)


_EXAMPLES: Final = {"timeSliceWindow": "1m", "timeSliceTarget": "0.95"}


def _bounded(indicator: Indicator, item: Found, report: Report) -> Indicator | None:
    """The indicator with the objective's ``op`` and ``value``, which a threshold needs and no other has."""
    op, value = item.text("op"), item.values.get("value")
    if indicator.kind is IndicatorKind.THRESHOLD and indicator.gauge is not None:
        if op is None or not isinstance(value, int | float):
            what = "a threshold needs 'op' and 'value'"
            report.add(MISSING_KEY, item.node, what, mend="Add e.g. 'op: lt' and 'value: 500'.")
            return None
        gauge: Gauge = replace(indicator.gauge, op=Comparison(op), bound=float(value))
        return replace(indicator, gauge=gauge)
    if "value" in item.nodes:
        what = "'value' belongs to a thresholdMetric"
        mend = "Remove it; write 'thresholdMs' in the indicator of a latency."
        report.add(CONTRADICTION, item.at("value"), what, mend=mend)
        return None
    if op is not None and op not in (Comparison.GT, Comparison.GTE):
        what = "a ratio of good events is met above its target, never below"
        report.add(CONTRADICTION, item.at("op"), what, mend="Remove 'op'.")
        return None
    return indicator


def _indicator(
    spec: Found, path: str, shared: Shared, sources: Sequence[DataSource], report: Report
) -> Indicator | None:
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
    inline = spec.values.get("indicator")
    assert isinstance(inline, dict)  # a clean document
    return indicator_of(inline["spec"], spec, path, sources, report)


def _check_parts(drafts: Sequence[Draft], report: Report) -> None:
    """Slices of a grouped objective would be those of no group in particular."""
    grouped = {one.objective.key for one in drafts if one.objective.group_by}
    for draft in drafts:
        made_of = draft.objective.composite
        for part in made_of.components if made_of is not None else ():
            if part.objective in grouped:
                name = part.objective.rpartition("/")[2]
                what = f"a composite cannot be made of {shown(name)}, which has a budget per group"
                mend = f"Remove 'groupBy' of {shown(name)}, or use another objective."
                report.add(CONTRADICTION, draft.place, what, mend=mend)


def _check_circles(drafts: Sequence[Draft], report: Report) -> None:
    """A composite that is a part of itself would wait for itself for ever."""
    made_of = {
        draft.objective.key: tuple(part.objective for part in draft.objective.composite.components)
        for draft in drafts
        if draft.objective.composite is not None
    }
    if ring := circle(made_of):
        names = " -> ".join(key.rpartition("/")[2] for key in (*ring, ring[0]))
        place = next(draft.place for draft in drafts if draft.objective.key == ring[0])
        report.add(CYCLE, place, f"composites are made of one another: {names}", mend="Remove one of these.")


def _check_references(drafts: Sequence[Draft], known: set[str], report: Report) -> None:
    for draft in drafts:
        for key, place in draft.refers:
            if key in known:
                continue
            short = "/".join(key.split("/")[2:])
            environment = key.split("/")[1]
            what = f"no objective {shown(short)} in environment {environment}"
            names = (
                "/".join(one.split("/")[2:]) for one in sorted(known) if one.split("/")[1] == environment
            )
            report.add(UNKNOWN_NAME, place, what, mend=nearest(short, names))
