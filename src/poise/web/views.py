"""The input of every page: frozen plain data, built by the API from what is.

Ratios are 0..1 (a budget below 0 is overspent) and None where nothing was measured; instants are aware
UTC datetimes; ``href`` is a path on this server ("/..."), anything else is shown without a link.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.anomaly import Usual
from poise.model.balance import VerdictKind
from poise.model.delivery import RolloutState, RunState, TestCount, Verb
from poise.model.incident import IncidentState, Severity

CHART_POINTS_MAX = 360
"""Points of a chart, which is also the number of rows of its table twin."""

LOG_LINES_MAX = 5_000  # lines that a run page shows; the newest win

EVENT_ROWS_MAX = 200
"""Rows of one page of the journal."""


class Chrome(Struct, frozen=True, kw_only=True):
    """What surrounds every page.

    ``principal`` None means nobody is signed in. ``csrf`` goes into every form. ``sequence`` is the
    journal's newest event when the view was built: live updates continue after it.
    ``may_act`` (operator) and ``may_say`` (developer) hide acts from those whose role does not allow them
    (the API checks all the same).
    """

    at: datetime
    principal: str | None = None
    csrf: str = ""
    sequence: int = 0
    may_act: bool = False
    may_say: bool = False
    where: str = ""
    project: str = ""  # whose pages the navigation leads to


class Marker(Struct, frozen=True, kw_only=True):
    """A change on a chart's time axis; ``kind`` is deploy, rollback, heal or config."""

    at: datetime
    label: str
    kind: str = "deploy"
    href: str = ""


class Band(Struct, frozen=True, kw_only=True):
    """A stretch of time that hurt users, such as an incident."""

    since: datetime
    until: datetime
    label: str


class ChartPoint(Struct, frozen=True, kw_only=True):
    """One row of the chart and of its table twin; None is a gap, never a zero."""

    at: datetime
    budget_left_ratio: float | None = None
    error_ratio: float | None = None
    latency_ms_p95: float | None = None


class Chart(Struct, frozen=True, kw_only=True):
    """Budget, errors and latency on one time axis; points ascend and number at most CHART_POINTS_MAX."""

    since: datetime
    until: datetime
    window: str
    points: tuple[ChartPoint, ...] = ()
    markers: tuple[Marker, ...] = ()
    bands: tuple[Band, ...] = ()
    error_goal_ratio: float | None = None
    latency_goal_ms: float | None = None
    usual: Usual | None = None  # None: it could not be asked


class ServiceRow(Struct, frozen=True, kw_only=True):
    """A service on the overview; ``key`` is project/environment/service; ``verdict`` None is unknown."""

    key: str
    sentence: str
    verdict: VerdictKind | None = None
    budget_left_ratio: float | None = None
    release: str = ""
    deployed_at: datetime | None = None
    replicas_ready: int = 0
    replicas_wanted: int = 0
    rollout: int | None = None
    objective: str = ""  # key of the one with least budget left
    trend: str = ""  # what the last hours took of it
    burning: str = ""  # a burn that pages, in one sentence
    elsewhere: bool = False  # Poise runs nothing of it


class RunRow(Struct, frozen=True, kw_only=True):
    """A run on the overview."""

    project: str
    n: int
    state: RunState
    summary: str
    branch: str
    created_at: datetime


class IncidentRow(Struct, frozen=True, kw_only=True):
    """An incident in a list; ``service`` is project/environment/service; ``ended_at`` None: it goes on."""

    project: str
    n: int
    title: str
    state: IncidentState
    severity: Severity
    service: str
    onset_at: datetime
    ended_at: datetime | None = None
    acknowledged_by: str = ""
    merged_into: int | None = None


class TargetRow(Struct, frozen=True, kw_only=True):
    """An endpoint whose metrics are scraped; ``up`` is None before the first time."""

    project: str
    job: str
    instance: str
    up: bool | None
    at: datetime | None = None
    samples: int = 0
    said: str = ""  # why it is down, else what was left out


