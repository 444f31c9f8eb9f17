"""Probes out of documents of kind Probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import re2  # type: ignore[import-untyped]
from msgspec import convert

from poise.model.service import Probe, ProbeKind
from poise.spec import limits
from poise.spec.problems import CONTRADICTION, EXPRESSION, MISSING_KEY, TOO_LARGE, Report
from poise.spec.read import Document, plain

_WAYS: Final = tuple(kind.value for kind in ProbeKind)
_OF_HTTP: Final = {"expectStatus": "statuses", "expectBody": "body"}


def probes_of(documents: Sequence[Document], report: Report) -> tuple[Probe, ...]:
    """Every probe of a file; what is wrong with one is reported."""
    made = []
    for document in documents:
        before = len(report)
        values = plain(document.spec)
        assert isinstance(values, dict)  # a record is always one
        ways = [way for way in _WAYS if way in values]
        _check(document, ways, report)
        if len(report) == before and ways:
            rest = {key: value for key, value in values.items() if key not in _WAYS}
            made.append(
                convert({**rest, "name": document.name, "kind": ways[0], "target": values[ways[0]]}, Probe)
            )
    if len(documents) > limits.PROBES:
        report.add(TOO_LARGE, documents[-1].place, f"more than {limits.PROBES} probes", mend="Remove some.")
    return tuple(made)


def _check(document: Document, ways: list[str], report: Report) -> None:
    spec = document.spec
    if not ways:
        what, mend = "a probe needs something to look at", "Add one of 'http', 'tcp', 'tls' and 'dns'."
        report.add(MISSING_KEY, document.place, what, mend=mend)
        return
    if len(ways) > 1:
        what = f"a probe looks in one way, not by {' and '.join(repr(way) for way in ways)}"
        report.add(CONTRADICTION, spec.at(ways[1]), what, mend="Make two probes of it.")
    if ways[0] == "dns" and "server" not in spec.nodes:
        what, mend = "a DNS probe needs the server that is asked", "Add 'server: 1.1.1.1:53'."
        report.add(MISSING_KEY, spec.at("dns"), what, mend=mend)
    for key in _OF_HTTP:
        if key in spec.nodes and ways[0] != "http":
            report.add(
                CONTRADICTION, spec.at(key), f"only an HTTP probe has {key!r}", mend=f"Remove {key!r}."
            )
    pattern = spec.values.get("body")
    if isinstance(pattern, str):
        options = re2.Options()
        options.log_errors = False
        try:
            re2.compile(pattern, options)
        except re2.error as error:
            what = f"the expression cannot be read: {error}"
            report.add(EXPRESSION, spec.at("expectBody"), what, mend="See github.com/google/re2/wiki/Syntax")
