"""What pages are made of: the document around them, cards, tables, pills, bars and forms for acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import htpy as h

from poise.model.balance import VerdictKind
from poise.model.delivery import RunState, Verb
from poise.web import links
from poise.web.assets import asset
from poise.web.views import Chrome
from poise.web.wording import percent

REASON_LENGTH_MAX = 500

_SCRIPTS = ("live.js", "time.js")
_RUN_TONES = {
    RunState.SUCCESS: "go",
    RunState.FAILURE: "hold",
    RunState.ERROR: "hold",
    RunState.TIMEOUT: "hold",
    RunState.RUNNING: "slow",
}


def document(
    chrome: Chrome,
    title: str,
    main: h.Node,
    *,
    current: str = "",
    live: str | None = None,
    scripts: Sequence[str] = (),
) -> str:
    """A whole page. ``live`` are the subjects, with spaces between, whose events re-render it.

    "" is all of them, None never.
    """
    body = h.body[
        h.a(".skip", href="#main")["Skip to content"],
        _header(chrome, current),
        h.main(
            "#main",
            tabindex="-1",
            data_events=None if live is None else links.EVENTS,
            data_subject=live or None,
            data_after=None if live is None else str(chrome.sequence),
        )[main],
    ]
    head = h.head[
        h.meta(charset="utf-8"),
        h.meta(name="viewport", content="width=device-width,initial-scale=1"),
        h.meta(name="color-scheme", content="light dark"),
        h.title[f"{title} · Poise"],
        h.link(rel="icon", type="image/svg+xml", href=asset("favicon.svg")),
        h.link(rel="stylesheet", href=asset("app.css")),
        [h.script(type="module", src=asset(name)) for name in (*_SCRIPTS, *scripts)],
    ]
    # plain text from here on: a Markup would escape what callers search or replace in it
    return "".join(h.html(lang="en")[head, body].iter_chunks())


def _header(chrome: Chrome, current: str) -> h.Element:
    project = chrome.project
    of_project = (
        ("Delivery", links.delivery(project), "d"),
        ("Scorecard", links.scorecard(project), "s"),
        ("On-call", links.oncall(project), "n"),
    )
    pages = (
        ("Overview", links.OVERVIEW, "o"),
        ("Incidents", links.INCIDENTS, "i"),
        ("Traces", links.TRACES, "t"),
        *(of_project if project else ()),
        ("Journal", links.AUDIT, "j"),
    )
    signed_in = chrome.principal is not None
    return h.header[
        h.a(".brand", href=links.OVERVIEW)["Poise"],
        signed_in
        and h.nav(aria_label="Pages")[
            (
                h.a(href=href, accesskey=key, aria_current="page" if name == current else None)[name]
                for name, href, key in pages
            )
        ],
        signed_in
        and h.form(".where", method="post", action=links.LOGOUT)[
            csrf_field(chrome),
            h.span[chrome.where, chrome.where and " · ", chrome.principal],
            _button("Sign out"),
        ],
    ]


def headline(name: str, aside: h.Node, tone: h.Node, sentence: h.Node) -> h.Fragment:
    """The first lines of a page: what it is about, then in words what matters."""
    return h.fragment[
        h.h1[name, " ", h.small[aside]],
        h.p(".say")[tone, sentence],
    ]


def card(title: str, *content: h.Node, id: str | None = None) -> h.Element:
    """A titled section."""
    return h.section(id=id)[h.h2[title], *content]


def scroll(label: str, content: h.Node, class_: str = "") -> h.Element:
    """What may be wider than a phone scrolls inside its card, by keyboard too."""
    return h.div(class_=f"scroll {class_}".strip(), tabindex="0", role="group", aria_label=label)[content]


def table(
    label: str,
    head: Sequence[str],
    rows: Sequence[Sequence[h.Node]],
    numeric: str = "",
    xs: Sequence[str] = (),
) -> h.Element:
    """A table in its own scroller.

    ``numeric`` marks right-aligned columns, as in ``"lrrr"``; ``xs`` are the places of the rows on the
    axis of the chart whose twin this table is.
    """
    cells = ["n" if side == "r" else None for side in numeric.ljust(len(head), "l")]
    names = (h.th(scope="col", class_=class_)[name] for name, class_ in zip(head, cells, strict=True))
    places: Sequence[str | None] = xs or [None] * len(rows)
    body = (
        h.tr(data_x=x)[(h.td(class_=class_)[cell] for cell, class_ in zip(row, cells, strict=True))]
        for row, x in zip(rows, places, strict=True)
    )
    return scroll(label, h.table[h.thead[h.tr[names]], h.tbody[body]])


def link(text: h.Node, href: str | None, class_: str | None = None) -> h.Node:
    """A link if ``href`` leads somewhere on this server, else the text alone."""
    safe = links.own(href) if href else None
    if safe is None:
        return h.span(class_=class_)[text] if class_ else text
    return h.a(href=safe, class_=class_)[text]


def pill(word: str, tone: str) -> h.Element:
    """A word on a tint: go, slow, hold or unknown. The word says it; colour only repeats it."""
    return h.span(class_=f"pill {tone}")[word]


def verdict_pill(kind: VerdictKind | None) -> h.Element:
    """The gate's verdict; None is unknown."""
    word = "unknown" if kind is None else kind.value
    return pill(word, word)


