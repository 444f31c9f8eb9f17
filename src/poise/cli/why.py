"""``poise why``: the gate's verdict, and behind it each budget: left, spent by whom, burn, forecast."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from poise.api.views import Page, ServiceStatus
from poise.cli import output
from poise.cli.client import Client
from poise.cli.observe import burning, foreseen, service_path
from poise.cli.place import COMMON, Common, service_key
from poise.model.attestation import Verification
from poise.model.balance import Budget
from poise.model.pacing import PARALLEL_MAX
from poise.model.record import Recorded
from poise.model.spend import Outlook, SpendLedger, of_budget
from poise.model.standing import mend_of

SPENDERS: Final = 3  # that are named of each budget
WIDTH_MAX: Final = 100
_BURNS: Final = ((3600.0, "1h"), (21_600.0, "6h"), (259_200.0, "3d"))


class Told(Struct, frozen=True, kw_only=True):
    """What the API knows of a service's budgets, by objective."""

    status: ServiceStatus
    outlooks: dict[str, Outlook]
    ledgers: dict[str, SpendLedger]
    latest: list[Recorded]


def why(service: str, *, common: Common = COMMON) -> None:
    """In words: what the gate says of the next feature, its rules, and every budget behind it."""
    key = service_key(common, service)
    with Client(common) as client:
        told = _asked(client, key)
    if common.json:
        found = told.status
        return output.data(
            {
                "verdict": found.verdict,
                "sentence": found.sentence,
                "scale": found.target,
                "provenance": found.verification,
                "latest": told.latest,
                "budgets": found.budgets,
                "outlooks": list(told.outlooks.values()),
                "ledgers": list(told.ledgers.values()),
            }
        )
    for line in lines(key, told):
        _say(line)
    return None


def lines(key: str, told: Told) -> Iterator[str]:
    """The whole answer; what belongs to the line before is indented."""
    found = told.status
    yield f"{key}: {found.verdict.sentence}."
    verdict = found.verdict
    steps = ", ".join(f"{step} %" for step in verdict.steps_percent) or "all at once"
    at_once = verdict.parallel_rollouts
    bound = "waits for no other rollout" if at_once >= PARALLEL_MAX else f"at most {at_once} rollouts at once"
    yield (
        f"  level {verdict.level} of policy {verdict.policy}: steps {steps}; bakes x{verdict.bake_factor:g}; "
        f"alpha x{verdict.alpha_factor:g}; {bound}"
    )
    for reason in found.verdict.reasons:
        numbers = _numbers(reason.numbers)
        yield f"  {reason.rule}: {reason.text}" + (f" ({numbers})" if numbers else "")
    derived = {one.name for one in found.objectives if one.is_derived}
    for budget in sorted(found.budgets, key=lambda one: one.left_ratio):
        outlook, ledger = told.outlooks.get(budget.objective), told.ledgers.get(budget.objective)
        if budget.objective in derived:
            yield (
                f"{budget.objective}: {output.percent(budget.left_ratio)} of the budget left, by what its "
                "components spent of theirs, each times its weight"
            )
            continue
        yield from _budget(
            budget,
            outlook,
            of_budget(ledger, budget) if ledger else None,
        )
    if found.verification is not None:
        yield from _provenance(found.verification)
    if found.target is not None and found.target.reason:
        yield f"replicas: {found.target.replicas} ({found.target.rule}: {found.target.reason})"
    for row in told.latest:
        yield f"  {row.at:%H:%M:%S} {row.event.summary}"
    yield f"To go all the same: poise gate override {key.split('/')[2]} --reason '...'"


def _asked(client: Client, key: str) -> Told:
    path, project = service_path(key), key.split("/")[0]
    outlooks = client.get(path + "/outlooks", Page[Outlook]).items
    ledgers = client.get(path + "/ledgers", Page[SpendLedger]).items
    events = client.get(
        f"/api/v1/projects/{project}/events", Page[Recorded], subject=key, newest=True, limit=5
    )
    return Told(
        status=client.get(path, ServiceStatus),
        outlooks={one.objective: one for one in outlooks},
        ledgers={one.objective: one for one in ledgers},
        latest=events.items,
    )


def _budget(one: Budget, outlook: Outlook | None, ledger: SpendLedger | None) -> Iterator[str]:
    events = one.good + one.bad
    kept = output.percent(one.good / events if events > 0 else None, 3)
    yield (
        f"{one.objective}: {output.percent(one.left_ratio)} of the budget left: {one.bad:,.0f} failed of "
        f"{one.allowed:,.0f} allowed ({kept} kept, target {output.percent(one.target_ratio, 2)})"
    )
    yield f"  measured: {output.percent(one.coverage_ratio)} of the time since {one.since:%Y-%m-%d %H:%M} UTC"
    if one.problem:
        yield f"  cannot be read now: {one.problem}"
    if one.contradiction is not None:
        yield f"  {one.contradiction.sentence}, so that time is unknown"
        yield f"  {mend_of(one)}"
    rates = {burn.window_s: burn.rate for burn in one.burns}
    burns = [
        f"{rate:.1f}x in {name}" for window_s, name in _BURNS if (rate := rates.get(window_s)) is not None
    ]
    if burns:
        yield f"  burn: {', '.join(burns)}"
    if outlook is not None and outlook.burn is not None:
        yield f"  {burning(one.objective, outlook.burn)}"
    if spent := spenders(ledger):
        yield f"  spent by: {spent}"
    yield f"  forecast: {foreseen(outlook)}"


def _provenance(one: Verification) -> Iterator[str]:
    """Whether the newest release that was to start is what was built, and if not, the way out."""
    refused = "nothing of it started: " if one.is_refused else ""
    yield f"provenance: {refused}{one.text}"
    if one.mend:
        yield f"  {one.mend}"


def spenders(ledger: SpendLedger | None) -> str:
    """Who spent most of a budget: ``release 43 of shop 31.0 %, the usual 19.0 %``; empty: nobody."""
    if ledger is None or ledger.allowed <= 0 or ledger.bad <= 0:
        return ""
    found = sorted(ledger.entries, key=lambda one: one.bad, reverse=True)
    named = [
        f"{one.name or one.cause.value} {output.percent(one.bad / ledger.allowed)}"
        for one in found[:SPENDERS]
    ]
    rest = ledger.usual_bad + sum(one.bad for one in found[SPENDERS:])
    word = "the usual" if len(found) <= SPENDERS else "the rest"
    return ", ".join([*named, f"{word} {output.percent(rest / ledger.allowed)}"])


def _numbers(numbers: Mapping[str, Any]) -> str:
    shown = ((name, f"{value:.4g}" if isinstance(value, float) else value) for name, value in numbers.items())
    return ", ".join(f"{name} {value}" for name, value in shown)


def _say(line: str) -> None:
    """As wide as the terminal; a pipe gets each line whole."""
    if not sys.stdout.isatty():
        return output.say(line)
    width = min(WIDTH_MAX, shutil.get_terminal_size().columns)
    indent = line[: len(line) - len(line.lstrip())] + "  "
    return output.say(textwrap.fill(line, width, subsequent_indent=indent))
