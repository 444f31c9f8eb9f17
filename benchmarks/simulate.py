"""Every controller in seeded worlds of faults: 300 seeds of a day each within five minutes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

from bench.house import POISE
from bench.report import Goal, Report, Unmeasured, run

PATIENCE_S = 3600.0
GOALS = [
    Goal("failures", at_most=0),
    Goal("took_s", at_most=300.0),
    Goal("rollouts_per_seed", at_least=10),
    Goal("faults_per_seed", at_least=40),
]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--start", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)


def measure(given: argparse.Namespace) -> Report:
    words = ["simulate", "--json", "--seeds", str(given.seeds), "--days", str(given.days)]
    words += ["--start", str(given.start), "--jobs", str(given.jobs)]
    began = time.monotonic()
    done = subprocess.run([POISE, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    took_s = time.monotonic() - began
    if done.returncode not in (0, 1) or not done.stdout.strip():
        raise Unmeasured(f"poise {' '.join(words)}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    said = json.loads(done.stdout.strip().splitlines()[-1])
    report = Report(
        {
            "seeds": said["seeds"],
            "days_each": given.days,
            "took_s": took_s,
            "days_per_second": said["days_per_second"],
            "rollouts_per_seed": said["rollouts"] / max(1, said["seeds"]),
            "faults_per_seed": said["faults"] / max(1, said["seeds"]),
            "failures": len(said["failures"]),
        },
        GOALS,
    )
    report.remarks += [f"seed {one['seed']}: {one['invariant']}" for one in said["failures"][:10]]
    return report


if __name__ == "__main__":
    sys.exit(run("simulate", measure, options))
