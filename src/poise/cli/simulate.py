"""``poise simulate``: every controller in a seeded world, faster than life."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from poise.cli import output
from poise.cli.place import COMMON, Common


def simulate(
    *,
    seeds: Annotated[int, Parameter(help="How many worlds.")] = 10,
    days: Annotated[float, Parameter(help="Simulated days each.")] = 1.0,
    start: Annotated[int, Parameter(help="The first seed.")] = 1,
    plant: Annotated[str | None, Parameter(help="Plant a known bug, to see that it is found.")] = None,
    jobs: Annotated[int, Parameter(help="Processes.")] = 2,
    common: Common = COMMON,
) -> int:
    """Run seeded worlds with faults and check every invariant. Needs no server.

    Exit 1 when an invariant broke; each failing seed prints the command that repeats it.
    """
    from poise.simulation.run import simulate_many

    worlds, told = range(start, start + seeds), output.progress(common, "simulating")
    report = simulate_many(worlds, days, plant=plant, jobs=jobs, told=told)
    if common.json:
        output.data(report)
        return 0 if report.ok else 1
    for failure in report.failures:
        again = f"poise simulate --seeds 1 --start {failure.seed} --days {days:g}" + (
            f" --plant {plant}" if plant else ""
        )
        output.say(f"seed {failure.seed}: {failure.invariant}: {failure.detail}")
        output.say(f"  again: {again}")
    output.say(
        f"{report.seeds} seeds x {days:g} days: {report.rollouts} rollouts, {report.faults} faults, "
        f"{len(report.failures)} failures; {report.days_per_second:.1f} simulated days per second."
    )
    return 0 if report.ok else 1
