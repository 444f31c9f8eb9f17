"""The input of the rollout page: its steps, canary against stable, and what was found out so far."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.attestation import Bill, Outcome
from poise.model.balance import VerdictKind
from poise.model.delivery import RolloutState, Verb
from poise.web.permit_views import PermitsView
from poise.web.views import Chrome, EventRow


class RolloutStep(Struct, frozen=True, kw_only=True):
    """One weight of the plan; ``phase`` is done, now or ahead; ``at`` is when it was reached."""

    weight_percent: int
    phase: str
    at: datetime | None = None


class Arm(Struct, frozen=True, kw_only=True):
    """One side of the comparison: what it answered since the rollout began."""

    release: str
    requests: int
    errors: int
    latency_ms_p95: float | None = None


class Interval(Struct, frozen=True, kw_only=True):
    """The canary's errors over the baseline's: 1 is equal; bounds hold at any time one looks."""

    low: float
    high: float
    estimate: float | None = None


class ProvenanceView(Struct, frozen=True, kw_only=True):
    """Whether the release is what was built; ``outcome`` None: nobody looked yet."""

    project: str
    digest: str
    outcome: Outcome | None = None
    text: str = ""
    mend: str = ""
    signed: bool = False
    bill: Bill | None = None


class RolloutView(Struct, frozen=True, kw_only=True):
    """A release on its way to users; key project/environment/service and number ``n``.

    ``e_value_harm`` and ``e_value_safe`` are evidence against "no worse" and against "worse than r_max";
    one over ``threshold`` (1/alpha) decides. ``orders`` are the acts that may be asked for now.
    """

    chrome: Chrome
    key: str
    n: int
    sentence: str
    state: RolloutState
    release: str
    summary: str
    commit: str
    change_class: str
    class_why: str = ""
    created_at: datetime
    weight_percent: int = 0
    paused: bool = False
    verdict: VerdictKind | None = None
    verdict_at: datetime | None = None
    reasons: tuple[str, ...] = ()
    steps: tuple[RolloutStep, ...] = ()
    baseline: Arm | None = None
    canary: Arm | None = None
    relative_risk: Interval | None = None
    e_value_harm: float = 1.0
    e_value_safe: float = 1.0
    threshold: float = 20.0
    orders: tuple[Verb, ...] = ()
    history: tuple[EventRow, ...] = ()
    permits: PermitsView | None = None
    provenance: ProvenanceView | None = None
