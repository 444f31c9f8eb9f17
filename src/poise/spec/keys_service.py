"""The keys of a ``kind: Service`` document: what is read, what is refused, and why.

Defaults are the model's own; nothing is defaulted here.
"""

from __future__ import annotations

from typing import Final

from poise.model.access import Role
from poise.model.service import AfterMirror, OnSilence, Promotion, Protocol, StrategyKind
from poise.spec import limits
from poise.spec.keys_text import BRANCH, COMMAND, ENV, FOLDER, HOSTNAME, HTTP_PATH, IMAGE, NAME, STEPS
from poise.spec.shape import (
    Choice,
    Duration,
    Field,
    Flag,
    Integer,
    ListOf,
    Number,
    Ratio,
    Record,
    Short,
    Size,
    Text,
)

_LATER: Final = "Remove it; this version does not do it."
HEALTH: Final = Record(
    fields=(
        Field("path", HTTP_PATH, "path", "What a probe asks for."),
        Field(
            "interval",
            Duration(low_s=0.1, high_s=300),
            "interval_s",
            "The time between two probes.",
        ),
        Field(
            "timeout",
            Duration(low_s=0.05, high_s=60),
            "timeout_s",
            "How long a probe waits for its answer.",
        ),
        Field(
            "failures",
            Integer(low=1, high=100),
            "failures",
            "Failed probes in a row after which a replica is out of rotation.",
        ),
    )
)
REPLICA_COUNT: Final = Integer(low=1, high=limits.REPLICAS)
REPLICAS: Final = Record(
    fields=(
        Field("min", REPLICA_COUNT, "min", "At least so many run."),
        Field("max", REPLICA_COUNT, "max", "At most so many run."),
    )
)
JUDGED_BY: Final = Record(
    fields=(
        Field("objective", NAME, "objective", "An objective that is counted by query.", required=True),
        Field(
            "label",
            Text(pattern=r"[a-zA-Z_][a-zA-Z0-9_]*", hint="rollout", max_chars=100),
            "label",
            "The label of its counters that holds the rollout's number, $POISE_ROLLOUT.",
        ),
    )
)
REPLICA_SHARE: Final = Text(
    pattern=r"(100|[1-9]?[0-9])%|[0-9]{1,3}",
    hint="It is a number of replicas, 1, or a percent of all, '25%'.",
    any_scalar=True,
)
MIRROR: Final = Record(
    fields=(
        Field("percent", Integer(low=1, high=100), "percent", "The share of the requests that is copied."),
        Field("time", Duration(low_s=1), "time_s", "How long at least."),
        Field(
            "writes",
            Flag(),
            "writes",
            "Whether requests other than GET and HEAD are copied too: what they do is done twice.",
        ),
        Field(
            "then",
            Choice(words=tuple(AfterMirror)),
            "then",
            "What follows: a canary; end; or promote, if its own counters prove it, else a canary.",
        ),
    )
)
TOKEN: Final = Text(pattern=r"[A-Za-z0-9_-]+", hint="A name has letters, digits, '-' and '_'.", max_chars=100)
PREVIEW: Final = Record(
    fields=(
        Field("header", TOKEN, "header", "Requests with this header, whatever it says."),
        Field("cookie", TOKEN, "cookie", "Requests with this cookie, whatever it says."),
    )
)
ROLLOUT: Final = Record(
    fields=(
        Field(
            "strategy",
            Choice(words=tuple(StrategyKind)),
            "kind",
            "In which way a new revision takes the place of the old one.",
        ),
        Field(
            "promotion",
            Choice(words=tuple(Promotion)),
            "promotion",
            "Blue-green: whether a person lets the users change over, with poise promote.",
        ),
        Field(
            "keepWarm",
            Duration(),
            "keep_warm_s",
            "Blue-green: how long the old revision is kept after the switch, for an instant way back.",
        ),
        Field(
            "maxSurge",
            REPLICA_SHARE,
            "max_surge",
            "Rolling: so many replicas more than all may run, a number or a percent, rounded up.",
        ),
        Field(
            "maxUnavailable",
            REPLICA_SHARE,
            "max_unavailable",
            "Rolling: so many replicas fewer than all may be ready, a number or a percent, rounded down.",
        ),
        Field(
            "minReady",
            Duration(),
            "min_ready_s",
            "Rolling: how long a batch serves before the next one begins.",
        ),
        Field("preview", PREVIEW, "preview", "Whose requests go to the new revision whatever its share."),
        Field("mirror", MIRROR, "mirror", "Mirror: which requests are copied, how long, and what follows."),
        Field(
            "steps",
            STEPS,
            "steps_percent",
            "The canary's weights, ascending percents.",
        ),
        Field(
            "step",
            Duration(low_s=1),
            "step_s",
            "How long each weight is held at least.",
        ),
        Field(
            "maxBake",
            Duration(low_s=1),
            "max_bake_s",
            "The time after which a canary without evidence of harm is promoted, unproven.",
        ),
        Field("warmup", Duration(), "warmup_s", "Left out of latency, never of errors."),
        Field(
            "startTimeout",
            Duration(low_s=1, high_s=86_400),
            "start_timeout_s",
            "How long a new replica may take to become ready.",
        ),
        Field(
            "drain",
            Duration(high_s=3600),
            "drain_s",
            "How long a replica may finish its requests before it is stopped.",
        ),
        Field(
            "alpha",
            Ratio(low=0, high=0.5, open_ends=True),
            "alpha",
            "The share of good releases that the test may roll back.",
        ),
        Field(
            "relativeRiskMax",
            Number(low=1, high=1000, open_ends=True),
            "relative_risk_max",
            "A canary is proven safe when it surely fails less than this many times as often.",
        ),
        Field(
            "budgetRiskShare",
            Ratio(low=0, high=1, open_ends=True),
            "budget_risk_share",
            "The share of the budget left that a canary may cost if all its requests failed.",
        ),
        Field(
            "minCanaryRequests",
            Integer(low=0, high=1_000_000_000),
            "min_canary_requests",
            "Requests that a step must have answered before it ends.",
        ),
        Field(
            "onUnproven",
            Choice(words=("auto", "promote", "extend", "ask")),
            "on_unproven",
            "After maxBake without proof; auto: promote, but ask under 300 canary requests.",
        ),
        Field(
            "onSilence",
            Choice(words=tuple(OnSilence)),
            "on_silence",
            "While users ask nothing; probe: Poise asks both sides itself; hold, extend: a person is asked.",
        ),
        Field(
            "probePath",
            HTTP_PATH,
            "probe_path",
            "What a silent canary is asked for by GET; default: what its health check asks for.",
        ),
        Field("latency", Flag(), "latency", "Whether a canary is judged by its latency too."),
        Field(
            "judgedBy",
            ListOf(item=JUDGED_BY, high=10),
            "judged_by",
            "Objectives of this service that judge the canary; a worker's first counts its jobs.",
        ),
    )
)
SCALING: Final = Record(
    fields=(
        Field(
            "serviceRate",
            Number(low=0, high=1_000_000, open_ends=True),
            "service_rate_per_s",
            "Requests per second that one replica answers at most; without it nothing scales.",
        ),
        Field(
            "concurrency",
            Integer(low=1, high=10_000),
            "concurrency",
            "Requests that one replica answers at the same time.",
        ),
        Field(
            "wait",
            Duration(low_s=0.001, high_s=60, unit_s=0.001),
            "wait_ms",
            "How long a request may wait for a free replica.",
        ),
        Field(
            "waitRatioMax",
            Ratio(low=0, high=1, open_ends=True),
            "wait_ratio_max",
            "The share of requests that may wait longer.",
        ),
        Field("headroom", Ratio(low=0, high=10), "headroom_ratio", "So much more than the load needs."),
        Field("scaleInAfter", Duration(), "scale_in_after_s", "Fewer run only after so long of lower need."),
        Field("staleAfter", Duration(low_s=1), "stale_after_s", "On older measurements nothing changes."),
        Field(
            "reversalsPerDay",
            Integer(low=0, high=10_000),
            "reversals_per_day",
            "How often a day the direction may turn.",
        ),
    )
)
ARTIFACT: Final = Record(
    fields=(
        Field("job", Text(max_chars=100), "artifact_job", "The workflow's job."),
        Field("path", FOLDER, "artifact_path", "The folder of its workspace."),
    )
)
TIMEOUTS: Final = Record(
    fields=(
        Field(
            "request",
            Duration(low_s=0.01, high_s=3600),
            "request_timeout_s",
            "A request and its retries together.",
        ),
        Field(
            "perTry",
            Duration(low_s=0.01, high_s=3600),
            "per_try_timeout_s",
            "One try of a request that may be retried.",
        ),
    )
)
LOGS: Final = Record(
    fields=(
        Field(
            "maxSize",
            Size(low_bytes=64 * 1024, high_bytes=1024**4),
            "log_max_bytes",
            "The newest output of a replica that is kept.",
        ),
    )
)

