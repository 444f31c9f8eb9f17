"""Everything that a verdict is judged from, as values; stored with it as plain data."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from poise.model.balance import Budget, Override
from poise.model.delivery import ChangeClass, RolloutState
from poise.model.grant import Grant
from poise.model.lock import Lock
from poise.model.policy import BudgetPolicy, Checked, Duty, PolicyState
from poise.model.service import Service
from poise.model.spend import Foresight

RULES: Final = 5  # of this module's judgement; a verdict of other rules is not replayed by these


class Question(Struct, frozen=True, kw_only=True):
    """May ``digest`` take ``weight_percent`` of the service's traffic, from ``from_percent`` now?

    ``first_release``: nothing of the service is live. ``interrupted``: what is live was stopped for this one,
    which was allowed then. ``excess_ratio_high``: by how much more of its requests
    the canary may fail than what is live, by all evidence so far; 1 before any, None where nobody measures.
    """

    change_class: ChangeClass
    digest: str = ""
    step: int = 0
    weight_percent: int = 0
    from_percent: int = 0
    first_release: bool = False
    interrupted: bool = False
    excess_ratio_high: float | None = None


class OpenIncident(Struct, frozen=True, kw_only=True):
    """An incident of the service that is not over; ``key`` and one sentence."""

    key: str
    summary: str


class OverdueAction(Struct, frozen=True, kw_only=True):
    """What a review of the service asked for and nobody has done; ``incident`` is its number."""

    incident: int
    n: int
    text: str
    owner: str
    due_at: datetime


class OpenFreeze(Struct, frozen=True, kw_only=True):
    """A freeze window that is open for the service; ``until`` is when the next change may go.

    Windows that touch or overlap end together.
    """

    name: str
    reason: str
    since: datetime
    until: datetime


class Need(Struct, frozen=True, kw_only=True):
    """A service that must be at rest and well: its rollout that has not ended, if any, and its budgets."""

    service: str
    rollout: int | None = None
    state: RolloutState | None = None
    weight_percent: int = 0
    budgets: tuple[Budget, ...] = ()


class Approvers(Struct, frozen=True, kw_only=True):
    """Who may approve a release here, by name; ``author`` pushed its change, empty where nobody knows."""

    names: tuple[str, ...] = ()
    author: str = ""


class Holds(Struct, frozen=True, kw_only=True):
    """What holds a change besides the budget; ``freezes_at`` is when a window opens shortly, if any."""

    freezes: tuple[OpenFreeze, ...] = ()
    freezes_at: datetime | None = None
    locks: tuple[Lock, ...] = ()
    needs: tuple[Need, ...] = ()
    approvers: Approvers = Approvers()


class Facts(Struct, frozen=True, kw_only=True):
    """What one verdict is judged from.

    By objective: ``problems`` say why it cannot be read at all, ``foresights`` what will be left.
    """

    question: Question
    service: Service
    objectives: tuple[str, ...]
    budgets: tuple[Budget, ...]
    policy: BudgetPolicy
    overrides: tuple[Override, ...]
    incidents: tuple[OpenIncident, ...]
    now: datetime
    overdue: tuple[OverdueAction, ...] = ()
    state: PolicyState | None = None
    duties: tuple[Duty, ...] = ()
    checked: tuple[Checked, ...] = ()
    grants: tuple[Grant, ...] = ()
    problems: dict[str, str] = {}
    foresights: dict[str, Foresight] = {}
    holds: Holds = Holds()
    rules: int = 1

    @property
    def repairs(self) -> bool:
        """Whether the change mends something: it goes where features wait."""
        return self.question.change_class in (ChangeClass.FIX, ChangeClass.SECURITY)
