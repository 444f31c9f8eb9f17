"""The gate: 2,000 broken questions of which none goes, 2,000 healthy ones, and how long an answer takes."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import anyio
import numpy as np
from msgspec import Struct, structs

from bench.report import Goal, Report, run

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.balance.gate.cases import BREAKS, NOW, SHOP, Case, first_release, healthy, unsafe, young

from poise.adapters.sqlite.store import SqliteStore
from poise.balance.gate.controller import check
from poise.balance.gate.decide import replay
from poise.model.balance import VerdictKind
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.incident import Incident, IncidentState, Severity
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import BudgetPolicy, Condition, Level
from poise.model.record import Write
from poise.model.review import Review
from poise.model.service import Project
from poise.ports.store import Transaction

SERVICES_A_PROJECT = 50
ROLLOUTS_EACH = 5
INCIDENTS_A_PROJECT = 20
POLICY = BudgetPolicy(conditions=(Condition(name="nights", when="hour < 6", level=Level.SLOW),))
GOALS = [
    Goal("broken_cases", at_least=2000),
    Goal("broken_that_go", at_most=0),
    Goal("replays_that_differ", at_most=0),
    Goal("healthy_cases", at_least=2000),
    Goal("healthy_go_ratio", at_least=0.99),
    Goal("services", at_least=1000),
    Goal("decision_ms_p99", at_most=5.0),
]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--decisions", type=int, default=2000)


def measure(given: argparse.Namespace) -> Report:
    broken = [unsafe(seed) for seed in range(given.cases)]
    verdicts = [(case, case.verdict) for case in broken]
    passed = Counter(case.kind for case, verdict in verdicts if verdict.kind is not VerdictKind.HOLD)
    well = [healthy(seed).verdict for seed in range(given.cases)]
    differ = sum(replay(one.inputs) != one for one in (*well, *(verdict for _, verdict in verdicts)))
    went = sum(one.kind is VerdictKind.GO for one in well)
    times_ms, cpu_ms = anyio.run(decisions, given.services, given.decisions)
    return Report(
        {
            "broken_cases": len(broken),
            "broken_by_kind": dict(sorted(Counter(case.kind for case in broken).items())),
            "broken_that_go": sum(passed.values()),
            "broken_that_go_by_kind": dict(passed),
            "exceptions": exceptions(given.cases // len(BREAKS)),
            "replays_that_differ": differ,
            "healthy_cases": len(well),
            "healthy_go_ratio": went / len(well),
            "services": given.services,
            "decisions": len(times_ms),
            "decision_ms_p50": float(np.percentile(times_ms, 50)),
            "decision_ms_p99": float(np.percentile(times_ms, 99)),
            "decision_ms_max": float(np.max(times_ms)),
            "decision_cpu_ms_p99": float(np.percentile(cpu_ms, 99)),
        },
        GOALS,
    )


def exceptions(cases: int) -> dict[str, str]:
    """The two listed ones: what they say, and that they say so every time."""
    made = {
        "first release": (first_release, "go (bootstrap)"),
        "young objective": (young, "slow (bootstrap)"),
    }
    said = {}
    for name, (case_of, word) in made.items():
        sentences = [case_of(seed).verdict.sentence for seed in range(cases)]
        assert all(one.startswith(word) for one in sentences), name
        said[name] = f"{word} in {len(sentences)} of {len(sentences)}"
    return said


async def decisions(services: int, count: int) -> tuple[list[float], list[float]]:
    """How long ``check`` takes on a real SQLite store, everything read anew each time: ms, and ms of CPU."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "poise.db")
        keys = await fill(store, services)
        chance, found, cpu = random.Random(1), [], []
        for _ in range(count):
            key = chance.choice(keys)
            began, began_cpu = time.perf_counter(), time.thread_time()
            verdict = await check(store, key, ChangeClass.FEATURE, None, NOW, signing_key=b"key")
            found.append((time.perf_counter() - began) * 1000.0)
            cpu.append((time.thread_time() - began_cpu) * 1000.0)
            assert verdict.kind is VerdictKind.GO, verdict.sentence
        await store.close()
        return found, cpu


async def fill(store: SqliteStore, services: int) -> list[str]:
    keys = []
    for place in range(services):
        project = f"p{place // SERVICES_A_PROJECT:03d}"
        if place % SERVICES_A_PROJECT == 0:
            await put(store, [(project, Project(name=project, policy=POLICY)), *troubles(project)])
        case = healthy(place)
        service = structs.replace(SHOP, project=project, name=f"s{place:04d}")
        keys.append(service.key)
        await put(store, [(service.key, service), *around(case, service.key), *rollouts(service.key, place)])
    return keys


def around(case: Case, key: str) -> list[tuple[str, Struct]]:
    budgets = [structs.replace(one, service=key, measured_at=NOW) for one in case.budgets]
    objectives = [
        Objective(
            service=key, name=one.objective, indicator=IndicatorKind.AVAILABILITY,
            target_ratio=one.target_ratio,
        )
        for one in budgets
    ]  # fmt: skip
    return [(one.key, one) for one in (*budgets, *objectives)]


def rollouts(key: str, place: int) -> list[tuple[str, Struct]]:
    project, environment, name = key.split("/")
    made = [
        Rollout(
            project=project, environment=environment, service=name, n=n, release=n,
            digest=f"sha256:{place}-{n}", revision=f"r{n}", commit=f"{n:040x}", summary="a release",
            change_class=ChangeClass.FEATURE,
            spec=SHOP, state=RolloutState.LIVE if n == ROLLOUTS_EACH else RolloutState.RETIRED,
            created_at=NOW,
        )
        for n in range(1, ROLLOUTS_EACH + 1)
    ]  # fmt: skip
    return [(one.key, one) for one in made]


def troubles(project: str) -> list[tuple[str, Struct]]:
    """Incidents that are over, with their reviews."""
    made: list[tuple[str, Struct]] = []
    for n in range(1, INCIDENTS_A_PROJECT + 1):
        key = f"{project}/{n:06d}"
        service = f"{project}/production/s0000"
        at = NOW - timedelta(days=n)
        incident = Incident(
            project=project, n=n, environment="production", service=service, services=(service,),
            title="checkout answers 503", severity=Severity.SEV2, state=IncidentState.RESOLVED, onset_at=at,
            opened_at=at, resolved_at=at,
        )  # fmt: skip
        review = Review(incident=key, title="x", text="x" * 4000, services=(service,), drafted_at=at)
        made += [(key, incident), (key, review)]
    return made


async def put(store: SqliteStore, bodies: list[tuple[str, Struct]]) -> None:
    writes = [Write(kind=type(body).__name__, key=key, body=body) for key, body in bodies]
    await store.commit(Transaction(at=NOW, writes=writes))


if __name__ == "__main__":
    sys.exit(run("gate_safety", measure, options))
