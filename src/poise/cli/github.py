"""A verdict for a GitHub workflow: a step summary and outputs.

Source: GitHub Docs, "Workflow commands for GitHub Actions" (GITHUB_STEP_SUMMARY, GITHUB_OUTPUT).
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from poise.balance.gate.decide import why
from poise.model.balance import Verdict
from poise.model.errors import NotFound

_MARKS = {"go": "🟢", "slow": "🟡", "hold": "🔴"}


def tell(verdict: Verdict) -> None:
    """Append to the files that GitHub names; ``NotFound`` where it names none."""
    summary, outputs = os.environ.get("GITHUB_STEP_SUMMARY"), os.environ.get("GITHUB_OUTPUT")
    if not summary and not outputs:
        raise NotFound(
            "POISE-E214", "GITHUB_STEP_SUMMARY and GITHUB_OUTPUT are not set",
            why="--github is for a step of a GitHub workflow.", mend="Leave --github out.",
        )  # fmt: skip
    if summary:
        _append(summary, markdown(verdict))
    if outputs:
        _append(outputs, as_outputs(verdict))


def markdown(verdict: Verdict) -> str:
    """The verdict as a heading, a paragraph and a table of its rules."""
    rows = [f"| {one.rule} | {_cell(one.text)} | {_numbers(one.numbers)} |" for one in verdict.reasons]
    kind = verdict.kind.value
    lines = [
        f"### {_MARKS[kind]} Gate: {kind} for a {verdict.change_class.value} on {verdict.service}",
        "",
        _cell(why(verdict)),
        "",
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


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _numbers(numbers: dict[str, object]) -> str:
    return ", ".join(f"{name} {_cell(str(value))}" for name, value in numbers.items())
