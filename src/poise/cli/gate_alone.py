"""The gate with no server and no store: objectives from a file, counted in a Prometheus-compatible API.

The past that their windows need is read and counted as a running Poise would have. What cannot be read is
unknown with its reason, and unknown is a hold.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import anyio
from msgspec import Struct, structs

from poise.adapters.prometheus.endpoint import Endpoint
from poise.adapters.prometheus.honest import Honest
from poise.adapters.prometheus.store import PrometheusSignals
from poise.balance.backtest.budgets import Budgets
from poise.balance.budget.measure import horizon_s
from poise.balance.gate.decide import judge
from poise.balance.gate.facts import Question
from poise.balance.gate.variables import values_of
from poise.cli import output
from poise.cli.change_class import Told
from poise.cli.objectives import objectives_in
from poise.cli.place import Common, project_of
from poise.engine.query_past import CHUNK_S, QueryPast
from poise.model.balance import Budget, Verdict
from poise.model.counting import STALE_AFTER_S, selectors
from poise.model.errors import Invalid, NotFound, PoiseError
from poise.model.objective import Objective
from poise.model.policy import BudgetPolicy
from poise.model.service import Service
from poise.ports.signals import SignalStore
from poise.spec.commits import Classified
from poise.spec.condition import evaluate
from poise.spec.objective_file import ObjectiveFile

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
    declared = objectives_in(file, common, url)
    key = _service(declared, service, str(file))
    mine = [one for one in declared.objectives if one.service == key]
    stale_after_s = max(declared.policy.stale_after_s, declared.stale_after_s, STALE_AFTER_S)
    policy = structs.replace(declared.policy, stale_after_s=stale_after_s)
    class_ = told.classified(policy.classes)
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as Prometheus counts
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
    mine: list[Objective],
    declared: ObjectiveFile,
    policy: BudgetPolicy,
    url: str,
    now: datetime,
    common: Common,
) -> dict[str, _Read]:
    """Every objective, with the parts of composites; what is wrong with one is said with its place."""
    signals = PrometheusSignals(Endpoint(url=url, name="--prometheus", bearer=os.environ.get(TOKEN, "")))
    found: dict[str, _Read] = {}
    try:
        for some in _together(mine, declared.objectives):
            names = ", ".join(one.name for one in some)
            days = max(one.window_s for one in some) / 86_400
            output.talk(common, f"{names}: counting {days:g} days ...")
            try:
                found |= await _read(signals, some, declared, policy, now)
            except (PoiseError, OSError) as error:
                found |= {one.key: _unknown(one, declared, _said(error)) for one in some}
    finally:
        await signals.close()
    return {one.key: found[one.key] for one in mine}


async def _read(
    signals: SignalStore, some: Sequence[Objective], declared: ObjectiveFile, policy: BudgetPolicy,
    now: datetime,
) -> dict[str, _Read]:  # fmt: skip
    """Objectives that are counted together, over as much of the past as their windows need."""
    for one in some:
        if not one.is_queried:
            raise Invalid(
                "POISE-B422", f"without a server '{one.indicator.value}' of Envoy is not counted",
                mend="Run Poise (poise up) and leave --slo out, or count it by query.",
            )  # fmt: skip
    counters = {text for one in some for text in selectors(one).values()}
    past = QueryPast(
        Honest(signals, counters), some, stale_after_s=policy.stale_after_s, last_s=now.timestamp()
    )
    begin = now - timedelta(seconds=max(horizon_s(one, policy) for one in some))
    kept = await Budgets.begun(past, some, policy, declared.exclusions, begin)
    at = begin
    while at < now:
        at = min(now, at + timedelta(seconds=CHUNK_S))
        await kept.follow(past, at)
    budgets = kept.budgets(now, interpolated_of=past.is_interpolated, problem_of=past.problem)
    found = {}
    for one, budget in zip(some, budgets, strict=True):
        if budget.measured_at is None and budget.problem:
            found[one.key] = _unknown(one, declared, f"{budget.problem}. Is its target scraped?")
        elif excess := kept.excess(one.key):
            texts = " and ".join(selectors(one).values())
            said = f"there are {excess:g} more of a part than of the whole. {texts} contradict one another"
            found[one.key] = _unknown(one, declared, said)
        else:
            found[one.key] = _Read(budget=budget)
    return found


def _together(mine: Sequence[Objective], every: Sequence[Objective]) -> list[list[Objective]]:
    """The objectives in sets that are counted together: a composite with all that it is made of."""
    by_key = {one.key: one for one in every}
    sets: list[dict[str, Objective]] = []
    for one in mine:
        made, ahead = {one.key: one}, [one]
        while ahead:
            composite = ahead.pop().composite
            for part in composite.components if composite is not None else ():
                if part.objective in by_key and part.objective not in made:
                    made[part.objective] = by_key[part.objective]
                    ahead.append(made[part.objective])
        touched = [known for known in sets if known.keys() & made.keys()]
        sets = [known for known in sets if known not in touched]
        sets.append({key: each for known in (*touched, made) for key, each in known.items()})
    return [list(one.values()) for one in sets]


def _unknown(objective: Objective, declared: ObjectiveFile, said: str) -> _Read:
    place = declared.places.get(objective.key, "")
    return _Read(problem=f"{objective.name} ({place}) is unknown: {said}")


def _said(error: Exception) -> str:
    if isinstance(error, PoiseError):
        return ". ".join(part.rstrip(".") for part in (error.what, error.why, error.mend) if part)
    return str(error) or type(error).__name__
