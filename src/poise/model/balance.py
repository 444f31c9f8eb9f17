"""Budget, verdict and override: how fast a team may go."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

from poise.model.delivery import ChangeClass
from poise.model.pacing import PARALLEL_MAX
from poise.model.policy import Alerting, Level
from poise.model.slices import Contradiction


class Burn(Struct, frozen=True, kw_only=True):
    """A burn rate over one window; None where nothing was measured (never NaN).

    ``events`` and ``bad`` are the counted events of the window, which starts no earlier than the
    objective did.
    """

    window_s: float
    rate: float | None
    coverage_ratio: float
    events: float = 0.0
    bad: float = 0.0


class GroupBudget(Struct, frozen=True, kw_only=True):
    """The budget of one group of an objective, such as ``region=eu``."""

    group: str
    good: float
    bad: float
    left_ratio: float
    coverage_ratio: float


class PeriodBudget(Struct, frozen=True, kw_only=True):
    """The budget over one of an objective's windows: ``name`` as people call it; [start, end)."""

    name: str
    start: datetime
    end: datetime
    good: float
    bad: float
    allowed: float
    left_ratio: float
    coverage_ratio: float


class Budget(Struct, frozen=True, kw_only=True):
    """An objective's error budget now; key as the objective's. Written by budget.

    ``good`` and ``bad`` are sums of counter deltas over the window. ``left_ratio`` is 1 minus bad over
    allowed, where allowed is (1 - target) x period events (the larger of counted and projected in
    bootstrap); below 0 when overspent. ``coverage_ratio`` is measured time over the window, counted
    from ``since``. ``rate_per_s`` is the recent rate of events; ``recovers_at`` is when enough bad
    events will have left the window for the budget to be above zero again if no more come;
    ``interpolated`` says that a latency threshold lies between two bucket bounds; ``problem`` why the
    objective's counters cannot be read, empty while they can. Where the policy counts unknown time as bad,
    ``assumed_bad`` events are charged for it in ``left_ratio`` and in the burns, at the mean rate of events.
    ``definition`` tells what was counted: a budget of another definition is counted anew. ``excluded_s`` of
    the window does not count; without exclusions ``unadjusted_bad`` events would have left
    ``unadjusted_left_ratio``. ``group`` is the one whose budget this is, the worst of ``groups``.
    ``periods`` are the objective's windows, the gate's first. ``excess`` is by how many events the source's
    good or bad ones outnumber all of its events, which cannot be: nobody knows such a budget.
    ``contradiction`` is the newest slice of time in the window that is unknown since its numbers cannot be.
    ``alerts`` are the objective's own tiers, ``burning_since`` is by tier since when it burns without a
    break, None where it does not. The budget is stale when it is older than the policy says, or than
    ``stale_after_s`` where its source is read less often.
    """

    service: str
    objective: str
    target_ratio: float
    window_s: float
    good: float
    bad: float
    allowed: float
    left_ratio: float
    burns: tuple[Burn, ...]
    coverage_ratio: float
    bootstrap: bool
    since: datetime
    measured_at: datetime | None
    at: datetime
    rate_per_s: float = 0.0
    recovers_at: datetime | None = None
    interpolated: bool = False
    problem: str = ""
    assumed_bad: float = 0.0
    definition: str = ""
    stale_after_s: float = 0.0
    excluded_s: float = 0.0
    unadjusted_bad: float | None = None
    unadjusted_left_ratio: float | None = None
    group: str = ""
    groups: tuple[GroupBudget, ...] = ()
    periods: tuple[PeriodBudget, ...] = ()
    excess: float = 0.0
    alerts: Alerting | None = None
    burning_since: tuple[datetime | None, ...] = ()
    contradiction: Contradiction | None = None

    @property
    def key(self) -> str:
        """``project/environment/service/objective``."""
        return f"{self.service}/{self.objective}"


class Counted(Struct, frozen=True, kw_only=True):
    """When every objective was last counted; key: ``all``. Written by budget where budgets are many.

    A budget is written when something material changes; this tells that nothing else did.
    """

    at: datetime


COUNTED_KEY = "all"


class VerdictKind(StrEnum):
    """What the gate says. Unknown data is never a go."""

    GO = "go"
    SLOW = "slow"
    HOLD = "hold"


class Reason(Struct, frozen=True, kw_only=True):
    """Why, as a rule's name, one sentence, and the numbers behind it."""

    rule: str
    text: str
    numbers: dict[str, Any] = {}


class Verdict(Struct, frozen=True, kw_only=True):
    """The gate's answer to one ask; key ``<rollout key>/ask/<n>``; immutable. Written by gate.

    ``max_weight_percent`` caps this step so that even if every canary request failed it would cost at
    most the policy's share of the budget left. ``parallel_rollouts`` is how many rollouts of the environment
    may be under way at once, this one included. ``alpha_factor`` is for the tests of a rollout that starts by
    this verdict (``Rollout.alpha_harm``). ``inputs`` re-derive the verdict byte for byte. From ``lapses_at``
    on, where a freeze window opens before it is too old, it allows nothing any more.
    """

    kind: VerdictKind
    service: str
    digest: str
    step: int
    weight_percent: int
    max_weight_percent: int
    change_class: ChangeClass
    bake_factor: float
    steps_percent: tuple[int, ...]
    reasons: tuple[Reason, ...]
    until: datetime | None
    at: datetime
    override: int | None = None
    level: Level = Level.NORMAL
    parallel_rollouts: int = PARALLEL_MAX
    alpha_factor: float = 1.0
    policy: str = ""
    lapses_at: datetime | None = None
    inputs: dict[str, Any] = {}

    @property
    def sentence(self) -> str:
        """The verdict as one plain sentence; the two exceptions for missing history say so."""
        excepted = self.kind is not VerdictKind.HOLD and any(one.rule == "bootstrap" for one in self.reasons)
        word = f"{self.kind.value} (bootstrap)" if excepted else self.kind.value
        return f"{word}: {'; '.join(reason.text for reason in self.reasons)}"


def verdict_key(rollout_key: str, n: int) -> str:
    """The key of the verdict that answers ask ``n`` of a rollout: ``<rollout key>/ask/<n>``, zero-padded."""
    return f"{rollout_key}/ask/{n:06d}"


class Override(Struct, frozen=True, kw_only=True):
    """A person's decision against the gate; key ``project/environment/service/n``. Written by gate.

    It counts once another operator has approved it; where the project has no other, at once (``alone``).

    ``signature`` is an HMAC by the installation's key over the other fields, so the store cannot be
    edited to grant one.
    """

    service: str
    n: int
    by: str
    reason: str
    at: datetime
    expires_at: datetime
    signature: str
    digest: str | None = None
    approved_by: str = ""
    approved_at: datetime | None = None
    alone: bool = False  # nobody else could have approved it

    @property
    def is_approved(self) -> bool:
        """Whether a second person agreed, or there is none."""
        return self.alone or bool(self.approved_by)

    @property
    def key(self) -> str:
        """``project/environment/service/n``, zero-padded."""
        return f"{self.service}/{self.n:06d}"
