"""``poise slo lint``: what is wrong with objectives, each with its place and a mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final

import anyio
import numpy as np
from cyclopts import Parameter
from msgspec import structs

from poise.adapters.regex import matching
from poise.balance.lint.finding import Finding, Floats, Measured, RoleSeen, Severity
from poise.balance.lint.rules import lint as rules
from poise.cli import output
from poise.cli.objectives import objectives_in
from poise.cli.past import MetricsFile, Past, Since, Url, opened
from poise.cli.place import COMMON, Common
from poise.engine.counters import whole_of
from poise.engine.query_past import CHUNK_S, QueryPast, Samples
from poise.model.counting import STALE_AFTER_S, selectors
from poise.model.errors import Invalid, PoiseError
from poise.model.objective import Method, Objective
from poise.model.samples import NAME, Labels
from poise.spec.counter import Selector, counter, counters_of
from poise.spec.objective_file import ObjectiveFile
from poise.spec.problems import Problems

INVALID_EXIT: Final = 5
HOUR_MS: Final = 3_600_000
LOOK_BACK_S: Final = 3600.0  # for a metric whose selector found nothing
NAMED_MAX: Final = 6  # values that a message lists


def lint(
    file: Path,
    *files: Path,
    prometheus: Url = None,
    metrics: MetricsFile = None,
    house: Annotated[bool, Parameter(negative="", help="Look into this machine's Poise.")] = False,
    since: Since = "7d",
    common: Common = COMMON,
) -> int:
    """What is wrong with objectives: in the file, and with --prometheus, --metrics or --house in the data.

    Exits 5 when something cannot work as declared, 0 with warnings alone. Needs no server.

    Parameters
    ----------
    file
        Objectives: poise.yaml, OpenSLO v1, Sloth, Pyrra or slo-generator.
    files
        More of them.
    """
    found: list[Finding] = []
    count = 0
    looks = house or prometheus is not None or metrics is not None
    for one in (file, *files):
        try:
            declared = objectives_in(one, common, prometheus or "")
        except Problems as error:
            found += [_of_problem(each) for each in error.problems]
            continue
        count += len(declared.objectives)
        measured = anyio.run(_measured, declared, prometheus, metrics, since, common) if looks else None
        found += rules(declared.objectives, declared.policy, declared.places, measured)
    errors = sum(one.severity is Severity.ERROR for one in found)
    if common.json:
        output.data(
            {"objectives": count, "errors": errors, "warnings": len(found) - errors, "findings": found}
        )
    else:
        _show(found, count, looks)
    return INVALID_EXIT if errors else 0


def _of_problem(problem: Invalid) -> Finding:
    return Finding(
        rule=problem.code, severity=Severity.ERROR, objective="", where=problem.where, what=problem.what,
        why=problem.why, mend=problem.mend,
    )  # fmt: skip


def _show(found: Sequence[Finding], count: int, looks: bool) -> None:
    for one in found:
        name = f" {'/'.join(one.objective.split('/')[2:])}" if one.objective else ""
        output.say(f"{one.where} {one.severity.value} {one.rule}{name}")
        for part in (one.what, one.why, one.mend):
            if part:
                output.wrapped(part, "  ")
    errors = sum(one.severity is Severity.ERROR for one in found)
    output.say(f"objectives: {count}, errors: {errors}, warnings: {len(found) - errors}")
    if not looks:
        output.say("Nothing was measured: add --prometheus URL or --metrics FILE.")


# -- what is measured -----------------------------------------------------------------------------------


async def _measured(
    declared: ObjectiveFile, prometheus: str | None, metrics: Path | None, since: str, common: Common
) -> dict[str, Measured]:
    """By key, every objective that is counted; what is wrong with reading one is its own ``problem``."""
    found: dict[str, Measured] = {}
    stale_after_s = max(declared.stale_after_s, STALE_AFTER_S)
    async with opened(prometheus, metrics, since, common) as past:
        for one in declared.objectives:
            counted = counters_of(structs.replace(one, method=Method.OCCURRENCES, group_by=()))
            if counted is None:
                continue
            output.talk(common, f"{one.name}: looking at {(past.end_s - past.start_s) / 86_400:.1f} days ...")
            try:
                found[one.key] = await _look(past, counted, stale_after_s)
            except (PoiseError, OSError) as error:
                what = getattr(error, "what", str(error))
                found[one.key] = Measured(problem=what, mend=getattr(error, "mend", ""))
    return found


async def _look(past: Past, objective: Objective, stale_after_s: float) -> Measured:
    reader = QueryPast(past.signals, [objective], stale_after_s=stale_after_s)
    texts = selectors(objective)
    hours = max(1, int(np.ceil((past.end_s - past.start_s) * 1000 / HOUR_MS)))
    seen: dict[str, RoleSeen] = {}
    grown: dict[str, Floats] = {}
    spans: list[tuple[float, float, float]] = []
    for role, text in texts.items():
        samples = await _samples(reader, text, past)
        seen[role] = RoleSeen(text=text, is_part=bool(whole_of(role, texts)))
        grown[role] = np.zeros(hours)
        if not samples:
            missing, mend = await _missing(reader, counter(text), past)
            seen[role] = structs.replace(seen[role], missing=missing, mend=mend)
            continue
        seen[role] = _seen(seen[role], samples)
        for at_ms, values in samples.values():
            if len(at_ms) > 1:
                delta = np.diff(values)
                delta = np.where(delta < 0, values[1:], delta)
                hour = np.clip((at_ms[1:] - past.start_s * 1000) // HOUR_MS, 0, hours - 1).astype(np.intp)
                grown[role] += np.bincount(hour, weights=delta, minlength=hours)
        if role in ("total", "good"):
            spans.append(_span(samples, stale_after_s))
    total = grown["total"] if "total" in grown else grown["good"] + grown["bad"]
    good = grown["good"] if "good" in grown else total - grown["bad"]
    first_s, last_s, known = spans[0] if spans else (past.end_s, past.end_s, 0.0)
    return Measured(
        roles=seen, good=good, total=total, lasted_s=last_s - first_s, known_ratio=known,
        stale_after_s=stale_after_s,
    )  # fmt: skip


async def _samples(reader: QueryPast, text: str, past: Past) -> dict[Labels, Samples]:
    """Every sample of the span, chunk by chunk, each once."""
    parts: dict[Labels, list[Samples]] = {}
    start_s = past.start_s
    while start_s < past.end_s:
        end_s = min(past.end_s, start_s + CHUNK_S)
        for labels, some in (await reader.samples(text, start_s, end_s)).items():
            parts.setdefault(labels, []).append(some)
        start_s = end_s
    found: dict[Labels, Samples] = {}
    for labels, many in parts.items():
        at_ms, place = np.unique(np.concatenate([at for at, _ in many]), return_index=True)
        found[labels] = at_ms, np.concatenate([values for _, values in many])[place]
    return found


def _seen(role: RoleSeen, samples: Mapping[Labels, Samples]) -> RoleSeen:
    gaps = np.concatenate([np.diff(at_ms) for at_ms, _ in samples.values()])
    falls = sum(int((np.diff(values) < 0).sum()) for _, values in samples.values())
    interval_s = float(np.median(gaps)) / 1000.0 if len(gaps) else None
    return structs.replace(role, series=len(samples), interval_s=interval_s, steps=len(gaps), decreases=falls)


def _span(samples: Mapping[Labels, Samples], stale_after_s: float) -> tuple[float, float, float]:
    """First and last instant (s), and the share between them that some sample covers."""
    at_s = np.unique(np.concatenate([at_ms for at_ms, _ in samples.values()])) / 1000.0
    if len(at_s) < 2:
        return float(at_s[0]), float(at_s[0]), 1.0
    gaps = np.diff(at_s)
    fresh_s = max(stale_after_s, 2.5 * float(np.median(gaps)))
    return float(at_s[0]), float(at_s[-1]), float(gaps[gaps <= fresh_s].sum() / (at_s[-1] - at_s[0]))


async def _missing(reader: QueryPast, selector: Selector, past: Past) -> tuple[str, str]:
    """Why a selector finds nothing, and what would."""
    if not selector.metric:
        return f"{selector.text} has no series", "Check its labels."
    series = await reader.samples(selector.metric, past.end_s - LOOK_BACK_S, past.end_s)
    if not series:
        return f"there is no metric {selector.metric} in {past.said}", "Is its target scraped? poise targets"
    for label, operator, value in sorted(selector.matchers):
        values = sorted({dict(labels).get(label, "") for labels in series})
        if any(_matches(operator, value, one) for one in values):
            continue
        if values == [""]:
            names = sorted({name for labels in series for name, _ in labels} - {NAME})
            return f"{selector.metric} has no label '{label}'", _nearest(label, names, "It has")
        return f'no series of {selector.metric} has label {label}{operator}"{value}"', _nearest(
            value, values, f"'{label}' is"
        )
    return f"no one series has all labels of {selector.text}", "Take matchers away one by one."


def _matches(operator: str, value: str, found: str) -> bool:
    if operator in ("=", "!="):
        return (found == value) == (operator == "=")
    return matching(value.replace("\\\\", "\\"))(found) == (operator == "=~")


def _nearest(word: str, known: Sequence[str], said: str) -> str:
    close = get_close_matches(word, known, n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    more = ", ..." if len(known) > NAMED_MAX else ""
    return f"{said} {', '.join(known[:NAMED_MAX])}{more}."
