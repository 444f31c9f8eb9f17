"""kill -9 of the control process at every effect boundary of a rollout: it ends as exactly old or new."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.house import House, until
from bench.in_force import InForce
from bench.loading import Loading
from bench.report import Figure, Goal, Report, run
from bench.versions import HOST, OVER, ROLLOUT_S, SERVICE, STRATEGIES, Versions
from bench.witness import Witness
from poise.model.service import StrategyKind

HALTING = Path(__file__).parent / "bench" / "halting.py"
ENDINGS = ("promoted", "taken back")
READY_S = 30.0
ASK_S = 5.0  # between acknowledged writes: each makes a project, and a house of a thousand starts late
GOALS = [
    Goal("ended_between", at_most=0),
    Goal("ended_s_max", at_most=10.0),
    Goal("doubled_effects", at_most=0),
    Goal("failed_requests", at_most=0),
    Goal("posts_lost_in_flight", at_most=0),
    Goal("unreached", at_most=0),
    Goal("chain_ok", at_least=1),
]


def options(parser: argparse.ArgumentParser) -> None:
    there = [kind.value for kind in StrategyKind]
    parser.add_argument("--strategies", nargs="+", choices=there, default=["canary"])
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second")
    parser.add_argument("--most", type=int, default=0, help="so many kills a strategy; 0: all")


class HaltingHouse(House):
    """Its control process is wrapped, so that it dies where it is told; the rest is as ever."""

    control: subprocess.Popen[bytes] | None = None

    def up(self, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Start it, if it does not run; the first time as a user would, who makes the project known."""
        first = self.control is None
        if self.control is None or self.control.poll() is not None:
            (self.data / "logs").mkdir(parents=True, exist_ok=True)
            command = [sys.executable, str(HALTING), "serve", "--data", str(self.data)]
            command += ["--port", str(self.port), "--ingress-port", str(self.ingress_port)]
            environment = self.environment | {"POISE_BENCH_FOLDER": str(self.folder)}
            with (self.data / "logs" / "poise.log").open("ab") as log:
                self.control = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                    start_new_session=True,
                )  # fmt: skip
        until(self.ready, READY_S, "the control process leads", pause_s=0.01)
        return super().up(check) if first else subprocess.CompletedProcess([], 0, "", "")

    def order(self, number: int, act: str = "", nth: int = 0, boundary: str = "") -> None:
        """Die at this boundary; without an act, at none."""
        (self.folder / "halted").unlink(missing_ok=True)
        beside = self.folder / "halt.json.new"
        beside.write_text(json.dumps({"id": number, "act": act, "nth": nth, "boundary": boundary}))
        beside.rename(self.folder / "halt.json")

    def effects(self, number: int) -> list[tuple[str, int, str]]:
        """What an order saw: (act, nth, boundary), in its order."""
        lines = map(json.loads, (self.folder / "effects.jsonl").read_text().splitlines())
        return [(one["act"], one["nth"], one["boundary"]) for one in lines if one["id"] == number]


@dataclass
class Trial:
    """All kills of one strategy. ``ended``: (act, boundary) -> how each ended; ``seconds`` since the kill."""

    house: HaltingHouse
    versions: Versions
    live: int
    number: int = 0
    ended: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    unreached: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    load: dict[str, int] = field(default_factory=dict)
    chain_ok: bool = False
    spawns: int = 0

    def boundaries(self, ending: str) -> list[tuple[str, int, str]]:
        """Those of one rollout that nothing disturbs."""
        self._go("", 0, "", ending)
        return sorted(set(self.house.effects(self.number)))

    def kill(self, act: str, nth: int, boundary: str, ending: str) -> bool:
        """One rollout with one kill; whether it ended. A boundary that is not reached is tried once more."""
        name = f"{act} {boundary}"
        for _ in range(2):
            end, took_s = self._go(act, nth, boundary, ending)
            if took_s is not None or end == "between":
                took_s = ROLLOUT_S if took_s is None else took_s
                self.ended.setdefault(name, Counter())[end] += 1
                self.seconds.setdefault(name, []).append(took_s)
                print(f"  {ending}: {name} {nth}: {end} after {took_s:.1f} s", file=sys.stderr)
                return end != "between"
        self.unreached.append(f"{ending}: {name} {nth}")
        return True

    def _go(self, act: str, nth: int, boundary: str, ending: str) -> tuple[str, float | None]:
        """A rollout to its end: (old, new or between; s from the kill, None where nothing was killed)."""
        self.number += 1
        self.house.order(self.number, act, nth, boundary)
        n = self.versions.push()
        killed_at: float | None = None
        deadline = time.monotonic() + ROLLOUT_S
        end = "between"
        while end == "between" and time.monotonic() < deadline:
            if self.house.control is not None and self.house.control.poll() is not None:
                killed_at = time.monotonic()
                self.house.up()
            with suppress(OSError, ValueError):  # nobody answers just now
                end = self._step(n, ending)
            time.sleep(0.05)
        took_s = time.monotonic() - killed_at if killed_at is not None else None
        if end == "new":
            self.live = n
        return end, took_s

    def _step(self, n: int, ending: str) -> str:
        """Take it back where that is wanted; how it ended, ``between`` as long as it has not."""
        one = self.versions.rollout(n)
        if one is None:
            return "between"
        if ending == "taken back" and one["state"] not in OVER and self.versions.acknowledged(n) > 0:
            self.house.poise("abort", SERVICE, "--reason", "measured", check=False)
        if one["state"] not in OVER:
            return "between"
        for end, rollout in (("new", n), ("old", self.live)):
            keys = [process["key"] for process in self.house.replicas(SERVICE)]
            runs = [int(key.split("/")[3]) for key in keys]
            if runs == [rollout] * 2 and self.versions.rests_on(rollout):
                return end
        return "between"


