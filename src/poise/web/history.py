"""The journal page, and events as rows wherever they stand."""

from __future__ import annotations

from collections.abc import Sequence

import htpy as h

from poise.model.record import Recorded
from poise.web import links
from poise.web.parts import card, command, document, headline, link, pill, table
from poise.web.views import EVENT_ROWS_MAX, AuditView, EventRow
from poise.web.wording import moment, plural


def audit(view: AuditView) -> str:
    """The journal, newest first, as a document."""
    tone = {True: pill("whole", "go"), False: pill("broken", "hold"), None: pill("unchecked", "unknown")}
    rows = view.events[:EVENT_ROWS_MAX]
    main = h.fragment[
        headline("Journal", view.subject and f"· {view.subject}", tone[view.chain_ok], audit_sentence(view)),
        card("Events", events_table(rows, "second")) if rows else card("Events", h.p(".mute")["None yet."]),
        h.p[link("Older events", view.next_href)] if view.next_href else None,
        card("Check it yourself", command("poise audit verify")),
    ]
    return document(view.chrome, "Journal", main, current="Journal", live=view.subject)


def audit_sentence(view: AuditView) -> h.Node:
    """The first line: how much there is and whether its chain of hashes holds."""
    count = plural(view.total, "event")
    if view.chain_ok is None:
        return f"{count}; the chain of hashes has not been checked lately."
    when: h.Node = [", checked ", moment(view.chain_checked_at)] if view.chain_checked_at else None
    if view.chain_ok:
        return [f"{count}, each sealed to the one before it; the chain is whole", when, "."]
    return [f"The chain of {count} is broken: someone changed the journal", when, "."]


def event_row(row: Recorded) -> EventRow:
    """A row of the journal with a link to what it is about."""
    event = row.event
    return EventRow(
        sequence=row.sequence,
        at=row.at,
        type=event.type,
        subject=event.subject,
        summary=event.summary,
        actor=event.actor,
        href=links.about(event.subject, event.type),
    )


def story(events: Sequence[EventRow]) -> h.Element:
    """Events of one thing as rows: when, what, by whom."""
    rows = [
        (moment(e.at, "second"), e.summary, e.actor, h.span(".mono.mute")[e.type.removeprefix("dev.poise.")])
        for e in events
    ]
    return table("Events", ("when", "what", "by", "type"), rows)


def events_table(events: Sequence[EventRow], precision: str) -> h.Element:
    """Events as rows: when, what, about what, by whom."""
    rows = [
        (
            moment(event.at, precision),
            event.summary,
            link(event.subject, event.href or links.audit_of(event.subject), "mono"),
            event.actor,
            h.span(".mono.mute")[event.type],
            h.span(".mute")[f"{event.sequence:,}"],
        )
        for event in events
    ]
    return table("Events", ("when", "what", "about", "by", "type", "number"), rows, "lllllr")
