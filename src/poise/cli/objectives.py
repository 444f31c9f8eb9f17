"""The objectives of a file, whoever's format it is: our own, OpenSLO v1, Sloth, Pyrra, slo-generator."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from poise.cli.place import Common, declared_in, project_of, text_of
from poise.spec.document import Mapping, Scalar, compose
from poise.spec.objective_file import ObjectiveFile, parse_objectives

OWN = ("poise.dev/", "openslo/v1")


def objectives_in(file: Path, common: Common, url: str = "") -> ObjectiveFile:
    """What a file says, with the place of each objective. ``url`` answers for every data source.

    A file that declares services is read as ``poise.yaml`` is, their objectives by default included. Raises
    ``Problems`` with every problem.
    """
    text, name = text_of(file), str(file)
    if is_foreign(text, name):
        return _foreign(text, file, common, url)
    if ("poise.dev/v1", "Service") in _headers(text, name):
        return _project(text, file, common)
    project, environment = project_of(common, file.parent), common.named_environment or "production"
    return parse_objectives(text, project=project, environment=environment, filename=name, url=url)


def is_foreign(text: str, filename: str) -> bool:
    """Whether a file is of another tool's format."""
    headers = _headers(text, filename)
    return any(not version.startswith(OWN) or version == "openslo/v1alpha" for version, _ in headers)


def _project(text: str, file: Path, common: Common) -> ObjectiveFile:
    declared = declared_in(file, common)
    wanted = common.named_environment or declared.project.environments[-1]
    places = _places(text, str(file))
    mine = tuple(one for one in declared.objectives if one.service.split("/")[1] == wanted)
    found = {one.key: places.get(one.name) or _numbered(one.name, places) or str(file) for one in mine}
    return ObjectiveFile(
        objectives=mine, places=found, policy=declared.project.policy,
        sources=declared.project.sources, exclusions=declared.exclusions,
    )  # fmt: skip


def _numbered(name: str, places: dict[str, str]) -> str:
    """The place of the document that several targets came from: ``latency-2`` of ``latency``."""
    base, _, number = name.rpartition("-")
    return places.get(base, "") if number.isdigit() else ""


def _foreign(text: str, file: Path, common: Common, url: str) -> ObjectiveFile:
    from poise.adapters.promql.checking import expression_fault
    from poise.spec.foreign.openslo import documents
    from poise.spec.foreign.reading import read_slos
    from poise.spec.foreign.written import as_yaml

    slos = read_slos(text, str(file), expression_fault)
    project, environment = project_of(common, file.parent), common.named_environment or "production"
    made = parse_objectives(
        as_yaml(documents(slos)), project=project, environment=environment, filename=str(file), url=url
    )
    lines = {f"{project}/{environment}/{one.service}/{one.name}": one for one in slos}
    places = {key: f"{file}:{one.line}:{one.column}" for key, one in lines.items()}
    return replace(made, places={one.key: places.get(one.key, str(file)) for one in made.objectives})


def _headers(text: str, filename: str) -> set[tuple[str, str]]:
    """(version, kind) of each document; one without a version is left to the reader of our own."""
    found = set()
    for node in compose(text, filename):
        if isinstance(node, Mapping):
            version, kind, other = (node.get(key) for key in ("apiVersion", "kind", "version"))
            texts = [one.text if isinstance(one, Scalar) else "" for one in (version or other, kind)]
            if texts[0]:
                found.add((texts[0], texts[1]))
    return found


def _places(text: str, filename: str) -> dict[str, str]:
    """Where objectives are named, by name."""
    found: dict[str, str] = {}
    for node in compose(text, filename):
        metadata = node.get("metadata") if isinstance(node, Mapping) else None
        named = metadata.get("name") if isinstance(metadata, Mapping) else None
        kind = node.get("kind") if isinstance(node, Mapping) else None
        if isinstance(named, Scalar) and isinstance(kind, Scalar) and kind.text in ("SLO", "Objective"):
            found.setdefault(named.text, f"{filename}:{named.line}:{named.column}")
    return found
