"""``poise.yaml`` as services and policy, with every mistake at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from poise.model.policy import BudgetPolicy, BurnTier, OnUnknown
from poise.model.service import Heal, Health, Project, Replicas, Scaling, Service, Strategy
from poise.spec.explain import explain
from poise.spec.problems import Problems
from poise.spec.service import Declared, parse_project

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/poise.yaml"))

SIX_LINES = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: hello}
spec:
  command: python3 server.py
  port: 8080
"""

FULL = """\
apiVersion: poise.dev/v1
kind: Project
metadata: {name: acme}
spec:
  branch: trunk
  heal: {share: 30%, massFailure: 0.6, cooldown: 5s}
---
apiVersion: poise.dev/v1
kind: BudgetPolicy
metadata: {name: strict}
spec:
  slowBelow: 50%
  holdBelow: 0.1
  coverageMin: 95%
  staleAfter: 2m
  onUnknown: bad
  bootstrap: 12h
  bootstrapEvents: 500
  slowSteps: [1, 2, 50]
  slowBakeFactor: 3
  fastBurn: [{long: 1h, short: 5m, factor: 14.4}]
  overrideMax: 8h
---
apiVersion: poise.dev/v1
kind: Service
metadata:
  name: shop
spec:
  command: python3 shop.py
  port: 8080
  hostname: shop.example.org
  env:
    DEBUG: 'no'
    LEVEL: 1.10
  health: {path: /healthz, interval: 2s, timeout: 500ms, failures: 5}
  replicas: {min: 1, max: 3}
  dependsOn: [stock]
  rollout:
    steps: [1, 10, 50]
    step: 10s
    maxBake: 1m
    warmup: 0s
    startTimeout: 30s
    drain: 5s
    alpha: 1%
    relativeRiskMax: 2
    budgetRiskShare: 0.2
    minCanaryRequests: 0
  artifact: {job: build, path: dist}
  branch: release/1
  timeouts: {request: 3s, perTry: 250ms}
  logs: {maxSize: 64MiB}
  environments:
    - name: live
      overrides: {replicas: 4, env: {LEVEL: x}, timeouts: {perTry: 2s}}
---
apiVersion: poise.dev/v1
kind: Service
metadata: {name: stock}
spec: {command: ./stock, port: 9, health: /up, replicas: 1, environments: [{name: live}]}
---
apiVersion: poise.dev/v1
kind: Service
metadata: {name: worker}
spec: {command: ./work, environments: [{name: live}]}
"""


def parse(text: str) -> Declared:
    return parse_project(text, project="acme")


def refused(text: str) -> list[tuple[str, str]]:
    with pytest.raises(Problems) as caught:
        parse(text)
    assert all(problem.mend for problem in caught.value.problems)
    return [(problem.code, problem.where) for problem in caught.value.problems]


def test_six_lines_are_enough() -> None:
    """Everything else has a default, and the default is the model's."""
    declared = parse(SIX_LINES)
    assert declared.project == Project(name="acme")
    assert declared.services == (
        Service(
            project="acme",
            environment="production",
            name="hello",
            command="python3 server.py",
            port=8080,
            hostname="hello.localhost",
        ),
    )
    objectives = [(o.key, o.target_ratio, o.threshold_ms, o.source) for o in declared.objectives]
    assert objectives == [
        ("acme/production/hello/availability", 0.999, None, "default"),
        ("acme/production/hello/latency", 0.99, 250.0, "default"),
    ]


def test_every_key_reaches_the_service() -> None:
    """A key that is read and then lost would be worse than one refused."""
    shop, stock, worker = parse(FULL).services
    assert shop == Service(
        project="acme",
        environment="live",
        name="shop",
        command="python3 shop.py",
        port=8080,
        hostname="shop.example.org",
        env={"DEBUG": "no", "LEVEL": "x"},
        health=Health(path="/healthz", interval_s=2.0, timeout_s=0.5, failures=5),
        replicas=Replicas(min=4, max=4),
        depends_on=("stock",),
        strategy=Strategy(
            steps_percent=(1, 10, 50),
            step_s=10.0,
            max_bake_s=60.0,
            warmup_s=0.0,
            start_timeout_s=30.0,
            drain_s=5.0,
            alpha=0.01,
            relative_risk_max=2.0,
            budget_risk_share=0.2,
            min_canary_requests=0,
        ),
        artifact_job="build",
        artifact_path="dist",
        branch="release/1",
        per_try_timeout_s=2.0,
        request_timeout_s=3.0,
        log_max_bytes=64 * 2**20,
    )
    assert (stock.health, stock.replicas, stock.branch) == (
        Health(path="/up"),
        Replicas(min=1, max=1),
        "trunk",
    )
    assert (worker.port, worker.hostname) == (None, None)


