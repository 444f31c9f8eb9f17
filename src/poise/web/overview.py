"""The overview: which services need someone, worst first."""

from __future__ import annotations

from collections.abc import Sequence

import htpy as h

from poise.model.balance import VerdictKind
from poise.web import links
from poise.web.incident import open_sentence
from poise.web.overview_views import OverviewView, RunRow, ServiceRow
from poise.web.parts import budget_bar, card, document, headline, link, pill, run_pill, table, verdict_pill
from poise.web.rules import rules_card
from poise.web.targets import targets_card
from poise.web.wording import moment, percent, place, plural, short_name

RUNS_MAX = 10

_NEED = {VerdictKind.HOLD: 0, None: 1, VerdictKind.SLOW: 2, VerdictKind.GO: 3}


def overview(view: OverviewView) -> str:
    """The overview as a document."""
    services = sorted(view.services, key=_need)
    in_need = [row for row in services if needs_you(row)]
    main = h.fragment[
        headline(
            "Overview",
            [plural(len(services), "service"), " · ", moment(view.chrome.at)],
            pill("look", "hold") if in_need or view.incidents else pill("calm", "go"),
            [open_sentence(view.incidents), " ", overview_sentence(services)]
            if view.incidents
            else overview_sentence(services),
        ),
        _by_place(services, view.places),
        card("Latest runs", _runs(view.runs[:RUNS_MAX])) if view.runs else None,
        targets_card(view.targets),
        rules_card(view.rule_groups),
    ]
    return document(view.chrome, "Overview", main, current="Overview", live="")


def needs_you(row: ServiceRow) -> bool:
    """Whether someone should look: burning, held, not measured, or with fewer replicas than wanted."""
    return (
        bool(row.burning)
        or row.verdict in (VerdictKind.HOLD, None)
        or row.replicas_ready < row.replicas_wanted
    )


def overview_sentence(services: Sequence[ServiceRow]) -> str:
    """The first line: how many need someone, and which first (``services`` worst first)."""
    in_need = [row for row in services if needs_you(row)]
    if not in_need:
        slow = sum(row.verdict is VerdictKind.SLOW for row in services)
        told = f"; {slow} of them {'goes' if slow == 1 else 'go'} slowly" if slow else ""
        return f"No service needs you: all {len(services)} may ship{told}."
    verb = "needs" if len(in_need) == 1 else "need"
    first = in_need[0]
    return (
        f"{len(in_need)} of {plural(len(services), 'service')} {verb} you, "
        f"{short_name(first.key)} first: {first.burning or first.sentence}"
    )


def _need(row: ServiceRow) -> tuple[bool, bool, int, float, str]:
    left = -1e9 if row.budget_left_ratio is None else row.budget_left_ratio
    return (not needs_you(row), not row.burning, _NEED[row.verdict], left, row.key)


def _by_place(services: Sequence[ServiceRow], order: Sequence[str]) -> h.Node:
    """One card, or one for each environment in its order when there are more than one."""
    found = {row.key.rpartition("/")[0] for row in services}
    if len(found) < 2:
        return card("Services", _services(services))
    known = [one for one in order if one in found]
    return [
        card(
            one.replace("/", " / "),
            _services(
                [row for row in services if row.key.rpartition("/")[0] == one], one.replace("/", " / ")
            ),
        )
        for one in (*known, *sorted(found.difference(known)))
    ]


def _services(services: Sequence[ServiceRow], label: str = "Services") -> h.Element:
    head = ("service", "gate", "budget", "left", "lately", "live", "replicas", "what matters")
    return table(label, head, [_service(row) for row in services], "lllrrlrl")


def _service(row: ServiceRow) -> tuple[h.Node, ...]:
    tone = "unknown" if row.verdict is None else row.verdict.value
    replicas = "elsewhere" if row.elsewhere else f"{row.replicas_ready} of {row.replicas_wanted}"
    return (
        h.a(".name", href=links.service(row.key), title=place(row.key))[short_name(row.key)],
        verdict_pill(row.verdict),
        budget_bar(row.budget_left_ratio, tone),
        link(percent(row.budget_left_ratio, 0), links.objective(row.objective) if row.objective else None),
        h.span(class_=None if row.burning else "mute")[row.trend],
        [
            h.span(".mono")[row.release],
            " ",
            h.span(".mute")[moment(row.deployed_at)] if row.deployed_at else None,
        ],
        h.strong(".bad")[replicas] if row.replicas_ready < row.replicas_wanted else replicas,
        h.p[
            row.burning and [h.strong(".bad")[row.burning], " "],
            row.sentence,
            row.rollout is not None
            and [" ", link(f"Rollout {row.rollout}", links.rollout(row.key, row.rollout))],
        ],
    )


def _runs(runs: Sequence[RunRow]) -> h.Element:
    rows = [
        (
            h.a(href=links.run(run.project, run.n))[f"{run.project} #{run.n}"],
            run_pill(run.state),
            run.summary,
            h.span(".mono")[run.branch],
            moment(run.created_at),
        )
        for run in runs
    ]
    return table("Latest runs", ("run", "state", "change", "branch", "when"), rows, "llllr")
