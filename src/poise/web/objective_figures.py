"""The numbers behind a budget: counts, measured time, further windows, groups, parts and exclusions."""

from __future__ import annotations

import htpy as h

from poise.model.balance import Budget
from poise.model.exclusion import Exclusion
from poise.model.slices import Contradiction
from poise.model.standing import mend_of
from poise.web import links, objective_derived
from poise.web.objective_views import BurnDown, ObjectiveView, PartRow
from poise.web.parts import budget_bar, card, link, table
from poise.web.why import why
from poise.web.wording import duration, moment, percent

Row = tuple[str, h.Node, h.Node]


def figures_card(view: ObjectiveView) -> h.Element:
    """Every number of the budget with its why; #why leads here."""
    if view.budget is None:
        return card("The numbers", h.p(".mute")["No budget is counted yet."], id="why")
    if view.objective.is_derived:
        rows = list(objective_derived.figures(view, view.budget))
    else:
        rows = [*_kept(view, view.budget), *_spent(view, view.budget)]
    return card("The numbers", table("The numbers", ("number", "value", "why"), rows, "lrl"), id="why")


def _kept(view: ObjectiveView, one: Budget) -> list[Row]:
    events = one.good + one.bad
    now = one.good / events if events > 0 else None
    counts = (("good", _count(one.good)), ("failed", _count(one.bad)))
    measured = one.measured_at
    return [
        (
            "kept over the window",
            percent(now),
            why("kept", f"Good over all events of {view.period}; {view.source}.", counts, view.queries),
        ),
        ("target", percent(one.target_ratio), why("target", "Declared in poise.yaml.")),
        (
            "events",
            _count(events),
            why("events", f"Counted one by one: {view.source}.", counts, view.queries),
        ),
        (
            "events now",
            f"{one.rate_per_s:,.1f}/s",
            why("events now", "The larger of the last hour's and the last five minutes' mean rate."),
        ),
        (
            "last read",
            moment(measured, "second"),
            why(
                "last read",
                one.problem or "When its counters were last read.",
                (("written", moment(one.at)),),
            ),
        ),
    ]


def _spent(view: ObjectiveView, one: Budget) -> list[Row]:
    events, may_fail = one.good + one.bad, 1 - one.target_ratio
    budget = (("events", _count(events)), ("may fail", percent(may_fail)), ("budget", _count(one.allowed)))
    sized = "The events of the window times the share that may fail."
    if one.bootstrap:
        sized += " It is young, so the window's events are projected from what was seen so far."
    spent: list[tuple[str, h.Node]] = [("failed", _count(one.bad)), ("budget", _count(one.allowed))]
    if one.assumed_bad > 0:
        spent.insert(1, ("charged for unknown time", _count(one.assumed_bad)))
    rows: list[Row] = [
        ("budget", f"{_count(one.allowed)} events", why("budget", sized, budget, view.queries)),
        ("failed", f"{_count(one.bad)} events", why("failed", "All bad events.", (), view.queries)),
        (
            "left",
            h.strong[percent(one.left_ratio, 1)],
            why("left", "1 less failed over budget; below zero it is overspent.", spent, view.queries),
        ),
    ]
    if one.interpolated:
        rows.append(("interpolated", "yes", why("interpolated", "The threshold lies between two buckets.")))
    if one.recovers_at is not None:
        rule = "When enough failures have left the window for something to be left, if no more come."
        rows.append(("back, if all is well", moment(one.recovers_at), why("back", rule)))
    return rows


def coverage_card(view: ObjectiveView) -> h.Element:
    """Good, bad and unknown time: what was not measured is never taken for good."""
    one, found = view.budget, view.burn_down
    ratio = one.coverage_ratio if one else None
    lines: list[tuple[str, h.Node]] = [("measured", h.strong[percent(ratio, 1)])]
    if one is not None:
        lines.append(("since", moment(one.since)))
    rule = "The time between two readings of the same counters, over the time since measuring began."
    if view.objective.is_derived:
        rule = objective_derived.COVERAGE_RULE
    return card(
        "Measured time",
        found is not None and _time_bar(found),
        h.dl[((h.dt[name], h.dd[value]) for name, value in [*lines, *_times(found)])],
        one is not None and bool(one.problem) and h.p(".problem")[f"It cannot be read now: {one.problem}"],
        one is not None and one.contradiction is not None and _contradicted(one, one.contradiction),
        why("measured time", rule, _grain(found), view.queries),
        id="measured",
    )


def _contradicted(budget: Budget, found: Contradiction) -> h.Node:
    return h.fragment[
        h.p(".problem")[f"{found.sentence[:1].upper()}{found.sentence[1:]}. That time counts as unknown."],
        h.p(".mute")[mend_of(budget)],
    ]


def _times(found: BurnDown | None) -> list[tuple[str, h.Node]]:
    if found is None:
        return []
    named = (("good", found.good_s), ("bad", found.bad_s), ("unknown", found.unknown_s))
    return [(name, duration(round(seconds)) if seconds >= 1 else "0 s") for name, seconds in named]


def _grain(found: BurnDown | None) -> tuple[tuple[str, h.Node], ...]:
    if found is None:
        return ()
    return (
        ("looked at in pieces of", duration(found.grain_s)),
        ("bad", "measured pieces in which more failed than the target bears"),
        ("unknown", "what of each piece was not measured"),
    )


