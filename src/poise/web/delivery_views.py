"""The input of the delivery page: lanes of services on one axis of time, and changes row by row."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.delivery import RunState
from poise.web.scorecard import Choice
from poise.web.views import Band, Chrome


class Mark(Struct, frozen=True, kw_only=True):
    """Something that happened to a service; ``kind`` is deploy, settings, rollback or incident."""

    at: datetime
    label: str
    kind: str = "deploy"
    summary: str = ""
    href: str = ""


class Answered(Struct, frozen=True, kw_only=True):
    """What users got in the step that ends at ``at``; None is a gap, never a zero."""

    at: datetime
    error_ratio: float | None = None
    latency_ms_p50: float | None = None
    latency_ms_p99: float | None = None


class Lane(Struct, frozen=True, kw_only=True):
    """One service in one environment with its marks, its incidents and what its users got."""

    name: str
    environment: str
    href: str = ""
    marks: tuple[Mark, ...] = ()
    bands: tuple[Band, ...] = ()
    answered: tuple[Answered, ...] = ()  # ascending, the same instants in every lane that has any


class Stop(Struct, frozen=True, kw_only=True):
    """A rollout of a change in one environment."""

    environment: str
    label: str
    word: str
    href: str = ""
    bad: bool = False


class ChangeLine(Struct, frozen=True, kw_only=True):
    """One change: a commit with its run, or settings without one."""

    label: str
    summary: str
    by: str
    at: datetime
    run: int | None = None
    run_state: RunState | None = None
    run_href: str = ""
    releases: tuple[tuple[str, str], ...] = ()  # (label, href)
    stops: tuple[Stop, ...] = ()


class DeliveryView(Struct, frozen=True, kw_only=True):
    """A project's changes in [since, until], newest first.

    ``step_s`` is how much of time one point of a lane stands for; ``problem`` is why there is none.
    """

    chrome: Chrome
    project: str
    sentence: str
    window: str
    since: datetime
    until: datetime
    windows: tuple[Choice, ...] = ()
    environments: tuple[str, ...] = ()
    lanes: tuple[Lane, ...] = ()
    changes: tuple[ChangeLine, ...] = ()
    step_s: float = 0.0
    problem: str = ""
