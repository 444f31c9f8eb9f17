"""Change, run, release, rollout: how a commit reaches users."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from poise.model.service import Service

ALPHA_MAX: Final = 0.25  # to which a burdened budget may raise the share of good releases that go back


class ChangeClass(StrEnum):
    """What a change is for; the policy treats each differently and a rollback is always allowed."""

    FEATURE = "feature"
    FIX = "fix"
    SECURITY = "security"
    ROLLBACK = "rollback"


class Change(Struct, frozen=True, kw_only=True):
    """A pushed commit; key ``project/commit``. Written by source.

    One that is not ``hosted`` was only told of by a forge: it is on record, nothing here can build it.
    ``class_why`` is what made it one of its class, ``labels`` those that a forge's pull request gave it.
    """

    project: str
    commit: str
    branch: str
    summary: str
    author: str
    committed_at: datetime
    pushed_by: str
    pushed_at: datetime
    change_class: ChangeClass
    trusted: bool = True
    hosted: bool = True
    class_why: str = ""
    labels: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """``project/commit``."""
        return f"{self.project}/{self.commit}"


class RunState(StrEnum):
    """The state of a run, a job or a step. ``failure`` is the user's fault, ``error`` is ours."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Whether it will not change again."""
        return self not in (RunState.QUEUED, RunState.RUNNING)


class StepRun(Struct, frozen=True, kw_only=True):
    """One step of a job: what it runs and how it ended.

    ``shell`` is the interpreter with its options, split at spaces; the script's path follows it.
    """

    name: str
    run: str | None = None
    uses: str | None = None
    shell: str = "bash -e"
    env: dict[str, str] = {}
    working_directory: str = "."
    timeout_s: float = 21_600.0
    state: RunState = RunState.QUEUED
    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class JobRun(Struct, frozen=True, kw_only=True):
    """One job: its steps in order, after the jobs it needs."""

    id: str
    needs: tuple[str, ...] = ()
    steps: tuple[StepRun, ...] = ()
    timeout_s: float = 21_600.0
    state: RunState = RunState.QUEUED
    started_at: datetime | None = None
    finished_at: datetime | None = None


class TestCount(Struct, frozen=True, kw_only=True):
    """What the JUnit files of a run say."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


class Built(Struct, frozen=True, kw_only=True):
    """What a run made of a service for a branch preview: no release."""

    service: str
    digest: str
    spec: Service


class Run(Struct, frozen=True, kw_only=True):
    """One run of a project's workflows for a change; key ``project/n``. Written by pipeline.

    ``previews`` are the services of which its branch gets a preview, ``built`` what it made for them.
    """

    project: str
    n: int
    commit: str
    branch: str
    workflow: str
    state: RunState = RunState.QUEUED
    jobs: tuple[JobRun, ...] = ()
    tests: TestCount = TestCount()
    created_at: datetime
    finished_at: datetime | None = None
    problem: str = ""
    network: bool = True
    releases: tuple[str, ...] = ()  # keys of the releases that it yielded
    previews: tuple[str, ...] = ()
    built: tuple[Built, ...] = ()

    @property
    def key(self) -> str:
        """``project/n``, zero-padded so that keys sort by number."""
        return f"{self.project}/{self.n:06d}"


class Release(Struct, frozen=True, kw_only=True):
    """An immutable artifact of one service; key ``project/service/n``. Written by pipeline.

    ``digest`` is ``sha256:<hex>`` over a sorted manifest of path, mode, sha256 and link, or that of an image.
    ``specs`` are the service's declarations in this commit, one per environment.
    """

    project: str
    service: str
    n: int
    digest: str
    run: int
    commit: str
    summary: str
    change_class: ChangeClass
    committed_at: datetime
    created_at: datetime
    specs: tuple[Service, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether the digest is a container image's, not a folder's."""
        return any(spec.image for spec in self.specs)

    @property
    def key(self) -> str:
        """``project/service/n``, zero-padded."""
        return f"{self.project}/{self.service}/{self.n:06d}"


