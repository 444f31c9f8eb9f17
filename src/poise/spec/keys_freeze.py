"""The keys of ``kind: FreezeWindow``: when features wait, and where."""

from __future__ import annotations

from typing import Final

from poise.spec.keys_objective import WHEN
from poise.spec.keys_text import NAME
from poise.spec.shape import Field, ListOf, Record

FREEZE_WINDOW: Final = Record(
    fields=(
        *WHEN,
        Field(
            "environments",
            ListOf(item=NAME, low=1, high=10, alone=True, unique=True),
            "environments",
            "Where; everywhere, when left out.",
        ),
        Field(
            "services",
            ListOf(item=NAME, low=1, high=50, alone=True, unique=True),
            "services",
            "Which; all, when left out.",
        ),
    )
)
