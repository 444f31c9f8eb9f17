"""The pages of incidents: the list, and the room of one: what is wrong, who has it, what broke it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import htpy as h

from poise.model.delivery import Verb
from poise.model.incident import IncidentState, IncidentVerb, Severity
from poise.web import links
from poise.web.chart import error_chart
from poise.web.incident_views import (
    KINDS,
    EntryRow,
    IncidentPageView,
    IncidentRow,
    IncidentsView,
    PageRow,
    ProofRow,
    SuspectRow,
)
from poise.web.parts import act_form, card, command, document, headline, link, pill, say_form, table
from poise.web.wording import duration, moment, percent, place, plural, short_name

NOTE_LENGTH_MAX = 2000

_SEVERITY = {Severity.SEV1: "hold", Severity.SEV2: "slow", Severity.SEV3: "unknown"}
_STATE = {
    IncidentState.OPEN: "hold",
    IncidentState.ACKNOWLEDGED: "slow",
    IncidentState.MITIGATED: "slow",
    IncidentState.RESOLVED: "go",
    IncidentState.MERGED: "unknown",
}
_ASKS = {
    IncidentVerb.MITIGATE: ("Mitigated", "m", "users are well again; the cause may still be there."),
    IncidentVerb.RESOLVE: ("Resolve", "r", "it is over; a review is drafted."),
    IncidentVerb.REOPEN: ("Reopen", "r", "it is not over; somebody is paged again."),
    IncidentVerb.NOTE: ("Note", "n", "for the timeline and the review."),
}


# -- the list ---------------------------------------------------------------------------------------


def incidents(view: IncidentsView) -> str:
    """The incidents of a project as a document."""
    tone = pill("open", "hold") if view.open_count else pill("calm", "go")
    main = h.fragment[
        headline("Incidents", f"· {view.project}", tone, incidents_sentence(view)),
        card("Open first, then the newest", _list(view))
        if view.rows
        else card(
            "Next",
            h.p[
                "Poise opens an incident by itself when a budget burns or replicas fail. To open one by hand:"
            ],
            command("poise incident open <service> --title 'what users see' --severity sev2"),
        ),
        h.p[link("Earlier incidents", view.next_href)] if view.next_href else None,
    ]
    return document(view.chrome, "Incidents", main, current="Incidents", live=f"{view.project}/")


def incidents_sentence(view: IncidentsView) -> h.Node:
    """The first line: what is open, and what first."""
    opened = [row for row in view.rows if not row.state.is_final]
    if not view.open_count or not opened:
        newest = view.rows[0] if view.rows else None
        return (
            "No incident is open"
            if newest is None
            else f"No incident is open; the last was {newest.n}, {newest.title}",
            ".",
        )
    return open_sentence(sorted(opened, key=lambda row: (row.severity, row.onset_at)), view.open_count)


def open_sentence(opened: Sequence[IncidentRow], count: int = 0) -> h.Node:
    """How many are open and which matters most (``opened``: the worst first)."""
    first, count = opened[0], count or len(opened)
    verb = "is" if count == 1 else "are"
    who = (
        f"{first.acknowledged_by} is on it"
        if first.acknowledged_by
        else "nobody has acknowledged it"
        if first.state is IncidentState.OPEN
        else f"it is {first.state}"
    )
    lead = "" if count == 1 else "the worst is "
    return [
        f"{plural(count, 'incident')} {verb} open: {lead}",
        h.a(href=links.incident(first.project, first.n))[f"incident {first.n}"],
        f" of {short_name(first.service)}, {first.title}; {who}.",
    ]


def _list(view: IncidentsView) -> h.Element:
    head = ("incident", "state", "severity", "service", "began", "lasted", "who has it")
    return table("Incidents", head, [_row(row, view) for row in view.rows], "llllrrl")


def _row(row: IncidentRow, view: IncidentsView) -> tuple[h.Node, ...]:
    merged = row.merged_into is not None
    took_s = ((row.ended_at or view.chrome.at) - row.onset_at).total_seconds()
    return (
        h.p[h.a(".name", href=links.incident(row.project, row.n))[f"{row.n} "], row.title],
        state_pill(row.state),
        severity_pill(row.severity),
        h.span(title=place(row.service))[service_name(row.service)],
        moment(row.onset_at),
        "–" if merged else duration(took_s),
        [
            f"part of incident {row.merged_into}"
            if merged
            else row.acknowledged_by or h.span(".mute")["nobody"]
        ],
    )


def service_name(key: str) -> str:
    """The service, or that nobody knows which."""
    name = short_name(key)
    return "no known service" if name == "-" else name


def state_pill(state: IncidentState) -> h.Element:
    """Where an incident stands."""
    return pill(state.value, _STATE[state])


def severity_pill(severity: Severity) -> h.Element:
    """How bad it is."""
    return pill(severity.value, _SEVERITY[severity])


# -- the room ---------------------------------------------------------------------------------------


def incident(view: IncidentPageView) -> str:
    """The room of an incident as a document."""
    name = f"Incident {view.n}"
    tones = [severity_pill(view.severity), state_pill(view.state)]
    main = h.fragment[
        headline(name, f"· {view.title}", tones, view.sentence),
        _acts(view),
        h.div(".cols.evidence-first")[
            h.aside(aria_label="How it stands")[_stands(view), _impact(view), _paged(view)],
            h.div[_causes(view), _chart(view), _timeline(view)],
        ],
    ]
    title = f"{name}: {view.state.value}"
    return document(view.chrome, title, main, current="Incidents", live=f"{view.project}/")


def incident_sentence(view: IncidentPageView) -> str:
    """What is wrong, since when, who has it, and what most likely did it."""
    name = service_name(view.service)
    lasted = duration(((view.resolved_at or view.chrome.at) - view.onset_at).total_seconds())
    others = len(view.services) - 1
    where = f"{name} and {plural(others, 'other service')}" if others > 0 else name
    cause = f" {view.diagnosis.rstrip('.')}." if view.diagnosis else ""
    match view.state:
        case IncidentState.MERGED:
            return f"This is part of incident {view.merged_into}."
        case IncidentState.RESOLVED:
            were = "were" if others > 0 else "was"
            return f"Over: {where} {were} in trouble for {lasted}.{cause}"
        case IncidentState.MITIGATED:
            return f"Users of {where} are well again after {lasted}, the cause is still there.{cause}"
        case _:
            who = f"{view.acknowledged_by} has it" if view.acknowledged_by else "nobody has acknowledged it"
            have = "have" if others > 0 else "has"
            return f"{where} {have} been in trouble for {lasted}; {who}.{cause}"


def _acts(view: IncidentPageView) -> h.Node:
    target = links.incident_say(view.project, view.n)
    shown: list[h.Node] = []
    first = True
    for verb in view.verbs:
        label, key, explain = _ASKS.get(verb, ("", "", ""))
        if verb is IncidentVerb.ACKNOWLEDGE:
            shown.append(
                h.form(method="post", action=target)[
                    h.input(type="hidden", name="csrf", value=view.chrome.csrf),
                    h.input(type="hidden", name="verb", value=verb.value),
                    h.button(".primary", type="submit", accesskey="a")["Acknowledge ", h.kbd["a"]],
                ]
            )
        elif verb is IncidentVerb.SEVERITY:
            shown.append(_rate(view, target))
        else:
            shown.append(
                say_form(
                    view.chrome,
                    target,
                    verb.value,
                    label=label,
                    accesskey=key,
                    explain=explain,
                    primary=first and verb is not IncidentVerb.NOTE,
                    required=verb is IncidentVerb.NOTE,
                    length=NOTE_LENGTH_MAX,
                )
            )
        first = False
    review = link("Post-mortem", view.review_href) if view.review_href else None
    return h.div(".acts.room")[shown, review] if shown or review else None


def _rate(view: IncidentPageView, target: str) -> h.Element:
    told = {
        Severity.SEV1: "sev1: users suffer now",
        Severity.SEV2: "sev2: they soon will",
        Severity.SEV3: "sev3: look at it in working hours",
    }
    return h.form(".inline", method="post", action=target)[
        h.input(type="hidden", name="csrf", value=view.chrome.csrf),
        h.input(type="hidden", name="verb", value=IncidentVerb.SEVERITY.value),
        h.select(name="text", aria_label="Severity")[
            (h.option(value=one.value, selected=one is view.severity)[words] for one, words in told.items())
        ],
        h.button(type="submit")["Rate"],
    ]


def _stands(view: IncidentPageView) -> h.Element:
    facts: list[tuple[str, h.Node]] = [
        ("service", link(service_name(view.service), _service_href(view.service))),
        ("began", moment(view.onset_at, "second")),
        ("detected", _after(view.opened_at, view)),
        ("acknowledged", _after(view.acknowledged_at, view)),
        ("by", view.acknowledged_by or h.span(".mute")["nobody"]),
        ("mitigated", _after(view.mitigated_at, view)),
        ("resolved", _after(view.resolved_at, view)),
    ]
    others = [key for key in view.services if key != view.service]
    if others:
        shown = [[link(service_name(key), _service_href(key)), " "] for key in others]
        facts.insert(1, ("also", shown))
    return card("How it stands", h.dl[((h.dt[word], h.dd[what]) for word, what in facts)])


def _service_href(key: str) -> str | None:
    return None if key.endswith("/-") else links.service(key)


def _after(at: datetime | None, view: IncidentPageView) -> h.Node:
    if at is None:
        return h.span(".mute")["not yet"]
    return [duration(max(0.0, (at - view.onset_at).total_seconds())), " after the onset"]


def _impact(view: IncidentPageView) -> h.Element:
    failed: h.Node = h.p(".mute")["No request was counted since the onset."]
    if view.failed_requests is not None and view.all_requests:
        ratio = view.failed_requests / view.all_requests
        failed = h.p[
            h.strong[f"{view.failed_requests:,.0f} of {view.all_requests:,.0f} requests"],
            f" failed since the onset ({percent(ratio)}).",
        ]
    rows = [
        (link(one.objective, one.href), percent(one.spent_ratio), percent(one.left_ratio))
        for one in view.impacts
    ]
    budgets = table("Budgets", ("objective", "this cost", "left"), rows, "lrr") if rows else None
    return card("What it costs", failed, budgets)


def _paged(view: IncidentPageView) -> h.Element:
    waits = view.next_page_at if view.state is IncidentState.OPEN else None
    return card(
        "Who was paged",
        h.p(".problem")[view.paging_problem] if view.paging_problem else None,
        h.p["If nobody acknowledges, the next step is at ", moment(waits, "second"), "."] if waits else None,
        h.ul(".notes")[(h.li[_page(page)] for page in view.pages)] if view.pages else h.p(".mute")["Nobody."],
    )


def _page(page: PageRow) -> h.Node:
    if page.sent_at is not None:
        took_s = (page.sent_at - page.asked_at).total_seconds()
        receipt: h.Node = [
            "received ",
            moment(page.sent_at, "second"),
            f", after {duration(took_s)}" if took_s >= 1 else None,
            f" and {page.attempts} tries" if page.attempts > 1 else None,
        ]
    elif page.problem:
        receipt = h.span(".bad")[f"given up: {page.problem}"]
    else:
        receipt = ["under way since ", moment(page.asked_at, "second")]
    told = "told that it is over, " if page.closing else ""
    return [h.strong[page.person], f", {told}by {page.way} to {page.address}: ", receipt]


def _causes(view: IncidentPageView) -> h.Element:
    said = h.p(".mute")["Not looked into yet."]
    if view.diagnosis:
        said = h.p[view.diagnosis]
    ranked = h.ol(".suspects")[
        (_suspect(suspect, rank, view) for rank, suspect in enumerate(view.suspects, 1))
    ]
    cleared = h.details("#cleared")[
        h.summary[f"Looked at and cleared: {len(view.cleared)}"],
        h.ul[
            (
                h.li[link(one.summary, one.href), ": ", "; ".join(proof.text for proof in one.proofs)]
                for one in view.cleared
            )
        ],
    ]
    return card(
        "What broke it",
        said,
        ranked if view.suspects else None,
        h.ul(".mute")[(h.li[text] for text in view.unusual)] if view.unusual else None,
        cleared if view.cleared else None,
        id="suspects",
    )


def _suspect(suspect: SuspectRow, rank: int, view: IncidentPageView) -> h.Element:
    return h.li[
        h.p[
            h.strong[link(suspect.summary, suspect.href)],
            h.span(".mute")[f" · {suspect.kind}"],
            [h.span(".mute")[" · ", moment(suspect.at, "second")]] if suspect.at else None,
            h.span(".score")[f"{percent(suspect.score, 0)} suspected"],
        ],
        h.ul(".proofs")[(h.li[_proof(proof)] for proof in suspect.proofs)],
        rank == 1
        and suspect.rollback
        and view.explained
        and view.chrome.may_act
        and h.div(".acts")[
            act_form(
                view.chrome,
                Verb.ROLLBACK,
                suspect.rollback,
                label="Roll it back",
                accesskey="b",
                explain=f"{short_name(suspect.rollback)} goes back to what was live before.",
                primary=True,
            )
        ],
    ]


def _proof(proof: ProofRow) -> h.Node:
    return [proof.text, [[" ", link(label, href, "place")] for label, href in proof.links]]


def _chart(view: IncidentPageView) -> h.Element:
    name = service_name(view.service)
    if view.chart is None:
        return card(f"Errors of {name}", h.p(".mute")["No request was counted around the onset."])
    return card(f"Errors of {name} around the onset", error_chart(view.chart, name))


def _timeline(view: IncidentPageView) -> h.Element:
    here = links.incident(view.project, view.n)
    kinds: h.Node = [
        h.a(href=f"{here}#timeline", aria_current=None if view.kind else "true")["all"],
        [
            h.a(href=f"{here}?kind={kind}#timeline", aria_current="true" if kind == view.kind else None)[kind]
            for kind in KINDS
        ],
    ]
    newest = f"{here}?kind={view.kind}#timeline" if view.kind else f"{here}#timeline"
    return card(
        "Timeline, the newest first; it writes itself",
        h.nav(".kinds", aria_label="Kinds of lines")[kinds],
        h.ol(".tl")[(_entry(entry) for entry in view.entries)]
        if view.entries
        else h.p(".mute")[f"No line of kind {view.kind}." if view.kind else "No line yet."],
        h.p[
            link("Newest", newest) if view.cursor else None,
            " " if view.cursor and view.earlier_href else None,
            link("Earlier", view.earlier_href) if view.earlier_href else None,
        ]
        if view.cursor or view.earlier_href
        else None,
        id="timeline",
    )


def _entry(entry: EntryRow) -> h.Element:
    return h.li(id=f"e{entry.sequence}")[
        link(moment(entry.at, "second"), entry.event_href),
        h.span(".kind")[entry.kind],
        h.span[
            entry.sentence,
            [" · ", link("see", entry.href)] if entry.href else None,
            h.span(".mute")[f" · {entry.actor}"] if entry.actor not in ("", "poise") else None,
        ],
    ]
