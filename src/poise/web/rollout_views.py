"""The input of the rollout page: its steps, the evidence so far, and what users got meanwhile."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.analysis import Analysis
from poise.model.attestation import Bill, Outcome
from poise.model.balance import VerdictKind
from poise.model.delivery import RolloutState, Verb
from poise.web.permit_views import PermitsView
from poise.web.views import Chart, Chrome, EventRow


class RolloutStep(Struct, frozen=True, kw_only=True):
    """One weight of the plan; ``phase`` is done, now or ahead; ``at`` is when it was reached."""

    weight_percent: int
    phase: str
    at: datetime | None = None


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

    ``orders`` are the acts that may be asked for now; the p95 are of the last minute.
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
    analysis: Analysis
    stable_release: str = ""
    canary_latency_ms_p95: float | None = None
    stable_latency_ms_p95: float | None = None
    chart: Chart | None = None
    orders: tuple[Verb, ...] = ()
    history: tuple[EventRow, ...] = ()
    permits: PermitsView | None = None
    provenance: ProvenanceView | None = None
