"""The objective page: what is left of its budget, what it was spent on, and why for every number."""

from __future__ import annotations

import htpy as h

from poise.web import links
from poise.web.burndown import burn_chart
from poise.web.objective_burn import burn_card, forecast_card
from poise.web.objective_derived import elsewhere
from poise.web.objective_figures import (
    coverage_card,
    exclusions_card,
    figures_card,
    groups_card,
    parts_card,
    windows_card,
)
from poise.web.objective_policy import policy_card
from poise.web.objective_spend import largest_first, spend_card
from poise.web.objective_views import ObjectiveView
from poise.web.parts import card, command, document, headline, link, pill
from poise.web.wording import percent, place, short_name

STATUS_TONES = {"met": "go", "at risk": "slow", "spent": "hold", "unknown": "unknown"}


def objective(view: ObjectiveView) -> str:
    """The objective page as a document."""
    one = view.objective
    main = h.fragment[
        headline(one.title or one.name, _context(view), _status(view), _sentence(view)),
        _siblings(view),
        h.div(".cols")[
            h.aside(aria_label="Policy, forecast and measured time")[
                policy_card(view), forecast_card(view), coverage_card(view)
            ],
            h.div[
                _charted(view),
                _spent_on(view),
                burn_card(view),
                figures_card(view),
                windows_card(view),
                groups_card(view),
                parts_card(view),
                exclusions_card(view),
            ],
        ],
    ]
    title = f"{one.name} of {short_name(one.service)}: {view.status}"
    return document(view.chrome, title, main, current="Overview", live=one.service, scripts=("chart.js",))


def _context(view: ObjectiveView) -> h.Node:
    one = view.objective
    return [
        "· objective of ",
        link(short_name(one.service), links.service(one.service)),
        f" · {place(one.service)} · {percent(one.target_ratio)} over {view.period}",
    ]


def _status(view: ObjectiveView) -> h.Element:
    return pill(view.status, STATUS_TONES.get(view.status, "unknown"))


def _sentence(view: ObjectiveView) -> h.Node:
    """What is left, then what took most of it."""
    said: list[h.Node] = [view.sentence]
    if view.infeasible:
        said += [" ", view.infeasible[:1].upper() + view.infeasible[1:], "."]
    top = largest_first(view.ledger)[:1] if view.ledger else []
    if top and view.ledger and view.ledger.allowed > 0:
        cost = percent(top[0].bad / view.ledger.allowed, 1)
        said.append(f" Most went to {top[0].name or 'something unknown'}: {cost}.")
    return [*said, " ", link("Why?", "#why")]


def _siblings(view: ObjectiveView) -> h.Element | None:
    if len(view.siblings) < 2:
        return None
    service = view.objective.service
    return h.nav(".choices", aria_label="Objectives")[
        (
            h.strong(aria_current="true")[name]
            if name == view.objective.name
            else link(name, links.objective(f"{service}/{name}"))
            for name in view.siblings
        )
    ]


def _spent_on(view: ObjectiveView) -> h.Element:
    if view.objective.is_derived:
        told = "Its components spent it, each its own budget; their ledgers say on what."
        return elsewhere(view, "What the budget was spent on", told, "ledger")
    return spend_card(view.ledger, view.queries)


def _charted(view: ObjectiveView) -> h.Element:
    found, one = view.burn_down, view.objective
    if one.is_derived:
        told = "Nothing is counted for it: its budget follows from its components', which have the line."
        return elsewhere(view, "The budget as it was spent", told)
    if found is None or not found.points:
        return card(
            "The budget as it was spent",
            h.p(".mute")["Nothing is measured yet: the line begins with the first counts."],
            command(f"poise slo {short_name(one.service)}"),
        )
    foresight = view.outlook.foresight if view.outlook else None
    more = f"{links.service(one.service)}#latest-changes"
    chart = burn_chart(found, view.policy, one.target_ratio, foresight, one.name, more)
    return card(f"The budget of {view.period} as it was spent, with every change", chart)