class RolloutState(StrEnum):
    """Where a rollout is. Exactly one rollout of a service is ``live`` once the first has succeeded."""

    WAITING = "waiting"  # the gate has not said go or slow, or another rollout is under way
    STARTING = "starting"  # canary replicas come up, weight 0
    STEPPING = "stepping"  # canary takes weight_percent, judged
    PROMOTING = "promoting"  # weight 100, waiting for Envoy's acknowledgement
    LIVE = "live"  # the stable revision
    ROLLING_BACK = "rolling_back"  # weight 0, waiting for Envoy's acknowledgement
    ROLLED_BACK = "rolled_back"  # final; its digest is rejected
    FAILED = "failed"  # final; it never became ready
    RETIRED = "retired"  # final; was live, a later one took its place
    SUPERSEDED = "superseded"  # final; a newer release came before it started
    SHADOWED = "shadowed"  # final; it was mirrored to and took no users, as declared

    @property
    def is_final(self) -> bool:
        """Whether it runs no more."""
        return self in _FINAL

    @property
    def is_active(self) -> bool:
        """Whether it has, or is about to have, replicas beside the live ones."""
        return self in _ACTIVE


# Looked up once: rooms ask this of every rollout that they know, at every look.
_FINAL: Final = (
    RolloutState.ROLLED_BACK,
    RolloutState.FAILED,
    RolloutState.RETIRED,
    RolloutState.SUPERSEDED,
    RolloutState.SHADOWED,
)
_ACTIVE: Final = (
    RolloutState.STARTING,
    RolloutState.STEPPING,
    RolloutState.PROMOTING,
    RolloutState.ROLLING_BACK,
)


class Ask(Struct, frozen=True, kw_only=True):
    """The rollout's question to the gate: may step ``step`` of ``digest`` take ``weight_percent``?"""

    n: int
    step: int
    digest: str
    weight_percent: int
    at: datetime


class Split(Struct, frozen=True, kw_only=True):
    """What the trial knows of one more kind of bad request: slower than a bound, or bad for an objective.

    ``log_wealth`` holds one number per grid point of relative risk (H0 RR <= 1); ``pending`` the batch that
    is not closed: the canary's requests and bad ones, then the baseline's.
    """

    metric: str  # "latency", or the objective's name
    bound_ms: float | None = None  # slower than this is bad; None: the objective says what is
    log_wealth: tuple[float, ...] = ()
    canary_requests: int = 0
    canary_bad: int = 0
    baseline_requests: int = 0
    baseline_bad: int = 0
    e_value: float = 1.0
    pending: tuple[int, int, int, int] = (0, 0, 0, 0)


class Probing(Struct, frozen=True, kw_only=True):
    """What Poise asked both sides itself while nobody else did, and how many of it was not answered well."""

    canary: int = 0
    canary_bad: int = 0
    baseline: int = 0
    baseline_bad: int = 0


class Trial(Struct, frozen=True, kw_only=True):
    """The sequential test so far. Totals are cumulative counters consumed; wealth is natural log.

    ``log_wealth_harm`` and ``log_wealth_safe`` hold one number per grid point of relative risk (harm:
    H0 RR <= 1; safe, the mirror: H0 RR >= r_max). A batch is consumed once, in the transaction that
    advances these. ``e_value`` is the evidence of harm over all metrics, which is what rolls back;
    ``e_value_harm`` is that of failed requests alone. ``e_value_kept`` is the evidence that the canary
    alone fails less than ``objective_bad_ratio`` allows. ``excess_ratio_high`` bounds, at any time, by how
    much more of its requests the canary fails than the baseline: 1 before any request.
    """

    consumed: dict[str, float] = {}
    log_wealth_harm: tuple[float, ...] = ()
    log_wealth_safe: tuple[float, ...] = ()
    canary_requests: int = 0
    canary_errors: int = 0
    baseline_requests: int = 0
    baseline_errors: int = 0
    e_value_harm: float = 1.0
    e_value_safe: float = 1.0
    first_request_at: datetime | None = None
    last_request_at: datetime | None = None
    read_at: datetime | None = None
    log_likelihood: tuple[float, ...] = ()  # per point of the interval's grid, relative to RR = 1
    relative_risk: tuple[float, float | None] | None = None  # anytime-valid interval; None: no bound yet
    e_value: float = 1.0
    e_value_kept: float = 1.0
    objective_bad_ratio: float | None = None
    excess_ratio_high: float = 1.0
    splits: tuple[Split, ...] = ()  # what is judged besides failed requests
    pending: tuple[int, int, int, int] = (0, 0, 0, 0)  # of the batch that is not closed; as in ``Split``
    probes: Probing = Probing()  # evidence of harm as requests are, and counted apart from them

    @property
    def errors_burned(self) -> float:
        """What the canary cost: its errors beyond those that the baseline would have had; never negative.

        >>> Trial(canary_requests=50, canary_errors=7, baseline_requests=100, baseline_errors=4).errors_burned
        5.0
        """
        usual = self.baseline_errors / self.baseline_requests if self.baseline_requests else 0.0
        return max(0.0, self.canary_errors - usual * self.canary_requests)

    def e_by_metric(self) -> dict[str, float]:
        """The evidence of harm of each metric: of one with several bounds, their mean."""
        found: dict[str, list[float]] = {}
        for split in self.splits:
            found.setdefault(split.metric, []).append(split.e_value)
        return {"errors": self.e_value_harm} | {name: sum(some) / len(some) for name, some in found.items()}


