"""What a backtest says, as data."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from poise.model.balance import VerdictKind


class AlertPolicy(StrEnum):
    """Whose alerts."""

    PAGE = "page"  # the policy's fast tiers: the workbook's two unless the file says others
    TICKET = "ticket"  # the workbook's slow tiers
    SEQUENTIAL = "sequential"  # the sequential tests beside them


class Point(Struct, frozen=True, kw_only=True):
    """A budget at an instant; ``left_ratio`` is None where nothing was measured yet."""

    at: datetime
    left_ratio: float | None
    coverage_ratio: float


class Alert(Struct, frozen=True, kw_only=True):
    """One alert from when it fired until it ended (None: it goes on).

    ``since`` is when the burn began: of a tier when its long window did at the earliest, of the sequential
    tests the likeliest minute. ``bad`` events and ``spent_ratio`` of the budget are those from ``since`` to
    its end; ``test`` names what fired.
    """

    policy: AlertPolicy
    test: str
    pages: bool
    fired_at: datetime
    since: datetime
    until: datetime | None
    bad: float
    spent_ratio: float


class Candidate(Struct, frozen=True, kw_only=True):
    """A target of the human list: ``left_ratio`` is what the worst window would have left of its budget.

    ``failure_ratio`` is the share of a window's budget that one failure costs.
    """

    target_ratio: float
    left_ratio: float
    failure_ratio: float
    problem: str = ""  # why it is not recommended; empty where it could be


class Recommendation(Struct, frozen=True, kw_only=True):
    """The tightest target that the history meets with margin, or None; ``reason`` says why.

    ``caveats`` say what makes it uncertain.
    """

    target_ratio: float | None
    reason: str
    caveats: tuple[str, ...]
    candidates: tuple[Candidate, ...]


class GroupPast(Struct, frozen=True, kw_only=True):
    """What was counted of one group of an objective, such as ``region=eu``."""

    group: str
    good: float
    bad: float


class ObjectivePast(Struct, frozen=True, kw_only=True):
    """One objective over the history. ``unknown_s`` is time since its first reading that nobody measured."""

    key: str
    service: str
    name: str
    where: str
    target_ratio: float
    window_s: float
    good: float
    bad: float
    left_ratio: float | None
    lowest_ratio: float | None
    lowest_at: datetime | None
    coverage_ratio: float
    unknown_s: float
    since: datetime | None
    points: tuple[Point, ...]
    alerts: tuple[Alert, ...]
    recommendation: Recommendation
    interpolated: bool = False
    groups: tuple[GroupPast, ...] = ()


class Spell(Struct, frozen=True, kw_only=True):
    """A stretch of one verdict, with the sentence that it began with."""

    since: datetime
    kind: VerdictKind
    hours: float
    sentence: str


class GatePast(Struct, frozen=True, kw_only=True):
    """What the gate would have said to a feature of a service; shares are of the time replayed, 0..1.

    ``bootstrap_ratio`` of the time it was slow only because the objectives were young, ``unknown_ratio`` of
    the time it held because nobody knew.
    """

    service: str
    policy: str
    go_ratio: float
    slow_ratio: float
    hold_ratio: float
    bootstrap_ratio: float
    unknown_ratio: float
    spells: tuple[Spell, ...]


class Backtest(Struct, frozen=True, kw_only=True):
    """All of it. ``refused`` are objectives that cannot be replayed, by key, with the reason."""

    since: datetime
    until: datetime
    step_s: float
    verdict_step_s: float
    objectives: tuple[ObjectivePast, ...]
    gates: tuple[GatePast, ...]
    refused: dict[str, str] = {}
