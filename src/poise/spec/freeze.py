"""Freeze windows out of documents of kind FreezeWindow."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import convert

from poise.model.service import FreezeWindow
from poise.spec import limits
from poise.spec.problems import BAD_VALUE, TOO_LARGE, UNKNOWN_NAME, Report, nearest, shown
from poise.spec.read import Document, ServiceDocument, plain
from poise.spec.recurrence import NotARule, check


def freezes_of(
    documents: Sequence[Document],
    services: Sequence[ServiceDocument],
    environments: Sequence[str],
    report: Report,
) -> tuple[FreezeWindow, ...]:
    """Every freeze window of a file; what is wrong with one is reported."""
    known = {"services": sorted({one.name for one in services}), "environments": list(environments)}
    made = []
    for document in documents:
        if document.clean:
            before = len(report)
            one = _freeze(document, known, report)
            if len(report) == before:
                made.append(one)
    if len(documents) > limits.FREEZES:
        what = f"more than {limits.FREEZES} freeze windows"
        report.add(TOO_LARGE, documents[-1].place, what, mend="Remove those that are over.")
    return tuple(made)


def _freeze(document: Document, known: dict[str, list[str]], report: Report) -> FreezeWindow:
    spec, values = document.spec, plain(document.spec)
    assert isinstance(values, dict)
    one = convert({**values, "name": document.name}, FreezeWindow)
    for key, names in known.items():
        for name in values.get(key, ()):
            if name not in names:
                what = f"no {key[:-1]} {shown(name)} in this project"
                report.add(UNKNOWN_NAME, spec.at(key), what, mend=nearest(name, names))
    try:
        check(one)
    except NotARule as error:
        key = "firstEventStart" if error.key == "starts" else error.key
        report.add(BAD_VALUE, spec.at(key), error.what, mend=error.mend)
    return one
