"""The service page: may the next change go, and what did the budget go to."""

from __future__ import annotations

import htpy as h

from poise.model.branch_preview import MARK
from poise.model.delivery import Verb
from poise.web import links
from poise.web.capacity import capacity
from poise.web.chart import service_chart
from poise.web.parts import (
    act_form,
    budget_bar,
    card,
    command,
    document,
    headline,
    link,
    table,
    verdict_pill,
)
from poise.web.permits import ask_buttons, permits_card, waiting
from poise.web.previews import previews_card
from poise.web.service_views import ServiceView
from poise.web.settings import settings
from poise.web.wording import duration, milliseconds, moment, percent, place, plural, short_name, times


def service(view: ServiceView) -> str:
    """The service page as a document."""
    name = short_name(view.key)
    word = "unknown" if view.verdict is None else view.verdict.value
    why = [" ", link("Why?", "#gate")]
    main = h.fragment[
        headline(name, _context(view), verdict_pill(view.verdict), [view.sentence, why]),
        _environments(view),
        h.div(".cols")[
            h.aside(aria_label="Gate, revisions and changes")[
                _gate(view), _elsewhere(view) if view.elsewhere else [_running(view), _changes(view)]
            ],
            h.div[
                _charted(view, name),
                _spent(view),
                _objectives(view),
                capacity(view.capacity) if view.capacity else None,
                previews_card(view.previews, view.key, view.chrome),
                settings(view.settings, view.key) if view.settings else None,
                permits_card(view.permits),
            ],
        ],
    ]
    live = f"{view.key} {view.key.partition('/')[0]}/{MARK}"  # and what branches show of it
    return document(
        view.chrome, f"{name}: {word}", main, current="Overview", live=live, scripts=("chart.js",)
    )


def _context(view: ServiceView) -> h.Node:
    parts: list[h.Node] = ["· ", place(view.key)]
    if view.running:
        first = view.running[0]
        ready = plural(first.replicas_ready, "replica")
        parts += [" · ", h.span(".mono")[first.release], f" on {ready}"]
    parts.append(" · runs elsewhere" if view.elsewhere else [" · ", link("logs", links.logs(view.key))])
    name = short_name(view.key)
    parts += [" · ", link("traces", links.traces(name)), ", ", link("log records", links.records(name))]
    if view.depends_on:
        home = view.key.rsplit("/", 1)[0]
        parts.append(" · depends on ")
        for index, other in enumerate(view.depends_on):
            parts += [index > 0 and ", ", h.a(href=links.service(f"{home}/{other}"))[other]]
    return parts


def _environments(view: ServiceView) -> h.Element | None:
    if len(view.environments) < 2:
        return None
    return h.nav(".choices", aria_label="Environments")[
        (
            h.strong(aria_current="true")[one.name] if one.here else link(one.name, links.service(one.key))
            for one in view.environments
        )
    ]


def _gate(view: ServiceView) -> h.Element:
    tone = "unknown" if view.verdict is None else view.verdict.value
    policy = view.policy
    thresholds = (
        f"Policy {policy.name}: slow below {percent(policy.slow_below_ratio, 0)}, "
        f"hold below {percent(policy.hold_below_ratio, 0)}."
    )
    return card(
        "The gate for the next change",
        h.p[verdict_pill(view.verdict), ["since ", moment(view.verdict_at)] if view.verdict_at else None],
        budget_bar(view.budget_left_ratio, tone),
        h.ul[(h.li[reason] for reason in view.reasons)] if view.reasons else None,
        h.p(".mute")[thresholds],
        view.rollout is not None and _under_way(view, view.rollout),
        _acts(view),
        waiting(view.permits, view.chrome),
        id="gate",
    )


def _under_way(view: ServiceView, n: int) -> h.Element:
    return h.p[h.a(href=links.rollout(view.key, n))[f"Rollout {n}"], " ", view.rollout_sentence]


def _acts(view: ServiceView) -> h.Node:
    orders = [
        view.can_roll_back
        and act_form(
            view.chrome,
            Verb.ROLLBACK,
            view.key,
            label="Roll back",
            accesskey="b",
            explain="to the release that was live before. A rollback needs no verdict.",
        ),
        not view.elsewhere
        and act_form(
            view.chrome,
            Verb.RESTART,
            view.key,
            label="Restart",
            accesskey="r",
            explain="every replica, one after another, drained first.",
        ),
    ]
    wishes = list(ask_buttons(view.permits, view.chrome))
    shown = [*wishes, *(orders if view.chrome.may_act else [])]
    return h.div(".acts")[shown] if any(shown) else None


