"""OpenSLO v1's alert policies as burn-rate tiers.

A condition there has one window. Our reading: ``lookbackWindow`` is the long one, the short one is a twelfth
of it, as in the SRE workbook (chapter 5, table 5-8), and ``alertAfter`` is how long both must burn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from poise.model.objective import Window
from poise.model.policy import Alerting, AlertTier, Urgency
from poise.spec.document import Items, Node
from poise.spec.durations import parse_duration
from poise.spec.problems import CONTRADICTION, MISSING_KEY, UNKNOWN_NAME, Report, nearest, shown
from poise.spec.read import Document, Found, plain
from poise.spec.tiers import check_tier

SHORT_RATIO: Final = 12.0  # long over short
Tiers = Mapping[str, AlertTier | None]


class AlertPolicies(Struct, frozen=True, kw_only=True):
    """Those of a file, and its conditions, by name; None for one that has a problem."""

    policies: Tiers
    conditions: Tiers


def alert_policies(documents: Sequence[Document], report: Report) -> AlertPolicies:
    """What the documents of both kinds among all declare; every problem goes to the report."""
    conditions = [one for one in documents if one.kind == "AlertCondition"]
    policies = [one for one in documents if one.kind == "AlertPolicy"]
    named = {one.name: _tier(plain(one.spec)) if one.clean else None for one in conditions}
    made = {
        one.name: _policy(plain(one.spec), one.spec.at("conditions"), named, report) if one.clean else None
        for one in policies
    }
    return AlertPolicies(policies=made, conditions=named)


def alerting_of(spec: Found, known: AlertPolicies, window: Window | None, report: Report) -> Alerting | None:
    """The tiers of an SLO by its ``alertPolicies``; None without any, or after a problem."""
    values: Any = plain(spec)
    listed, node = values.get("alert_policies", ()), spec.at("alertPolicies")
    places: Sequence[Node] = node.items if isinstance(node, Items) else ()
    found = []
    for one, place in zip(listed, places, strict=False):
        tier = _named(one, "alertPolicyRef", "AlertPolicy", known.policies, place, report)
        if tier is None and "spec" in one:
            tier = _policy(one["spec"], place, known.conditions, report)
        if tier is not None:
            lengths = {"long_s": tier.long_s, "short_s": tier.short_s}
            check_tier(lengths, place, place, [window] if window else [], report)
            found.append(tier)
    return Alerting(tiers=tuple(found)) if found else None


def _policy(values: Any, place: Node, known: Tiers, report: Report) -> AlertTier | None:
    if not values.get("breaching"):
        what = "a policy that does not alert when breaching has no tier"
        report.add(MISSING_KEY, place, what, mend="Add 'alertWhenBreaching: true'.")
        return None
    (condition,) = values["conditions"]
    node = place.items[0] if isinstance(place, Items) else place
    tier = _named(condition, "conditionRef", "AlertCondition", known, node, report)
    return _tier(condition["spec"]) if tier is None and "spec" in condition else tier


def _named(one: Any, key: str, kind: str, known: Tiers, place: Node, report: Report) -> AlertTier | None:
    """What a reference names; None, and a problem, where it and a whole object are there, or neither."""
    ref = one.get("ref")
    if (ref is None) == ("spec" not in one):
        what = f"either '{key}' or a whole {kind}"
        report.add(CONTRADICTION, place, what, mend=f"Write '{key}: NAME' alone.")
        return None
    if ref is not None and ref not in known:
        what = f"no {kind} {shown(ref)} in this file"
        report.add(UNKNOWN_NAME, place, what, mend=nearest(ref, known) or f"Add a document of kind {kind}.")
    return known.get(ref) if ref is not None else None


def _tier(values: Any) -> AlertTier:
    condition = values["condition"]
    long_s = parse_duration(condition["lookback"]) or 0.0
    return AlertTier(
        long_s=long_s,
        short_s=long_s / SHORT_RATIO,
        factor=float(condition["threshold"]),
        severity=Urgency(values["severity"]),
        hold_s=parse_duration(condition.get("after", "0m")) or 0.0,
    )
