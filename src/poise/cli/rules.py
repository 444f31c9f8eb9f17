"""Rules: check rule files and run their unit tests, without a server; list what is evaluated."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from poise.cli import output
from poise.cli.place import COMMON, Common, text_of
from poise.model.errors import Invalid
from poise.spec.problems import Problems

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
