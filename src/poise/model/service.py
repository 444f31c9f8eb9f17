"""What a team declares: services, projects and the budget policy; objectives are in ``objective``.

Every window, bake and bootstrap bound is a field with a default here and nowhere else, so a demo or a
test sets fields and changes no code.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from poise.model.access import Role
from poise.model.attestation import ProvenanceRule
from poise.model.output import LOG_BYTES
from poise.model.policy import BudgetPolicy, BurnTier
from poise.model.scrape import ScrapeConfig


class Health(Struct, frozen=True, kw_only=True):
    """How a replica is probed. A hang is noticed after ``failures`` x ``interval_s`` + ``timeout_s``."""

    path: str = "/"
    interval_s: float = 1.0
    timeout_s: float = 1.0
    failures: int = 3


class Replicas(Struct, frozen=True, kw_only=True):
    """How many replicas run: at least ``min``, at most ``max``."""

    min: int = 2
    max: int = 4


class Scaling(Struct, frozen=True, kw_only=True):
    """How replicas follow the load, between ``replicas.min`` and ``replicas.max``.

    ``service_rate_per_s`` is how many requests one replica answers per second at most; None: scaling leaves
    the service alone. At most ``wait_ratio_max`` of requests may wait longer than ``wait_ms`` (Erlang C).
    Going in waits ``scale_in_after_s`` of lower need; ``reversals_per_day`` is the flap budget.
    """

    service_rate_per_s: float | None = None
    concurrency: int = 1
    wait_ms: float = 50.0
    wait_ratio_max: float = 0.05
    headroom_ratio: float = 0.1
    scale_in_after_s: float = 300.0
    stale_after_s: float = 15.0
    reversals_per_day: int = 5


class OnUnproven(StrEnum):
    """What happens once ``maxBake`` is over and a canary is neither harmful nor proven safe."""

    AUTO = "auto"  # promote; but ask where fewer than ``ASK_BELOW_REQUESTS`` canary requests were answered
    PROMOTE = "promote"
    EXTEND = "extend"  # wait for proof, and ask after ``EXTEND_MAX_BAKES`` times maxBake
    ASK = "ask"


class OnSilence(StrEnum):
    """What follows while users ask neither side of a canary anything: silence by itself promotes nothing."""

    HOLD = "hold"  # a person is asked after maxBake
    EXTEND = "extend"  # a person is asked after ``EXTEND_MAX_BAKES`` times maxBake
    PROBE = "probe"  # Poise asks both sides itself; answered well it goes on after maxBake, unproven


ASK_BELOW_REQUESTS = 300
EXTEND_MAX_BAKES = 4


class JudgedBy(Struct, frozen=True, kw_only=True):
    """An objective counted from counters, of which ``label`` tells the rollouts apart by their number."""

    objective: str
    label: str = "rollout"


class StrategyKind(StrEnum):
    """In which way a new revision takes the place of the old one."""

    CANARY = "canary"  # a share of the users first, judged against the others
    BLUE_GREEN = "blue-green"  # whole beside the old one, then all users at once
    ROLLING = "rolling"  # replica by replica, each batch with its share of the users
    MIRROR = "mirror"  # copies of requests first, whose answers nobody gets; then a canary
    RECREATE = "recreate"  # the old one stops, then the new one starts: for apps that cannot run twice


class Protocol(StrEnum):
    """What a replica speaks on its port, without TLS. Users may speak HTTP/1.1 or HTTP/2 to any."""

    HTTP = "http"  # HTTP/1.1, WebSocket included
    HTTP2 = "http2"  # HTTP/2 with prior knowledge (h2c)
    GRPC = "grpc"  # the same, probed by grpc.health.v1


class Promotion(StrEnum):
    """Who lets all users change over."""

    AUTO = "auto"
    MANUAL = "manual"  # a person does, once it is ready


class AfterMirror(StrEnum):
    """What follows once a mirrored revision showed no harm."""

    CANARY = "canary"
    PROMOTE = "promote"  # all users, if its own counters prove that it keeps its objective; else a canary
    END = "end"  # nothing: it was only to be looked at


class Mirror(Struct, frozen=True, kw_only=True):
    """Copies of ``percent`` of the requests for ``time_s``: GET and HEAD, with ``writes`` all others too."""

    percent: int = 100
    time_s: float = 600.0
    writes: bool = False
    then: AfterMirror = AfterMirror.CANARY


class Preview(Struct, frozen=True, kw_only=True):
    """Whose requests go to the new revision whatever its share: those with this header or cookie."""

    header: str = ""
    cookie: str = ""

    @property
    def is_declared(self) -> bool:
        """Whether anybody may look at it before."""
        return bool(self.header or self.cookie)


class Strategy(Struct, frozen=True, kw_only=True):
    """How a rollout proceeds: its kind, canary weights and the bounds of its analysis.

    ``alpha`` bounds the share of good releases that the sequential test rolls back; ``relative_risk_max``
    is the r_max of the mirror test (promotion); ``budget_risk_share`` is φ, the share of the budget left
    that the canary may cost if every one of its requests failed. Latency is judged where ``latency`` says
    so, on requests that came ``warmup_s`` after a step began.

    Blue-green alone: who says ``promotion``, and for how long the old one is kept after the switch. Rolling
    alone: how many replicas there may be above the whole (``max_surge``) and how many of it may lack
    (``max_unavailable``), each a number or a percent of the whole; a batch is watched for ``min_ready_s``.
    """

    kind: StrategyKind = StrategyKind.CANARY
    promotion: Promotion = Promotion.AUTO
    keep_warm_s: float = 300.0
    max_surge: str = "25%"
    max_unavailable: str = "25%"
    min_ready_s: float = 10.0
    mirror: Mirror = Mirror()
    preview: Preview = Preview()
    steps_percent: tuple[int, ...] = (5, 20, 50)
    step_s: float = 120.0
    max_bake_s: float = 900.0
    warmup_s: float = 30.0
    alpha: float = 0.05
    relative_risk_max: float = 3.0
    budget_risk_share: float = 0.1
    start_timeout_s: float = 120.0
    drain_s: float = 20.0
    min_canary_requests: int = 20
    on_unproven: OnUnproven = OnUnproven.AUTO
    on_silence: OnSilence = OnSilence.PROBE
    probe_path: str = ""  # what is asked then; none: what the health check asks for
    latency: bool = True
    judged_by: tuple[JudgedBy, ...] = ()

    @property
    def is_sized(self) -> bool:
        """Whether the users' share is free to choose, so that the budget can make a step smaller."""
        return self.kind in (StrategyKind.CANARY, StrategyKind.MIRROR)

    @property
    def first_percent(self) -> int:
        """The users' share that a rollout asks for first."""
        return min(self.steps_percent, default=100) if self.is_sized else 100