def run_pill(state: RunState) -> h.Element:
    """The state of a run, job or step."""
    return pill(state.value, run_tone(state))


def run_tone(state: RunState) -> str:
    """Which of the four tints a run's state takes."""
    return _RUN_TONES.get(state, "unknown")


def budget_bar(left_ratio: float | None, tone: str) -> h.Element:
    """How much of the budget is left, as a bar with words for those who cannot see it."""
    label = "budget not measured" if left_ratio is None else f"{percent(left_ratio, 0)} of the budget left"
    width = round(100 * min(max(left_ratio or 0.0, 0.0), 1.0), 1)
    return h.svg(
        {"viewBox": "0 0 100 8", "preserveAspectRatio": "none"},
        class_=f"bar {tone}",
        role="img",
        aria_label=label,
    )[h.rect(".track", width="100", height="8"), h.rect(".fill", width=f"{width:g}", height="8")]


def command(text: str) -> h.Element:
    """A command to paste."""
    return h.pre(".command", tabindex="0")[h.code[text]]


def popover_form(
    chrome: Chrome,
    form_id: str,
    target: str,
    *,
    label: str,
    about: str = "",
    accesskey: str,
    explain: h.Node,
    hidden: Mapping[str, str] | None = None,
    name: str = "reason",
    asks: str = "Reason, for the journal",
    required: bool = True,
    length: int = REASON_LENGTH_MAX,
    fields: h.Node = None,
    primary: bool = False,
) -> h.Fragment:
    """A button that opens a form asking for words, which posts ``name`` and what is ``hidden`` to ``target``.

    The form is a popover of the browser's own: no script, closed by Escape, shut again after the post.
    ``about`` is what a button that stands in a row is about, for those who do not see the row.
    """
    text_id = f"{form_id}-{name}"
    return h.fragment[
        h.button(
            type="button",
            class_="primary" if primary else None,
            popovertarget=form_id,
            accesskey=accesskey or None,
            aria_label=f"{label} {about}" if about else None,
        )[label, "… ", accesskey and h.kbd[accesskey]],
        h.form(
            f"#{form_id}.act",
            popover=True,
            method="post",
            action=target,
            aria_label=f"{label} {about}".strip(),
        )[
            h.div[h.strong[label], " ", explain],
            csrf_field(chrome),
            (h.input(type="hidden", name=key, value=value) for key, value in (hidden or {}).items()),
            h.label(for_=text_id)[asks],
            h.textarea(
                f"#{text_id}",
                name=name,
                required=required,
                rows="3",
                minlength="3" if required else None,
                maxlength=str(length),
                autofocus=True,
            ),
            fields,
            h.div(".buttons")[
                h.button(".primary", type="submit")[label],
                h.button(type="button", popovertarget=form_id, popovertargetaction="hide")["Cancel"],
            ],
        ],
    ]


def act_form(
    chrome: Chrome,
    verb: Verb,
    key: str,
    *,
    label: str,
    accesskey: str,
    explain: str,
    rollout: int | None = None,
    primary: bool = False,
) -> h.Fragment:
    """A button with a form for an order: it posts the reason to ``/act/<verb>/<key>``."""
    return popover_form(
        chrome,
        f"act-{verb}",
        links.act(verb, key),
        label=label,
        accesskey=accesskey,
        explain=explain,
        hidden={} if rollout is None else {"rollout": str(rollout)},
        primary=primary,
    )


def say_form(
    chrome: Chrome,
    target: str,
    verb: str,
    *,
    label: str,
    accesskey: str,
    explain: str,
    primary: bool = False,
    required: bool = False,
    length: int = REASON_LENGTH_MAX,
) -> h.Fragment:
    """A button with a form for a word in an incident: ``verb`` and ``text`` to ``target``."""
    return popover_form(
        chrome,
        f"say-{verb}",
        target,
        label=label,
        accesskey=accesskey,
        explain=explain,
        hidden={"verb": verb},
        name="text",
        asks="What you know" if required else "What you know, if you like",
        required=required,
        length=length,
        primary=primary,
    )


def csrf_field(chrome: Chrome) -> h.VoidElement:
    """What pairs a form with the reader's own browser."""
    return h.input(type="hidden", name="csrf", value=chrome.csrf)


def _button(label: str) -> h.Element:
    return h.button(".plain", type="submit")[label]
