"""Rules: check rule files and run their unit tests, without a server; list what is evaluated."""

from __future__ import annotations

from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import App, Parameter
from msgspec import Struct

from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, text_of
from poise.model.errors import Invalid, NotFound
from poise.model.rules import RuleFile
from poise.spec.problems import Problems

if TYPE_CHECKING:
    from poise.adapters.rules.testing import Outcome
    from poise.spec.rule_tests import RuleTestFile

rules = App(name="rules", help="Recording and alerting rules in Prometheus' format.")


@rules.command
def check(file: Path, *files: Path, common: Common = COMMON) -> None:
    """Whether rule files can be read: keys, PromQL, templates. Needs no server.

    Parameters
    ----------
    file
        A rule file in Prometheus' format.
    files
        More of them.
    """
    from poise.adapters.promql.checking import expression_fault
    from poise.spec.rules import parse_rules

    problems: list[Invalid] = []
    for one in (file, *files):
        try:
            found = parse_rules(text_of(one), project="", path=str(one), check=expression_fault)
        except Problems as error:
            problems += error.problems
            continue
        count = sum(len(group.rules) for group in found.groups)
        if common.json:
            output.data({"file": str(one), "groups": len(found.groups), "rules": count})
        else:
            output.say(f"{one}: {len(found.groups)} groups, {count} rules")
    if problems:
        raise Problems(problems)


@rules.command
def test(
    file: Path,
    *files: Path,
    run: Annotated[str, Parameter(help="Only the tests of this name.")] = "",
    common: Common = COMMON,
) -> int:
    """Run unit tests of rules, in promtool's format. Needs no server. Exits 1 when a test fails.

    Parameters
    ----------
    file
        A test file, as for promtool test rules.
    files
        More of them.
    """
    from poise.adapters.rules import testing
    from poise.spec.rule_tests import parse_rule_tests

    outcomes = []
    for one in (file, *files):
        found = parse_rule_tests(text_of(one), path=str(one))
        outcomes.append(testing.run(found, _rule_files(found), run))
    for outcome in outcomes:
        output.data(outcome) if common.json else _show(outcome)
    return 1 if any(outcome.failures for outcome in outcomes) else 0


@rules.command(name="list")
def list_(*, common: Common = COMMON) -> int:
    """Every rule: its state, when it was last evaluated, and why it failed. Exits 1 when one fails."""
    with Client(common) as client:
        if common.json:
            output.data(client.get("/api/v1/rules", msgspec.Raw))
            return 0
        found = client.get("/api/v1/rules", _Answer).data.groups
    if not found:
        output.say("No rules. Name their files in kind Project: ruleFiles: [rules/*.yml]")
        return 0
    rows = []
    for group in found:
        for rule in group.rules:
            at = "–" if rule.lastEvaluation.startswith("0001") else f"{rule.lastEvaluation[:19]}Z"
            stands = rule.state or "records"
            rows.append((group.file, group.name, rule.name, stands, rule.health, at, rule.lastError))
    output.table(("file", "group", "rule", "state", "health", "last evaluation", "error"), rows)
    return 1 if any(rule.health == "err" for group in found for rule in group.rules) else 0


class _Rule(Struct, frozen=True):
    name: str
    health: str
    lastEvaluation: str
    lastError: str = ""
    state: str = ""


class _Group(Struct, frozen=True):
    name: str
    file: str
    rules: tuple[_Rule, ...]


class _Groups(Struct, frozen=True):
    groups: tuple[_Group, ...]


class _Answer(Struct, frozen=True):
    data: _Groups


def _rule_files(tests: RuleTestFile) -> list[RuleFile]:
    """The rule files that a test file names, beside it."""
    from poise.adapters.promql.checking import expression_fault
    from poise.spec.rules import parse_rules

    folder = Path(tests.path).parent
    paths: dict[Path, None] = {}
    for pattern in tests.rule_files:
        names = sorted(glob(str(folder / pattern)))  # noqa: PTH207 - it may be absolute
        if not names:
            raise NotFound(
                "POISE-E304", f"no rule file {pattern}", where=tests.path,
                mend="Name it from the folder of the test file.",
            )  # fmt: skip
        paths.update(dict.fromkeys(map(Path, names)))
    return [
        parse_rules(text_of(one), project="", path=str(one), check=expression_fault) for one in sorted(paths)
    ]


def _show(outcome: Outcome) -> None:
    if not outcome.failures:
        output.say(f"{outcome.path}: ok, {outcome.checks} checks")
        return
    output.say(f"{outcome.path}: FAILED, {len(outcome.failures)} of {outcome.checks} checks")
    for failure in outcome.failures:
        output.say(f"  {failure.what} ({failure.where})")
        for line in failure.lines:
            output.say(f"    {line}")
