"""Objectives: how they stand; files of other tools in, rules for Prometheus out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from poise.cli import output
from poise.cli.exclusion import exclude, exclusions, include
from poise.cli.place import COMMON, Common, text_of
from poise.model.errors import Invalid, NotFound
from poise.spec.foreign.slo import Slo
from poise.spec.objective_file import ObjectiveFile
from poise.spec.problems import Problems

if TYPE_CHECKING:
    from poise.spec.foreign.sloth_rules import Tiers

slo = App(name="slo", help="Objectives of a service: target, now, left, burn; files of other tools.")
slo.command(exclude)
slo.command(exclusions)
slo.command(include)

slo.command("poise.cli.slo_backtest:backtest", name="backtest")
slo.command("poise.cli.slo_lint:lint", name="lint")


@slo.default
def show(service: str, *, common: Common = COMMON) -> None:
    """The objectives of a service: target, now, budget left, burn rates, coverage."""
    from poise.cli.observe import show_budgets

    show_budgets(service, common)


@slo.command(name="import")
def import_(
    file: Path,
    *files: Path,
    source: str = "prometheus",
    url: str = "",
    common: Common = COMMON,
) -> None:
    """Objectives of Sloth, Pyrra, slo-generator or OpenSLO v1alpha, printed as OpenSLO v1. Needs no server.

    Parameters
    ----------
    file
        A file of one of those tools; whose it is, is told by its header.
    files
        More of them.
    source
        What the printed objectives call their data source.
    url
        The address of that Prometheus-compatible API; printed as a DataSource.
    """
    from poise.spec.foreign.openslo import documents, is_counted
    from poise.spec.foreign.written import as_yaml

    found = _read((file, *files))
    made = documents(found, source=source, url=url)
    if common.json:
        return output.data(made)
    for one in found:
        if not is_counted(one):
            sys.stderr.write(f"{one.service}/{one.name}: values of a query are counted, not events\n")
    print(as_yaml(made), end="")
    return None


@slo.command
def export(
    file: Path,
    *files: Path,
    to: Literal["sloth", "openslo"] = "sloth",
    period: str = "",
    windows: Path | None = None,
    only: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    label: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    recordings: bool = True,
    alerts: bool = True,
    common: Common = COMMON,
) -> None:
    """Objectives of a file as the Prometheus rules that Sloth writes, or as OpenSLO v1. Needs no server.

    Parameters
    ----------
    file
        Objectives of our own (poise.yaml, OpenSLO v1), or a file of Sloth, Pyrra, slo-generator or OpenSLO
        v1alpha.
    files
        More of them.
    to
        sloth: recording and alerting rules for Prometheus; openslo: OpenSLO v1.
    period
        The budget's period in place of the files' own, such as 28d.
    windows
        Tiers of alerts, a file of Sloth's kind AlertWindows; its period is the budget's.
    only
        The name of an objective to export; may be given again.
    label
        NAME=VALUE, a label of every rule; may be given again.
    recordings
        Whether there are recording rules.
    alerts
        Whether there are alerting rules.
    """
    from poise import __version__
    from poise.spec.foreign.openslo import documents
    from poise.spec.foreign.own import openslo_of, slos_of
    from poise.spec.foreign.sloth_rules import Wanted, rule_file
    from poise.spec.foreign.written import as_yaml

    tiers, window_s = _tiers(windows, period)
    theirs, ours = _selected((file, *files), only, window_s, common)
    if to == "openslo":
        made = documents(theirs)
        for one in ours:
            made += openslo_of(one.objectives, one.places, one.sources)
        output.data(made) if common.json else print(as_yaml(made), end="")
        return
    for one in ours:
        theirs += slos_of(one.objectives, one.places)
    wanted = Wanted(
        version=f"poise-{__version__}", tiers=tiers, labels=_labels(label), recordings=recordings,
        alerts=alerts,
    )  # fmt: skip
    rules = rule_file(theirs, wanted)
    output.data(rules) if common.json else print(as_yaml([rules]), end="")


@slo.command
def validate(file: Path, *files: Path, references: bool = True, common: Common = COMMON) -> None:
    """Whether files are right OpenSLO v1, every kind of it, and what they name is there. Needs no server.

    Parameters
    ----------
    file
        A file of OpenSLO v1 objects.
    files
        More of them.
    references
        Whether names of other objects must be in these files, and each object have a name of its own.
    """
    from poise.spec.openslo.documents import OpenSlo, check_references, read_openslo

    found: list[OpenSlo] = []
    problems: list[Invalid] = []
    for one in (file, *files):
        try:
            found += read_openslo(text_of(one), str(one))
        except Problems as error:
            problems += error.problems
    if problems:
        raise Problems(problems)
    if references:
        check_references(found, str(file) if not files else "these files")
    if common.json:
        return output.data([{"kind": one.kind, "name": one.name} for one in found])
    return output.say(f"{len(found)} objects of OpenSLO v1, all right")


def _tiers(windows: Path | None, period: str) -> tuple[Tiers, float | None]:
    """The tiers of alerts, and the budget's period where it is told."""
    from poise.spec.foreign.sloth_rules import Tiers
    from poise.spec.foreign.sloth_windows import read_windows

    window_s = _period(period) if period else None
    if windows is None:
        return Tiers(), window_s
    given = read_windows(text_of(windows), str(windows))
    return given.tiers, window_s or given.period_s