class RuleGroupRow(Struct, frozen=True, kw_only=True):
    """A group of rules; ``at`` None: not evaluated yet. ``said`` is the first error of its rules."""

    project: str
    file: str
    name: str
    rules: int
    firing: int = 0
    pending: int = 0
    failing: int = 0
    at: datetime | None = None
    said: str = ""


class OverviewView(Struct, frozen=True, kw_only=True):
    """All services that the reader may see, in any order, open incidents (the worst first), newest runs."""

    chrome: Chrome
    incidents: tuple[IncidentRow, ...] = ()
    services: tuple[ServiceRow, ...] = ()
    places: tuple[str, ...] = ()  # project/environment, in the order in which releases pass
    runs: tuple[RunRow, ...] = ()
    targets: tuple[TargetRow, ...] = ()  # those in need first
    rule_groups: tuple[RuleGroupRow, ...] = ()  # those in need first


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


class OverrideRow(Struct, frozen=True, kw_only=True):
    """A person's decision against the gate."""

    n: int
    by: str
    reason: str
    at: datetime
    expires_at: datetime
    active: bool = False


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
    overrides: tuple[OverrideRow, ...] = ()
    depends_on: tuple[str, ...] = ()
    rollout: int | None = None
    rollout_sentence: str = ""
    can_roll_back: bool = False
    settings: SettingsView | None = None
    capacity: CapacityView | None = None
    environments: tuple[EnvironmentLink, ...] = ()
    elsewhere: bool = False  # somebody else releases and runs it


class StepView(Struct, frozen=True, kw_only=True):
    """One step of a job; ``line`` is the number of its first log line, None before it has one."""

    name: str
    state: RunState
    took_s: float | None = None
    exit_code: int | None = None
    line: int | None = None


class JobView(Struct, frozen=True, kw_only=True):
    """One job of a run, after the jobs that it needs."""

    id: str
    state: RunState
    needs: tuple[str, ...] = ()
    took_s: float | None = None
    steps: tuple[StepView, ...] = ()


class LogLine(Struct, frozen=True, kw_only=True):
    """A numbered line of a run's log, from 1; escape sequences are taken out when it is shown."""

    n: int
    text: str


class RunView(Struct, frozen=True, kw_only=True):
    """One run; ``lines`` are its log so far, ascending, at most LOG_LINES_MAX of them are shown.

    While ``live``, the page follows ``/api/v1/runs/<project>/<n>/log?after=<last line>``.
    """

    chrome: Chrome
    project: str
    n: int
    sentence: str
    state: RunState
    commit: str
    branch: str
    summary: str
    author: str
    created_at: datetime
    finished_at: datetime | None = None
    jobs: tuple[JobView, ...] = ()
    tests: TestCount = TestCount()
    lines: tuple[LogLine, ...] = ()
    problem: str = ""
    releases: tuple[tuple[str, str], ...] = ()  # (label, href)

    @property
    def live(self) -> bool:
        """Whether more of the log may come."""
        return not self.state.is_final


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


class EventRow(Struct, frozen=True, kw_only=True):
    """An event of the journal."""

    sequence: int
    at: datetime
    type: str
    subject: str
    summary: str
    actor: str = "poise"
    href: str = ""


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


class AuditView(Struct, frozen=True, kw_only=True):
    """A page of the journal, newest first; ``chain_ok`` None means not checked."""

    chrome: Chrome
    events: tuple[EventRow, ...] = ()
    total: int = 0
    chain_ok: bool | None = None
    chain_checked_at: datetime | None = None
    subject: str = ""
    next_href: str = ""


class LoginView(Struct, frozen=True, kw_only=True):
    """The sign-in form; ``message`` says why the last try failed; ``next`` is where to go after."""

    chrome: Chrome
    message: str = ""
    next: str = "/"


class ErrorView(Struct, frozen=True, kw_only=True):
    """An error in its four parts (see ``poise.model.errors``)."""

    chrome: Chrome
    status: int
    code: str
    what: str
    where: str = ""
    why: str = ""
    mend: str = ""


class EmptyView(Struct, frozen=True, kw_only=True):
    """Nothing to show yet: a sentence and the commands to paste next."""

    chrome: Chrome
    title: str
    sentence: str
    commands: tuple[str, ...] = ()
