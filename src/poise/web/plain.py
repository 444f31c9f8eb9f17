"""Pages of one thought: sign in, an error in four parts, and nothing here yet."""

from __future__ import annotations

import htpy as h

from poise.web import links
from poise.web.parts import card, command, document, headline, pill
from poise.web.views import EmptyView, ErrorView, LoginView


def login(view: LoginView) -> str:
    """The sign-in form as a document; it posts ``token``, ``next`` and ``csrf`` to ``/login``."""
    target = links.own(view.next) or links.OVERVIEW
    main = h.fragment[
        headline(
            "Sign in",
            None,
            pill("refused", "hold") if view.message else None,
            view.message or "Paste a token, or open the one-time link that poise up printed.",
        ),
        card(
            "Token",
            h.form(".stack", method="post", action=links.LOGIN)[
                h.input(type="hidden", name="csrf", value=view.chrome.csrf),
                h.input(type="hidden", name="next", value=target),
                h.label(for_="token")["Token"],
                h.input(
                    "#token", name="token", type="password", required=True, autocomplete="current-password"
                ),
                h.div(".buttons")[h.button(".primary", type="submit", accesskey="s")["Sign in ", h.kbd["s"]]],
            ],
        ),
        card("No token? Print a new link", command("poise login")),
    ]
    return document(view.chrome, "Sign in", main)


def error(view: ErrorView) -> str:
    """An error as a document: what happened, where, why, and what mends it."""
    parts = (("where", view.where), ("why", view.why))
    main = h.fragment[
        headline(f"Error {view.status}", f"· {view.code}", pill(view.code, "hold"), view.what),
        any(text for _, text in parts)
        and card("The cause", h.dl[((h.dt[name], h.dd[text]) for name, text in parts if text)]),
        view.mend and card("What to do", command(view.mend)),
        h.p[h.a(href=links.OVERVIEW)["Back to the overview"]],
    ]
    return document(view.chrome, f"Error {view.status}", main)


def empty(view: EmptyView) -> str:
    """Nothing yet, as a document that teaches the next command."""
    main = h.fragment[
        headline(view.title, None, pill("empty", "unknown"), view.sentence),
        card("Next", [command(text) for text in view.commands]) if view.commands else None,
    ]
    return document(view.chrome, view.title, main, current="Overview", live="")
