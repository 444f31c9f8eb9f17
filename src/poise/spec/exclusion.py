"""Exclusions out of documents of kind Exclusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from poise.model.exclusion import Exclusion
from poise.model.objective import Objective
from poise.spec import limits
from poise.spec.problems import BAD_VALUE, TOO_LARGE, UNKNOWN_NAME, Report, nearest, shown
from poise.spec.read import Document, plain
from poise.spec.recurrence import NotARule, check


def exclusions_of(
    documents: Sequence[Document],
    project: str,
    objectives: Sequence[Objective],
    environments: Sequence[str],
    report: Report,
) -> tuple[Exclusion, ...]:
    """Every exclusion of a file; what is wrong with one is reported."""
    made = []
    for document in documents:
        if document.clean:
            before = len(report)
            one = _exclusion(document, project, objectives, environments, report)
            if len(report) == before:
                made.append(one)
    if len(documents) > limits.EXCLUSIONS:
        what = f"more than {limits.EXCLUSIONS} exclusions"
        report.add(TOO_LARGE, documents[-1].place, what, mend="Remove old ones.")
    return tuple(made)


def _exclusion(
    document: Document, project: str, objectives: Sequence[Objective], environments: Sequence[str],
    report: Report,
) -> Exclusion:  # fmt: skip
    spec, values = document.spec, plain(document.spec)
    assert isinstance(values, dict)
    one = Exclusion(
        project=project,
        name=document.name,
        starts=values["starts"],
        duration_s=values["duration_s"],
        reason=values["reason"],
        by="poise.yaml",
        rrule=values.get("rrule", ""),
        zone=values.get("zone", "UTC"),
        objectives=_subjects(document, project, values, objectives, environments, report),
    )
    try:
        check(one)
    except NotARule as error:
        key = "firstEventStart" if error.key == "starts" else error.key
        report.add(BAD_VALUE, spec.at(key), error.what, mend=error.mend)
    return one


def _subjects(
    document: Document, project: str, values: dict[str, Any], objectives: Sequence[Objective],
    environments: Sequence[str], report: Report,
) -> tuple[str, ...]:  # fmt: skip
    """What keys of objectives begin with; every one must be there in some environment."""
    spec = document.spec
    for name in values.get("environments", ()):
        if name not in environments:
            what = f"no environment {shown(name)} in this project"
            report.add(UNKNOWN_NAME, spec.at("environments"), what, mend=nearest(name, environments))
    where = values.get("environments", list(environments))
    if "slos" not in values:
        return tuple(f"{project}/{name}" for name in values.get("environments", ()))
    known = {"/".join(one.key.split("/")[2:]) for one in objectives}
    known |= {one.partition("/")[0] for one in known}
    for name in values["slos"]:
        if name not in known:
            what = f"no service or objective {shown(name)} in this file"
            report.add(UNKNOWN_NAME, spec.at("slos"), what, mend=nearest(name, sorted(known)))
    return tuple(f"{project}/{environment}/{name}" for environment in where for name in values["slos"])