def _elsewhere(view: ServiceView) -> h.Element:
    return card(
        "Runs elsewhere",
        h.p["Somebody else releases and runs it. Poise counts its objectives and answers the gate:"],
        command(f"poise gate check -s {short_name(view.key)}"),
        id="latest-changes",
    )


def _running(view: ServiceView) -> h.Element:
    rows = [
        (
            h.span(".mono")[row.release],
            f"{row.weight_percent} %",
            f"{row.replicas_ready} of {row.replicas_wanted}",
            "–" if row.requests_per_s is None else f"{row.requests_per_s:,.0f}/s",
            milliseconds(row.latency_ms_p95),
        )
        for row in view.running
    ]
    head = ("revision", "traffic", "replicas", "requests", "p95")
    return card(
        "Running now",
        table("Running revisions", head, rows, "lrrrr") if rows else h.p(".mute")["Nothing runs yet."],
        h.ul(".mute.notes")[(h.li[note] for note in view.notes)] if view.notes else None,
    )


def _changes(view: ServiceView) -> h.Element:
    rows = [
        (
            link(row.label, row.href, "mono"),
            [row.summary, " ", row.outcome and h.span(class_="bad" if row.bad else "mute")[row.outcome]],
            moment(row.at, "day"),
        )
        for row in view.changes
    ]
    content = table("Latest changes", ("change", "what", "when"), rows, "llr") if rows else _teach_push()
    return card("Latest changes", content, id="latest-changes")


def _teach_push() -> h.Node:
    return h.fragment[h.p(".mute")["No change yet. Push one:"], command("git push poise main")]


def _charted(view: ServiceView, name: str) -> h.Element:
    if view.chart is None or not view.chart.points:
        return card(
            "Budget, errors and latency",
            h.p(".mute")["Nothing measured yet: the chart begins with the first request."],
            command(f"poise status {name}"),
        )
    title = f"{view.chart.window}: budget, errors and latency, with every change"
    return card(title, service_chart(view.chart, view.policy, name))


def _spent(view: ServiceView) -> h.Element | None:
    if not view.spends:
        return None
    rows = [
        (
            percent(row.spent_ratio, 1),
            [link(row.label, row.href, "mono"), " ", h.span(".mute")[row.summary]],
            [moment(row.at), row.duration_s is not None and f", {duration(row.duration_s)}"]
            if row.at
            else "all the time",
            f"{row.requests:,}",
            row.followed,
        )
        for row in view.spends
    ]
    head = ("spent", "by", "when", "failed requests", "what followed")
    return card("What the budget was spent on", table("Budget spent", head, rows, "rllrl"))


def _objectives(view: ServiceView) -> h.Element:
    rows = [
        (
            [
                h.span(title=row.measures)[link(row.name, links.objective(f"{view.key}/{row.name}"))],
                row.group and h.span(".mute")[f" worst: {row.group}"],
                row.problem and [" ", h.span(".bad")[f"unknown: {row.problem}"]],
            ],
            percent(row.target_ratio),
            row.window,
            percent(row.now_ratio),
            [
                percent(row.left_ratio, 0),
                row.unexcluded_left_ratio is not None
                and h.span(".mute")[f" ({percent(row.unexcluded_left_ratio, 0)} without exclusions)"],
            ],
            times(row.burn_1h),
            times(row.burn_6h),
            times(row.burn_3d),
            percent(row.coverage_ratio),
        )
        for row in view.objectives
    ]
    head = ("objective", "target", "window", "now", "left", "burn 1 h", "6 h", "3 d", "measured")
    if not rows:
        return card("Objectives", h.p(".mute")["No objective is in force."], command("poise slo list"))
    return card("Objectives", table("Objectives", head, rows, "lrlrrrrrr"), _periods(view))


def _periods(view: ServiceView) -> h.Element | None:
    """Windows of the calendar and further ones, each with the period before."""
    rows = [
        (
            row.name,
            one.name,
            moment(one.start),
            moment(one.end),
            percent(one.now_ratio),
            percent(one.left_ratio, 0),
            percent(one.coverage_ratio),
        )
        for row in view.objectives
        for one in row.periods
    ]
    head = ("objective", "window", "from", "to", "good", "left", "measured")
    return table("Budgets by window", head, rows, "lllrrrr") if rows else None
