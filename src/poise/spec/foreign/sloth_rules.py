"""The Prometheus rules that Sloth writes for an objective: recordings of the ratio, of what is known, alerts.

For whoever keeps Prometheus and Alertmanager as they are. Poise itself needs none of them, and counts the
period's events where these take the mean of ratios: see ``docs/``. Source: slok/sloth 0e395d8,
internal/plugin/slo/core, internal/alert/windows; sre.google/workbook/alerting-on-slos, table 5-8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from poise.spec.foreign.slo import (
    WINDOW,
    AlertRule,
    BooleanGauge,
    Counters,
    Events,
    Indicator,
    RawRatio,
    Slo,
    Threshold,
    in_window,
)

DAY_S: Final = 86_400.0
MODE: Final = "cli-gen-prom"
_UNITS: Final = (("y", 365 * DAY_S), ("w", 7 * DAY_S), ("d", DAY_S), ("h", 3600.0), ("m", 60.0), ("s", 1.0))


class Tier(Struct, frozen=True):
    """Two windows (s), and the share of the period's budget that burns within the long one."""

    short_s: float
    long_s: float
    percent: float


class Tiers(Struct, frozen=True, kw_only=True):
    """A quick and a slow tier for pages, and for tickets."""

    page: tuple[Tier, Tier] = (Tier(300.0, 3600.0, 2.0), Tier(1800.0, 21_600.0, 5.0))
    ticket: tuple[Tier, Tier] = (Tier(7200.0, DAY_S, 10.0), Tier(21_600.0, 3 * DAY_S, 10.0))


class Wanted(Struct, frozen=True, kw_only=True):
    """What the rules are to be like; ``version`` goes into ``sloth_version``, ``labels`` into every rule."""

    version: str
    tiers: Tiers = Tiers()
    labels: dict[str, str] = {}
    recordings: bool = True
    alerts: bool = True
    mode: str = MODE


def rule_file(slos: Sequence[Slo], wanted: Wanted) -> dict[str, Any]:
    """A rule file for all objectives, as Prometheus reads it."""
    return {"groups": [group for slo in slos for group in rule_groups(slo, wanted)]}


def rule_groups(slo: Slo, wanted: Wanted) -> list[dict[str, Any]]:
    """Up to three groups: 8 recordings of the ratio, 7 of what is known, up to 2 alerts."""
    slo = replace(slo, labels={**slo.labels, **wanted.labels})
    own, tiers, groups = f"{slo.service}-{slo.name}", wanted.tiers, []
    if wanted.recordings:
        groups += [
            {"name": f"sloth-slo-sli-recordings-{own}", "rules": _ratios(slo, tiers)},
            {"name": f"sloth-slo-meta-recordings-{own}", "rules": _known(slo, wanted)},
        ]
    alerts = [
        _alert(slo, rule, severity, pair)
        for severity, rule, pair in (("page", slo.page, tiers.page), ("ticket", slo.ticket, tiers.ticket))
        if rule is not None
    ]
    if wanted.alerts and alerts:
        groups.append({"name": f"sloth-slo-alerts-{own}", "rules": alerts})
    return groups


def span(seconds: float) -> str:
    """A duration as Prometheus prints it.

    >>> span(300), span(86_400), span(30 * 86_400), span(28 * 86_400), span(5400)
    ('5m', '1d', '30d', '4w', '1h30m')
    """
    for unit, size in _UNITS[:3]:  # years, weeks and days are told only when nothing else is
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    parts, left = [], seconds
    for unit, size in _UNITS[2:]:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count:.0f}{unit}")
    return "".join(parts) or "0s"


def _ratios(slo: Slo, tiers: Tiers) -> list[dict[str, Any]]:
    every = (*tiers.page, *tiers.ticket)
    windows = sorted({window for tier in every for window in (tier.short_s, tier.long_s)})
    rules = [_ratio(slo, window, _expression(slo.indicator, span(window))) for window in windows]
    shortest = f"slo:sli_error:ratio_rate{span(tiers.page[0].short_s)}{_filter(slo)}"
    period = span(slo.window_s)
    mean = (
        f"sum_over_time({shortest}[{period}])\n/ ignoring (sloth_window)\n"
        f"count_over_time({shortest}[{period}])\n"
    )
    return [*rules, _ratio(slo, slo.window_s, mean)]


def _ratio(slo: Slo, window_s: float, expression: str) -> dict[str, Any]:
    labels = {**_labels(slo), "sloth_window": span(window_s)}
    name = f"slo:sli_error:ratio_rate{span(window_s)}"
    return {"record": name, "expr": expression, "labels": _sorted(labels)}