class Resources(Struct, frozen=True, kw_only=True):
    """What one replica may use at most; None: as much as the machine has. ``cpu`` counts processors.

    Of a container the kernel holds both to the whole of it; of a process, memory alone, and to each of its
    processes by itself (RLIMIT_DATA).
    """

    memory_bytes: int | None = None
    cpu: float | None = None


class Approvals(Struct, frozen=True, kw_only=True):
    """How many people must approve a release before it enters an environment, and of which role at least.

    Whoever pushed its change is none of them where somebody else could; 0: nobody has to.
    """

    required: int = 0
    role: Role = Role.OPERATOR


class Service(Struct, frozen=True, kw_only=True):
    """One service in one environment of one project, as declared in ``poise.yaml``.

    With an ``image`` its replicas are containers: the release is the digest that the image had when it was
    made, and a ``command`` takes the place of what the image itself says. Without a command and an image it
    runs elsewhere: Poise knows its objectives and incidents, and starts nothing of it.

    ``depends_on`` are services that it calls; ``needs`` those that must be at rest and well while it changes.
    """

    project: str
    environment: str
    name: str
    command: str = ""
    image: str = ""
    resources: Resources = Resources()
    read_only: bool = False  # of a container: whether its own files are
    port: int | None = None
    protocol: Protocol = Protocol.HTTP
    hostname: str | None = None
    env: dict[str, str] = {}
    health: Health = Health()
    replicas: Replicas = Replicas()
    depends_on: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    approvals: Approvals = Approvals()
    scaling: Scaling = Scaling()
    strategy: Strategy = Strategy()
    artifact_job: str | None = None
    artifact_path: str = "."
    provenance: ProvenanceRule = ProvenanceRule.BOOTSTRAP
    branch: str = "main"
    per_try_timeout_s: float = 1.0
    request_timeout_s: float = 15.0
    log_max_bytes: int = LOG_BYTES

    @property
    def key(self) -> str:
        """``project/environment/service``."""
        return f"{self.project}/{self.environment}/{self.name}"

    @property
    def probe_path(self) -> str:
        """What Poise asks a silent canary for."""
        return self.strategy.probe_path or self.health.path

    @property
    def runs_elsewhere(self) -> bool:
        """Whether somebody else releases and runs it."""
        return not self.command and not self.image


class Heal(Struct, frozen=True, kw_only=True):
    """The heal budget of a service: never more than max(1, share) at once, none in a mass failure."""

    share_ratio: float = 0.2
    mass_failure_ratio: float = 0.5
    cooldown_s: float = 10.0


