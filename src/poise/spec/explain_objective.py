"""What is in force for an objective, in the words of ``kind: Objective``: each value, and whence it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from poise.model.composite import infeasible
from poise.model.objective import Combination, IndicatorKind, Objective, Treatment, WhenDelayed
from poise.model.period import name
from poise.model.policy import AlertTier
from poise.spec.durations import format_duration

Source = Literal["declared", "default"]
Row = tuple[str, str, Source]


def explain_objective(objective: Objective, objectives: Sequence[Objective] = ()) -> list[Row]:
    """Rows ``(field, value, source)``; ``objectives`` are those that it may require or be made of."""
    bare = Objective(
        service=objective.service, name=objective.name, indicator=objective.indicator, target_ratio=0.0
    )
    whence: Source = "default" if objective.source == "default" else "declared"
    rows: list[Row] = [
        ("service", objective.service, whence),
        ("measures", measures(objective), whence),
        ("target", f"{objective.target_ratio * 100:.9g}%", "default" if objective.is_derived else whence),
        ("window", name(objective.window), _source(objective.window, bare.window)),
    ]
    if objective.also:
        rows.append(("windows shown as well", ", ".join(name(one) for one in objective.also), "declared"))
    rows.append(("method", _method(objective), _source(objective.method, bare.method)))
    rows += _more(objective, bare)
    for one in infeasible([*(other for other in objectives if other.key != objective.key), objective]):
        if one.objective == objective.key:
            rows.append(("warning", one.sentence, "declared"))
    return rows


def measures(objective: Objective) -> str:
    """What counts as good, as one phrase: ``queue_depth < 100``."""
    gauge, histogram, composite = objective.gauge, objective.histogram, objective.composite
    if composite is not None:
        return _parts(objective)
    if histogram is not None:
        return f"{histogram.query} of at most {histogram.bound:g}"
    if gauge is not None:
        match objective.indicator:
            case IndicatorKind.RAW_RATIO:
                return f"{'1 - ' if gauge.failure else ''}{gauge.query}"
            case IndicatorKind.THRESHOLD:
                return f"{gauge.query} {gauge.op.sign} {gauge.bound:g}"
            case _:
                return f"{gauge.query} is 1"
    if objective.queries is not None:
        asked = objective.queries
        if asked.good is not None:
            return f"{asked.good} of {asked.total or f'{asked.good} and {asked.bad}'}"
        return f"all but {asked.bad} of {asked.total}"
    if objective.indicator is IndicatorKind.LATENCY:
        return f"answers within {objective.threshold_ms or 0:g} ms"
    return "answers without a 5xx"


def _parts(objective: Objective) -> str:
    composite = objective.composite
    assert composite is not None
    names = []
    for part in composite.components:
        short = part.objective.removeprefix(f"{objective.service}/")
        short = short.removeprefix(f"{objective.service.rpartition('/')[0]}/")
        names.append(short if part.weight == 1.0 else f"{short} x {part.weight:g}")
    words = {
        Combination.ALL_OF: "all of",
        Combination.ANY_OF: "any of",
        Combination.WEIGHTED: "the weighted mean of",
        Combination.BURN: "the burns, added up, of",
    }
    return f"{words[composite.combination]} {', '.join(names)}"


def _method(objective: Objective) -> str:
    slicing = objective.slicing
    if slicing is None:
        return objective.method.value
    said = f"{objective.method.value} of {format_duration(slicing.slice_s)}"
    return said if slicing.target_ratio is None else f"{said}, good from {slicing.target_ratio * 100:.6g}%"


def _more(objective: Objective, bare: Objective) -> list[Row]:
    """What only some objectives have, and the cap that all have."""
    rows: list[Row] = []
    source = objective.gauge or objective.histogram or objective.queries
    if source is not None:
        rows.append(("data source", source.source or "the embedded store", "declared"))
    if objective.gauge is not None:
        rows.append(("every", format_duration(objective.gauge.every_s), "default"))
    if objective.queries is not None or objective.histogram is not None:
        for key, value in (("firstSample", objective.first_sample), ("onReset", objective.on_reset)):
            rows.append((key, value.value, _source(value, Treatment.COUNT)))
    if objective.group_by:
        rows.append(("groupBy", ", ".join(objective.group_by), "declared"))
        rows.append(("groupsMax", str(objective.groups_max), _source(objective.groups_max, bare.groups_max)))
    if (composite := objective.composite) is not None and objective.slicing is not None:
        waits = _source(composite.when_delayed, WhenDelayed.UNKNOWN)
        rows.append(("maxDelay", format_duration(composite.max_delay_s), waits))
        rows.append(("whenDelayed", composite.when_delayed.value, waits))
    if (alerts := objective.alerts) is not None:
        rows += [("alerts", tier_said(one), "declared") for one in alerts.tiers]
        least = "as the project's" if alerts.failures_min is None else str(alerts.failures_min)
        rows.append(("minFailures", least, _source(alerts.failures_min, None)))
    if objective.requires:
        rows.append(("requires", ", ".join(objective.requires), "declared"))
    cap = f"{objective.excluded_max_ratio * 100:.6g}%"
    rows.append(("excludedMax", cap, _source(objective.excluded_max_ratio, bare.excluded_max_ratio)))
    return rows


def tier_said(tier: AlertTier) -> str:
    """A tier of an objective's own in one phrase.

    >>> tier_said(AlertTier(long_s=3600, short_s=300, factor=10, hold_s=120))
    '10x over 1h and 5m for 2m: page'
    """
    held = f" for {format_duration(tier.hold_s)}" if tier.hold_s else ""
    long, short = format_duration(tier.long_s), format_duration(tier.short_s)
    return f"{tier.factor:g}x over {long} and {short}{held}: {tier.severity.value}"


def _source(value: object, default: object) -> Source:
    return "default" if value == default else "declared"
