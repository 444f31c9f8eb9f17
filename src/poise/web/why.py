"""The "why" beside a number: its rule, what went into it, and the query behind that."""

from __future__ import annotations

import re
from collections.abc import Sequence

import htpy as h

_NOT_A_NAME = re.compile(r"[^a-z0-9]+")


def why(
    about: str,
    rule: str,
    inputs: Sequence[tuple[str, h.Node]] = (),
    queries: Sequence[tuple[str, str]] = (),
) -> h.Element:
    """What the number called ``about`` follows from; closed until it is asked for."""
    slug = _NOT_A_NAME.sub("-", about.lower()).strip("-")
    return h.details(id=f"why-{slug}", class_="why")[
        h.summary(aria_label=f"why: {about}")["why"],
        h.div[
            h.p[rule],
            h.dl[((h.dt[name], h.dd[value]) for name, value in inputs)] if inputs else None,
            ([h.p(".mute")[role], h.pre(tabindex="0")[h.code[query]]] for role, query in queries),
        ],
    ]