class BurnAlerts(StrEnum):
    """What tells of a burn: the policy's windows and factors, the sequential tests, or either."""

    BOTH = "both"
    TIERS = "tiers"
    SEQUENTIAL = "sequential"


class Detection(Struct, frozen=True, kw_only=True):
    """When a condition is an alert, when alerts are one incident, and when it is over.

    An alert is over after its condition was known not to hold for ``resolve_after_s``. An incident waits
    ``group_wait_s`` for alerts of the same cause before it opens; services join one while the gap between
    their alerts is at most ``group_window_s``. Clear for ``close_after_s`` it resolves itself; what fires
    again within ``reopen_within_s`` reopens it. ``burns`` says what tells of a burn; the policy's tiers page,
    those of ``tickets`` wait for working hours, and none fires of fewer bad events than ``failures_min``.
    """

    resolve_after_s: float = 60.0
    down_after_s: float = 5.0
    unready_after_s: float = 60.0
    missing_after_s: float = 120.0
    group_wait_s: float = 5.0
    group_window_s: float = 600.0
    close_after_s: float = 300.0
    reopen_within_s: float = 600.0
    burns: BurnAlerts = BurnAlerts.BOTH
    tickets: tuple[BurnTier, ...] = ()
    failures_min: int = 4


class DataSource(Struct, frozen=True, kw_only=True):
    """A metrics server that speaks Prometheus' HTTP API.

    ``bearer`` and ``password`` name secrets as ``environment/service/NAME``; no secret stands here. What is
    older than ``stale_after_s`` is unknown, never the value it last had.
    """

    name: str
    url: str
    bearer: str = ""
    username: str = ""
    password: str = ""
    tenant: str = ""
    headers: dict[str, str] = {}
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False
    timeout_s: float = 10.0
    stale_after_s: float = 90.0


class ProbeKind(StrEnum):
    """How a probe looks."""

    HTTP = "http"
    TCP = "tcp"
    TLS = "tls"
    DNS = "dns"


class Probe(Struct, frozen=True, kw_only=True):
    """A look from outside at ``target``: a URL, a host:port, or a name that ``server`` is asked for.

    ``statuses`` empty: any 2xx. ``body`` is a regular expression (RE2).
    """

    name: str
    kind: ProbeKind
    target: str
    server: str = ""
    every_s: float = 30.0
    timeout_s: float = 5.0
    statuses: tuple[int, ...] = ()
    body: str = ""
    insecure: bool = False


class FreezeWindow(Struct, frozen=True, kw_only=True):
    """A stretch of the calendar in which features wait; fixes, security changes and rollbacks go.

    ``starts`` is the first one's start: an instant with its offset, or wall time in ``zone``; each lasts
    ``duration_s``; ``rrule`` (RFC 5545) repeats it. Without ``environments`` or ``services`` it is for all.
    """

    name: str
    reason: str
    starts: str
    duration_s: float
    rrule: str = ""
    zone: str = "UTC"
    environments: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    def covers(self, service: Service) -> bool:
        """Whether it is about a service in its environment."""
        return (not self.environments or service.environment in self.environments) and (
            not self.services or service.name in self.services
        )


class Previews(Struct, frozen=True, kw_only=True):
    """Which branches get a preview, in patterns (none: no branch does), for how long, how many at once.

    Without ``services`` every service with a port has one.
    """

    branches: tuple[str, ...] = ()
    life_s: float = 86_400.0
    max: int = 5
    services: tuple[str, ...] = ()


class Project(Struct, frozen=True, kw_only=True):
    """A repository and its policy; key: its name.

    ``environments`` are in the order in which a release passes through them. ``sinks`` are URLs to which
    events are sent as CloudEvents. ``sources`` are metrics servers that objectives may count from,
    ``probes`` what is looked at from outside, ``scrapes`` whose metrics are read.
    """

    name: str
    policy: BudgetPolicy = BudgetPolicy()
    heal: Heal = Heal()
    alerts: Detection = Detection()
    branch: str = "main"
    environments: tuple[str, ...] = ("production",)
    sinks: tuple[str, ...] = ()
    sources: tuple[DataSource, ...] = ()
    probes: tuple[Probe, ...] = ()
    scrapes: tuple[ScrapeConfig, ...] = ()
    freezes: tuple[FreezeWindow, ...] = ()
    previews: Previews = Previews()

    def environment_before(self, environment: str) -> str | None:
        """The environment that a release must be live in first; None for the first and for an unknown one."""
        if environment not in self.environments[1:]:
            return None
        return self.environments[self.environments.index(environment) - 1]
