"""What people grant against the policy's letter: the forms that ask for it and decide it, and the record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import htpy as h

from poise.model.grant import Cause
from poise.web import links
from poise.web.parts import card, pill, popover_form, table
from poise.web.permit_views import OfferView, PermitKind, PermitRow, PermitState, PermitsView
from poise.web.views import Chrome
from poise.web.wording import duration, moment, plural, utc

DURATIONS_S: Final = (1800, 3600, 14_400, 86_400, 604_800, 2_419_200)
USUAL_S: Final = 3600
NAMES_MAX: Final = 5
_ASKS: Final = {  # kind: label, access key, what it is
    PermitKind.APPROVAL: ("Approve", "a", "it: an operator's word, where the policy wants one."),
    PermitKind.EXEMPTION: (
        "Exempt",
        "e",
        "it from the freeze: the budget was spent by a cause elsewhere.",
    ),
    PermitKind.RULING: (
        "Dispute",
        "g",
        "it: you disagree with the policy; those whom it names decide.",
    ),
    PermitKind.OVERRIDE: (
        "Override",
        "v",
        "the gate: signed in your name, counted, gone when it expires.",
    ),
}
_TONES: Final = {
    PermitState.WAITS: "unknown",
    PermitState.IN_FORCE: "slow",
    PermitState.REFUSED: "hold",
    PermitState.EXPIRED: "unknown",
    PermitState.UNSIGNED: "hold",
}


def ask_buttons(view: PermitsView | None, chrome: Chrome) -> Iterator[h.Node]:
    """A button with its form for each wish that would help, the mildest first."""
    if view is None:
        return
    for offer in view.offers:
        label, key, what = _ASKS[offer.kind]
        hidden = {"kind": offer.kind.value, "once": view.once, **_place(view)}
        if view.digest:
            hidden["digest"] = view.digest
        yield popover_form(
            chrome,
            f"act-{offer.kind}",
            links.permits(view.key, "ask"),
            label=label,
            accesskey=key,
            explain=[what, _why_held(view), h.p[offer.allows], h.p(".mute")[offer.decides]],
            hidden=hidden,
            fields=[_cause(offer), _expiry(offer)],
            primary=offer is view.offers[0],
        )


def approvals(view: PermitsView | None) -> h.Node:
    """Who approved this release, and whose word is still wanted."""
    if view is None or view.approvals is None:
        return None
    told = view.approvals
    missing = told.required - len(told.given)
    if missing <= 0:
        wanted = "Nobody else has to approve it."
    elif len(told.left) < missing:
        wanted = f"{missing} more needed, and only {len(told.left)} may: see the gate's reason above."
    else:
        wanted = f"Still needed: {missing} of {', '.join(told.left[:NAMES_MAX])}" + (
            f" and {len(told.left) - NAMES_MAX} others." if len(told.left) > NAMES_MAX else "."
        )
    return h.fragment[
        h.h3[f"{len(told.given)} of {plural(told.required, 'approval')}"],
        bool(told.given)
        and h.ul[(h.li[f"{one.by} at ", moment(one.at), f": {one.reason}"] for one in told.given)],
        h.p[wanted],
    ]


def waiting(view: PermitsView | None, chrome: Chrome) -> h.Node:
    """What waits for a second person, with the forms of those who may decide it."""
    rows = [row for row in view.rows if row.state is PermitState.WAITS] if view else []
    if view is None or not rows:
        return None
    return h.fragment[
        h.h3["Waits for somebody to decide"],
        [
            h.div(".told")[
                h.p[f"{_name(row)} of {row.by}, until ", moment(row.expires_at), f": {row.reason}"],
                row.told and h.p(".mute")[row.told],
                row.may_decide and h.div(".acts")[_decide_buttons(view, chrome, row, first=index == 0)],
            ]
            for index, row in enumerate(rows)
        ],
    ]


def permits_card(view: PermitsView | None) -> h.Element | None:
    """Who asked and who decided, when, why, and until when it holds."""
    if view is None or not view.rows:
        return None
    rows: list[tuple[h.Node, ...]] = [
        (
            [pill(row.state.value, _TONES[row.state]), " ", _name(row)],
            row.by,
            [row.reason, row.cause and h.span(".mute")[f" (cause: {row.cause})"]],
            _decided(row),
            moment(row.at),
            moment(row.expires_at),
        )
        for row in view.rows
    ]
    head = ("what", "asked by", "why", "decided by", "from", "until")
    return card("Asked and granted", table("Asked and granted", head, rows), id="permits")


def _decided(row: PermitRow) -> h.Node:
    if row.decided_by and row.decided_by != row.by:
        return [row.decided_by, ", ", moment(row.decided_at)]
    if row.alone:
        return h.span(".mute")["nobody else could"]
    return [row.decided_by, ", ", moment(row.decided_at)] if row.decided_by else row.told or "–"


def _decide_buttons(view: PermitsView, chrome: Chrome, row: PermitRow, *, first: bool) -> Iterator[h.Node]:
    """Allow and refuse; an override can only be approved, or left to expire."""
    what = "override" if row.kind is PermitKind.OVERRIDE else "grant"
    for answer, label, key in (("allow", "Allow", "y"), ("refuse", "Refuse", "z")):
        if what == "override" and answer == "refuse":
            continue
        told = f"{_name(row)} of {row.by} until {utc(row.expires_at)} UTC: {row.reason}."
        yield popover_form(
            chrome,
            f"{answer}-{row.kind}-{row.n}",
            links.permits(view.key, "decide"),
            label=label,
            accesskey=key if first else "",
            explain=[told, _why_held(view), answer == "allow" and h.p[row.allows]],
            hidden={"what": what, "n": str(row.n), "answer": answer, **_place(view)},
            primary=answer == "allow",
        )


def _why_held(view: PermitsView) -> h.Node:
    if not view.why:
        return None
    return h.fragment[h.p["The gate says now:"], h.ul[(h.li[reason] for reason in view.why)]]


def _place(view: PermitsView) -> dict[str, str]:
    return {} if view.rollout is None else {"rollout": str(view.rollout)}


def _expiry(offer: OfferView) -> h.Node:
    id_ = f"act-{offer.kind}-expiry"
    usual = min(USUAL_S, offer.most_s)
    choices = [one for one in DURATIONS_S if one <= offer.most_s] or [int(offer.most_s)]
    return h.fragment[
        h.label(for_=id_)["It holds for"],
        h.select(f"#{id_}", name="expires_s")[
            (h.option(value=str(one), selected=one == usual)[duration(one)] for one in choices)
        ],
    ]


def _cause(offer: OfferView) -> h.Node:
    if offer.kind is not PermitKind.EXEMPTION:
        return None
    causes = (h.option(value=one.value)[one.value] for one in Cause)
    return h.fragment[
        h.label(for_="act-exemption-cause")["What spent the budget instead"],
        h.select("#act-exemption-cause", name="cause")[causes],
    ]


def _name(row: PermitRow) -> str:
    whole = f"{row.kind} {row.n}"
    return f"{whole} of one release" if row.of_release else whole
