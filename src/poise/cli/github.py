"""A verdict for a GitHub workflow: a step summary and outputs.

Source: GitHub Docs, "Workflow commands for GitHub Actions" (GITHUB_STEP_SUMMARY, GITHUB_OUTPUT).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from poise.balance.gate.decide import facts_of, why
from poise.cli.output import percent
from poise.model.balance import Budget, Verdict
from poise.model.errors import NotFound
from poise.model.spend import SpendLedger, of_budget

SPENDS_MAX: Final = 5
_MARKS = {"go": "🟢", "slow": "🟡", "hold": "🔴"}


def tell(verdict: Verdict, ledgers: Sequence[SpendLedger] = (), class_why: str = "") -> None:
    """Append to the files that GitHub names; ``NotFound`` where it names none.

    ``ledgers`` are those of the service, where there is a server to ask for them; ``class_why`` is what made
    the change one of its class.
    """
    summary, outputs = os.environ.get("GITHUB_STEP_SUMMARY"), os.environ.get("GITHUB_OUTPUT")
    if not summary and not outputs:
        raise NotFound(
            "POISE-E214", "GITHUB_STEP_SUMMARY and GITHUB_OUTPUT are not set",
            why="--github is for a step of a GitHub workflow.", mend="Leave --github out.",
        )  # fmt: skip
    if summary:
        _append(summary, markdown(verdict, ledgers, class_why))
    if outputs:
        _append(outputs, as_outputs(verdict))


def markdown(verdict: Verdict, ledgers: Sequence[SpendLedger] = (), class_why: str = "") -> str:
    """The verdict in words, the budgets that it was judged from, who spent them lately, and its rules."""
    rows = [f"| {one.rule} | {_cell(one.text)} | {_numbers(one.numbers)} |" for one in verdict.reasons]
    kind = verdict.kind.value
    lines = [
        f"### {_MARKS[kind]} Gate: {kind} for a {verdict.change_class.value} on {verdict.service}",
        "",
        _cell(why(verdict)),
        "",
        *([f"It is a {verdict.change_class.value} by {_cell(class_why)}.", ""] if class_why else []),
        *_budgets(verdict),
        *_spent(verdict, ledgers),
        "| rule | why | numbers |",
        "|---|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines) + "\n"


def as_outputs(verdict: Verdict) -> str:
    """``verdict``, ``go``, ``level``, ``sentence``, ``max_weight_percent`` for the steps that follow."""
    fence = f"poise-{uuid.uuid4()}"  # so that no text of a reason can end it
    go = "false" if verdict.kind.value == "hold" else "true"
    lines = (
        f"verdict={verdict.kind.value}",
        f"go={go}",
        f"level={verdict.level.value}",
        f"max_weight_percent={verdict.max_weight_percent}",
        f"sentence<<{fence}\n{verdict.sentence}\n{fence}",
    )
    return "\n".join(lines) + "\n"


def _known(verdict: Verdict) -> list[Budget]:
    """The budgets of the verdict's own inputs, the worst first."""
    budgets = facts_of(verdict.inputs).budgets if verdict.inputs else ()
    return sorted(budgets, key=lambda one: one.left_ratio)


def _budgets(verdict: Verdict) -> list[str]:
    rows = [
        f"| {_cell(one.objective)} | {percent(one.left_ratio)} | {one.bad:,.0f} of {one.allowed:,.0f} "
        f"| {percent(one.target_ratio, 2)} | {percent(one.coverage_ratio)} |"
        for one in _known(verdict)
    ]
    head = ["| objective | budget left | failed of budget | target | measured |", "|---|--:|--:|--:|--:|"]
    return [*head, *rows, ""] if rows else []


def _spent(verdict: Verdict, ledgers: Sequence[SpendLedger]) -> list[str]:
    """What was charged last, newest first: ``release 43 of shop cost 3.1 % of the availability budget``."""
    budgets = {one.key: one for one in _known(verdict)}
    sized = [of_budget(one, budgets.get(one.key)) for one in ledgers]
    found = [(one.since, one, ledger) for ledger in sized if ledger.allowed > 0 for one in ledger.entries]
    found.sort(key=lambda row: row[0], reverse=True)
    lines = [
        f"- {_cell(one.name or 'something unknown')} cost {percent(one.bad / ledger.allowed)} "
        f"of the {_cell(ledger.objective)} budget ({one.cause.value}, {since:%Y-%m-%d %H:%M} UTC)"
        for since, one, ledger in found[:SPENDS_MAX]
    ]
    return [*lines, ""] if lines else []


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _numbers(numbers: dict[str, object]) -> str:
    return ", ".join(f"{name} {_cell(str(value))}" for name, value in numbers.items())
