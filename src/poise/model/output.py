"""What replicas and steps print: a line with its address and its time, and a page of lines."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

LOG_BYTES: Final = 32 * 2**20
"""The newest output of one replica or step that is kept where its specification does not say."""
HOUSE_LOG_BYTES: Final = 4 * 2**30
"""All output of a house that is kept: above it that of what ended goes, the oldest first."""


class OutputLine(Struct, frozen=True, kw_only=True):
    """One line: ``source`` and ``offset`` (of its first byte) are its address for as long as it is kept.

    ``at``: its own time stamp if it begins with one, else when it was on record at the latest;
    ``earlier_s``: it may have been written so much earlier (0 for a stamp, None: unknown). ``text`` has no
    escapes, no control characters and no secrets; ``cut_chars`` of a very long line are not shown.
    """

    source: str
    offset: int
    text: str
    at: datetime | None = None
    earlier_s: float | None = None
    cut_chars: int = 0
    is_context: bool = False


class OutputPage(Struct, frozen=True, kw_only=True):
    """Lines in the order of time, each source in its own order.

    ``cursor`` goes on after them. ``shortened`` says in a sentence what was not searched or not shown, and
    how to ask for it; empty: this is all there is.
    """

    items: tuple[OutputLine, ...]
    cursor: str = ""
    sources: tuple[str, ...] = ()
    searched_bytes: int = 0
    total_bytes: int = 0
    took_ms: float = 0.0
    shortened: str = ""
