"""The input of the objective page: what is on record of one objective, and its budget as it was spent."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from poise.model.balance import Budget
from poise.model.exclusion import Exclusion
from poise.model.objective import Objective
from poise.model.policy import BudgetPolicy, PolicyState
from poise.model.spend import Outlook, SpendLedger
from poise.web.views import Band, Chrome, Marker


class BurnPoint(Struct, frozen=True, kw_only=True):
    """One row of the burn-down and of its table twin; what is not known is None, never a zero.

    ``left_ratio`` is what was left at ``at`` of the budget of the present window; ``failed_ratio`` and
    ``measured_ratio`` are of the stretch that ends then.
    """

    at: datetime
    left_ratio: float | None = None
    failed_ratio: float | None = None
    measured_ratio: float = 0.0


class BurnDown(Struct, frozen=True, kw_only=True):
    """The budget of the present window as it was spent, with what happened meanwhile; points ascend.

    ``start`` is when the window began, ``since`` when measuring did, if that was later. ``bad_s``, ``good_s``
    and ``unknown_s`` divide that time, ``grain_s`` being the pieces that were looked at.
    """

    start: datetime
    since: datetime
    until: datetime
    points: tuple[BurnPoint, ...] = ()
    markers: tuple[Marker, ...] = ()
    incidents: tuple[Band, ...] = ()
    excluded: tuple[Band, ...] = ()
    good_s: float = 0.0
    bad_s: float = 0.0
    unknown_s: float = 0.0
    grain_s: float = 60.0

    def with_events(
        self, markers: tuple[Marker, ...], incidents: tuple[Band, ...], excluded: tuple[Band, ...]
    ) -> BurnDown:
        """The same with what happened meanwhile."""
        return replace(self, markers=markers, incidents=incidents, excluded=excluded)


class PartRow(Struct, frozen=True, kw_only=True):
    """A component of a composite, or what an objective requires; ``left_ratio`` None: nobody knows."""

    key: str
    role: str
    target_ratio: float | None = None
    left_ratio: float | None = None
    coverage_ratio: float | None = None
    weight: float | None = None


class ObjectiveView(Struct, frozen=True, kw_only=True):
    """One objective with everything that is known of its budget; None is what nobody knows yet.

    ``status`` is met, at risk, spent or unknown; ``period`` the window in words; ``source`` what counts, in
    words, and ``queries`` what is asked for it, by role. ``siblings`` are the service's objectives by name.
    """

    chrome: Chrome
    objective: Objective
    status: str
    sentence: str
    period: str
    policy: BudgetPolicy
    budget: Budget | None = None
    level: PolicyState | None = None
    outlook: Outlook | None = None
    ledger: SpendLedger | None = None
    burn_down: BurnDown | None = None
    source: str = ""
    queries: tuple[tuple[str, str], ...] = ()
    siblings: tuple[str, ...] = ()
    parts: tuple[PartRow, ...] = ()
    infeasible: str = ""
    exclusions: tuple[Exclusion, ...] = ()
