"""The keys of ``previews``: which branches are looked at under a host name of their own."""

from __future__ import annotations

from typing import Final

from poise.spec import limits
from poise.spec.keys_text import NAME
from poise.spec.shape import Duration, Field, Integer, ListOf, Record, Text

PATTERN: Final = Text(
    pattern=r"(?!.*(?:\.\.|//|@\{))[A-Za-z0-9_*][A-Za-z0-9_./*-]*(?<![./])",
    hint="A branch, where '*' stands for any part without '/', and '**' for any part: 'feature/*'.",
    max_chars=200,
)
PREVIEWS: Final = Record(
    fields=(
        Field(
            "branches",
            ListOf(item=PATTERN, low=1, high=20, alone=True, unique=True),
            "branches",
            "Branches that get a preview; never the one that is released.",
            required=True,
        ),
        Field(
            "life",
            Duration(low_s=60, high_s=30 * 86_400),
            "life_s",
            "How long one is kept after the newest push to its branch.",
        ),
        Field(
            "max",
            Integer(low=1, high=50),
            "max",
            "Branches with a preview at the same time; the one pushed to longest ago goes.",
        ),
        Field(
            "services",
            ListOf(item=NAME, low=1, high=limits.SERVICES, alone=True, unique=True),
            "services",
            "Services that have one; default: every service with a port.",
        ),
    )
)
