"""An objective as another tool's file says it: what all of them have in common."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

WINDOW: Final = "{{.window}}"  # stands for the window in a query (Sloth's word)
WINDOW_SIGN: Final = re.compile(r"\{\{ *\.window *\}\}|(?<=\[)window(?=\])")  # Sloth's, slo-generator's
MONTH_S: Final = 30 * 86_400.0  # Sloth's default period


class Events(Struct, frozen=True, kw_only=True):
    """Queries of the events in a window: ``total``, and one of ``bad`` and ``good``."""

    total: str
    bad: str = ""
    good: str = ""


class RawRatio(Struct, frozen=True, kw_only=True):
    """A query of the share of bad events in a window, 0..1."""

    bad: str


class Counters(Struct, frozen=True, kw_only=True):
    """Selectors of counters, two of the three; each value of ``group_by`` has a budget of its own."""

    good: str = ""
    bad: str = ""
    total: str = ""
    group_by: tuple[str, ...] = ()


class BooleanGauge(Struct, frozen=True, kw_only=True):
    """A selector of a gauge that is 1 when good."""

    metric: str
    group_by: tuple[str, ...] = ()


class Threshold(Struct, frozen=True, kw_only=True):
    """A query whose value is good while it holds ``op`` (OpenSLO's word) against ``value``."""

    query: str
    op: str
    value: float


Indicator = Events | RawRatio | Counters | BooleanGauge | Threshold


class AlertRule(Struct, frozen=True, kw_only=True):
    """One severity's alert."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Calendar(Struct, frozen=True, kw_only=True):
    """A window of the calendar, as OpenSLO writes it."""

    starts: str
    zone: str


class Slicing(Struct, frozen=True, kw_only=True):
    """Time slices; ``target_ratio`` for Timeslices alone, ``slice_s`` is 60 where the file says none."""

    method: str
    target_ratio: float | None = None
    slice_s: float = 60.0


class Slo(Struct, frozen=True, kw_only=True):
    """One objective. ``percent`` is the target as written (0 to 100], of which ratios are made late.

    ``page`` and ``ticket`` are None where that alert is not wanted.
    """

    service: str
    name: str
    percent: float
    indicator: Indicator
    window_s: float = MONTH_S
    calendar: Calendar | None = None
    slicing: Slicing | None = None
    description: str = ""
    display: str = ""
    labels: dict[str, str] = {}
    alert: str = ""
    page: AlertRule | None = None
    ticket: AlertRule | None = None
    spec: str = ""  # the version of the format that it came in
    line: int = 1
    column: int = 1


def in_window(template: str, window: str) -> str:
    """A query with its window put in.

    >>> in_window("rate(x[{{ .window }}])", "5m"), in_window("rate(x[window])", "5m")
    ('rate(x[5m])', 'rate(x[5m])')
    """
    return WINDOW_SIGN.sub(window, template)
