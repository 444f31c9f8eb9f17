"""Recording and alerting rules as Prometheus' rule files write them, and where their alerts stand."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from hashlib import sha256

import msgspec
from msgspec import Struct

from poise.model.samples import NAME, Labels

INTERVAL_S = 60.0  # of a group that names none; Source: prometheus' global.evaluation_interval


class Rule(Struct, frozen=True, kw_only=True):
    """One rule: ``record`` names the series it makes, or ``alert`` the alert.

    ``labels`` and ``annotations`` of an alert are templates. The group's labels are not in ``labels``.
    """

    record: str = ""
    alert: str = ""
    expr: str
    for_s: float = 0.0
    keep_firing_for_s: float = 0.0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}

    @property
    def name(self) -> str:
        """What it records or alerts."""
        return self.record or self.alert


class RuleGroup(Struct, frozen=True, kw_only=True):
    """Rules that are evaluated one after another at one instant.

    ``limit`` is how many series or alerts one rule may make (0: any number up to Poise's own limit).
    """

    name: str
    interval_s: float = INTERVAL_S
    limit: int = 0
    query_offset_s: float = 0.0
    labels: dict[str, str] = {}
    rules: tuple[Rule, ...] = ()


class RuleFile(Struct, frozen=True, kw_only=True):
    """The groups of one file of a repository; key ``project/path``. Written by infrastructure."""

    project: str
    path: str
    groups: tuple[RuleGroup, ...] = ()

    @property
    def key(self) -> str:
        """``project/path``."""
        return f"{self.project}/{self.path}"


class RuleAlertState(StrEnum):
    """Prometheus' words. An alert that fired and ended is inactive; one that ended pending is no more."""

    PENDING = "pending"
    FIRING = "firing"
    INACTIVE = "inactive"


class RuleAlert(Struct, frozen=True, kw_only=True):
    """One label set for which an alerting rule's expression gave (or last gave) a result.

    ``rule`` is the fingerprint of the rule that made it; ``service`` where it belongs, decided when it
    began: ``project/environment/service``, ``-`` for a service that nobody can tell.
    """

    rule: str
    labels: Labels  # ``alertname`` included
    annotations: dict[str, str] = {}
    state: RuleAlertState = RuleAlertState.PENDING
    value: str = ""  # a float64 as Prometheus writes it
    active_at: datetime
    fired_at: datetime | None = None
    keep_firing_since: datetime | None = None
    resolved_at: datetime | None = None
    service: str = ""

    @property
    def fingerprint(self) -> str:
        """This label set of this rule, as 16 hex digits."""
        return fingerprint(self.rule, self.labels)


class RuleState(Struct, frozen=True, kw_only=True):
    """Where the alerts of a group stand; key ``project/hash``. Written by the ruler, read by detection.

    Written when an alert changes its state, and at each evaluation while one is pending, so that
    ``evaluated_at`` tells how long nobody looked.
    """

    project: str
    file: str
    group: str
    evaluated_at: datetime
    alerts: tuple[RuleAlert, ...] = ()

    @property
    def key(self) -> str:
        """``project/hash`` of the file and the group."""
        return state_key(self.project, self.file, self.group)


def state_key(project: str, file: str, group: str) -> str:
    """The key of a group's state."""
    return f"{project}/{fingerprint(file, group)}"


def rule_fingerprint(file: str, group: RuleGroup, rule: Rule) -> str:
    """An alerting rule across restarts and edits: Prometheus' identity, its name and labels, in its group."""
    return fingerprint(file, group.name, rule.alert, sorted({**group.labels, **rule.labels}.items()))


def fingerprint(*parts: object) -> str:
    """16 hex digits of values."""
    return sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def named(labels: Labels, name: str) -> Labels:
    """The labels with this metric name."""
    return tuple(sorted([(NAME, name), *(pair for pair in labels if pair[0] != NAME)]))


# -- evaluation -----------------------------------------------------------------------------------


class RuleMemory(Struct, frozen=True, kw_only=True):
    """What a rule made last time: the series it gave, and its alerts."""

    series: tuple[Labels, ...] = ()
    alerts: tuple[RuleAlert, ...] = ()


class EvaluateRules(Struct, frozen=True, kw_only=True):
    """One group at one instant; ``memories`` are its rules', in order (fewer: the rest have none)."""

    file: str
    group: RuleGroup
    at_ms: int
    memories: tuple[RuleMemory, ...] = ()
    external_labels: dict[str, str] = {}
    external_url: str = ""


class RuleResult(Struct, frozen=True, kw_only=True):
    """What one rule gave: ``series`` and their ``values``, series that are ``gone``, its alerts after it.

    With an ``error`` there is nothing new and nothing gone: its alerts stand as they stood. ``notes`` tell
    of templates that could not be filled and of warnings of the query. ``same``: its series are those of
    the time before, and are not sent again.
    """

    series: tuple[Labels, ...] = ()
    same: bool = False
    values: tuple[float, ...] = ()
    gone: tuple[Labels, ...] = ()
    alerts: tuple[RuleAlert, ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


class RulesEvaluated(Struct, frozen=True, kw_only=True):
    """A group's results in the order of its rules; samples are of ``at_ms``, its offset taken off."""

    at_ms: int
    results: tuple[RuleResult, ...]
