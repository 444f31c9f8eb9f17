"""The gate with no server and no store: objectives from a file, counters from a Prometheus-compatible API.

What cannot be read is unknown with its reason, and unknown is a hold.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import anyio
from msgspec import Struct, structs

from poise.adapters.prometheus.endpoint import Endpoint
from poise.adapters.prometheus.increase import Growth, growth
from poise.adapters.prometheus.store import PrometheusSignals
from poise.balance.gate.decide import judge
from poise.balance.gate.facts import Question
from poise.balance.gate.variables import values_of
from poise.cli import output
from poise.cli.change_class import Told
from poise.cli.counted import Counts, budget_of, counts_of
from poise.cli.place import Common, project_of, text_of
from poise.model.balance import Budget, Verdict
from poise.model.counting import selectors
from poise.model.errors import Invalid, NotFound, PoiseError
from poise.model.objective import Method, Objective
from poise.model.policy import BudgetPolicy
from poise.model.service import Service
from poise.ports.signals import SignalStore
from poise.spec.commits import Classified
from poise.spec.condition import evaluate
from poise.spec.counter import counter, counters_of
from poise.spec.objective_file import ObjectiveFile, parse_objectives

STALE_AFTER_S: Final = 90.0  # a scrape a minute is never older; the policy may allow more
TOKEN: Final = "POISE_PROMETHEUS_TOKEN"  # noqa: S105 - a variable's name
WEB_PORT: Final = 80  # what is counted is requests, so it is no worker


class _Read(Struct, frozen=True, kw_only=True):
    """What one objective came to: its budget, or the problem that makes it unknown."""

    budget: Budget | None = None
    problem: str = ""


def judged(
    file: Path,
    url: str,
    service: str | None,
    told: Told,
    digest: str | None,
    common: Common,
    *,
    first_release: bool = False,
) -> tuple[Verdict, Classified]:
    """The verdict for one service of a file of objectives, and what made the change one of its class.

    Raises ``Problems`` for a file that cannot be read; a source that cannot be is a verdict of its own: hold.
    """
    project, environment = project_of(common, file.parent), common.named_environment or "production"
    declared = parse_objectives(
        text_of(file), project=project, environment=environment, filename=str(file), url=url
    )
    key = _service(declared, service, str(file))
    mine = [one for one in declared.objectives if one.service == key]
    stale_after_s = max(declared.policy.stale_after_s, STALE_AFTER_S)
    policy = structs.replace(declared.policy, stale_after_s=stale_after_s)
    class_ = told.classified(policy.classes)
    now = datetime.now(UTC)
    found = anyio.run(_read_all, mine, declared, policy, url, now, common)
    budgets = [one.budget for one in found.values() if one.budget is not None]
    where = Service(
        project=project, environment=environment, name=key.rpartition("/")[2], command="", port=WEB_PORT
    )
    question = Question(
        change_class=class_.change_class, digest=digest or "", first_release=first_release,
        weight_percent=where.strategy.first_percent,
    )  # fmt: skip
    values = values_of(question, where, budgets if len(budgets) == len(mine) else (), None, None, now)
    verdict = judge(
        question, where, budgets, policy, objectives=[one.key for one in mine], now=now,
        checked=[evaluate(one, values) for one in policy.conditions],
        problems={key: one.problem for key, one in found.items() if one.problem},
    )  # fmt: skip
    return verdict, class_


def _service(declared: ObjectiveFile, wanted: str | None, filename: str) -> str:
    keys = list(dict.fromkeys(one.service for one in declared.objectives))
    names = {key.rpartition("/")[2]: key for key in keys}
    name = (wanted or "").rpartition("/")[2]
    if name in names:
        return names[name]
    if wanted is None and len(keys) == 1:
        return keys[0]
    what = f"no objective of '{wanted}'" if wanted else "which service?"
    raise NotFound(
        "POISE-B421", what, where=filename, why=f"It has objectives of {', '.join(sorted(names))}.",
        mend="Name one: --service NAME",
    )  # fmt: skip


async def _read_all(
    objectives: list[Objective],
    declared: ObjectiveFile,
    policy: BudgetPolicy,
    url: str,
    now: datetime,
    common: Common,
) -> dict[str, _Read]:
    """Every objective, one after the other; what is wrong with one is said with its place in the file."""
    signals = PrometheusSignals(Endpoint(url=url, name="--prometheus", bearer=os.environ.get(TOKEN, "")))
    found: dict[str, _Read] = {}
    try:
        for objective in objectives:
            output.talk(common, f"{objective.name}: counting {objective.window_s / 86_400:g} days ...")
            place = declared.places.get(objective.key, "")
            try:
                counts = await _counts(signals, objective, policy, now, place)
                found[objective.key] = _Read(budget=budget_of(objective, policy, counts, now))
            except (PoiseError, OSError) as error:
                found[objective.key] = _Read(problem=f"{objective.name} ({place}) is unknown: {_said(error)}")
    finally:
        await signals.close()
    return found


async def _counts(
    signals: SignalStore, objective: Objective, policy: BudgetPolicy, now: datetime, place: str
) -> Counts:
    asked = _countable(objective, place)
    end_ms = round(now.timestamp() * 1000)
    horizon_s = max(objective.window_s, *policy.burn_windows_s)
    start_ms = end_ms - round(horizon_s * 1000)
    grown: dict[str, Growth] = {}
    for role, text in selectors(asked).items():
        grown[role] = await growth(signals, counter(text), start_ms, end_ms, where=place)
    return counts_of(asked, grown, place)


def _countable(objective: Objective, place: str) -> Objective:
    """The objective as a ratio of two counters; ``Invalid`` for what only a server of Poise can count."""
    counted = counters_of(objective) if objective.calendar is None else None
    if counted is not None:
        return counted
    plain = objective.method is Method.OCCURRENCES and objective.calendar is None and not objective.group_by
    kind = objective.indicator.value if plain else f"{objective.method.value} over its window"
    raise Invalid(
        "POISE-B422", f"without a server '{kind}' is not counted", where=place,
        why="Only ratios of counters and classic histograms over a rolling window are.",
        mend="Run Poise (poise up) and leave --slo out, or write 'good' and 'total' as counters.",
    )  # fmt: skip


def _said(error: Exception) -> str:
    if isinstance(error, PoiseError):
        return ". ".join(part.rstrip(".") for part in (error.what, error.why, error.mend) if part)
    return str(error) or type(error).__name__
