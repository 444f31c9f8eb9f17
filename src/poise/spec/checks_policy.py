"""What no single key of a budget policy can say: bounds against one another, and its conditions."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from poise.model.policy import BURN_WINDOWS_S, BudgetPolicy
from poise.spec.condition import NotACondition, check_condition
from poise.spec.document import Place, Scalar
from poise.spec.durations import format_duration
from poise.spec.problems import CONTRADICTION, DECLARED_TWICE, EXPRESSION, MISSING_KEY, Report, shown
from poise.spec.query import placed
from poise.spec.read import Found

_BOUNDS: Final = (
    ("holdBelow", "hold_below_ratio"),
    ("approvalBelow", "approval_below_ratio"),
    ("slowBelow", "slow_below_ratio"),
    ("fastAbove", "fast_above_ratio"),
)


def check_policy(spec: Found, report: Report) -> None:
    """Every contradiction of a policy, at its line and column."""
    _check_bounds(spec, report)
    _check_tiers(_records(spec, "fast_burn"), report)
    _check_conditions(spec, report)
    for rule in _records(spec, "classes"):
        if not rule.values.get("paths") and not rule.values.get("labels"):
            report.add(MISSING_KEY, rule.node, "a rule of 'classes' needs 'paths' or 'labels'",
                       mend="Write e.g. 'paths: [\"docs/**\"]'.")  # fmt: skip


def defaulted(spec: Found) -> dict[str, float]:
    """The policy's bounds as they are in force; one that was not written gives way to those that were."""
    default = BudgetPolicy()
    made = {target: _number(spec, target, getattr(default, target)) for _, target in _BOUNDS}
    written = {target for _, target in _BOUNDS if target in spec.values}
    if "hold_below_ratio" in written and "approval_below_ratio" not in written:
        made["approval_below_ratio"] = max(made["approval_below_ratio"], made["hold_below_ratio"])
    if "approval_below_ratio" not in written:
        made["approval_below_ratio"] = min(made["approval_below_ratio"], made["slow_below_ratio"])
    if "fast_above_ratio" not in written:
        made["fast_above_ratio"] = max(made["fast_above_ratio"], made["slow_below_ratio"])
    return made


def _check_bounds(spec: Found, report: Report) -> None:
    made = defaulted(spec)
    for (low_key, low), (high_key, high) in pairwise(_BOUNDS):
        if made[low] > made[high]:
            what = f"'{low_key}' ({made[low]:g}) is above '{high_key}' ({made[high]:g})"
            report.add(CONTRADICTION, spec.at(low_key, high_key), what, mend="Swap them.")
            return


def _number(spec: Found, target: str, default: float) -> float:
    value = spec.values.get(target, default)
    return float(value) if isinstance(value, int | float) else default


def check_tickets(alerts: object, policy: BudgetPolicy, report: Report) -> None:
    """A tier over a window that nobody counts would never fire, and nobody would know."""
    tickets = _found(alerts.get("tickets")) if isinstance(alerts, dict) else []
    _check_tiers(tickets, report)
    windows = {*BURN_WINDOWS_S, *policy.burn_windows_s}
    for tier in tickets:
        for key, target in (("long", "long_s"), ("short", "short_s")):
            window_s = tier.values.get(target)
            if isinstance(window_s, float) and window_s not in windows:
                what = f"no burn rate is measured over {format_duration(window_s)}"
                known = ", ".join(format_duration(one) for one in sorted(windows))
                report.add(CONTRADICTION, tier.at(key), what, mend=f"Use one of {known}.")


def _check_tiers(tiers: list[Found], report: Report) -> None:
    for tier in tiers:
        long_s, short_s = tier.values.get("long_s"), tier.values.get("short_s")
        if isinstance(long_s, float) and isinstance(short_s, float) and short_s >= long_s:
            what = "'short' must be shorter than 'long'"
            mend = f"Write e.g. 'short: {format_duration(long_s / 12)}'."
            report.add(CONTRADICTION, tier.at("short"), what, mend=mend)


def _check_conditions(spec: Found, report: Report) -> None:
    names: set[str] = set()
    for condition in _records(spec, "conditions"):
        name, text = condition.text("name"), condition.text("when")
        if name in names:
            what = f"the condition {shown(str(name))} is declared twice"
            report.add(DECLARED_TWICE, condition.at("name"), what, mend="Rename one of the two.")
        names.add(str(name))
        if text is None:
            continue
        try:
            check_condition(text)
        except NotACondition as error:
            node = condition.at("when")
            place = placed(node, text, error.offset) if isinstance(node, Scalar) else Place()
            report.add(EXPRESSION, place, f"condition {shown(str(name))}: {error.what}", mend=error.mend)


def _records(spec: Found, target: str) -> list[Found]:
    return _found(spec.values.get(target))


def _found(value: object) -> list[Found]:
    return [item for item in value if isinstance(item, Found)] if isinstance(value, list) else []
