"""A service's policy at a glance: the policy in force, its level, what moves it, what people granted."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.balance import Override, VerdictKind
from poise.model.grant import Grant
from poise.model.policy import BudgetPolicy, Checked, Duty, Level, PolicyState
from poise.model.standing import Standing


class PolicyStanding(Struct, frozen=True, kw_only=True):
    """The policy of one service now.

    ``level`` is what the gate goes by for a feature, ``kind`` its verdict; ``state`` is the level on record
    with its memory. ``overrides`` and ``grants`` are those in force or waiting for somebody to decide.
    """

    service: str
    policy: BudgetPolicy
    level: Level
    kind: VerdictKind
    sentence: str
    state: PolicyState | None
    standings: tuple[Standing, ...]
    duties: tuple[Duty, ...]
    checked: tuple[Checked, ...]
    overrides: tuple[Override, ...]
    grants: tuple[Grant, ...]
    at: datetime
