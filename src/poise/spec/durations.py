"""Durations and sizes as people write them: ``30s``, ``5m``, ``28d``, ``500ms``, ``256KiB``."""

from __future__ import annotations

import re
from typing import Final

UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
UNITS_BYTES: Final = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
UNITS_BYTES_BINARY: Final = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}

DURATION_PATTERN: Final = r"^[0-9]{1,12}(\.[0-9]{1,3})?(ms|s|m|h|d|w)$"
SIZE_PATTERN: Final = r"^[0-9]{1,12}(B|kB|MB|GB|KiB|MiB|GiB)$"
_DURATION: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)(ms|s|m|h|d|w)")
_SPAN: Final = re.compile(
    r"(?:([0-9]{1,5})y)?(?:([0-9]{1,6})w)?(?:([0-9]{1,7})d)?(?:([0-9]{1,8})h)?"
    r"(?:([0-9]{1,10})m)?(?:([0-9]{1,12})s)?(?:([0-9]{1,15})ms)?"
)
_SPAN_UNITS_MS: Final = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1000, 1)
_SIZE: Final = re.compile(r"([0-9]{1,12})(B|kB|MB|GB|KiB|MiB|GiB)")


def parse_duration(text: str) -> float | None:
    """Seconds of a duration, or None when it is not one; a bare number has no unit and is none.

    >>> parse_duration("5m"), parse_duration("500ms"), parse_duration("30")
    (300.0, 0.5, None)
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    number, unit = found.groups()
    return float(number) / 1000 if unit == "ms" else float(number) * UNITS_S[unit]


def format_duration(seconds: float) -> str:
    """The shortest duration in one unit that says it exactly to the millisecond.

    >>> format_duration(300.0), format_duration(28 * 86_400.0), format_duration(0.5), format_duration(90)
    ('5m', '28d', '500ms', '90s')
    """
    millis = round(seconds * 1000)
    for unit in ("d", "h", "m", "s"):
        whole, rest = divmod(millis, round(UNITS_S[unit] * 1000))
        if whole and not rest:
            return f"{whole}{unit}"
    return f"{millis}ms" if millis else "0s"


def parse_span(text: str) -> float | None:
    """Seconds of a duration as Prometheus writes it, or None when it is not one; ``0`` needs no unit.

    **Source:** prometheus/common model.ParseDuration.

    >>> parse_span("1h30m"), parse_span("1d"), parse_span("0"), parse_span("30m1h"), parse_span("5")
    (5400.0, 86400.0, 0.0, None, None)
    """
    if text == "0":
        return 0.0
    found = _SPAN.fullmatch(text)
    if found is None or not text:
        return None
    return sum(int(part) * unit for part, unit in zip(found.groups("0"), _SPAN_UNITS_MS, strict=True)) / 1000


def parse_size(text: str) -> int | None:
    """Bytes of a size (``kB`` is 1000, ``KiB`` is 1024), or None when it is not one.

    >>> parse_size("256KiB"), parse_size("1MB"), parse_size("7")
    (262144, 1000000, None)
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    number, unit = found.groups()
    return int(number) * (UNITS_BYTES | UNITS_BYTES_BINARY)[unit]


def format_size(size_bytes: int) -> str:
    """The shortest binary size that says it exactly.

    >>> format_size(262144), format_size(1000)
    ('256KiB', '1000B')
    """
    for unit, factor in reversed(UNITS_BYTES_BINARY.items()):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"
