"""The input of pages: frozen plain data, built by ``compose`` from what is. Here is what several pages share.

Ratios are 0..1 (a budget below 0 is overspent) and None where nothing was measured; instants are aware
UTC datetimes; ``href`` is a path on this server ("/..."), anything else is shown without a link.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.anomaly import Usual

CHART_POINTS_MAX = 360
"""Points of a chart, which is also the number of rows of its table twin."""

EVENT_ROWS_MAX = 200
"""Rows of one page of the journal."""


class Chrome(Struct, frozen=True, kw_only=True):
    """What surrounds every page.

    ``principal`` None means nobody is signed in. ``csrf`` goes into every form. ``sequence`` is the
    journal's newest event when the view was built: live updates continue after it.
    ``may_act`` (operator) and ``may_say`` (developer) hide acts from those whose role does not allow them
    (the API checks all the same).
    """

    at: datetime
    principal: str | None = None
    csrf: str = ""
    sequence: int = 0
    may_act: bool = False
    may_say: bool = False
    where: str = ""
    project: str = ""  # whose pages the navigation leads to


class Marker(Struct, frozen=True, kw_only=True):
    """A change on a chart's time axis; ``kind`` is deploy, rollback, heal or config."""

    at: datetime
    label: str
    kind: str = "deploy"
    href: str = ""


class Band(Struct, frozen=True, kw_only=True):
    """A stretch of time that hurt users, such as an incident."""

    since: datetime
    until: datetime
    label: str


class ChartPoint(Struct, frozen=True, kw_only=True):
    """One row of the chart and of its table twin; None is a gap, never a zero."""

    at: datetime
    budget_left_ratio: float | None = None
    error_ratio: float | None = None
    latency_ms_p95: float | None = None


class Chart(Struct, frozen=True, kw_only=True):
    """Budget, errors and latency on one time axis; points ascend and number at most CHART_POINTS_MAX."""

    since: datetime
    until: datetime
    window: str
    points: tuple[ChartPoint, ...] = ()
    markers: tuple[Marker, ...] = ()
    bands: tuple[Band, ...] = ()
    error_goal_ratio: float | None = None
    latency_goal_ms: float | None = None
    usual: Usual | None = None  # None: it could not be asked


class EventRow(Struct, frozen=True, kw_only=True):
    """An event of the journal."""

    sequence: int
    at: datetime
    type: str
    subject: str
    summary: str
    actor: str = "poise"
    href: str = ""


class AuditView(Struct, frozen=True, kw_only=True):
    """A page of the journal, newest first; ``chain_ok`` None means not checked."""

    chrome: Chrome
    events: tuple[EventRow, ...] = ()
    total: int = 0
    chain_ok: bool | None = None
    chain_checked_at: datetime | None = None
    subject: str = ""
    next_href: str = ""


class LoginView(Struct, frozen=True, kw_only=True):
    """The sign-in form; ``message`` says why the last try failed; ``next`` is where to go after."""

    chrome: Chrome
    message: str = ""
    next: str = "/"


class ErrorView(Struct, frozen=True, kw_only=True):
    """An error in its four parts (see ``poise.model.errors``)."""

    chrome: Chrome
    status: int
    code: str
    what: str
    where: str = ""
    why: str = ""
    mend: str = ""


class EmptyView(Struct, frozen=True, kw_only=True):
    """Nothing to show yet: a sentence and the commands to paste next."""

    chrome: Chrome
    title: str
    sentence: str
    commands: tuple[str, ...] = ()