def _expression(indicator: Indicator, window: str) -> str:
    match indicator:
        case Events(bad="", good=good, total=total):
            return in_window(f"({_one_minus(good, total)})", window)
        case Events(bad=bad, total=total):
            return in_window(f"({bad})\n/\n({total})\n", window)
        case RawRatio(bad=ratio):
            return in_window(f"({ratio})", window)
        case Counters():
            return _expression(_rated(indicator), window)
        case BooleanGauge(metric=metric):
            all_values = f"sum(count_over_time({metric}[{WINDOW}]))"
            good_values = f"sum(sum_over_time({metric}[{WINDOW}]))"
            return in_window(f"({all_values} - {good_values})\n/\n({all_values})\n", window)
        case Threshold(query=query, op=op, value=value):
            sign = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}[op]
            share = f"avg_over_time((({query}) {sign} bool {_number(value)})[{WINDOW}:1m])"
            return in_window(f"(1 - {share})", window)


def _rated(counters: Counters) -> Events:
    def rate(selector: str) -> str:
        by = f" by ({', '.join(counters.group_by)})" if counters.group_by else ""
        return f"sum{by}(rate({selector}[{WINDOW}]))"

    if counters.bad and counters.total:
        return Events(bad=rate(counters.bad), total=rate(counters.total))
    if counters.good and counters.total:
        return Events(good=rate(counters.good), total=rate(counters.total))
    return Events(bad=rate(counters.bad), total=f"{rate(counters.good)} + {rate(counters.bad)}")


def _one_minus(good: str, total: str) -> str:
    return f"\n  1 - (\n    (\n      {good}\n    )\n    /\n    (\n      {total}\n    )\n  )\n"


def _known(slo: Slo, wanted: Wanted) -> list[dict[str, Any]]:
    ratio = _number(slo.percent / 100)
    current, period = (
        f"slo:sli_error:ratio_rate{span(window)}{_filter(slo)}\n"
        f"/ on(sloth_id, sloth_slo, sloth_service) group_left\nslo:error_budget:ratio{_filter(slo)}\n"
        for window in (wanted.tiers.page[0].short_s, slo.window_s)
    )
    told = {
        "slo:objective:ratio": f"vector({ratio})",
        "slo:error_budget:ratio": f"vector(1-{ratio})",
        "slo:time_period:days": f"vector({_number(slo.window_s / DAY_S)})",
        "slo:current_burn_rate:ratio": current,
        "slo:period_burn_rate:ratio": period,
        "slo:period_error_budget_remaining:ratio": f"1 - slo:period_burn_rate:ratio{_filter(slo)}",
    }
    labels = _labels(slo)
    rules: list[dict[str, Any]] = [
        {"record": name, "expr": text, "labels": _sorted(labels)} for name, text in told.items()
    ]
    about = {
        "sloth_mode": wanted.mode,
        "sloth_objective": _number(slo.percent),
        "sloth_spec": slo.spec,
        "sloth_version": wanted.version,
    }
    info = {"record": "sloth_slo_info", "expr": "vector(1)", "labels": _sorted({**labels, **about})}
    return [*rules, info]


def _alert(slo: Slo, rule: AlertRule, severity: str, tiers: Sequence[Tier]) -> dict[str, Any]:
    subject = "{{$labels.sloth_service}} {{$labels.sloth_slo}} SLO error budget burn rate"
    annotations = {
        "summary": f"{subject} is over expected.",
        "title": f"({severity}) {subject} is too fast.",
        **rule.annotations,
    }
    return {
        "alert": slo.alert,
        "expr": "or\n".join(_burning(slo, tier) for tier in tiers),
        "labels": _sorted({"sloth_severity": severity, **rule.labels}),
        "annotations": _sorted(annotations),
    }


def _burning(slo: Slo, tier: Tier) -> str:
    factor = (
        tier.percent * (slo.window_s / 3600) / 100 / (tier.long_s / 3600)
    )  # in this order, to the last bit
    bound = f"({_number(factor)} * {_number((100 - slo.percent) / 100)})"
    sides = [
        f"    max(slo:sli_error:ratio_rate{span(window)}{_filter(slo)} > {bound}) without (sloth_window)\n"
        for window in (tier.short_s, tier.long_s)
    ]
    return f"(\n{sides[0]}    and\n{sides[1]})\n"


def _labels(slo: Slo) -> dict[str, str]:
    return {**_identity(slo), **slo.labels}


def _identity(slo: Slo) -> dict[str, str]:
    own = f"{slo.service}-{slo.name}"
    return {"sloth_id": own, "sloth_service": slo.service, "sloth_slo": slo.name}


def _filter(slo: Slo) -> str:
    return "{" + ", ".join(f'{key}="{value}"' for key, value in _identity(slo).items()) + "}"


def _sorted(labels: dict[str, str]) -> dict[str, str]:
    return dict(sorted(labels.items()))


def _number(value: float) -> str:
    """The shortest text that reads back as the same number, whole ones without a point (Go's %g).

    >>> _number(99.9), _number(6.0), _number(99.9 / 100), _number(1e-5)
    ('99.9', '6', '0.9990000000000001', '1e-05')
    """
    whole = math.isfinite(value) and value == math.floor(value) and abs(value) < 1e21
    return str(int(value)) if whole else repr(value)