def test_every_key_reaches_the_policy() -> None:
    """The gate decides from these numbers."""
    declared = parse(FULL)
    assert declared.project.heal == Heal(share_ratio=0.3, mass_failure_ratio=0.6, cooldown_s=5.0)
    assert declared.project.branch == "trunk"
    assert declared.project.policy == BudgetPolicy(
        name="strict",
        slow_below_ratio=0.5,
        hold_below_ratio=0.1,
        coverage_min_ratio=0.95,
        stale_after_s=120.0,
        on_unknown=OnUnknown.BAD,
        bootstrap_s=43_200.0,
        bootstrap_events=500,
        slow_steps_percent=(1, 2, 50),
        slow_bake_factor=3.0,
        fast_burn=(BurnTier(long_s=3600.0, short_s=300.0, factor=14.4),),
        override_max_s=28_800.0,
    )


def test_a_worker_has_no_objectives() -> None:
    """Nothing counts its requests; an objective without data would hold every release."""
    assert {objective.service for objective in parse(FULL).objectives} == {
        "acme/live/shop",
        "acme/live/stock",
    }


@pytest.mark.parametrize(
    ("written", "low", "high"),
    [
        ("{min: 3}", 3, 4),
        ("{min: 6}", 6, 6),
        ("{max: 1}", 1, 1),
        ("{max: 9}", 2, 9),
        ("5", 5, 5),
        ("{}", 2, 4),
    ],
)
def test_one_bound_moves_the_other_no_further_than_it_must(written: str, low: int, high: int) -> None:
    """``max: 1`` means one replica, not a contradiction with the default minimum."""
    (service,) = parse(SIX_LINES + f"  replicas: {written}\n").services
    assert service.replicas == Replicas(min=low, max=high)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_parse(path: Path) -> None:
    """The files that the README shows must work."""
    assert parse(path.read_text()).services


def test_there_are_examples() -> None:
    """Else the test above would pass on nothing."""
    assert {path.parent.name for path in EXAMPLES} >= {"hello", "shop"}


def service(*lines: str) -> str:
    """The six lines and some more, from line 7 on."""
    return SIX_LINES + "".join(f"  {line}\n" for line in lines)


def policy(line: str) -> str:
    """The six lines and a policy whose only key is on line 11."""
    header = "---\napiVersion: poise.dev/v1\nkind: BudgetPolicy\nmetadata: {name: p}\n"
    return f"{SIX_LINES}{header}spec: {{{line}}}\n"


def project(line: str) -> str:
    """A project whose only key is on its fifth line."""
    header = "---\napiVersion: poise.dev/v1\nkind: Project\nmetadata: {name: acme}\n"
    return f"{header}spec: {{{line}}}\n"


SIX = f"---\n{SIX_LINES}"
ORDERED = "environments: [{name: staging}, {name: production}]"
BACKWARDS = "environments: [{name: production}, {name: staging}]"
LAST = "environments: [{name: production}]"
SECOND = "---\napiVersion: poise.dev/v1\nkind: Service\nmetadata: {name: other}\n"

