"""What no single key can say: contradictions between keys, names that must exist, and circles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import fields

from poise.model.objective import IndicatorKind, Objective
from poise.model.service import Protocol, Service
from poise.spec.document import Items, Mapping, Node, Scalar
from poise.spec.durations import format_duration
from poise.spec.problems import (
    BAD_VALUE,
    CONTRADICTION,
    CYCLE,
    DECLARED_TWICE,
    UNKNOWN_NAME,
    Report,
    nearest,
    shown,
)
from poise.spec.read import Found, ServiceDocument

VERBS = {"dependsOn": "depend", "needs": "wait for one another"}
DEPENDS_ON, NEEDS = ("dependsOn", "depends_on"), ("needs", "needs")
NEEDS_A_PORT = ("hostname", "health", "timeouts", "scaling", "protocol")


def check_services(found: Sequence[ServiceDocument], report: Report) -> None:
    """Every service by itself, then their dependencies and host names together."""
    for document in found:
        _check_port(document, report)
        _check_replicas(document, report)
        _check_timeouts(document, report)
        _check_protocol(document, report)
        _check_env(document, report)
        _check_container(document, report)
    _check_hostnames(found, report)
    for environment in dict.fromkeys(document.environment for document in found):
        here = [one for one in found if one.environment == environment]
        _check_dependencies(here, found, DEPENDS_ON, report)
        _check_dependencies(here, found, NEEDS, report)


def check_judges(
    found: Iterable[ServiceDocument], project: str, objectives: Iterable[Objective], report: Report
) -> None:
    """What judges a canary must be an objective of the service whose counters tell the rollouts apart."""
    by_key = {one.key: one for one in objectives}
    for document in found:
        strategy = document.values.get("strategy")
        judges = strategy.get("judged_by") if isinstance(strategy, dict) else None
        for judge in judges if isinstance(judges, list) else ():
            name = str(judge.values.get("objective")) if isinstance(judge, Found) else ""
            objective = by_key.get(f"{project}/{document.environment}/{document.name}/{name}")
            place = document.at("rollout", "judgedBy")
            if objective is None:
                what = f"'judgedBy' names {shown(name)}, no objective of service {shown(document.name)}"
                report.add(UNKNOWN_NAME, place, what, mend="Name an objective of this service.")
            elif objective.indicator is not IndicatorKind.QUERY:
                what = f"objective {shown(name)} is not counted by query, so nothing tells its rollouts apart"
                mend = "Name one with ratioMetric counters that carry the label, e.g. rollout."
                report.add(CONTRADICTION, place, what, mend=mend)


def circle(graph: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The names of a circle in a graph of needs, in order and without the first again; else empty.

    Names that are no node of the graph are passed over. Linear in edges.

    >>> circle({"a": ("b",), "b": ("a",)})
    ('a', 'b')
    """
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        ahead = [iter((start,))]
        while ahead:
            name = next((name for name in ahead[-1] if name in graph and name not in done), None)
            if name is None:
                ahead.pop()
                if path:
                    done.add(path.pop())
            elif name in path:
                return tuple(path[path.index(name) :])
            else:
                path.append(name)
                ahead.append(iter(graph[name]))
    return ()


def items_of(node: Node | None) -> tuple[Node, ...]:
    """The items of a list, or the one value that stands alone."""
    return node.items if isinstance(node, Items) else () if node is None else (node,)


def _check_port(document: ServiceDocument, report: Report) -> None:
    if document.has_port:
        return
    for key in NEEDS_A_PORT:
        for mapping in document.nodes:
            for name, _ in mapping.entries:
                if name.text == key:
                    what = f"'{key}' has no meaning for a service without a port"
                    report.add(CONTRADICTION, name, what, mend=f"Add 'port', or remove '{key}'.")


def _check_replicas(document: ServiceDocument, report: Report) -> None:
    replicas = document.values.get("replicas")
    if isinstance(replicas, dict) and {"min", "max"} <= set(replicas) and replicas["min"] > replicas["max"]:
        what = f"'min' ({replicas['min']}) is above 'max' ({replicas['max']})"
        report.add(CONTRADICTION, document.at("replicas", "min"), what, mend="Swap them.")


def _check_timeouts(document: ServiceDocument, report: Report) -> None:
    per_try, whole = (
        float(str(document.values.get(field.name, field.default)))
        for field in sorted(fields(Service), key=lambda field: field.name)
        if field.name in ("per_try_timeout_s", "request_timeout_s")
    )
    if per_try > whole:
        what = f"one try ({format_duration(per_try)}) may last longer than all ({format_duration(whole)})"
        key = "perTry" if "per_try_timeout_s" in document.values else "request"
        mend = "Make 'perTry' at most 'request'."
        report.add(CONTRADICTION, document.at("timeouts", key), what, mend=mend)