def try_strategy(strategy: str, given: argparse.Namespace) -> Trial:
    """Every boundary in a house of its own, while users send requests; it stops at one that never ends."""
    with HaltingHouse("shop", {}) as house:
        house.order(0)
        versions = Versions(house, strategy)
        trial = Trial(house, versions, versions.begin(1))
        with (
            Witness(house, house.folder.name, ASK_S) as witness,
            InForce(house.data / "envoy" / "admin.sock") as in_force,
            Loading(house.ingress_port, HOST, given.rate) as load,
        ):
            plans = [(*one, ending) for ending in ENDINGS for one in trial.boundaries(ending)]
            if given.most:
                plans = random.Random(1).sample(plans, min(given.most, len(plans)))
            for act, nth, boundary, ending in plans:
                if not trial.kill(act, nth, boundary, ending):
                    print(f"  ended between: {house.service(SERVICE)}", file=sys.stderr)
                    break
        trial.load, trial.spawns = load.total, witness.spawned.total()
        trial.chain_ok = house.poise("audit", "verify", check=False).returncode == 0
        trial.doubled = sorted(witness.doubled | {key for key, times in witness.spawned.items() if times > 1})
        again = Counter(in_force.versions)
        trial.doubled += [f"routes {version}" for version, times in again.items() if times > 1]
    return trial


def measure(given: argparse.Namespace) -> Report:
    figures: dict[str, Figure] = {}
    sums: Counter[str] = Counter()
    worst: list[float] = []
    for strategy in given.strategies:
        trial = try_strategy(strategy, given)
        for name, ends in sorted(trial.ended.items()):
            took_s = max(trial.seconds[name])
            figures[f"{strategy}: {name}"] = {**ends, "worst_s": took_s}
            worst.append(took_s)
            sums.update(ends)
        sums.update(
            {name: trial.load[name] for name in ("requests", "failed_requests", "posts_lost_in_flight")}
        )
        sums["doubled_effects"] += len(trial.doubled)
        sums["spawns_seen"] += trial.spawns
        sums["unreached"] += len(trial.unreached)
        sums["chain_broken"] += not trial.chain_ok
        for one in (*trial.unreached, *trial.doubled):
            print(f"  {strategy}: unreached or doubled: {one}", file=sys.stderr)
    figures |= {
        "kills": sums["old"] + sums["new"] + sums["between"],
        "ended_old": sums["old"],
        "ended_new": sums["new"],
        "ended_between": sums["between"],
        "ended_s_max": max(worst, default=None),
        **{name: sums[name] for name in ("spawns_seen", "doubled_effects", "requests")},
        **{name: sums[name] for name in ("failed_requests", "posts_lost_in_flight", "unreached")},
        "chain_ok": int(not sums["chain_broken"]),
    }
    remarks = [
        "before: the intent is recorded, nothing done; after: done, its outcome not recorded; recorded: both",
        "ended: one rollout is live, has 100 % at Envoy, and exactly its replicas run and are ready; s from "
        "the kill, with the restart and what was left of the rollout's own waits in it",
        "doubled: a replica key spawned twice, two processes with one replica's name, or a version of the "
        "routes in force twice",
        *(f"rollout: {{{STRATEGIES[name]}}}" for name in given.strategies),
    ]
    return Report(figures, GOALS, remarks)


if __name__ == "__main__":
    sys.exit(run("rollout_crash", measure, options))
