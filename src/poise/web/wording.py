"""Numbers and instants as people read them; None is always "not measured", never a zero."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

import htpy as h

UNMEASURED = "–"
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FORMATS = {"minute": "%d %b %H:%M", "second": "%d %b %H:%M:%S", "day": "%d %b"}


def percent(ratio: float | None, digits: int | None = None) -> str:
    """A ratio as a percentage; without ``digits``, as many as tell 99.938 from 99.9, and no idle zeros.

    >>> percent(0.38), percent(0.99938), percent(0.0004), percent(None)
    ('38 %', '99.938 %', '0.04 %', '–')
    """
    if ratio is None or not math.isfinite(ratio):
        return UNMEASURED
    value = ratio * 100
    if digits is None:
        digits = 3 if 99 < abs(value) < 100 else 2 if abs(value) < 1 else 1
    text = f"{value:,.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{'0' if text == '-0' else text} %"


def times(rate: float | None) -> str:
    """A multiple such as a burn rate.

    >>> times(0.42), times(14.4), times(None)
    ('0.4×', '14.4×', '–')
    """
    return UNMEASURED if rate is None or not math.isfinite(rate) else f"{rate:,.1f}×"


def milliseconds(value: float | None) -> str:
    """A latency, to the millisecond from 10 ms on."""
    if value is None:
        return UNMEASURED
    return f"{value:,.1f} ms" if value < 10 else f"{value:,.0f} ms"


def duration(seconds: float | None) -> str:
    """A span in its two largest units.

    >>> duration(0.4), duration(41), duration(2_460), duration(97_200)
    ('0.4 s', '41 s', '41 min', '1 d 3 h')
    """
    if seconds is None:
        return UNMEASURED
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def utc(at: datetime, precision: str = "minute") -> str:
    """An instant in UTC, without the year: ``24 Nov 09:35``; precision is day, minute or second."""
    return at.astimezone(UTC).strftime(_FORMATS[precision]).lstrip("0")


def moment(at: datetime | None, precision: str = "minute") -> h.Renderable:
    """An instant that ``time.js`` turns to local time, with UTC on its title."""
    if at is None:
        return h.span(".mute")[UNMEASURED]
    stamp = at.astimezone(UTC)
    full = f"{stamp.day} {stamp:%b %Y %H:%M:%S} UTC"
    iso = stamp.strftime("%Y-%m-%dT%H:%M:%SZ")
    kind = None if precision == "minute" else precision
    return h.time(datetime=iso, title=full, data_precision=kind)[utc(at, precision)]


def plain(text: str) -> str:
    """A log line without ANSI escape sequences and control characters.

    >>> plain("\\x1b[31mfailed\\x1b[0m here")
    'failed here'
    """
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def short_name(key: str) -> str:
    """The last part of a key."""
    return key.rsplit("/", 1)[-1]


def place(key: str) -> str:
    """Where a service runs: ``project / environment``."""
    return " / ".join(key.split("/")[:-1])


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "replica"), plural(1200, "request")
    ('1 replica', '1,200 requests')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
