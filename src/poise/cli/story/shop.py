"""The shop's repository: a copy of the example with shortened windows, and the changes pushed to it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

import poise
from poise.model.errors import NotFound

SERVICES: Final = ("storefront", "catalog", "payments")
PROJECT: Final = "shop"
STEP_S: Final = {"storefront": 5, "catalog": 5, "payments": 5}
MIN_REQUESTS: Final = {"storefront": 12, "catalog": 12, "payments": 2}
MAX_BAKE_S: Final = 15
BOOTSTRAP_S: Final = 30
BOOTSTRAP_EVENTS: Final = 300
TARGET: Final = 0.99
SERVICE_RATE_PER_S: Final = 70
SCALE_IN_AFTER_S: Final = 8
REPLICAS_MOST: Final = 6
ON_CALL: Final = "ada"
ESCALATE_AFTER_S: Final = 30

SHORTENED: Final = (
    f"rollout steps 5, 20, 50 % of {STEP_S['storefront']} s each (default 120 s), "
    f"also when the gate is slow; then {len(SERVICES)} rollouts at once (default 2)",
    f"maxBake {MAX_BAKE_S} s (default 15 min), warmup 2 s (default 30 s), drain 5 s (default 20 s)",
    "minCanaryRequests 12, payments 2 (default 20); budgetRiskShare 50 % (default 10 %); "
    "unproven releases go on by themselves (default: they ask under 300 canary requests)",
    f"objectives over 1 h (default 28 d): availability {TARGET:.0%} (default 99.9 %), "
    "latency 90 % within 1 s (default 99 % within 250 ms)",
    f"bootstrap {BOOTSTRAP_S} s and {BOOTSTRAP_EVENTS} events (default 24 h and 10,000)",
    "fast burn over 30 s and 5 s at 6 (default 1 h and 5 min at 14.4); alerts end after 5 s (default 60 s)",
    f"the storefront answers {SERVICE_RATE_PER_S} requests/s per replica and scales in after "
    f"{SCALE_IN_AFTER_S} s (default 5 min); who is paged has {ESCALATE_AFTER_S} s (default 5 min)",
)

_ROLLOUT: Final = """\
  rollout:
    steps: [5, 20, 50]
    step: {step}s
    maxBake: {bake}s
    warmup: 2s
    drain: 5s
    minCanaryRequests: {requests}
    budgetRiskShare: 50%
    onUnproven: promote
"""
_OBJECTIVE: Final = """\
---
apiVersion: openslo/v1
kind: SLO
metadata: {{name: {name}}}
spec:
  service: {service}
  indicator:
    spec:
      ratioMetric:
        counter: true
        good: {{metricSource: {{type: poise, spec: {counter}}}}}
        total: {{metricSource: {{type: poise, spec: {{counter: requests}}}}}}
  timeWindow: [{{duration: 1h, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{target: {target}}}]
"""
_POLICY: Final = f"""\
---
apiVersion: poise.dev/v1
kind: BudgetPolicy
metadata: {{name: demo}}
spec:
  bootstrap: {BOOTSTRAP_S}s
  bootstrapEvents: {BOOTSTRAP_EVENTS}
  slowSteps: [5, 20, 50]
  slowBakeFactor: 1
  parallel: {{slow: {len(SERVICES)}}}
  fastAbove: 1
  approvalBelow: 0
  dwell: 0s
  leaveMargin: 0
  fastBurn: [{{long: 30s, short: 5s, factor: 6}}]
"""
_PROJECT: Final = f"""\
---
apiVersion: poise.dev/v1
kind: Project
metadata: {{{{name: {PROJECT}}}}}
spec:
  alerts: {{{{resolveAfter: 5s, groupWait: 2s, closeAfter: 120s}}}}
---
apiVersion: poise.dev/v1
kind: OnCallSchedule
metadata: {{{{name: shop}}}}
spec:
  zone: UTC
  people:
    - {{{{name: {ON_CALL}, contacts: [{{{{webhook: "{{phone}}"}}}}]}}}}
  rotations:
    - {{{{people: [{ON_CALL}], unit: weekly, starts: 2026-01-05}}}}
---
apiVersion: poise.dev/v1
kind: EscalationPolicy
metadata: {{{{name: default}}}}
spec:
  steps: [{{{{schedule: shop, wait: {ESCALATE_AFTER_S}s}}}}]
"""
_SCALING: Final = f"""\
  scaling: {{serviceRate: {SERVICE_RATE_PER_S}, scaleInAfter: {SCALE_IN_AFTER_S}s, reversalsPerDay: 20}}
"""


def find_example() -> Path:
    """``examples/shop`` of the checkout that this Poise runs from, or below the present folder."""
    for base in (Path(poise.__file__).parents[2], Path.cwd()):
        if (base / "examples" / "shop" / "poise.yaml").is_file():
            return base / "examples" / "shop"
    raise NotFound(
        "POISE-D301",
        "the demo's example shop is not here",
        where="examples/shop",
        why="It is part of a checkout, not of the installed package.",
        mend="Run poise demo in a checkout of the project.",
    )


def copy_shop(example: Path, to: Path, phone: str) -> None:
    """The example as a folder of its own, its poise.yaml with the shortened windows.

    ``phone`` is the URL at which the person on call is told.
    """
    shutil.copytree(example, to, ignore=shutil.ignore_patterns("__pycache__", "test-results", "dist"))
    spec = to / "poise.yaml"
    spec.write_text(shortened(spec.read_text(), phone))


def shortened(text: str, phone: str) -> str:
    """The shop's spec with short windows, a quick bootstrap and somebody on call."""
    documents = [document.strip("\n") + "\n" for document in text.split("---\n")]
    made = []
    for document in documents:
        found = re.search(r"metadata: \{name: (\w+)\}", document)
        assert found, "each document of the shop names its service"
        name = found[1]
        rollout = _ROLLOUT.format(step=STEP_S[name], bake=MAX_BAKE_S, requests=MIN_REQUESTS[name])
        if name == "storefront":
            document = document.replace("max: 4", f"max: {REPLICAS_MOST}") + _SCALING
        made.append(document + rollout)
    objectives = [
        _OBJECTIVE.format(name=kind, service=service, counter=counter, target=target)
        for service in SERVICES
        for kind, counter, target in (
            (f"{service}-availability", "{counter: availability}", TARGET),
            (f"{service}-latency", "{counter: latency, thresholdMs: 1000}", 0.9),
        )
    ]
    return "---\n".join(made) + "".join(objectives) + _POLICY + _PROJECT.format(phone=phone)


def write_version(folder: Path, version: str, fail_one_in: int = 0) -> None:
    """What a change of the shop changes."""
    text = f'"""What a commit changes."""\n\nVERSION = "{version}"\nFAIL_ONE_IN = {fail_one_in}\n'
    (folder / "version.py").write_text(text)


def clean_environment(data: Path) -> dict[str, str]:
    """The environment of every command: this house's data folder, and no setting of the person's own git."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("POISE_", "GIT_"))}
    who = {"NAME": "Demo", "EMAIL": "demo@example.invalid"}
    git = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in who.items()}
    return (
        kept
        | git
        | {
            "POISE_DATA": str(data),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "no_proxy": "*",
        }
    )
