"""The input of the overview: a row for each service, run, target and group of rules."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.balance import VerdictKind
from poise.model.delivery import RunState
from poise.web.incident_views import IncidentRow
from poise.web.views import Chrome


class ServiceRow(Struct, frozen=True, kw_only=True):
    """A service on the overview; ``key`` is project/environment/service; ``verdict`` None is unknown."""

    key: str
    sentence: str
    verdict: VerdictKind | None = None
    budget_left_ratio: float | None = None
    release: str = ""
    deployed_at: datetime | None = None
    replicas_ready: int = 0
    replicas_wanted: int = 0
    rollout: int | None = None
    objective: str = ""  # key of the one with least budget left
    trend: str = ""  # what the last hours took of it
    burning: str = ""  # a burn that pages, in one sentence
    elsewhere: bool = False  # Poise runs nothing of it


class RunRow(Struct, frozen=True, kw_only=True):
    """A run on the overview."""

    project: str
    n: int
    state: RunState
    summary: str
    branch: str
    created_at: datetime


class TargetRow(Struct, frozen=True, kw_only=True):
    """An endpoint whose metrics are scraped; ``up`` is None before the first time."""

    project: str
    job: str
    instance: str
    up: bool | None
    at: datetime | None = None
    samples: int = 0
    said: str = ""  # why it is down, else what was left out


class RuleGroupRow(Struct, frozen=True, kw_only=True):
    """A group of rules; ``at`` None: not evaluated yet. ``said`` is the first error of its rules."""

    project: str
    file: str
    name: str
    rules: int
    firing: int = 0
    pending: int = 0
    failing: int = 0
    at: datetime | None = None
    said: str = ""


class OverviewView(Struct, frozen=True, kw_only=True):
    """All services that the reader may see, in any order, open incidents (the worst first), newest runs."""

    chrome: Chrome
    incidents: tuple[IncidentRow, ...] = ()
    services: tuple[ServiceRow, ...] = ()
    places: tuple[str, ...] = ()  # project/environment, in the order in which releases pass
    runs: tuple[RunRow, ...] = ()
    targets: tuple[TargetRow, ...] = ()  # those in need first
    rule_groups: tuple[RuleGroupRow, ...] = ()  # those in need first