class Rollout(Struct, frozen=True, kw_only=True):
    """A release on its way to users in one environment; key ``project/environment/service/n``.

    ``revision`` is digest + spec hash + versions of config and secret (0: none): unchanged means no rollout.
    ``weight_percent`` is what this
    rollout should take now; the live one takes the rest. Written by rollout.
    """

    project: str
    environment: str
    service: str
    n: int
    release: int
    digest: str
    revision: str
    config: int = 0
    secret: int = 0
    changes: tuple[str, ...] = ("release",)  # what differs from what was live: release, config, secret
    commit: str
    summary: str
    change_class: ChangeClass
    spec: Service
    state: RolloutState = RolloutState.WAITING
    step: int = 0
    weight_percent: int = 0
    replicas: int = 1
    mirror_percent: int = 0  # of the requests that are copied to it now; nobody gets its answers
    shadow: Trial | None = None  # what it answered to copies, once that is over
    beside: int | None = None  # replicas of the live one that stay beside it while it is active; None: all
    baseline: int | None = None
    ask: Ask | None = None
    trial: Trial = Trial()
    proven: bool | None = None
    budget_allowed: float | None = None  # bad events that a period allows, when its canary began
    paused: bool = False
    straight: bool = False  # to 100 percent in one step: a first release, a rollback, a person's promote
    bake_factor: float = 1.0  # of the verdict that allowed the present step
    alpha_factor: float = 1.0  # of the verdict that let it start; no test's level may change under way
    steps_percent: tuple[int, ...] = ()  # of the latest verdict; empty before the first
    verdict: str | None = None  # key of the verdict that allowed the present weight
    order: int | None = None  # the order that made it; None: a release did
    back_to: int | None = None  # the rollout that it restores, settings included
    aborted: bool = False  # a person ended it before it started
    requested_at: datetime | None = (
        None  # the newest rollback request that was answered when this was written
    )
    orders_seen: int = 0  # the newest order that was handled when this was written
    considered: int = 0  # the newest release that was looked at and needed no rollout
    step_requests_from: int = 0  # canary requests already seen when the present step began
    grown_at: datetime | None = None  # more replicas of it were asked for, and not all are ready since
    unready_since: datetime | None = None  # no replica of it has been ready since
    reason: str = ""
    created_at: datetime
    started_at: datetime | None = None
    step_started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def service_key(self) -> str:
        """``project/environment/service``."""
        return f"{self.project}/{self.environment}/{self.service}"

    @property
    def key(self) -> str:
        """``project/environment/service/n``, zero-padded."""
        return f"{self.service_key}/{self.n:06d}"

    @property
    def alpha_harm(self) -> float:
        """The most of good releases that its tests may roll back: on a burdened budget more than declared.

        Never above ``ALPHA_MAX``, unless that is what the strategy itself declares.
        """
        declared = self.spec.strategy.alpha
        return max(declared, min(ALPHA_MAX, declared * self.alpha_factor))

    @property
    def alpha_safe(self) -> float:
        """The most of harmful ones that its tests may find safe: on a burdened budget fewer than declared."""
        return self.spec.strategy.alpha / self.alpha_factor

    @property
    def cluster(self) -> str:
        """Envoy's cluster for this rollout: never reused, independent of ports."""
        return f"{self.service_key}.{self.n}"

    @property
    def preview_cluster(self) -> str:
        """The same replicas for those who asked for them: counted apart, so never as evidence."""
        return f"{self.cluster}.preview"


class Verb(StrEnum):
    """What a person may ask of a room."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"
    RESTART = "restart"


class Order(Struct, frozen=True, kw_only=True):
    """A person's request; key ``project/environment/service/n``. Written by the API, read by rooms.

    ``release`` names what to deploy (None: the newest); for rollback None is the release that was live
    before. ``rollout`` names the rollout for promote, abort, pause and resume.
    """

    service: str
    n: int
    verb: Verb
    by: str
    reason: str
    at: datetime
    release: int | None = None
    rollout: int | None = None

    @property
    def key(self) -> str:
        """``project/environment/service/n``, zero-padded."""
        return f"{self.service}/{self.n:06d}"
