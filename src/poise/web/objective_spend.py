"""What a budget was spent on: every entry of its ledger, dated and charged, and the sums that add up."""

from __future__ import annotations

from collections.abc import Sequence

import htpy as h

from poise.model.spend import Spend, SpendCause, SpendLedger
from poise.web import links
from poise.web.parts import card, link, table
from poise.web.why import why
from poise.web.wording import duration, moment, percent, times

ENTRIES_SHOWN = 30
_EVIDENCE = (
    "An entry is a stretch of minutes in which more failed than the budget can bear. It is charged to the "
    "change, dependency or incident that is likelier than all else together; else to nobody."
)


def spend_card(ledger: SpendLedger | None, queries: Sequence[tuple[str, str]]) -> h.Element:
    """The ledger, the largest entry first, with the usual failures and the sum below."""
    if ledger is None:
        return card(
            "What the budget was spent on",
            h.p(".mute")["Nothing is written yet: the first entry comes with the first stretch of failures."],
            id="ledger",
        )
    return card("What the budget was spent on", _table(ledger, queries), id="ledger")


def largest_first(ledger: SpendLedger) -> list[Spend]:
    """What cost most is read first; equal costs, the newest first."""
    return sorted(ledger.entries, key=lambda one: (one.bad, one.since), reverse=True)


def spender(one: Spend) -> h.Node:
    """Who spent it, with the way to it."""
    if one.cause is SpendCause.UNKNOWN:
        return h.span(".mute")["unknown"]
    kind = "Incident" if one.cause is SpendCause.INCIDENT else "Rollout"
    href = links.evidence(f"{kind}/{one.subject}", "why")
    return link(one.name or one.subject, href)


def _table(ledger: SpendLedger, queries: Sequence[tuple[str, str]]) -> h.Node:
    entries = largest_first(ledger)
    rows = [_row(one, ledger) for one in entries[:ENTRIES_SHOWN]]
    rest = entries[ENTRIES_SHOWN:]
    if rest:
        rows.append(_sum(f"{len(rest)} smaller ones", sum(one.bad for one in rest), ledger, ""))
    rows.append(_sum("usual failures", ledger.usual_bad, ledger, _usual(ledger, queries)))
    rows.append(_sum("all of it", ledger.bad, ledger, _whole(ledger, queries)))
    head = ("spent", "by", "when", "failed", "why")
    return table("What the budget was spent on", head, rows, "rllrl")


def _row(one: Spend, ledger: SpendLedger) -> tuple[h.Node, ...]:
    lasted: h.Node = ", goes on"
    if one.until is not None:
        lasted = f", {duration((one.until - one.since).total_seconds())}"
    rate = one.bad / one.events if one.events > 0 else None
    inputs: tuple[tuple[str, h.Node], ...] = (
        ("evidence", one.why or "–"),
        ("likely", percent(one.chance, 0)),
        ("failed", f"{one.bad:,.0f} of {one.events:,.0f} ({percent(rate)})"),
        ("budget", f"{ledger.allowed:,.0f} events"),
    )
    return (
        h.strong[percent(_share(one.bad, ledger), 1)],
        [spender(one), one.cause is not SpendCause.UNKNOWN and [" ", h.span(".mute")[one.cause.value]]],
        [moment(one.since), lasted],
        f"{one.bad:,.0f}",
        why(f"{one.name or one.cause.value} at {one.since:%d %b %H:%M}", _EVIDENCE, inputs),
    )


def _sum(what: str, bad: float, ledger: SpendLedger, reason: h.Node) -> tuple[h.Node, ...]:
    return (
        percent(_share(bad, ledger), 1),
        h.span(".mute")[what],
        "",
        f"{bad:,.0f}",
        reason,
    )


def _usual(ledger: SpendLedger, queries: Sequence[tuple[str, str]]) -> h.Element:
    inputs = (
        ("all that failed", f"{ledger.bad:,.0f}"),
        ("in entries", f"{ledger.bad - ledger.usual_bad:,.0f}"),
    )
    return why("usual failures", "What failed in the window outside of every entry above.", inputs, queries)


def _whole(ledger: SpendLedger, queries: Sequence[tuple[str, str]]) -> h.Element:
    over = times(_share(ledger.bad, ledger)) if ledger.allowed > 0 else "–"
    inputs = (
        ("failed", f"{ledger.bad:,.0f} events"),
        ("budget", f"{ledger.allowed:,.0f} events"),
        ("share", over),
        ("as of", moment(ledger.at)),
    )
    return why(
        "all that was spent", "The entries and the usual failures add up to exactly this.", inputs, queries
    )


def _share(bad: float, ledger: SpendLedger) -> float | None:
    return bad / ledger.allowed if ledger.allowed > 0 else None
