"""The input of the service page: its gate, objectives, budget, revisions, changes, settings and replicas."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.balance import VerdictKind
from poise.model.branch_preview import PreviewState
from poise.web.permit_views import PermitsView
from poise.web.views import Chart, Chrome


class PeriodRow(Struct, frozen=True, kw_only=True):
    """A budget over one of an objective's windows."""

    name: str
    start: datetime
    end: datetime
    now_ratio: float | None
    left_ratio: float
    coverage_ratio: float


class ObjectiveRow(Struct, frozen=True, kw_only=True):
    """An objective now; burns are multiples of the pace that spends the budget exactly in the window."""

    name: str
    target_ratio: float
    now_ratio: float | None = None
    left_ratio: float | None = None
    burn_1h: float | None = None
    burn_6h: float | None = None
    burn_3d: float | None = None
    coverage_ratio: float | None = None
    problem: str = ""  # why it cannot be read
    window: str = ""  # as people call it
    measures: str = ""  # what counts as good
    group: str = ""  # whose budget this is, where there are several
    unexcluded_left_ratio: float | None = None  # what would be left without exclusions
    periods: tuple[PeriodRow, ...] = ()


class RunningRow(Struct, frozen=True, kw_only=True):
    """A revision that takes traffic now."""

    release: str
    replicas_ready: int
    replicas_wanted: int
    weight_percent: int = 100
    requests_per_s: float | None = None
    latency_ms_p95: float | None = None


class ChangeRow(Struct, frozen=True, kw_only=True):
    """A change that reached, or tried to reach, users; ``outcome`` is a word such as "rolled back"."""

    label: str
    summary: str
    at: datetime
    outcome: str = ""
    bad: bool = False
    href: str = ""


class SpendRow(Struct, frozen=True, kw_only=True):
    """What a share of the budget went to; ``at`` None is background, spread over the window."""

    spent_ratio: float
    label: str
    summary: str
    requests: int
    at: datetime | None = None
    duration_s: float | None = None
    followed: str = ""
    href: str = ""


class PolicyView(Struct, frozen=True, kw_only=True):
    """The thresholds in force, as ratios of the budget left."""

    name: str = "default"
    slow_below_ratio: float = 0.4
    hold_below_ratio: float = 0.0


class EnvironmentLink(Struct, frozen=True, kw_only=True):
    """The same service in another environment; ``here`` is the one that is shown."""

    name: str
    key: str
    here: bool = False


class SettingRow(Struct, frozen=True, kw_only=True):
    """One setting; ``value`` None: a secret, whose value is shown nowhere."""

    name: str
    value: str | None
    changed_in: int


class SettingsView(Struct, frozen=True, kw_only=True):
    """Newest versions (0: none) and those that users get (None: nothing is live)."""

    config: int = 0
    config_live: int | None = None
    secret: int = 0
    secret_live: int | None = None
    changed_at: datetime | None = None
    changed_by: str = ""
    reason: str = ""
    rows: tuple[SettingRow, ...] = ()


class ReplicaRow(Struct, frozen=True, kw_only=True):
    """One replica; ``cpu_ratio`` is 1 for a whole core; None: not measured yet."""

    release: str
    index: int
    word: str
    failing: bool = False
    cpu_ratio: float | None = None
    memory_bytes: float | None = None
    restarts: int = 0


class CapacityView(Struct, frozen=True, kw_only=True):
    """How many replicas are wanted, within which bounds and why."""

    wanted: int
    min: int
    max: int
    reason: str = ""
    withheld: str = ""
    rows: tuple[ReplicaRow, ...] = ()


class PreviewRow(Struct, frozen=True, kw_only=True):
    """The service as a branch has it. ``address`` is empty while nothing of it runs.

    ``told`` is its sentence. ``once`` is another one for each commit: what tells two orders to stop the same
    branch apart.
    """

    branch: str
    label: str
    commit: str
    state: PreviewState
    address: str
    told: str
    logs: str
    run: str
    until: datetime
    once: str = ""


class ServiceView(Struct, frozen=True, kw_only=True):
    """Everything about one service on one page.

    ``sentence`` says what matters and what happens next; ``reasons`` are the verdict's, one sentence each;
    ``notes`` say what healing and scaling did lately; ``rollout`` is the number of the one under way.
    """

    chrome: Chrome
    key: str
    sentence: str
    verdict: VerdictKind | None = None
    verdict_at: datetime | None = None
    reasons: tuple[str, ...] = ()
    budget_left_ratio: float | None = None
    policy: PolicyView = PolicyView()
    objectives: tuple[ObjectiveRow, ...] = ()
    chart: Chart | None = None
    running: tuple[RunningRow, ...] = ()
    notes: tuple[str, ...] = ()
    changes: tuple[ChangeRow, ...] = ()
    spends: tuple[SpendRow, ...] = ()
    permits: PermitsView | None = None
    depends_on: tuple[str, ...] = ()
    rollout: int | None = None
    rollout_sentence: str = ""
    can_roll_back: bool = False
    settings: SettingsView | None = None
    capacity: CapacityView | None = None
    environments: tuple[EnvironmentLink, ...] = ()
    previews: tuple[PreviewRow, ...] = ()
    elsewhere: bool = False  # somebody else releases and runs it
