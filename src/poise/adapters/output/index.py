"""When a byte of a log was written, from the keeper's index beside it and from stamps of the lines.

The index holds (instant, size) pairs. A byte below a size was written by that instant, one at or above it
not before. So a byte's instant lies between two neighbouring records: at most 0.5 s apart while the keeper
lives and is not busy, as far apart as it was away otherwise. Instants of a clock that was set back are taken
as the widest that fits, so that a search by time shows a line too many rather than one too few.

Not seen: a log that its own workload emptied and filled beyond its earlier size within one look.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

RECORD: Final = np.dtype([("at_ms", "<u8"), ("size", "<u8")])
STAMP_EARLIER_MS: Final = 3_600_000
"""A line's own stamp may be so much before the line was written: buffers hold lines back."""
STAMP_LATER_MS: Final = 1_000
FOREVER_MS: Final = 1 << 62
_STAMP: Final = re.compile(
    r"[\[\"{]*(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?(?![\d:])"
)


class Index:
    """The records that fit a file as it is now. Searching is O(log n)."""

    def __init__(self, records: np.ndarray, now_ms: int) -> None:
        sizes = records["size"].astype(np.int64)
        shrunk = np.flatnonzero(np.diff(sizes) < 0)  # what was before is of content that is gone
        fits = slice(int(shrunk[-1]) + 1 if len(shrunk) else 0, None)
        at_ms = records["at_ms"][fits].astype(np.int64)
        self._sizes = sizes[fits]
        self._by_ms = np.maximum.accumulate(at_ms) if len(at_ms) else at_ms
        self._from_ms = np.minimum.accumulate(at_ms[::-1])[::-1] if len(at_ms) else at_ms
        self._now_ms = now_ms

    @classmethod
    def of(cls, log: Path, now_ms: int) -> Index:
        """The index of a log; ``now_ms``: when its last byte was written at the latest."""
        try:
            raw = Path(f"{log}.index").read_bytes()
        except OSError:
            raw = b""
        return cls(np.frombuffer(raw[: len(raw) - len(raw) % RECORD.itemsize], RECORD), now_ms)

    def bounds_ms(self, offset: int) -> tuple[int | None, int]:
        """(not before, by) of the byte at ``offset``; None where nothing is known."""
        after = int(np.searchsorted(self._sizes, offset, side="right"))
        by = int(self._by_ms[after]) if after < len(self._sizes) else self._now_ms
        low = int(self._from_ms[after - 1]) if after else None
        return (None if low is None else min(low, by)), by

    def likely_ms(self, offset: int) -> int:
        """The instant of a byte, were all written evenly between two records: for an order, not a truth."""
        low, by = self.bounds_ms(offset)
        after = int(np.searchsorted(self._sizes, offset, side="right"))
        if low is None or after >= len(self._sizes):
            return by if low is None else low
        first, last = int(self._sizes[after - 1]), int(self._sizes[after])
        return low + (by - low) * (offset - first) // (last - first)

    def begin(self, since_ms: int) -> int:
        """An offset below which every byte was written before ``since_ms``."""
        known = int(np.searchsorted(self._by_ms, since_ms, side="left"))
        return int(self._sizes[known - 1]) if known else 0

    def end(self, until_ms: int) -> int | None:
        """An offset from which on every byte was written at or after ``until_ms``; None: there is none."""
        known = int(np.searchsorted(self._from_ms, until_ms, side="left"))
        return int(self._sizes[known]) if known < len(self._sizes) else None


def stamp_ms(text: str, low_ms: int | None, by_ms: int) -> int | None:
    """The ISO 8601 time that a line begins with, if it can be the time when the line was written.

    Without a zone it is taken as UTC. One that does not fit the bounds is of something else.

    >>> stamp_ms("2026-03-01T12:00:00.5Z up", None, 1772366400_700)
    1772366400500
    """
    if (found := _STAMP.match(text)) is None:
        return None
    day, time, fraction, zone = found.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{time}.{(fraction or '0')[:6]:0<6}{zone or '+00:00'}")
    except ValueError:
        return None
    ms = int(at.astimezone(UTC).timestamp() * 1000)
    early = (by_ms if low_ms is None else low_ms) - STAMP_EARLIER_MS
    return ms if early <= ms <= by_ms + STAMP_LATER_MS else None