BAD = [
    ("", "POISE-S111", "1:1"),
    ("- a", "POISE-S112", "1:1"),
    ("hello", "POISE-S112", "1:1"),
    ("kind: Servce", "POISE-S120", "1:7"),
    ("spec: {}", "POISE-S111", "1:1"),
    (SIX_LINES.replace("poise.dev/v1", "poise.dev/v2"), "POISE-S120", "1:13"),
    (SIX_LINES.replace("apiVersion: poise.dev/v1\n", ""), "POISE-S111", "1:1"),
    (SIX_LINES.replace("kind: Service", "kind: Stack"), "POISE-S114", "2:7"),
    (SIX_LINES.replace("name: hello", "name: Hello"), "POISE-S113", "3:18"),
    (SIX_LINES.replace("name: hello", "name: 123"), "POISE-S112", "3:18"),
    (SIX_LINES.replace("name: hello", "nme: hello"), "POISE-S110", "3:12"),
    (SIX_LINES.replace("name: hello", "name: hello, labels: {}"), "POISE-S114", "3:25"),
    (SIX_LINES.replace("  command: python3 server.py\n", ""), "POISE-S111", "5:3"),
    (SIX_LINES.replace("python3 server.py", "' '"), "POISE-S113", "5:12"),
    (SIX_LINES.replace("python3 server.py", ""), "POISE-S112", "5:3"),
    (SIX_LINES.replace("python3 server.py", "[a]"), "POISE-S112", "5:12"),
    (SIX_LINES.replace("8080", "808080"), "POISE-S113", "6:9"),
    (SIX_LINES.replace("8080", "http"), "POISE-S112", "6:9"),
    (SIX_LINES.replace("8080", "'8080'"), "POISE-S112", "6:9"),
    (SIX_LINES + SIX_LINES.replace("apiV", "---\napiV"), "POISE-S117", "10:18"),
    ("status: 1\n" + SIX_LINES, "POISE-S110", "1:1"),
    (service("replcas: 3"), "POISE-S110", "7:3"),
    (service("volumes: []"), "POISE-S114", "7:3"),
    (service("cron: x"), "POISE-S114", "7:3"),
    (service("releaseCommand: x"), "POISE-S114", "7:3"),
    (service("replicas: {min: 3, max: 2}"), "POISE-S118", "7:19"),
    (service("replicas: 0"), "POISE-S113", "7:13"),
    (service("replicas: two"), "POISE-S112", "7:13"),
    (service("replicas: {low: 3}"), "POISE-S110", "7:14"),
    (service("health: healthz"), "POISE-S113", "7:11"),
    (service("health: {interval: 30}"), "POISE-S112", "7:22"),
    (service("health: {interval: 1ms}"), "POISE-S113", "7:22"),
    (service("health:"), "POISE-S112", "7:3"),
    (service("hostname: no spaces"), "POISE-S113", "7:13"),
    (service("dependsOn:", "  -", "branch: main"), "POISE-S112", "8:5"),
    (service("env: [A]"), "POISE-S112", "7:8"),
    (service("env:", "  1A: x"), "POISE-S113", "8:5"),
    (service("env:", "  PORT: 1"), "POISE-S118", "8:5"),
    (service("env: {A: {b: c}}"), "POISE-S112", "7:12"),
    (service("rollout: {steps: [5, 5]}"), "POISE-S113", "7:24"),
    (service("rollout: {steps: [20, 5]}"), "POISE-S113", "7:25"),
    (service("rollout: {steps: [100]}"), "POISE-S113", "7:21"),
    (service("rollout: {steps: []}"), "POISE-S113", "7:20"),
    (service("rollout: {steps: 5}"), "POISE-S112", "7:20"),
    (service("rollout: {step: -1s}"), "POISE-S112", "7:19"),
    (service("rollout: {alpha: 0}"), "POISE-S113", "7:20"),
    (service("rollout: {alpha: .nan}"), "POISE-S112", "7:20"),
    (service("rollout: {relativeRiskMax: 1}"), "POISE-S113", "7:30"),
    (service("rollout: {step_s: 1}"), "POISE-S110", "7:13"),
    (service("artifact: {path: ../x}"), "POISE-S113", "7:20"),
    (service("artifact: {path: /etc}"), "POISE-S113", "7:20"),
    (service("branch: 'a b'"), "POISE-S113", "7:11"),
    (service("branch: a..b"), "POISE-S113", "7:11"),
    (service("timeouts: {perTry: 1m}"), "POISE-S118", "7:22"),
    (service("timeouts: {request: 500ms}"), "POISE-S118", "7:23"),
    (service("dependsOn: [helo]"), "POISE-S115", "7:15"),
    (service("dependsOn: hello"), "POISE-S112", "7:14"),
    (service("dependsOn: [hello]"), "POISE-S116", "7:15"),
    (service("dependsOn: [other]") + SECOND + "spec: {command: x}", "POISE-S113", "7:15"),
    (
        service("dependsOn: [other]", "env: {OTHER_URL: x}") + SECOND + "spec: {command: x, port: 1}",
        "POISE-S118",
        "8:9",
    ),
    (
        service("dependsOn: [other]") + SECOND + "spec: {command: x, port: 1, dependsOn: [hello]}",
        "POISE-S116",
        "12:41",
    ),
    (SIX_LINES + SECOND + "spec: {command: x, health: /}", "POISE-S118", "11:20"),
    (SIX_LINES + SECOND + "spec: {command: x, hostname: a}", "POISE-S118", "11:20"),
    (SIX_LINES + SECOND + "spec: {command: x, port: 1, hostname: hello.localhost}", "POISE-S117", "11:39"),
    (service("environments: [{name: a}, {name: a}]"), "POISE-S117", "7:36"),
    (service("environments: [{name: a}, {name: b}]", "hostname: x.example"), "POISE-S117", "8:13"),
    (service("environments:", "  - name: a", "    overrides: {branch: x}"), "POISE-S114", "9:19"),
    (service("environments:", "  - name: a", "    overrides: {artifact: {job: x}}"), "POISE-S114", "9:19"),
    (service(ORDERED) + SECOND + f"spec: {{command: x, {BACKWARDS}}}", "POISE-S118", "12:42"),
    (
        service(ORDERED, "dependsOn: [other]") + SECOND + f"spec: {{command: x, port: 1, {LAST}}}",
        "POISE-S115",
        "8:15",
    ),
    (service(ORDERED) + project("environments: [production]"), "POISE-S115", "7:25"),
    (service(BACKWARDS) + project("environments: [staging, production]"), "POISE-S118", "7:45"),
    (project("environments: []") + SIX, "POISE-S113", "5:22"),
    (project("environments: [a, a]") + SIX, "POISE-S117", "5:26"),
    (project("events: [ftp://a]") + SIX, "POISE-S113", "5:17"),
    (project("events: ['http://me:pass@a/']") + SIX, "POISE-S113", "5:17"),
    (service("scaling: {serviceRate: 0}"), "POISE-S113", "7:26"),
    (service("scaling: {wait: 5}"), "POISE-S112", "7:19"),
    (service("scaling: {serviceRat: 5}"), "POISE-S110", "7:13"),
    (SIX_LINES + SECOND + "spec: {command: x, scaling: {serviceRate: 5}}", "POISE-S118", "11:20"),
    (service("environments: []"), "POISE-S113", "7:17"),
    (service("environments: [{overrides: {}}]"), "POISE-S111", "7:18"),
    (service("environments:", "  - name: a", "    overrides: {replcas: 1}"), "POISE-S110", "9:19"),
    (service("environments:", "  - name: a", "    overrides: {health: x}"), "POISE-S113", "9:27"),
    (service("environments:", "  - name: a", "    overrides: {env: {PORT: 1}}"), "POISE-S118", "9:25"),
    (
        SIX_LINES + SECOND + "spec: {command: x, environments: [{name: b}]}",
        "POISE-S118",
        "11:42",
    ),
    (policy("slowBelow: 140%"), "POISE-S113", "11:19"),
    (policy("slowBelow: lots"), "POISE-S112", "11:19"),
    (policy("slowbelow: 40%"), "POISE-S110", "11:8"),
    (policy("holdBelow: 50%"), "POISE-S118", "11:19"),
    (policy("staleAfter: 60"), "POISE-S112", "11:20"),
    (policy("onUnknown: go"), "POISE-S113", "11:19"),
    (policy("fastBurn: [{long: 5m, short: 1h, factor: 2}]"), "POISE-S118", "11:37"),
    (policy("fastBurn: [{long: 5m, factor: 2}]"), "POISE-S111", "11:19"),
    (policy("bootstrapEvents: 1e4"), "POISE-S112", "11:25"),
    (policy("slowSteps: [5, 2]"), "POISE-S113", "11:23"),
    (policy("") + policy("").replace(SIX_LINES, ""), "POISE-S117", "15:18"),
    (SIX_LINES + project("alerts: {tickets: [{long: 2h, short: 30m, factor: 3}]}"), "POISE-S118", "11:34"),
    (SIX_LINES + project("alerts: {burns: sometimes}"), "POISE-S113", "11:24"),
    (SIX_LINES + project("alerts: {minFailures: 0}"), "POISE-S113", "11:30"),
    (
        SIX_LINES + "---\napiVersion: poise.dev/v1\nkind: Project\nmetadata: {name: acne}\nspec: {}",
        "POISE-S118",
        "10:18",
    ),
]