def _time_bar(found: BurnDown) -> h.Node:
    whole = found.good_s + found.bad_s + found.unknown_s
    if whole <= 0:
        return None
    shares = [
        ("good", found.good_s / whole),
        ("bad", found.bad_s / whole),
        ("unknown", found.unknown_s / whole),
    ]
    told = ", ".join(f"{percent(share, 1)} {name}" for name, share in shares)
    pieces, x = [], 0.0
    for name, share in shares:
        pieces.append(h.rect(class_=name, x=f"{100 * x:.2f}", width=f"{100 * share:.2f}", height="8"))
        x += share
    return h.svg(
        {"viewBox": "0 0 100 8", "preserveAspectRatio": "none"},
        class_="bar times",
        role="img",
        aria_label=told,
    )[pieces]


def windows_card(view: ObjectiveView) -> h.Element | None:
    """The same counts over every window that was declared."""
    periods = view.budget.periods if view.budget else ()
    if len(periods) < 2:
        return None
    rows: list[tuple[h.Node, ...]] = [
        (
            one.name,
            [moment(one.start, "day"), " to ", moment(one.end, "day")],
            percent(one.left_ratio, 1),
            f"{_count(one.bad)} of {_count(one.allowed)}",
            percent(one.coverage_ratio, 0),
            why(
                f"left over {one.name}",
                "1 less failed over budget, of this window. The gate knows the first one alone.",
                (("good", _count(one.good)), ("failed", _count(one.bad)), ("budget", _count(one.allowed))),
                view.queries,
            ),
        )
        for one in periods
    ]
    head = ("window", "from, to", "left", "failed of budget", "measured", "why")
    return card("Windows", table("Windows", head, rows, "llrrrl"))


def groups_card(view: ObjectiveView) -> h.Element | None:
    """Each group's own budget, the worst first: it is the objective's."""
    groups = view.budget.groups if view.budget else ()
    if not groups:
        return None
    rows = [
        (
            [h.strong[one.group] if one.group == (view.budget and view.budget.group) else one.group],
            budget_bar(one.left_ratio, _tone(one.left_ratio)),
            percent(one.left_ratio, 1),
            f"{_count(one.bad)} of {_count(one.good + one.bad)}",
            percent(one.coverage_ratio, 0),
        )
        for one in sorted(groups, key=lambda one: one.left_ratio)
    ]
    names = ", ".join(view.objective.group_by) or "label"
    return card(
        f"Groups by {names}, worst first",
        table("Groups", ("group", "budget", "left", "failed", "measured"), rows, "llrrr"),
        h.p(".mute")["The worst group's budget is the objective's: a small one cannot hide behind a large."],
    )


def parts_card(view: ObjectiveView) -> h.Element | None:
    """What a composite is made of, and what an objective requires, the worst first."""
    if not view.parts:
        return None
    rows = [_part(one) for one in sorted(view.parts, key=_worst)]
    head = ("objective", "role", "target", "budget", "left", "measured")
    return card("Made of and dependent on", table("Parts", head, rows, "llrlrr"))


def _part(one: PartRow) -> tuple[h.Node, ...]:
    name = "/".join(one.key.split("/")[-2:])
    role = one.role if one.weight is None else f"{one.role}, weight {one.weight:g}"
    return (
        link(name, links.objective(one.key)),
        role,
        percent(one.target_ratio),
        budget_bar(one.left_ratio, _tone(one.left_ratio)),
        percent(one.left_ratio, 1),
        percent(one.coverage_ratio, 0),
    )


def _worst(one: PartRow) -> float:
    return -1e9 if one.left_ratio is None else one.left_ratio


def exclusions_card(view: ObjectiveView) -> h.Element | None:
    """Time that does not count, and the budget with and without it."""
    one = view.budget
    if not view.exclusions and not (one and one.excluded_s > 0):
        return None
    rows = [_exclusion(found) for found in view.exclusions]
    return card(
        "Exclusions",
        one is not None and one.excluded_s > 0 and _with_and_without(view, one),
        table("Exclusions", ("exclusion", "from", "lasts", "reason", "by"), rows) if rows else None,
    )


def _with_and_without(view: ObjectiveView, one: Budget) -> h.Node:
    inputs: tuple[tuple[str, h.Node], ...] = (
        ("excluded", duration(one.excluded_s)),
        ("at most", percent(view.objective.excluded_max_ratio, 0) + " of the window"),
        ("failed with exclusions", _count(one.bad)),
        ("failed without", _count(one.unadjusted_bad)),
    )
    rule = "Excluded time is subtracted when the budget is asked for; taken back, the budget is as it was."
    return h.div(".told")[
        h.p[
            h.strong[percent(one.left_ratio, 1)],
            f" is left with {duration(one.excluded_s)} excluded, ",
            h.strong[percent(one.unadjusted_left_ratio, 1)],
            " without.",
        ],
        why("exclusions", rule, inputs),
    ]


def _exclusion(one: Exclusion) -> tuple[h.Node, ...]:
    repeated = f", {one.rrule}" if one.rrule else ""
    gone: h.Node = [" ", h.span(".mute")[f"taken back by {one.removed_by}"]] if one.removed_at else None
    when = f"{one.starts.replace('T', ' ')}" + (f" {one.zone}" if "+" not in one.starts[10:] else "")
    return [one.name, gone], f"{when}{repeated}", duration(one.duration_s), one.reason, one.by


def _tone(left_ratio: float | None) -> str:
    if left_ratio is None:
        return "unknown"
    return "hold" if left_ratio <= 0 else "slow" if left_ratio < 0.4 else "go"


def _count(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:,.1f}"
