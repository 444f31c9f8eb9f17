"""Data sources, and indicators whose events a metrics store counts, out of OpenSLO documents."""

from __future__ import annotations

from collections.abc import Mapping as Map
from collections.abc import Sequence
from typing import Final

from msgspec import convert

from poise.model.objective import Queries
from poise.model.service import DataSource
from poise.spec import limits
from poise.spec.counter import NotCounted, counter
from poise.spec.document import Node, Place, Scalar
from poise.spec.problems import (
    CONTRADICTION,
    DECLARED_TWICE,
    EXPRESSION,
    TOO_LARGE,
    UNKNOWN_NAME,
    Report,
    nearest,
    shown,
)
from poise.spec.read import Document, Found, plain

PROJECTS_OWN: Final = "prometheus"  # the name of the source that stands in kind Project
EMBEDDED: Final = ""
Sides = Map[str, tuple[str, str | None, str | None]]  # role -> (query, type, metricSourceRef)


def sources_of(
    documents: Sequence[Document], projects: Sequence[Document], report: Report
) -> tuple[DataSource, ...]:
    """Every data source of a file: documents of kind DataSource, and ``prometheus:`` of the project."""
    found = [(one.name, one.spec, "connectionDetails.", one.place, plain(one.spec)) for one in documents]
    for project in projects:
        own = project.spec.values.get("prometheus")
        if isinstance(own, dict):
            place = project.spec.at("prometheus")
            found.append((PROJECTS_OWN, project.spec, "prometheus.", place, own))
    names: set[str] = set()
    made = []
    for name, spec, path, place, values in found:
        if name in names:
            what = f"the data source {shown(name)} is declared twice"
            report.add(DECLARED_TWICE, place, what, mend="Rename one of the two.")
        names.add(name)
        before = len(report)
        _check(spec, path, report)
        if len(report) == before and isinstance(values, dict) and "url" in values:
            made.append(convert({**values, "name": name}, DataSource))
    if len(found) > limits.SOURCES:
        report.add(TOO_LARGE, found[-1][3], f"more than {limits.SOURCES} sources", mend="Remove some.")
    return tuple(made)


def _check(spec: Found, path: str, report: Report) -> None:
    nodes = spec.nodes
    if f"{path}bearerToken" in nodes and f"{path}basicAuth" in nodes:
        what = "a source is asked either with 'bearerToken' or with 'basicAuth'"
        report.add(CONTRADICTION, spec.at(f"{path}basicAuth"), what, mend="Keep one of the two.")
    given = [key for key in ("certFile", "keyFile") if f"{path}tls.{key}" in nodes]
    if len(given) == 1:
        what = "a certificate of ours needs both 'certFile' and 'keyFile'"
        report.add(CONTRADICTION, spec.at(f"{path}tls.{given[0]}"), what, mend="Name both.")


def queries_of(
    sides: Sides, spec: Found, path: str, sources: Sequence[DataSource], report: Report
) -> Queries | None:
    """The counters behind a ratio of queries; None, and a problem, when they do not make one."""
    if set(sides) not in ({"good", "total"}, {"bad", "total"}, {"good", "bad"}):
        what = "a ratio of queries needs two of 'good', 'bad' and 'total'"
        report.add(CONTRADICTION, spec.at(path), what, mend="Write e.g. 'bad' and 'total'.")
        return None
    named = {}
    found = {}
    before = len(report)
    for role, (query, kind, ref) in sides.items():
        below = f"{path}.{role}.metricSource"
        named[role] = source_of(kind, ref, spec.at(f"{below}.metricSourceRef", f"{below}.type", below),
                                sources, report)  # fmt: skip
        found[role] = _selector(query, spec.at(f"{below}.spec.query"), report)
    if len(report) == before and len(set(named.values())) > 1:
        what = "the counters of one ratio come from one source"
        report.add(CONTRADICTION, spec.at(path), what, mend="Name the same source twice.")
    if len(report) > before:
        return None
    return Queries(source=next(iter(named.values())) or EMBEDDED, **found)


def source_of(
    kind: str | None, ref: str | None, place: Node, sources: Sequence[DataSource], report: Report
) -> str:
    names = [one.name for one in sources]
    if ref is not None:
        if ref not in names:
            mend = nearest(ref, names) or "Add a document of kind DataSource."
            report.add(UNKNOWN_NAME, place, f"no data source {shown(ref)} in this file", mend=mend)
        return ref
    if kind == "poise":
        return EMBEDDED
    if len(names) == 1:
        return names[0]
    which = "no data source is declared" if not names else "several data sources are declared"
    mend = "Add a document of kind DataSource, or 'prometheus: {url: ...}' to kind Project."
    if names:
        mend = f"Write 'metricSourceRef: {names[0]}'."
    report.add(UNKNOWN_NAME, place, f"{which}, so nobody knows where to ask", mend=mend)
    return ""


def _selector(query: str, node: Node, report: Report) -> str:
    try:
        return counter(query).text
    except NotCounted as error:
        place = placed(node, query, error.offset)
        report.add(EXPRESSION, place, f"events cannot be counted from this: {error.what}", mend=error.mend)
        return ""


def placed(node: Node, text: str, offset: int) -> Place:
    """Where a character of a text stands in the file; the text's own place where that is not told."""
    if not isinstance(node, Scalar):
        return Place(node.line, node.column)
    width = node.end - node.start
    if "\n" not in text and width in (len(text), len(text) + 2):
        return Place(node.line, node.column + offset + (width - len(text)) // 2)
    lines = text[:offset].split("\n")
    if width > len(
        text
    ):  # a block: its text begins on the line after its header; its indentation is not told
        return Place(node.line + len(lines), 1)
    return Place(node.line, node.column)
