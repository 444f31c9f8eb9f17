"""OpenSLO v1 files read, checked, and written again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct, structs

from poise.spec.document import Items, Mapping, Node, Scalar, compose
from poise.spec.foreign.written import as_yaml
from poise.spec.openslo.keys import KINDS, METADATA
from poise.spec.openslo.rules import check, check_metadata
from poise.spec.problems import DECLARED_TWICE, UNKNOWN_KIND, UNKNOWN_NAME, WRONG_TYPE, Report, nearest, shown
from poise.spec.read import read_record
from poise.spec.shape import Anything, Choice, Field, Record

V1: Final = "openslo/v1"
ORDER: Final = ("apiVersion", "kind", "metadata", "spec")


class OpenSlo(Struct, frozen=True, kw_only=True):
    """One object: its kind and name, and the whole of it as plain values in the order of the text."""

    kind: str
    name: str
    body: dict[str, Any]
    line: int = 1
    column: int = 1


def read_openslo(text: str, filename: str) -> tuple[OpenSlo, ...]:
    """Every object of a file, which may be lists of objects. Raises ``Problems`` with every problem."""
    report = Report(filename)
    found = []
    for document in compose(text, filename):
        for node in document.items if isinstance(document, Items) else (document,):
            one = _object(_said(node), report)
            found += [one] if one is not None else []
    report.raise_if_any()
    return tuple(found)


def check_references(objects: Sequence[OpenSlo], filename: str) -> None:
    """Each object has a name of its own, and what it names is there. Raises ``Problems``."""
    report = Report(filename)
    _unique(objects, report)
    names: dict[str, set[str]] = {}
    for one in objects:
        names.setdefault(one.kind, set()).add(one.name)
    for one in objects:
        for kind, name in sorted(set(_named(one.body["spec"]))):
            if name not in names.get(kind, ()):
                what = f"{one.kind} {shown(one.name)} names the {kind} {shown(name)}, which is not here"
                report.add(UNKNOWN_NAME, one, what, mend=nearest(name, names.get(kind, ())))
    report.raise_if_any()


def write_openslo(objects: Iterable[OpenSlo]) -> str:
    """The objects as YAML; reading it gives the same objects."""
    return as_yaml([one.body for one in objects])


def value_of(node: Node) -> Any:
    """A node as plain values, scalars as YAML 1.2's core schema reads them."""
    match node:
        case Mapping(entries=entries):
            return {key.text: value_of(value) for key, value in entries}
        case Items(items=items):
            return [value_of(one) for one in items]
        case Scalar(kind="null"):
            return None
        case Scalar(kind="flag", text=text):
            return text.lower() == "true"
        case Scalar(kind="integer", text=text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        case Scalar(kind="number", text=text):
            return float(text.replace(".inf", "inf").replace(".nan", "nan").lower())
        case Scalar(text=text):
            return text


def _said(node: Node) -> Node:
    """The node without keys that have no value: nothing is said by them."""
    match node:
        case Mapping(entries=entries):
            kept = tuple((key, _said(value)) for key, value in entries if not _is_null(value))
            return structs.replace(node, entries=kept)
        case Items(items=items):
            return structs.replace(node, items=tuple(_said(one) for one in items))
        case _:
            return node


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.kind == "null"


def _object(node: Node, report: Report) -> OpenSlo | None:
    if not isinstance(node, Mapping):
        report.add(WRONG_TYPE, node, "an object must be a mapping", mend="Write 'apiVersion: openslo/v1'.")
        return None
    kind = node.get("kind")
    word = kind.text if isinstance(kind, Scalar) else ""
    if word not in KINDS:
        place = kind or node
        report.add(UNKNOWN_KIND, place, f"no kind {shown(word)} in {V1}", mend=nearest(word, KINDS))
        return None
    before = len(report)
    shape = Record(
        fields=(
            Field("apiVersion", Choice(words=(V1,)), "", "The format.", True),
            Field("kind", Anything(), "", "The kind.", True),
            Field("metadata", METADATA, "", "The name.", True),
            Field("spec", KINDS[word], "", "The object.", word != "Service"),
        )
    )
    read_record(shape, node, "the object", report)
    check_metadata(node.get("metadata"), report)
    spec = node.get("spec")
    if spec is not None:
        check(word, spec, report)
    if len(report) > before:
        return None
    body = value_of(node)
    ordered = {key: body[key] for key in ORDER if key in body}
    return OpenSlo(
        kind=word, name=str(body["metadata"]["name"]), body=ordered, line=node.line, column=node.column
    )


def _unique(found: Sequence[OpenSlo], report: Report) -> None:
    seen: set[tuple[str, str]] = set()
    for one in found:
        if (one.kind, one.name) in seen:
            what = f"the {one.kind} {shown(one.name)} is declared twice"
            report.add(DECLARED_TWICE, one, what, mend="Rename one of the two.")
        seen.add((one.kind, one.name))


_REFERENCES: Final = {
    "indicatorRef": "SLI",
    "metricSourceRef": "DataSource",
    "alertPolicyRef": "AlertPolicy",
    "conditionRef": "AlertCondition",
    "targetRef": "AlertNotificationTarget",
}


def _named(value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _REFERENCES and isinstance(inner, str):
                yield _REFERENCES[key], inner
            else:
                yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)
