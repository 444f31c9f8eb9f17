"""Rollouts of every strategy, promoted and taken back, while users send 500 requests per second."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bench.engines import Podman
from bench.in_force import InForce
from bench.loading import Loading
from bench.report import Figure, Goal, Report, Unmeasured, percentile, run
from bench.versions import HOST, STRATEGIES, Versions
from poise.model.event_types import TRAFFIC_ASKED
from poise.model.service import StrategyKind

RUNTIMES = ("process", "container")
EXEMPT = "recreate"  # nobody is served while it changes over, by its nature
COUNTS = ("requests", "failed_requests", "posts_lost_in_flight", "app_5xx", "unsent")
GOALS = [
    Goal("failed_requests", at_most=0),
    Goal("posts_lost_in_flight", at_most=0),
    Goal("unsent_requests", at_most=0),
    Goal("weight_change_ms_max", at_most=100),
]


def options(parser: argparse.ArgumentParser) -> None:
    there = [kind.value for kind in StrategyKind]
    parser.add_argument("--rollouts", type=int, default=10, help="of each strategy on each runtime")
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second")
    parser.add_argument("--strategies", nargs="+", choices=there, default=there)
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))


@dataclass
class Case:
    """What one strategy on one runtime came to. ``delays_ms``: from an intent until Envoy ran the weights."""

    strategy: str
    runtime: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    delays_ms: list[float] = field(default_factory=list)
    overtaken: int = 0
    promoted: int = 0
    taken_back: int = 0
    latency_ms_p99: float = 0.0
    took_s: float = 0.0

    @property
    def figure(self) -> dict[str, object]:
        """As one line of the report."""
        return {
            "promoted": self.promoted,
            "taken_back": self.taken_back,
            **self.counts,
            "latency_ms_p99": self.latency_ms_p99,
            "weight_changes": len(self.delays_ms),
            "weight_change_ms_max": max(self.delays_ms, default=None),
            "took_s": self.took_s,
        }


def measure(given: argparse.Namespace) -> Report:
    cases: list[Case] = []
    skipped = ""
    for runtime in given.runtimes:
        with ExitStack() as stack:
            podman = None
            if runtime == "container":
                try:
                    podman = Podman.here()
                except Unmeasured as missing:
                    skipped = str(missing)
                    continue
                stack.callback(podman.close)
            for strategy in given.strategies:
                cases.append(one_case(Case(strategy, runtime), given, podman))
                print(f"  {runtime} {strategy}: {cases[-1].figure}", file=sys.stderr)
    if not cases:
        raise Unmeasured(skipped)
    remarks = [
        "failed: connection error, a 5xx that the app did not send, or no answer in 5 s; "
        "80 % GET, 20 % POST through Envoy's ingress",
        "taken back: aborted as soon as Envoy ran a weight of it, or rolled back where it was live by then",
        "weight change: from the instant of the decision that records the intent until Envoy's own time of "
        "the update that brought it in force",
        f"{EXEMPT} serves nobody while it changes over: its requests and its delays are told, and no goal",
        *(f"rollout: {{{STRATEGIES[name]}}}" for name in given.strategies),
        *([f"containers were skipped: {skipped}"] if skipped else []),
    ]
    return Report(whole(cases) | {"container_skipped": skipped}, GOALS, remarks)


def whole(cases: list[Case]) -> dict[str, Figure]:
    """Every case, and the sums of those that must not drop anything."""
    bound = [case for case in cases if case.strategy != EXEMPT]
    delays = [delay for case in bound for delay in case.delays_ms]
    figures: dict[str, Figure] = {f"{case.runtime}_{case.strategy}": case.figure for case in cases}
    for name in COUNTS:
        figures[name.replace("unsent", "unsent_requests")] = sum(case.counts[name] for case in bound)
    return figures | {
        "rollouts": sum(case.promoted + case.taken_back for case in bound),
        "weight_changes": len(delays),
        "weight_changes_overtaken": sum(case.overtaken for case in bound),
        "weight_change_ms_median": statistics.median(delays) if delays else None,
        "weight_change_ms_p95": percentile(delays, 95),
        "weight_change_ms_max": max(delays, default=None),
    }


def one_case(case: Case, given: argparse.Namespace, podman: Podman | None) -> Case:
    """A house of its own; its first release is live before users come."""
    with Versions.house_for(podman) as house:
        versions = Versions(house, case.strategy, podman)
        live = versions.begin(given.rollouts + 1)
        with (
            InForce(house.data / "envoy" / "admin.sock") as in_force,
            Loading(house.ingress_port, HOST, given.rate) as load,
        ):
            time.sleep(2.0)
            began = time.monotonic()
            for index in range(given.rollouts):
                since = time.monotonic()
                live = one_rollout(case, versions, live, promote=index % 2 == 0)
                load.settle()
                told(case, load, since, index)
            case.took_s = time.monotonic() - began
        case.counts = {name: int(load.total[name]) for name in COUNTS}
        case.latency_ms_p99 = load.total["latency_ms_p99"]
        weigh(case, house.events(), in_force.since)
    return case


def one_rollout(case: Case, versions: Versions, live: int, promote: bool) -> int:
    """The next version to its end; the rollout that rests then."""
    n = versions.push()
    if not promote:
        case.taken_back += 1
        return versions.take_back(n, live)
    versions.wait_resting(n)
    case.promoted += 1
    return n


def told(case: Case, load: Loading, since: float, index: int) -> None:
    """Say at once in which rollout requests failed."""
    failed = load.sum("failed_requests", since, time.monotonic())
    lost = load.sum("posts_lost_in_flight", since, time.monotonic())
    if failed or lost:
        end = "taken back" if index % 2 else "promoted"
        where = f"{case.runtime} {case.strategy}, rollout {index + 2}, {end}"
        print(f"  {where}: {failed} failed, {lost} POSTs lost", file=sys.stderr)


def weigh(case: Case, journal: list[dict[str, Any]], in_force: dict[int, int]) -> None:
    """How long each change of weights took; one that a newer one overtook came never into force."""
    first = min(in_force, default=0)  # what was in force before anybody looked has no time
    for recorded in journal:
        event = recorded["event"]
        if event["type"] != TRAFFIC_ASKED:
            continue
        version = int(event["data"]["version"])
        if version in in_force and version != first:
            asked_ms = datetime.fromisoformat(recorded["at"]).timestamp() * 1000
            case.delays_ms.append(in_force[version] - asked_ms)
        elif version > first:
            case.overtaken += 1


if __name__ == "__main__":
    sys.exit(run("rollout_drops", measure, options))
