"""Whose file it is, told by its header, and the objectives in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from poise.spec.document import Items, Mapping, Node, Scalar, compose
from poise.spec.foreign import openslo_alpha, pyrra, slo_generator, sloth
from poise.spec.foreign.slo import Slo
from poise.spec.problems import DECLARED_TWICE, UNKNOWN_KIND, WRONG_TYPE, Report, shown
from poise.spec.rules import Check, unchecked

Reader = Callable[[Node, Report, Check], list[Slo]]


class Format(Struct, frozen=True):
    """A tool's format: the header that tells it, and who reads it."""

    tool: str
    version: str
    kind: str
    read: Reader


FORMATS: Final = (
    Format("Sloth", sloth.PROMETHEUS_V1, "", sloth.prometheus_v1),
    Format("Sloth", sloth.KUBERNETES_V1, sloth.KUBERNETES_KIND, sloth.kubernetes_v1),
    Format("OpenSLO v1alpha", openslo_alpha.V1ALPHA, "SLO", openslo_alpha.v1alpha),
    Format("Pyrra", pyrra.V1ALPHA1, "ServiceLevelObjective", pyrra.v1alpha1),
    Format("slo-generator", slo_generator.V2, "ServiceLevelObjective", slo_generator.v2),
)
_PASSED_OVER: Final = {(openslo_alpha.V1ALPHA, "Service")}


def read_slos(text: str, filename: str, check: Check = unchecked) -> tuple[Slo, ...]:
    """Every objective of a file of another tool's. Raises ``Problems`` with every problem at its place."""
    report = Report(filename)
    made: list[Slo] = []
    for document in compose(text, filename):
        for one in document.items if isinstance(document, Items) else (document,):
            made += _of_document(one, report, check)
    seen: set[tuple[str, str]] = set()
    for slo in made:
        if (slo.service, slo.name) in seen:
            what = f"{shown(slo.service)} has two objectives {shown(slo.name)}"
            report.add(DECLARED_TWICE, slo, what, mend="Rename one of the two.")
        seen.add((slo.service, slo.name))
    report.raise_if_any()
    return tuple(made)


def _of_document(document: Node, report: Report, check: Check) -> list[Slo]:
    if not isinstance(document, Mapping):
        report.add(WRONG_TYPE, document, "a document must be a mapping", mend="Write its keys.")
        return []
    version = _word(document, "apiVersion") or _word(document, "version")
    kind = _word(document, "kind")
    if (version, kind) in _PASSED_OVER:
        return []
    found = next((one for one in FORMATS if one.version == version and one.kind in ("", kind)), None)
    if found is None:
        known = ", ".join(f"{one.tool} ({one.version})" for one in FORMATS)
        what = f"{shown(version or 'no version')} {kind} is the format of no tool that is read"
        report.add(UNKNOWN_KIND, document, what, mend=f"Known: {known}.")
        return []
    return found.read(document, report, check)


def _word(document: Mapping, key: str) -> str:
    node = document.get(key)
    return node.text if isinstance(node, Scalar) else ""
