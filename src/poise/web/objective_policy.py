"""The policy in force for one objective: its levels, where the service is, and when that may change."""

from __future__ import annotations

import htpy as h

from poise.model.policy import BudgetPolicy, Level, OnUnknown
from poise.web.objective_views import ObjectiveView
from poise.web.parts import budget_bar, card, pill, table
from poise.web.why import why
from poise.web.wording import duration, moment, percent, short_name

TONES = {
    Level.FAST: "go",
    Level.NORMAL: "go",
    Level.SLOW: "slow",
    Level.APPROVAL: "slow",
    Level.FREEZE: "hold",
}
_UNKNOWN = {
    OnUnknown.HOLD: "Unknown time holds changes back.",
    OnUnknown.BAD: "Unknown time counts as failed.",
    OnUnknown.IGNORE: "Unknown time does not count.",
}


def policy_card(view: ObjectiveView) -> h.Element:
    """The level of the service, the bounds, and the hysteresis between them."""
    policy, state = view.policy, view.level
    left = view.budget.left_ratio if view.budget else None
    young = view.budget is not None and view.budget.bootstrap
    tone = TONES[state.level] if state is not None else "slow" if young else "unknown"
    return card(
        "The policy in force",
        _no_level(view)
        if state is None
        else h.p[pill(state.level.value, tone), "since ", moment(state.since)],
        budget_bar(left, tone),
        state is not None and _decided_by(view),
        table("Levels", ("level", "budget left"), _levels(policy, state.level if state else None), "ll"),
        h.p(".mute")[_hysteresis(policy)],
        state is not None
        and state.faster_at is not None
        and h.p["It may be faster at ", moment(state.faster_at), " at the earliest."],
        h.p(".mute")[_UNKNOWN[policy.on_unknown]],
        id="policy",
    )


def _no_level(view: ObjectiveView) -> h.Element:
    """Levels are for budgets that have grown up."""
    if view.budget is not None and view.budget.bootstrap:
        return h.p[pill("bootstrap", "slow"), "no level yet: while it is young, changes go slowly"]
    return h.p[pill("unknown", "unknown"), "no level is on record yet"]


def _decided_by(view: ObjectiveView) -> h.Node:
    state = view.level
    assert state is not None
    inputs: tuple[tuple[str, h.Node], ...] = (
        ("worst objective", short_name(state.objective)),
        ("left then", percent(state.left_ratio, 1)),
        ("written", moment(state.at, "second")),
        ("policy", state.policy),
    )
    rule = "The worst objective of the service decides, never an average. " + _hysteresis(view.policy)
    return h.fragment[
        h.p[state.text[:1].upper() + state.text[1:], "."] if state.text else None, why("level", rule, inputs)
    ]


def _levels(policy: BudgetPolicy, here: Level | None) -> list[tuple[h.Node, ...]]:
    bounds = (
        (Level.FAST, f"above {percent(policy.fast_above_ratio, 0)}"),
        (Level.NORMAL, "between"),
        (Level.SLOW, f"below {percent(policy.slow_below_ratio, 0)}"),
        (Level.APPROVAL, f"below {percent(policy.approval_below_ratio, 0)}"),
        (Level.FREEZE, f"at or below {percent(policy.hold_below_ratio, 0)}"),
    )
    return [
        (h.strong[f"{level.value} (now)"] if level is here else level.value, bound) for level, bound in bounds
    ]


def _hysteresis(policy: BudgetPolicy) -> str:
    return (
        "A slower level is entered at once; a faster one needs "
        f"{percent(policy.leave_margin_ratio, 0)} more than its bound and {duration(policy.dwell_s)} "
        f"at the slower."
    )
