"""What a service is told besides its code: config with its values, secrets by name alone."""

from __future__ import annotations

import htpy as h

from poise.web import links
from poise.web.parts import card, command, link, table
from poise.web.service_views import SettingsView
from poise.web.wording import moment, short_name

VALUE_LENGTH_MAX = 120


def settings(view: SettingsView, key: str) -> h.Element:
    """The card of a service's settings, with a link to their history."""
    name = short_name(key)
    rows = [
        (
            h.span(".mono")[row.name],
            h.span(".mono")[_short(row.value)] if row.value is not None else h.span(".mute")["secret"],
            f"{'config' if row.value is not None else 'secret'} {row.changed_in}",
        )
        for row in view.rows
    ]
    teach = h.fragment[
        h.p(".mute")["No setting yet. Set one:"], command(f"poise config set {name} NAME=VALUE")
    ]
    return card(
        "Settings",
        h.p[
            _version("config", view.config, view.config_live),
            " ",
            _version("secret", view.secret, view.secret_live),
        ],
        h.p(".mute")["Changed ", moment(view.changed_at), f" by {view.changed_by}: {view.reason}"]
        if view.changed_at
        else None,
        table("Settings", ("name", "value", "since"), rows, "llr") if rows else teach,
        h.p[link("History", links.audit_of(key))],
        id="settings",
    )


def _version(word: str, n: int, live: int | None) -> str:
    if n == 0:
        return f"No {word} yet."
    if live == n:
        return f"{word.capitalize()} {n} is live."
    reached = f"users get {word} {live}" if live else "users have none yet"
    return f"{word.capitalize()} {n} is on its way; {reached}."


def _short(value: str) -> str:
    return value if len(value) <= VALUE_LENGTH_MAX else value[: VALUE_LENGTH_MAX - 1] + "…"