RESOURCES: Final = Record(
    fields=(
        Field(
            "memory",
            Size(low_bytes=8 * 1024**2, high_bytes=1024**4),
            "memory_bytes",
            "The memory of one replica; a container above it is killed and started again.",
        ),
        Field("cpu", Number(low=0.01, high=1024), "cpu", "Processors of one container, e.g. 0.5."),
    ),
    refused={
        "limits": "Write 'memory' and 'cpu' right below 'resources'.",
        "requests": "Remove it: one machine has nothing to place by.",
    },
)

APPROVALS: Final = Record(
    fields=(
        Field("required", Integer(low=0, high=10), "required", "How many.", required=True),
        Field("from", Choice(words=(Role.OPERATOR, Role.ADMIN)), "role", "Their role at least."),
    )
)

SERVICE_REFUSED: Final = {
    "build": "Build in .github/workflows and name the job in 'artifact', or the image in 'image'.",
    "privileged": "Remove it: no container has more rights than any other process here.",
    "ports": "Write 'port', and let the app listen on $PORT: it is another one at every start.",
    "volumes": "Keep files in a service of their own outside Poise: a replica's folder is not kept.",
    "cron": "Run it from the system's cron: scheduled commands are not run yet.",
    "releaseCommand": "Run migrations in a workflow step or at the start of 'command'.",
    "network": _LATER,
    "secrets": _LATER,
    "appProtocol": "Write 'protocol: http2' where it says kubernetes.io/h2c, 'protocol: grpc' for gRPC.",
    "envFrom": "Write the values in 'env'.",
    "autoscaling": "Use 'replicas: {min: 2, max: 4}' and 'scaling: {serviceRate: 50}'.",
}