def _selected(
    files: Sequence[Path], only: Sequence[str], window_s: float | None, common: Common
) -> tuple[list[Slo], list[ObjectiveFile]]:
    """Objectives of other tools' files, and of our own; each over ``window_s`` where that is told."""
    from msgspec.structs import replace

    from poise.cli.objectives import is_foreign

    foreign = [one for one in files if is_foreign(text_of(one), str(one))]
    theirs = [one for one in (_read(foreign) if foreign else []) if not only or one.name in only]
    ours = [_only(one, only, common) for one in files if one not in foreign]
    if not theirs and not any(one.objectives for one in ours):
        where = ", ".join(map(str, files))
        raise NotFound("POISE-E237", "no such objective", where=where, mend="Name one of it: --only NAME")
    if window_s is None:
        return theirs, ours
    rolling = [tuple(replace(each, window_s=window_s) for each in one.objectives) for one in ours]
    return (
        [replace(one, window_s=window_s) for one in theirs],
        [replace(one, objectives=made) for one, made in zip(ours, rolling, strict=True)],
    )


def _only(file: Path, only: Sequence[str], common: Common) -> ObjectiveFile:
    """Our own objectives of a file: those that are declared, not what every service has anyway."""
    from msgspec.structs import replace

    from poise.cli.objectives import objectives_in

    declared = objectives_in(file, common)
    mine = tuple(
        one for one in declared.objectives
        if declared.places[one.key] != str(file) and (not only or one.name in only)
    )  # fmt: skip
    return replace(declared, objectives=mine)


def _read(files: Sequence[Path]) -> list[Slo]:
    """The objectives of all files; every problem of every file is told at once."""
    from poise.adapters.promql.checking import expression_fault
    from poise.spec.foreign.reading import read_slos

    found: list[Slo] = []
    problems: list[Invalid] = []
    for one in files:
        try:
            found += read_slos(text_of(one), str(one), expression_fault)
        except Problems as error:
            problems += error.problems
    if problems:
        raise Problems(problems)
    return found


def _period(text: str) -> float:
    from poise.spec.durations import parse_span

    seconds = parse_span(text)
    if not seconds:
        raise Invalid("POISE-E220", f"'{text}' is not a duration", where="--period", mend="Write e.g. 28d.")
    return seconds


def _labels(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name.isidentifier() and equals):
            raise Invalid("POISE-E221", f"'{one}' is no NAME=VALUE", where="--label", mend="Write team=shop.")
        found[name] = value
    return found
