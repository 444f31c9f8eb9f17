"""The words of an objective whose budget follows from others': nothing is counted for it itself.

Source: OpenSLO v1, "Notes (Composite SLO)": what burns a component's budget burns the composite's at the same
rate, times the component's weight. The target is the lowest of the components', since OpenSLO names none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import htpy as h

from poise.model.balance import Budget
from poise.web import links
from poise.web.objective_views import ObjectiveView, PartRow
from poise.web.parts import card, link
from poise.web.why import why
from poise.web.wording import moment, percent

BURN_RULE = "The burn of each component, times its weight, added up."
COVERAGE_RULE = "The least measured of its components': it is known where all of them are."
_SPENT = "What each component spent of its own budget, times its weight, added up."


def figures(view: ObjectiveView, one: Budget) -> Iterator[tuple[str, h.Node, h.Node]]:
    """Each number of the budget: its name, the value, and the why."""
    parts = components(view)
    targets = [(_name(part), percent(part.target_ratio)) for part in parts]
    rule = "The lowest of its components': OpenSLO names none for the whole."
    yield "target", percent(one.target_ratio), why("target", rule, targets)
    sized = "The budgets of its components together. An event that two of them count is in both."
    yield "budget", f"{one.allowed:,.0f} events", why("budget", sized)
    spent = [(_name(part), f"{percent(_spent(part), 1)} × {_weight(part):g}") for part in parts]
    yield "spent", percent(1.0 - one.left_ratio, 1), why("spent", _SPENT, spent)
    left = "1 less what was spent; below zero it is overspent."
    yield "left", h.strong[percent(one.left_ratio, 1)], why("left", left, spent)
    rate = "Of its components together."
    yield "events now", f"{one.rate_per_s:,.1f}/s", why("events now", rate)
    last = one.problem or "When the component was read that was not read for longest."
    yield "last read", moment(one.measured_at, "second"), why("last read", last)
    if one.bootstrap:
        yield "young", "yes", why("young", "One of its components is young, so its budget is a projection.")


def elsewhere(view: ObjectiveView, title: str, told: str, id_: str | None = None) -> h.Element:
    """A card that a page of counts would fill: where its components have it."""
    names = [h.li[link(_name(part), links.objective(part.key))] for part in components(view)]
    return card(title, h.p(".mute")[told], h.ul[names], id=id_)


def components(view: ObjectiveView) -> list[PartRow]:
    """What it is made of, without what it only requires."""
    own = {part.objective for part in view.objective.composite.components} if view.objective.composite else ()
    return list(_first(part for part in view.parts if part.key in own and part.role == "component"))


def _first(parts: Iterable[PartRow]) -> Iterator[PartRow]:
    yield from {part.key: part for part in parts}.values()


def _spent(part: PartRow) -> float | None:
    return None if part.left_ratio is None else 1.0 - part.left_ratio


def _weight(part: PartRow) -> float:
    return 1.0 if part.weight is None else part.weight


def _name(part: PartRow) -> str:
    return "/".join(part.key.split("/")[-2:])
