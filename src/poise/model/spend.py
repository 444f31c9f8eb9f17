"""What a budget is spent on and will be: burns, episodes, entries of the ledger, and the forecast."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.model.balance import Budget

ENTRIES_MAX: Final = 200  # of one objective's ledger, the newest; older ones count as usual


class SpendCause(StrEnum):
    """What an entry is charged to."""

    DEPLOY = "deploy"
    CONFIG = "configuration"
    DEPENDENCY = "dependency"
    INCIDENT = "incident"
    UNKNOWN = "unknown"


class BurnNow(Struct, frozen=True, kw_only=True):
    """A burn that goes on. ``test`` is the worst sequential test that says so; ``pages``: it wakes somebody.

    ``since`` is its likeliest start. ``bad`` of ``events`` failed since, which is ``spent_ratio`` of the
    period's budget, at ``burn_rate`` times what the budget can bear. ``real_chance`` (0..1) is how likely it
    is to be more than chance. Of a grouped objective it is the worst group's burn: ``groups`` are those that
    burn, the worst first, a few of ``groups_burning``.
    """

    test: str
    pages: bool
    since: datetime
    events: float
    bad: float
    spent_ratio: float
    burn_rate: float
    real_chance: float
    groups: tuple[str, ...] = ()
    groups_burning: int = 0

    @property
    def where(self) -> str:
        """Which groups burn, for a sentence: `` in region=eu and 2 more groups``; empty without groups."""
        if not self.groups:
            return ""
        more = self.groups_burning - 1
        return f" in {self.groups[0]}" + (f" and {more} more group{'s' * (more > 1)}" if more > 0 else "")


class Foresight(Struct, frozen=True, kw_only=True):
    """What will be left of a budget (ratios) at ``until``: 80 % of what may come lies from low to high.

    ``spent_chance`` (0..1) is the chance that it is spent before, with its 80 % interval. ``days`` is how
    many days it was drawn from. Of a budget that holds changes back, ``returns_at`` is when it is likeliest
    back, 80 % between ``returns_earliest`` and ``returns_latest``.
    """

    at: datetime
    until: datetime
    left_low: float
    left_middle: float
    left_high: float
    spent_chance: float
    spent_chance_low: float
    spent_chance_high: float
    days: int
    returns_at: datetime | None = None
    returns_earliest: datetime | None = None
    returns_latest: datetime | None = None


class SpendEpisode(Struct, frozen=True, kw_only=True):
    """A stretch in which the budget was spent faster than it can bear; ``until`` None: it goes on.

    ``onsets`` are (UTC epoch seconds of a minute, chance that it began with it), likely ones alone.
    """

    since: datetime
    until: datetime | None
    events: float
    bad: float
    onsets: tuple[tuple[float, float], ...]


class Outlook(Struct, frozen=True, kw_only=True):
    """What counting says beyond the budget itself; key as the objective's. Written by burn.

    ``bad`` and ``allowed`` are of the whole window at ``at``. ``real_chance`` (0..1) is how likely it is that
    it burns. ``episodes`` are those of the last day, oldest first.
    """

    service: str
    objective: str
    at: datetime
    bad: float
    allowed: float
    window_s: float
    real_chance: float = 0.0
    burn: BurnNow | None = None
    foresight: Foresight | None = None
    episodes: tuple[SpendEpisode, ...] = ()

    @property
    def key(self) -> str:
        """``project/environment/service/objective``."""
        return f"{self.service}/{self.objective}"


class Spend(Struct, frozen=True, kw_only=True):
    """One entry of a ledger: an episode, and whose it is.

    ``since`` is its likeliest start, ``until`` its end (None while it goes on); ``bad`` of ``events`` failed,
    ``spent_ratio`` of the period's budget. ``subject`` is the key of the rollout, service or incident that it
    is charged to, ``name`` how people call it, ``chance`` (0..1) how likely that is, and ``why`` one
    sentence of evidence.
    """

    since: datetime
    until: datetime | None
    events: float
    bad: float
    spent_ratio: float
    cause: SpendCause
    subject: str = ""
    name: str = ""
    chance: float = 1.0
    why: str = ""


class SpendLedger(Struct, frozen=True, kw_only=True):
    """What the budget of an objective was spent on; key as the objective's. Written by ledger.

    ``bad`` is all that was spent in the window up to ``at``, ``usual_bad`` what is in no entry: the sum of
    the entries' and the usual is exactly all.
    """

    service: str
    objective: str
    at: datetime
    bad: float
    allowed: float
    window_s: float
    usual_bad: float
    entries: tuple[Spend, ...] = ()

    @property
    def key(self) -> str:
        """``project/environment/service/objective``."""
        return f"{self.service}/{self.objective}"


def of_budget(ledger: SpendLedger, budget: Budget | None) -> SpendLedger:
    """The ledger with its shares of the budget as it is sized now: a young one's is projected, and grows."""
    if budget is None or budget.allowed <= 0:
        return ledger
    entries = tuple(replace(one, spent_ratio=one.bad / budget.allowed) for one in ledger.entries)
    return replace(ledger, allowed=budget.allowed, entries=entries)