def _check_protocol(document: ServiceDocument, report: Report) -> None:
    """A path that is never asked for would be lost without a word."""
    health = document.values.get("health")
    if document.values.get("protocol") == Protocol.GRPC and isinstance(health, dict) and "path" in health:
        what = "'health' has a path, but a gRPC service is asked by grpc.health.v1.Health/Check"
        mend = "Remove the path; answer that call, or UNIMPLEMENTED."
        report.add(CONTRADICTION, document.at("health", "path"), what, mend=mend)


def _check_env(document: ServiceDocument, report: Report) -> None:
    """A variable that Poise sets itself would be lost without a word."""
    taken = {"PORT": "'port'"} if document.has_port else {}
    taken |= {_url(name): f"'dependsOn: [{name}]'" for name in _names(document.values.get("depends_on"))}
    for mapping in document.nodes:
        env = mapping.get("env")
        for key, _ in env.entries if isinstance(env, Mapping) else ():
            if key.text in taken:
                what = f"{shown(key.text)} is set by {taken[key.text]} already"
                report.add(CONTRADICTION, key, what, mend="Remove it, or use another name.")


def _check_container(document: ServiceDocument, report: Report) -> None:
    """What only an image can have, and what it cannot."""
    if document.at("image") is not document.place:
        node = document.at("artifact")
        if node is not document.place:
            what = "'artifact' has no meaning beside 'image': the image is what is released"
            report.add(CONTRADICTION, node, what, mend="Keep one of the two.")
        return
    node = document.at("readOnly")
    if node is not document.place:
        what = "'readOnly' needs 'image': the release of a process is read-only always"
        report.add(CONTRADICTION, node, what, mend="Remove it.")
    resources = document.values.get("resources")
    if isinstance(resources, dict) and "cpu" in resources:
        what = "'cpu' needs 'image': the kernel holds a container to it, not a process"
        mend = "Remove it, or run the service as an image."
        report.add(CONTRADICTION, document.at("resources", "cpu"), what, mend=mend)


def _url(service: str) -> str:
    return f"{service.upper().replace('-', '_')}_URL"


def _names(value: object) -> tuple[str, ...]:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def _check_hostnames(found: Iterable[ServiceDocument], report: Report) -> None:
    seen: dict[str, ServiceDocument] = {}
    for document in found:
        if document.has_port:
            host = str(document.values.get("hostname", document.hostname))
            first = seen.setdefault(host, document)
            if (first.name, first.environment) == (document.name, document.environment):
                continue
            what = f"the host name {shown(host)} is already that of service {shown(first.name)}"
            mend = "Give it another."
            if first.name == document.name:
                what += f" in {first.environment}"
                mend = f"Give it another in the overrides of {document.environment}."
            report.add(DECLARED_TWICE, document.at("hostname"), what, mend=mend)


def _check_dependencies(
    found: Sequence[ServiceDocument],
    everywhere: Sequence[ServiceDocument],
    names: tuple[str, str],
    report: Report,
) -> None:
    """Of one environment: a service reaches, and waits for, those of its own environment alone.

    ``names`` are the key and where its value is.
    """
    key, target = names
    elsewhere = {document.name for document in everywhere}
    known = {document.name: document for document in found}
    places: dict[tuple[str, str], Node] = {}
    for document in found:
        node = document.at(key)
        for item in items_of(node) if node is not document.place else ():
            if not isinstance(item, Scalar) or item.text not in _names(document.values.get(target)):
                continue
            places[document.name, item.text] = item
            if item.text not in known and item.text in elsewhere:
                what = f"service {shown(item.text)} is not in environment {shown(document.environment)}"
                report.add(UNKNOWN_NAME, item, what, mend="Declare it there too, or remove it here.")
            elif item.text not in known:
                what = f"no service {shown(item.text)} in this file"
                others = (name for name in known if name != document.name)
                report.add(UNKNOWN_NAME, item, what, mend=nearest(item.text, others))
            elif names is DEPENDS_ON and not known[item.text].has_port:
                what = f"service {shown(item.text)} has no port to depend on"
                report.add(BAD_VALUE, item, what, mend="Give it a port, or remove it here.")
    graph = {name: _names(document.values.get(target)) for name, document in known.items()}
    if ring := circle(graph):
        what = f"services {VERBS[key]} in a circle: {' -> '.join((*ring, ring[0]))}"
        place = places.get((ring[-1], ring[0]), known[ring[-1]].place)
        report.add(CYCLE, place, what, mend="Remove one of these.")
