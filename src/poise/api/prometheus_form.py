"""What a request to the Prometheus API asks: instants, durations and limits as Prometheus reads them.

Source: prometheus.io/docs/prometheus/latest/querying/api; web/api/v1/api.go (parseTime, parseDuration).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from poise.model.errors import Invalid

QUERY_CHARACTERS_MAX: Final = 65_536
AT_MS_MAX: Final = 2**52  # far past any calendar, and exact in a float
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_EXTREMES: Final = {
    "-292273086-05-16T16:47:06Z": -AT_MS_MAX,
    "292277025-08-18T07:12:54.999999999Z": AT_MS_MAX,
    "-292273086-05-16T16:47:06.000000001Z": -AT_MS_MAX,
}
_DURATION: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?"
)
_UNITS_MS: Final = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1000, 1)


class BadData(Invalid):
    """A parameter that Prometheus would not take either."""

    error_type = "bad_data"
    http_status = 400


class Form:
    """The parameters of a request, from its query and from its body."""

    def __init__(self, given: Mapping[str, Sequence[str]], now: datetime) -> None:
        self._given = given
        self._now_ms = round(now.timestamp() * 1000)

    def text(self, name: str) -> str:
        """The first value; empty when there is none."""
        return next(iter(self._given.get(name, ())), "")

    def texts(self, name: str) -> tuple[str, ...]:
        """All values."""
        return tuple(self._given.get(name, ()))

    def expression(self) -> str:
        """``query``."""
        text = self.text("query")
        if len(text) > QUERY_CHARACTERS_MAX:
            raise _bad("query", f"it is longer than {QUERY_CHARACTERS_MAX} characters")
        return text

    def instant(self, name: str, default_ms: int | None = None) -> int:
        """Milliseconds since the epoch; ``default_ms`` where it is not given, else it must be."""
        text = self.text(name)
        if not text and default_ms is not None:
            return default_ms
        found = instant_ms(text)
        if found is None:
            raise _bad(name, f'cannot parse "{text[:100]}" to a valid timestamp')
        return found

    def now_ms(self) -> int:
        """When the request came."""
        return self._now_ms

    def duration(self, name: str, default_ms: int | None = None) -> int:
        """Milliseconds."""
        text = self.text(name)
        if not text and default_ms is not None:
            return default_ms
        found = duration_ms(text)
        if found is None:
            raise _bad(name, f'cannot parse "{text[:100]}" to a valid duration')
        return found

    def count(self, name: str) -> int:
        """A number of items; 0 where it is not given."""
        text = self.text(name)
        if not text:
            return 0
        if not re.fullmatch(r"\d{1,9}", text):
            raise _bad(name, "it must be a number of items")
        return int(text)


def instant_ms(text: str) -> int | None:
    """A Unix time in seconds, or RFC 3339; None for anything else.

    >>> instant_ms("1.5"), instant_ms("1970-01-01T00:00:02Z"), instant_ms("soon")
    (1500, 2000, None)
    """
    if text in _EXTREMES:
        return _EXTREMES[text]
    seconds = _number(text)
    if seconds is not None:
        return max(-AT_MS_MAX, min(AT_MS_MAX, round(seconds * 1000)))
    if not _RFC3339.fullmatch(text):
        return None
    try:
        at = datetime.fromisoformat(text.upper())
        return round((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
    except (ValueError, OverflowError):
        return None


def duration_ms(text: str) -> int | None:
    """Seconds as a number, or such as ``1h30m``; None for anything else.

    >>> duration_ms("15"), duration_ms("1h30m"), duration_ms("500ms"), duration_ms("x")
    (15000, 5400000, 500, None)
    """
    seconds = _number(text)
    if seconds is not None:
        return round(seconds * 1000) if abs(seconds) < AT_MS_MAX else None
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        return None
    total = sum(int(part) * unit for part, unit in zip(found.groups(), _UNITS_MS, strict=True) if part)
    return total if total < AT_MS_MAX else None


def _number(text: str) -> float | None:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text, re.ASCII):
        return None
    found = float(text)
    return found if math.isfinite(found) else None


def _bad(name: str, why: str) -> BadData:
    return BadData("POISE-A480", f'invalid parameter "{name}": {why}')