_SERVICE: Final = (
    Field(
        "command",
        COMMAND,
        "command",
        "What starts one replica; it listens on $PORT.",
        required=True,
        unless="image",
    ),
    Field("image", IMAGE, "image", "The container image that is released, instead of a job's workspace."),
    Field("resources", RESOURCES, "resources", "What one replica may use at most."),
    Field("readOnly", Flag(), "read_only", "Whether a container may not write to its own files."),
    Field("port", Integer(low=1, high=65_535), "port", "The app's port; none for a worker without HTTP."),
    Field("protocol", Choice(words=tuple(Protocol)), "protocol", "What the app speaks on its port."),
    Field(
        "hostname",
        HOSTNAME,
        "hostname",
        "The host that reaches it; default '<name>.localhost', before the last environment "
        "'<name>.<environment>.localhost'.",
    ),
    Field("env", ENV, "env", "Environment variables."),
    Field(
        "health", Short(scalar=HTTP_PATH, into=("path",), record=HEALTH), "health", "How replicas are probed."
    ),
    Field(
        "replicas",
        Short(scalar=REPLICA_COUNT, into=("min", "max"), record=REPLICAS),
        "replicas",
        "How many run.",
    ),
    Field(
        "dependsOn",
        ListOf(item=NAME, high=limits.SERVICES, unique=True),
        "depends_on",
        "Services of this file; each is reached at $<NAME>_URL.",
    ),
    Field(
        "needs",
        ListOf(item=NAME, high=limits.SERVICES, unique=True, alone=True),
        "needs",
        "Services of this file that must be at rest and well while this one is rolled out.",
    ),
    Field(
        "approvals",
        Short(scalar=Integer(low=0, high=10), into=("required",), record=APPROVALS),
        "approvals",
        "How many people must approve a release before it comes here.",
    ),
    Field("scaling", SCALING, "scaling", "How replicas follow the load, between min and max."),
    Field("rollout", ROLLOUT, "strategy", "How a release reaches users."),
    Field("artifact", ARTIFACT, "", "Which job's workspace is released."),
    Field("branch", BRANCH, "branch", "The branch that is released."),
    Field("logs", LOGS, "", "What is kept of the output."),
    Field(
        "provenance",
        Choice(words=("bootstrap", "required")),
        "provenance",
        "Whether a release from before this installation signed any may start; required: none does.",
    ),
    Field("timeouts", TIMEOUTS, "", "Time-outs of requests to this service."),
)
_ONE_RELEASE: Final = "Write it beside 'command': one release moves through every environment."
OVERRIDES_REFUSED: Final = {"branch": _ONE_RELEASE, "artifact": _ONE_RELEASE, "image": _ONE_RELEASE}
OVERRIDES: Final = Record(
    fields=tuple(
        Field(field.key, field.shape, field.target, field.about)
        for field in _SERVICE
        if field.key not in OVERRIDES_REFUSED
    ),
    refused=SERVICE_REFUSED | OVERRIDES_REFUSED,
)
ENVIRONMENT: Final = Record(
    fields=(
        Field("name", NAME, "name", "The environment's name.", required=True),
        Field("overrides", OVERRIDES, "overrides", "What differs there."),
    )
)
SERVICE: Final = Record(
    fields=(
        *_SERVICE,
        Field(
            "environments",
            ListOf(item=ENVIRONMENT, low=1, high=limits.ENVIRONMENTS),
            "environments",
            "Where it runs, in the order of a release's way; default: the project's, else 'production'.",
        ),
    ),
    refused=SERVICE_REFUSED,
)
