"""``poise rollout``: one under way, watched to its end; recorded ones, judged again."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from poise.cli import output
from poise.cli.place import COMMON, Common, text_of

if TYPE_CHECKING:
    from poise.delivery.rollout.replay import Reading

rollout = App(name="rollout", help="A rollout under way, and recorded ones judged again.")
COLUMNS: Final = ("at_s", "canary_requests", "canary_errors", "baseline_requests", "baseline_errors")
ROWS_MAX: Final = 100_000
SECONDS_MAX: Final = 30 * 86_400.0
COUNT_MAX: Final = 10**12


@rollout.command
def status(
    service: str,
    n: Annotated[int | None, Parameter(help="Its number; the newest by default.")] = None,
    *,
    watch: Annotated[bool, Parameter(name=("--watch", "-w"), negative="")] = False,
    common: Common = COMMON,
) -> None:
    """Where a rollout is and what the evidence says so far: every metric of both arms, with bounds.

    Parameters
    ----------
    watch
        A line for each change until it ends; exits 0 once it is live, 1 where it went back or failed.
    """
    from poise.cli.rollout_status import show, watched

    return (watched if watch else show)(service, n, common)


@rollout.command
def check(
    *,
    prometheus: Annotated[str, Parameter(help="The Prometheus-compatible API to count in.")],
    canary_total: Annotated[str, Parameter(help="The canary's requests: the selector of a counter.")],
    baseline_total: Annotated[str, Parameter(help="The same of what is stable.")],
    canary_bad: Annotated[str, Parameter(help="Those of them that were bad; or name the good ones.")] = "",
    canary_good: str = "",
    baseline_bad: str = "",
    baseline_good: str = "",
    window: Annotated[str, Parameter(help="Since when: longer than the canary is out.")] = "1h",
    step: Annotated[str, Parameter(help="Between two readings; no shorter than it is scraped.")] = "15s",
    alpha: Annotated[float, Parameter(help="The share of good releases that may be found harmful.")] = 0.05,
    safe: Annotated[bool, Parameter(negative="", help="Exit 0 only once it is proven safe.")] = False,
    common: Common = COMMON,
) -> int:
    """Judge a canary that others roll out by its own counters. No server; ask as often as you like.

    Exits 0 while no harm is shown (with --safe once safety is), else 6. A bearer token may stand in
    POISE_PROMETHEUS_TOKEN.
    """
    from poise.cli.rollout_check import check as checked
    from poise.engine.arms import Counters

    canary = Counters(total=canary_total, bad=canary_bad, good=canary_good)
    baseline = Counters(total=baseline_total, bad=baseline_bad, good=baseline_good)
    return checked(prometheus, canary, baseline, window, step, alpha, common, needs_proof=safe)


@rollout.command
def replay(
    file: Annotated[Path, Parameter(help=f"CSV, one reading a line: {','.join(COLUMNS)}.")],
    *,
    alpha: Annotated[float, Parameter(help="The share of good releases that Poise may roll back.")] = 0.05,
    check: Annotated[float, Parameter(help="Seconds between the checks of the others.")] = 60.0,
    common: Common = COMMON,
) -> None:
    """What Poise, Kayenta, Flagger and Argo Rollouts would have decided, and when. No server.

    ``at_s`` counts from the start; the counts are what was answered since the line before.
    """
    from poise.delivery.rollout.replay import judged
    from poise.model.errors import Invalid
    from poise.model.service import Strategy

    if not 0 < alpha < 0.5 or not 1 <= check <= SECONDS_MAX:
        raise Invalid(
            "POISE-E281", "alpha must lie between 0 and 0.5, and check be a second or more",
            mend="Write e.g. --alpha 0.05 --check 60.",
        )  # fmt: skip
    found = judged(readings(text_of(file), str(file)), Strategy(alpha=alpha), check)
    if common.json:
        return output.data(found)
    rows = [
        (
            one.judge,
            one.verdict,
            "-" if one.at_s is None else f"{one.at_s:g} s",
            str(one.canary_errors),
            one.why,
        )
        for one in found
    ]
    output.table(("judge", "verdict", "at", "canary errors", "why"), rows)
    return None


def readings(text: str, filename: str) -> list[Reading]:
    """The readings of a recording; ``Invalid`` with file and line for a row that is none."""
    from poise.delivery.rollout.replay import Reading
    from poise.model.errors import Invalid

    found: list[Reading] = []
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        if not row or (number == 1 and row[0].strip() == COLUMNS[0]):
            continue
        problem = _problem(row, found[-1].at_s if found else 0.0)
        if not problem and len(found) >= ROWS_MAX:
            problem = f"there are more than {ROWS_MAX:,} readings"
        if problem:
            raise Invalid(
                "POISE-E282", f"this is no reading: {problem}", where=f"{filename}:{number}:1",
                mend=f"Write {','.join(COLUMNS)}, e.g. 10,50,1,450,2.",
            )  # fmt: skip
        found.append(
            Reading(
                at_s=float(row[0]),
                **{name: int(text) for name, text in zip(COLUMNS[1:], row[1:], strict=True)},
            )
        )
    if not found:
        raise Invalid(
            "POISE-E282", "the recording is empty", where=filename,
            mend=f"Write a line a reading: {','.join(COLUMNS)}.",
        )  # fmt: skip
    return found


def _problem(row: list[str], before_s: float) -> str:
    """What is wrong with a row; empty when nothing is."""
    if len(row) != len(COLUMNS):
        return f"it has {len(row)} columns, not {len(COLUMNS)}"
    try:
        at_s = float(row[0])
        counts = [int(cell) for cell in row[1:]]
    except ValueError:
        return "it is not made of numbers; counts are whole"
    if not before_s <= at_s <= SECONDS_MAX:
        return f"at_s {row[0]} does not follow {before_s:g} (at most {SECONDS_MAX:g})"
    if min(counts) < 0 or max(counts) > COUNT_MAX:
        return f"a count lies outside 0..{COUNT_MAX}"
    if counts[1] > counts[0] or counts[3] > counts[2]:
        return "more errors than requests"
    return ""