@pytest.mark.parametrize(("text", "code", "place"), BAD)
def test_a_mistake_is_refused_at_its_place(text: str, code: str, place: str) -> None:
    """Line and column, exactly, and nothing else wrong with the file."""
    assert refused(text) == [(code, f"poise.yaml:{place}")]


def test_a_mistake_reads_as_what_where_why_and_mend() -> None:
    """The last part is what to do, with the nearest name."""
    with pytest.raises(Problems) as caught:
        parse(service("replcas: 3"))
    problem = caught.value
    assert (problem.code, problem.what) == ("POISE-S110", "unknown key 'replcas'")
    assert problem.where == "poise.yaml:7:3"
    assert problem.mend == "Did you mean 'replicas'? Edit poise.yaml line 7."
    assert problem.exit_code == 5


def test_every_problem_of_a_file_is_told_at_once_and_in_order() -> None:
    """Three mistakes need one round, not three."""
    text = FULL.replace("port: 8080", "prt: 8080").replace("holdBelow: 0.1", "holdBelow: much")
    text = text.replace("cooldown: 5s", "cooldown: 5")
    assert refused(text)[:3] == [
        ("POISE-S112", "poise.yaml:6:50"),
        ("POISE-S112", "poise.yaml:13:14"),
        ("POISE-S110", "poise.yaml:30:3"),
    ]


