"""Numbers for people, as Prometheus' template functions write them.

Source: prometheus/template/template.go; prometheus/common model/helpers/templates.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

_UP: Final = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_DOWN: Final = ("m", "u", "n", "p", "f", "a", "z", "y")
_BINARY: Final = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_NANOSECONDS: Final = 2.0**63
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def humanize(value: float) -> str:
    """With a metric prefix.

    >>> humanize(1234567.0), humanize(0.0123), humanize(0.0)
    ('1.235M', '12.3m', '0')
    """
    if value == 0 or not math.isfinite(value):
        return four(value)
    return _up(value, _UP, 1000.0) if abs(value) >= 1 else _down(value)


def humanize_1024(value: float) -> str:
    """With a binary prefix."""
    if abs(value) <= 1 or not math.isfinite(value):
        return four(value)
    return _up(value, _BINARY, 1024.0)


def humanize_percentage(value: float) -> str:
    """A ratio as a percentage."""
    return f"{four(value * 100)}%"


def humanize_duration(value: float) -> str:
    """Seconds in days, hours, minutes and seconds.

    >>> humanize_duration(93784.0), humanize_duration(0.0001), humanize_duration(899.99)
    ('1d 2h 3m 4s', '100us', '14m 59s')
    """
    if not math.isfinite(value):
        return four(value)
    if value == 0 or abs(value) < 1:
        return f"{four(value) if value == 0 else _down(value)}s"
    sign, value = ("-", -value) if value < 0 else ("", value)
    whole = int(value)
    days, hours, minutes, seconds = whole // 86_400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    return f"{sign}{minutes}m {seconds}s" if minutes else f"{sign}{four(value)}s"


def humanize_timestamp(value: float) -> str:
    """Seconds since the epoch as a UTC time. Raises ``OverflowError`` for what no clock counts."""
    if not math.isfinite(value):
        return four(value)
    if abs(value * 1e9) >= _NANOSECONDS:
        raise OverflowError(f"{value:g} cannot be represented as a nanoseconds timestamp")
    whole, rest = divmod(math.trunc(value * 1000), 1000)  # Prometheus' instants are milliseconds
    fraction = f".{rest:03d}".rstrip("0") if rest else ""
    return f"{_EPOCH + timedelta(seconds=whole):%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def four(value: float) -> str:
    """Go's ``%.4g``."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return f"{value:.4g}"


def _up(value: float, prefixes: tuple[str, ...], base: float) -> str:
    found = ""
    for prefix in prefixes:
        if abs(value) < base:
            break
        found = prefix
        value /= base
    return f"{four(value)}{found}"


def _down(value: float) -> str:
    found = ""
    for prefix in _DOWN:
        if abs(value) >= 1:
            break
        found = prefix
        value *= 1000
    return f"{four(value)}{found}"
