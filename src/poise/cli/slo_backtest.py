"""``poise slo backtest``: an objective tried on history before it is deployed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import anyio
from cyclopts import Parameter
from msgspec import structs

from poise.balance.backtest.decide import percent
from poise.balance.backtest.replay import OBJECTIVES_MAX, Asked, replayed
from poise.balance.backtest.report import (
    Alert,
    AlertPolicy,
    Backtest,
    GatePast,
    GroupPast,
    ObjectivePast,
    Point,
)
from poise.cli import output, plot
from poise.cli.objectives import objectives_in
from poise.cli.past import MetricsFile, Past, Since, Url, opened
from poise.cli.place import COMMON, Common
from poise.engine.query_past import QueryPast
from poise.model.counting import STALE_AFTER_S
from poise.model.errors import Invalid
from poise.model.objective import IndicatorKind, Objective
from poise.spec.condition import evaluate
from poise.spec.objective_file import ObjectiveFile

ALERTS_SHOWN: Final = 12  # of one objective, the costliest; all are in --json
SPELLS_SHOWN: Final = 12
GROUPS_SHOWN: Final = 6
ROWS_SHOWN: Final = 24  # of the table in place of the chart
ENVOY: Final = (IndicatorKind.AVAILABILITY, IndicatorKind.LATENCY)


def backtest(
    file: Path,
    *,
    prometheus: Url = None,
    metrics: MetricsFile = None,
    since: Since = "30d",
    service: Annotated[str | None, Parameter(help="Only objectives of this service.")] = None,
    table: Annotated[bool, Parameter(negative="", help="Budgets over time as a table, not a chart.")] = False,
    common: Common = COMMON,
) -> int:
    """What budgets, alerts and the gate would have said of the past, and which target it supports.

    History goes through the code that runs live, as if Poise had been installed when it begins. Needs no
    server. Without --prometheus and --metrics it reads the stores of this machine's Poise.

    Parameters
    ----------
    file
        Objectives: poise.yaml, OpenSLO v1, Sloth, Pyrra or slo-generator.
    """
    declared = objectives_in(file, common, prometheus or "")
    mine, refused = _replayable(declared, service, str(file), own=prometheus is None and metrics is None)
    if not mine:
        raise Invalid(
            "POISE-E233", "no objective of it can be replayed", where=str(file),
            why="; ".join(f"{key.rpartition('/')[2]}: {why}" for key, why in refused.items()),
            mend="Leave --prometheus and --metrics out, or measure them with counters or gauges.",
        )  # fmt: skip
    report = anyio.run(_run, declared, mine, prometheus, metrics, since, common)
    report = structs.replace(report, refused=refused)
    if common.json:
        output.data(report)
    else:
        _show(report, table=table)
    return 0


def _replayable(
    declared: ObjectiveFile, service: str | None, filename: str, *, own: bool
) -> tuple[tuple[Objective, ...], dict[str, str]]:
    """The objectives, and why some are left out."""
    names = sorted({one.service.rpartition("/")[2] for one in declared.objectives})
    if service is not None and service not in names:
        mend = f"It has {', '.join(names)}."
        raise Invalid("POISE-E234", f"no objective of '{service}'", where=filename, mend=mend)
    found: list[Objective] = []
    refused: dict[str, str] = {}
    for one in declared.objectives:
        if service is not None and one.service.rpartition("/")[2] != service:
            continue
        if one.indicator in ENVOY and not own:
            refused[one.key] = "Envoy counts it, whose readings only this machine's Poise has"
        else:
            found.append(one)
    known = {one.key for one in found}
    while some := [one for one in found if not _parts(one) <= known]:
        refused |= dict.fromkeys((one.key for one in some), "a part of it is not replayed")
        known -= {one.key for one in some}
        found = [one for one in found if one.key in known]
    if len(found) > OBJECTIVES_MAX:
        mend = "Name a service: --service NAME"
        raise Invalid("POISE-E235", f"more than {OBJECTIVES_MAX} objectives", where=filename, mend=mend)
    return tuple(found), refused


def _parts(one: Objective) -> set[str]:
    return {part.objective for part in one.composite.components} if one.composite is not None else set()


async def _run(
    declared: ObjectiveFile,
    mine: tuple[Objective, ...],
    prometheus: str | None,
    metrics: Path | None,
    since: str,
    common: Common,
) -> Backtest:
    reading = output.progress(common, "reading")
    async with opened(prometheus, metrics, since, common, reading) as past:
        reading(1.0)
        stale_after_s = max(declared.stale_after_s, STALE_AFTER_S)
        source = QueryPast(past.signals, mine, earlier=past.earlier, stale_after_s=stale_after_s)
        stale_s = max(declared.policy.stale_after_s, stale_after_s)
        asked = Asked(
            objectives=mine, policy=structs.replace(declared.policy, stale_after_s=stale_s),
            since=_instant(past.start_s), until=_instant(past.end_s), evaluate=evaluate,
            places=declared.places, exclusions=declared.exclusions,
        )  # fmt: skip
        _tell_span(past, len(mine), common)
        replaying = output.progress(common, "replaying")
        report = await replayed(asked, source, replaying, source.is_interpolated)
        replaying(1.0)
        return report


def _tell_span(past: Past, count: int, common: Common) -> None:
    days = (past.end_s - past.start_s) / 86_400
    objectives = "objective" if count == 1 else "objectives"
    output.talk(common, f"{count} {objectives} over {days:.1f} days of {past.said}")


def _instant(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


# -- what is printed ------------------------------------------------------------------------------------


def _show(report: Backtest, *, table: bool) -> None:
    span = f"{report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC"
    output.say(f"{span}, as if declared at the start.")
    for one in report.objectives:
        output.say("")
        _objective(one, report, table=table)
    for gate in report.gates:
        output.say("")
        _gate(gate)
    for key, why in report.refused.items():
        output.say("")
        output.wrapped(f"not replayed: {key.rpartition('/')[2]}: {why}", "")


def _objective(one: ObjectivePast, report: Backtest, *, table: bool) -> None:
    name = f"{one.service.rpartition('/')[2]}/{one.name}"
    output.say(f"{name}: {percent(one.target_ratio)} over {one.window_s / 86_400:g} d ({one.where})")
    if one.since is None:
        output.say("  Nothing was read of it: is its target scraped, and its query right?")
        return output.say("  Check with: poise slo lint")
    output.say(f"  {one.good + one.bad:,.0f} events, {one.bad:,.0f} failed; {_coverage(one)}")
    if one.groups:
        output.wrapped(f"groups: {_groups(one.groups)}", "  ")
    lowest = f", least {output.percent(one.lowest_ratio)} at {_at(one.lowest_at)}" if one.lowest_at else ""
    output.say(f"  left at the end: {output.percent(one.left_ratio)}{lowest}")
    _table(one.points) if table else _chart(one.points, report)
    _alerts(one.alerts)
    made = one.recommendation
    text = "none" if made.target_ratio is None else percent(made.target_ratio)
    output.say(f"  recommended target: {text}")
    output.wrapped(made.reason, "    ")
    for caveat in made.caveats:
        output.wrapped(f"but {caveat}", "    ")
    return None


def _groups(groups: Sequence[GroupPast]) -> str:
    """The worst first."""
    worst = sorted(groups, key=lambda one: -one.bad / max(1.0, one.good + one.bad))
    shown = "; ".join(
        f"{one.group} {one.bad:,.0f} of {one.good + one.bad:,.0f} failed" for one in worst[:GROUPS_SHOWN]
    )
    return shown + (f"; ... and {len(worst) - GROUPS_SHOWN} more" if len(worst) > GROUPS_SHOWN else "")


def _coverage(one: ObjectivePast) -> str:
    unknown = f", {_hours(one.unknown_s / 3600)} unknown" if one.unknown_s >= 60 else ""
    return f"{output.percent(one.coverage_ratio)} of the time measured{unknown}"


def _chart(points: Sequence[Point], report: Backtest) -> None:
    line = [(p.at.timestamp(), 100 * p.left_ratio if p.left_ratio is not None else float("nan"))
            for p in points]  # fmt: skip
    scale = plot.scale_of([line, [(0.0, 0.0)]], report.since.timestamp(), report.until.timestamp())
    output.say("  budget left, %")
    for row in plot.chart([line], scale, output.width() - 2, colour=sys.stdout.isatty()):
        output.say(f"  {row}")


def _table(points: Sequence[Point]) -> None:
    each = max(1, len(points) // ROWS_SHOWN)
    shown = [*points[each - 1 :: each]]
    output.table(
        ("  at", "left", "measured"),
        [(f"  {_at(p.at)}", output.percent(p.left_ratio), output.percent(p.coverage_ratio)) for p in shown],
    )


def _alerts(alerts: Sequence[Alert]) -> None:
    counts = {policy: [one for one in alerts if one.policy is policy] for policy in AlertPolicy}
    said = ", ".join(f"{len(some)} {policy.value}" for policy, some in counts.items())
    output.say(f"  alerts that would have fired: {said}")
    if not alerts:
        return
    costly = sorted(alerts, key=lambda one: one.spent_ratio, reverse=True)[:ALERTS_SHOWN]
    rows = [
        (
            f"  {one.policy.value} {one.test}", _at(one.fired_at), _at(one.since),
            _lasted(one), f"{one.bad:,.0f}", output.percent(one.spent_ratio),
        )
        for one in alerts if one in costly
    ]  # fmt: skip
    output.table(("  alert", "fired", "began", "for", "failed", "spent"), rows)
    if len(costly) < len(alerts):
        output.say(f"  ... and {len(alerts) - len(costly)} cheaper ones: --json has all")


def _lasted(one: Alert) -> str:
    return "goes on" if one.until is None else _hours((one.until - one.fired_at).total_seconds() / 3600)


def _hours(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def _gate(gate: GatePast) -> None:
    name = gate.service.rpartition("/")[2]
    output.say(f"gate for a feature of {name} under policy {gate.policy}:")
    output.say(
        f"  go {output.percent(gate.go_ratio)}, slow {output.percent(gate.slow_ratio)} "
        f"({output.percent(gate.bootstrap_ratio)} young), hold {output.percent(gate.hold_ratio)} "
        f"({output.percent(gate.unknown_ratio)} unknown)"
    )
    shown = gate.spells[:SPELLS_SHOWN]
    width = max(20, output.width() - 36)
    rows = [(f"  {_at(one.since)}", one.kind.value, _hours(one.hours), _cut(one.sentence, width))
            for one in shown]  # fmt: skip
    output.table(("  since", "verdict", "for", "why"), rows)
    if len(shown) < len(gate.spells):
        output.say(f"  ... and {len(gate.spells) - len(shown)} more: --json has all")


def _cut(sentence: str, width: int) -> str:
    text = sentence.partition(": ")[2] or sentence
    return text if len(text) <= width else text[: width - 1] + "…"


def _at(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%m-%d %H:%M}"
