"""kill -9 of the control process, again and again, while releases go out, go wrong and replicas die."""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from typing import Any

from bench import shop
from bench.house import House, until
from bench.loading import Loading
from bench.report import Figure, Goal, Report, Unmeasured, percentile, run
from bench.witness import Witness

READY_S = 20.0
ROUND_S = 300.0
GOALS = [
    Goal("failed_requests", at_most=0),
    Goal("acknowledged_lost", at_most=0),
    Goal("doubled_effects", at_most=0),
    Goal("chain_ok", at_least=1),
    Goal("converged", at_least=1),
    Goal("ready_again_s_max", at_most=3.0),
]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second")


class Team:
    """Somebody who ships all day: deliver and promote a good release, a bad one, and replicas that die.

    ``phase`` is what goes on now; ``pushed`` the commits that git was told are taken.
    """

    def __init__(self, house: House) -> None:
        self.house = house
        self.phase = "deliver"
        self.pushed: list[str] = []
        self.rounds = 0
        self.problem = ""
        self.over = threading.Event()

    def work(self) -> None:
        """Rounds until told to stop; a problem ends the work and is kept."""
        try:
            while not self.over.is_set():
                self._round()
                self.rounds += 1
        except Exception as error:  # kept and told by the benchmark: a thread has nobody else to tell
            self.problem = f"{self.phase}: {error!r}"

    def _round(self) -> None:
        self.phase = "deliver"
        good = self._push(shop.version(f"{self.rounds + 2}"), "feat: a good release")
        self.phase = "promote"
        self._until_judged(good)
        self.phase = "deliver"
        bad = self._push(shop.version(f"{self.rounds + 2}-bad", fail_one_in=5), "feat: a bad release")
        self.phase = "protect"
        self._until_judged(bad)
        self.phase = "heal"
        for _ in range(3):
            if self.over.wait(1.5):
                return
            with suppress(OSError, IndexError):  # no keeper or no replica to be seen just now
                os.kill(self.house.replicas("storefront")[0]["pid"], signal.SIGKILL)

    def _push(self, files: dict[str, str], subject: str) -> str:
        self.house.write(files)
        commit = self.house.commit(subject)
        until(lambda: self.house.push(check=False).returncode == 0, ROUND_S, "a push is taken", pause_s=0.3)
        self.pushed.append(commit)
        return commit

    def _until_judged(self, commit: str) -> None:
        """Live, or finished for good."""

        def judged() -> bool:
            if self.over.is_set():
                return True
            mine = [one for one in self.house.rollouts("storefront") if one["commit"] == commit]
            return any(one["state"] in ("live", "rolled_back", "failed", "retired") for one in mine)

        until(judged, ROUND_S, f"{commit[:8]} is judged", pause_s=0.3)


def measure(given: argparse.Namespace) -> Report:
    mark = f"b{uuid.uuid4().hex[:8]}"
    figures: dict[str, Figure] = {"kills": given.kills, "seed": given.seed}
    with House("shop", shop.files(mark)) as house:
        house.up()
        house.ship("feat: the shop", shop.SERVICES)
        team = Team(house)
        with Witness(house, mark) as witness, Loading(house.ingress_port, shop.HOST, given.rate) as load:
            ready_s, phases = kills(given, house, team)
            converge(house, figures)
        figures |= {
            "kills_by_phase": dict(sorted(phases.items())),
            "rounds": team.rounds,
            "ready_again_s_median": statistics.median(ready_s),
            "ready_again_s_p95": percentile(ready_s, 95),
            "ready_again_s_max": max(ready_s),
            "requests": load.total["requests"],
            "failed_requests": load.total["failed_requests"],
            "posts_lost_in_flight": load.total["posts_lost_in_flight"],
            "app_5xx": load.total["app_5xx"],
            "unsent_requests": load.total["unsent"],
        }
        account(house, team, witness, figures)
    remarks = [
        "ready again: from SIGKILL until `poise up` is back and /readyz says that it leads",
        "acknowledged: pushes that git reported as taken, and projects whose creation was answered; "
        "each is looked for in the journal afterwards",
        "doubled: a replica key spawned again without a stop between (the keeper's records), or two app "
        "processes with one replica's name in /proc",
        "app 5xx are the planted bug of the bad releases",
    ]
    return Report(figures, GOALS, remarks)


def kills(given: argparse.Namespace, house: House, team: Team) -> tuple[list[float], Counter[str]]:
    """Kill at random instants while the team works; (s until ready again, kills by phase)."""
    dice = random.Random(given.seed)
    ready_s: list[float] = []
    phases: Counter[str] = Counter()
    worker = threading.Thread(target=team.work, daemon=True)
    worker.start()
    try:
        for _ in range(given.kills):
            time.sleep(dice.uniform(0.05, 3.5))
            if team.problem:
                raise Unmeasured(f"the work beside the kills stopped in {team.problem}")
            phases[team.phase] += 1
            began = time.monotonic()
            if house.kill_control() is None:
                raise Unmeasured("there was no control process to kill")
            house.up()
            until(house.ready, READY_S, "ready again", pause_s=0.01)
            ready_s.append(time.monotonic() - began)
    finally:
        team.over.set()
        worker.join(60)
    return ready_s, phases


def converge(house: House, figures: dict[str, Figure]) -> None:
    """After the last kill everything comes to rest: one live revision, whole and acknowledged."""

    def rests(name: str) -> bool:
        status: Any = house.service(name)
        live, route = status["live"], status["route"]
        if live is None or status["active"] is not None:
            return False
        mine = [one for one in status["replicas"] if one["ready"] and one["rollout"] == live["n"]]
        weights = {n: weight for n, weight in route["acked"].items() if weight}
        return len(mine) == len(status["replicas"]) >= 2 and weights == {str(live["n"]): 100}

    try:
        until(lambda: all(rests(name) for name in shop.SERVICES), 120.0, "everything rests")
        figures["converged"] = 1
    except Unmeasured:
        figures["converged"] = 0
        for name in shop.SERVICES:
            print(f"  not at rest: {resting_state(house.service(name))}", file=sys.stderr)


def resting_state(status: Any) -> dict[str, object]:
    """What of a service says why it is not at rest."""
    return {
        "service": status["key"],
        "live": status["live"] and status["live"]["n"],
        "active": status["active"] and (status["active"]["n"], status["active"]["state"]),
        "replicas": [(one["rollout"], one["index"], one["ready"]) for one in status["replicas"]],
        "route": status["route"],
    }


def account(house: House, team: Team, witness: Witness, figures: dict[str, Figure]) -> None:
    """What was acknowledged and is not there; what was done twice; whether the chain is whole."""
    told = house.journal_text()
    lost = [commit for commit in team.pushed if commit not in told]
    lost += [name for name in witness.acknowledged if name not in told]
    audit = house.api("/api/v1/audit")
    figures["acknowledged"] = len(team.pushed) + len(witness.acknowledged)
    figures["acknowledged_lost"] = len(lost)
    figures["spawns_seen"] = sum(witness.spawned.values())
    figures["looks_at_proc"] = witness.looks
    figures["doubled_effects"] = len(witness.doubled)
    figures["events"] = audit["events"]
    figures["chain_ok"] = int(house.poise("audit", "verify", check=False).returncode == 0)
    for name in (*lost, *sorted(witness.doubled)):
        print(f"  lost or doubled: {name}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run("crash", measure, options))