def test_explain_tells_declared_from_default() -> None:
    """A team must see what is in force without reading the source."""
    declared = parse(service("rollout: {step: 10s}", "artifact: {path: dist}"))
    rows = explain(declared.services[0], declared.objectives, declared.project.policy)
    assert ("command", "python3 server.py", "declared") in rows
    assert ("hostname", "hello.localhost", "default") in rows
    assert ("rollout.step", "10s", "declared") in rows
    assert ("rollout.maxBake", "15m", "default") in rows
    assert ("artifact.path", "dist", "declared") in rows
    assert ("objectives.latency", "99% latency under 250 ms over 28d", "default") in rows
    assert ("policy.slowBelow", "40%", "default") in rows
    assert len({field for field, _, _ in rows}) == len(rows)


def test_the_project_says_the_order_and_where_silent_services_run() -> None:
    """One line in the project is enough: nobody repeats the list in every service."""
    declared = parse(
        project("environments: [staging, production], events: ['https://hooks.example/a']") + SIX
    )
    assert declared.project.environments == ("staging", "production")
    assert declared.project.sinks == ("https://hooks.example/a",)
    assert [one.key for one in declared.services] == ["acme/staging/hello", "acme/production/hello"]
    assert parse(SIX_LINES).project.environments == ("production",)


def test_how_much_output_is_kept_is_declared() -> None:
    """A size has a unit and bounds, and explain tells it as it is written."""
    rows = [explain(one.services[0], one.objectives, one.project.policy) for one in
            (parse(SIX_LINES), parse(service("logs: {maxSize: 1GiB}")))]  # fmt: skip
    assert ("logs.maxSize", "32MiB", "default") in rows[0]
    assert ("logs.maxSize", "1GiB", "declared") in rows[1]
    assert refused(service("logs: {maxSize: 64}"))[0][0] == "POISE-S112"
    assert refused(service("logs: {maxSize: 1KiB}"))[0][0] == "POISE-S113"
    assert refused(service("logs: {maxAge: 1d}"))[0][0] == "POISE-S110"


def test_how_a_service_scales_is_declared() -> None:
    """Every key reaches scaling, in its own unit."""
    keys = "serviceRate: 12.5, concurrency: 4, wait: 20ms, waitRatioMax: 1%, headroom: 0.2, scaleInAfter: 1m"
    declared = parse(service(f"scaling: {{{keys}, staleAfter: 30s, reversalsPerDay: 2}}"))
    assert declared.services[0].scaling == Scaling(
        service_rate_per_s=12.5,
        concurrency=4,
        wait_ms=20.0,
        wait_ratio_max=0.01,
        headroom_ratio=0.2,
        scale_in_after_s=60.0,
        stale_after_s=30.0,
        reversals_per_day=2,
    )
    rows = explain(declared.services[0], declared.objectives, declared.project.policy)
    assert ("scaling.wait", "20ms", "declared") in rows
    assert parse(SIX_LINES).services[0].scaling == Scaling()


ELSEWHERE = """\
apiVersion: openslo/v1
kind: Service
metadata: {name: billing, labels: {team: money}}
spec: {description: Runs on Kubernetes.}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: prom}
spec: {type: Prometheus, connectionDetails: {url: 'http://localhost:9090'}}
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: paid}
spec: {service: billing, target: 99.9%, source: prom, bad: 'paid_total{code="500"}', total: paid_total}
"""


def test_a_service_of_openslo_runs_elsewhere_and_has_what_objectives_it_declares() -> None:
    """A team keeps Kubernetes and has its budgets here: nothing may be built, spawned or guessed for it."""
    declared = parse(ELSEWHERE)
    (billing,) = declared.services
    assert (billing.runs_elsewhere, billing.command, billing.port) == (True, "", None)
    assert [one.name for one in declared.objectives] == ["paid"]
    (own,) = parse(SIX_LINES).services
    assert not own.runs_elsewhere


def test_one_name_is_one_service_wherever_it_runs() -> None:
    twice = (
        ELSEWHERE
        + "---\napiVersion: poise.dev/v1\nkind: Service\nmetadata: {name: billing}\nspec: {command: x}\n"
    )
    assert refused(twice) == [("POISE-S117", "poise.yaml:18:18")]
    assert refused(ELSEWHERE.replace("spec: {description", "spec: {command")) == [
        ("POISE-S110", "poise.yaml:4:8")
    ]
