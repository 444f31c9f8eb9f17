"""``poise.yaml``: a project, its services and their objectives, or every problem of the file."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct, convert
from msgspec.structs import replace

from poise.model.exclusion import Exclusion
from poise.model.objective import Objective
from poise.model.oncall import EscalationPolicy, OnCallSchedule
from poise.model.policy import BudgetPolicy
from poise.model.rules import RuleFile
from poise.model.service import Detection, Heal, Project, Replicas, Service
from poise.spec import limits
from poise.spec.checks import check_judges, check_services
from poise.spec.checks_policy import check_policy, check_tickets, defaulted
from poise.spec.checks_strategy import check_strategies
from poise.spec.document import Mapping, Node, Place, Scalar, compose
from poise.spec.environments import environments_of, placed
from poise.spec.exclusion import exclusions_of
from poise.spec.freeze import freezes_of
from poise.spec.kinds import KINDS, KINDS_REFUSED, SERVICE_ELSEWHERE, KindTable
from poise.spec.objective import objectives_of, openslo_drafts
from poise.spec.objective_short import short_drafts
from poise.spec.oncall import oncall_of
from poise.spec.previews import previews_of
from poise.spec.probe import probes_of
from poise.spec.problems import (
    CONTRADICTION,
    DECLARED_TWICE,
    MISSING_KEY,
    TOO_LARGE,
    UNKNOWN_KIND,
    UNSUPPORTED,
    WRONG_TYPE,
    Report,
    nearest,
    shown,
)
from poise.spec.query import sources_of
from poise.spec.read import Document, Found, ServiceDocument, plain, read_record
from poise.spec.rules import Glob, globs_of
from poise.spec.scrape import ReadFile, scrapes_of
from poise.spec.shape import Anything, Field, Record

FILENAME: Final = "poise.yaml"


class Declared(Struct, frozen=True, kw_only=True):
    """What a ``poise.yaml`` declares; services in the order of the file, each once per environment.

    ``rule_globs`` name rule files beside it; whoever can read them adds ``rule_files``.
    """

    project: Project
    services: tuple[Service, ...]
    objectives: tuple[Objective, ...]
    exclusions: tuple[Exclusion, ...] = ()
    schedules: tuple[OnCallSchedule, ...] = ()
    escalations: tuple[EscalationPolicy, ...] = ()
    rule_globs: tuple[Glob, ...] = ()
    rule_files: tuple[RuleFile, ...] = ()
    notes: tuple[str, ...] = ()  # what of the named files has no effect here


def parse_project(
    text: str, *, project: str, filename: str = FILENAME, file: ReadFile | None = None
) -> Declared:
    """The declarations of a ``poise.yaml``. Raises ``Problems`` (an ``Invalid``) with every problem.

    ``file`` reads the files of the repository that it names; without it they are not opened, and what they
    declare is not in the answer.

    Six lines are enough: a service with a port gets an availability objective of 99.9 % and a latency
    objective of 99 % under 250 ms, both over 28 rolling days.
    """
    report = Report(filename)
    documents = [
        document for node in compose(text, filename) if (document := document_of(node, report)) is not None
    ]
    _check_once(documents, report)
    services_found = of_kind(documents, "Service")
    order = environments_of(of_kind(documents, "Project"), services_found, report)
    found = [one for document in services_found for one in placed(document, order)]
    check_services(found, report)
    check_strategies(found, report)
    policy = policy_of(documents, report)
    sources = sources_of(of_kind(documents, "DataSource"), of_kind(documents, "Project"), report)
    probes = probes_of(of_kind(documents, "Probe"), report)
    projects = of_kind(documents, "Project")
    scrapes = scrapes_of(of_kind(documents, "ScrapeConfig"), projects, found, file, report)
    declared = replace(
        _project(documents, project, policy, order.names, report),
        sources=sources, probes=probes, scrapes=scrapes.configs,
        freezes=freezes_of(of_kind(documents, "FreezeWindow"), found, order.names, report),
    )  # fmt: skip
    declared = replace(declared, previews=previews_of(projects, found, declared.branch, report))
    if not found and not report:
        mend = "Add a document of kind Service with a name, a command and a port."
        report.add(MISSING_KEY, Place(), "no service is declared", mend=mend)
    services = {
        name: {f"{project}/{one.environment}/{name}": one.has_port for one in found if one.name == name}
        for name in dict.fromkeys(document.name for document in found)
    }
    drafts = [
        *openslo_drafts(documents, services, report, sources),
        *short_drafts(of_kind(documents, "Objective"), services, sources, probes, report),
    ]
    objectives = objectives_of(drafts, services, report)
    check_judges(found, project, objectives, report)
    exclusions = exclusions_of(of_kind(documents, "Exclusion"), project, objectives, order.names, report)
    schedules, escalations = oncall_of(documents, project, report)
    globs = globs_of(of_kind(documents, "Project"), report)
    report.raise_if_any()
    return Declared(
        project=declared,
        services=tuple(_service(document, project, declared.branch) for document in found),
        objectives=objectives,
        exclusions=exclusions,
        schedules=schedules,
        escalations=escalations,
        rule_globs=globs,
        notes=scrapes.notes,
    )


def document_of(node: Node, report: Report) -> Document | None:
    """One document by its kind; None when it cannot even be told what it is."""
    if not isinstance(node, Mapping):
        mend = "Start with 'apiVersion: poise.dev/v1'."
        report.add(WRONG_TYPE, node, "a document must be a mapping", mend=mend)
        return None
    table = _table(node, report)
    if table is None:
        return None
    header = Record(
        fields=(
            Field("apiVersion", Anything(), "", "The version of its keys.", required=True),
            Field("kind", Anything(), "", "What it declares.", required=True),
            Field("metadata", Anything(), "", "Its name.", required=True),
            Field("spec", Anything(), "", "What it declares.", required=True),
        )
    )
    before = len(report)
    read_record(header, node, "the document", report)
    metadata, body = node.get("metadata"), node.get("spec")
    if metadata is None or body is None:
        return None
    named = read_record(table.metadata, metadata, "'metadata'", report)
    spec = read_record(table.spec, body, "'spec'", report)
    name = named.text("name") if named is not None else None
    if named is None or name is None or spec is None:
        return None
    clean = len(report) == before
    return Document(kind=table.kind, name=name, place=named.at("name"), spec=spec, clean=clean)


def _table(node: Mapping, report: Report) -> KindTable | None:
    """The keys of the document's kind; None, and a problem, when it is not one that is read."""
    kind, version = node.get("kind"), node.get("apiVersion")
    if not isinstance(kind, Scalar):
        report.add(MISSING_KEY, kind or node, "the document has no 'kind'", mend="Add 'kind: Service'.")
        return None
    if kind.text in KINDS_REFUSED:
        what = f"kind {shown(kind.text)} is not supported yet"
        report.add(UNSUPPORTED, kind, what, mend=KINDS_REFUSED[kind.text])
        return None
    table = KINDS.get(kind.text)
    if kind.text == SERVICE_ELSEWHERE.kind and _is(version, SERVICE_ELSEWHERE.api_version):
        return SERVICE_ELSEWHERE
    if table is None:
        report.add(UNKNOWN_KIND, kind, f"unknown kind {shown(kind.text)}", mend=nearest(kind.text, KINDS))
        return None
    if version is not None and not _is(version, table.api_version):
        written = shown(version.text) if isinstance(version, Scalar) else "this"
        what = f"{written} is not an apiVersion of kind {table.kind}"
        report.add(UNKNOWN_KIND, version, what, mend=f"Write 'apiVersion: {table.api_version}'.")
        return None
    return table


def _is(node: Node | None, text: str) -> bool:
    return isinstance(node, Scalar) and node.text == text


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """The documents of one kind, in the order of the file."""
    return [document for document in documents if document.kind == kind]


def _check_once(documents: list[Document], report: Report) -> None:
    """Every name once per kind; one policy, one project; not too many services."""
    seen: dict[tuple[str, str], Document] = {}
    for document in documents:
        alone = document.kind in ("BudgetPolicy", "Project")
        first = seen.setdefault((document.kind, "" if alone else document.name), document)
        if first is not document:
            what = f"{document.kind} {shown(document.name)} is declared a second time"
            why = f"{'Only one is read, and one' if alone else 'It'} is already on line {first.place.line}."
            report.add(DECLARED_TWICE, document.place, what, why=why, mend="Keep one of the two.")
    services = of_kind(documents, "Service")
    if len(services) > limits.SERVICES:
        place = services[limits.SERVICES].place
        report.add(TOO_LARGE, place, f"more than {limits.SERVICES} services", mend="Split the project.")


def policy_of(documents: list[Document], report: Report) -> BudgetPolicy:
    """The budget policy that is declared, checked; the default one where none is."""
    for document in of_kind(documents, "BudgetPolicy"):
        check_policy(document.spec, report)
        if not report:
            values = {**_plain(document.spec), **defaulted(document.spec), "name": document.name}
            return convert(values, BudgetPolicy)
    return BudgetPolicy()


def _project(
    documents: list[Document], name: str, policy: BudgetPolicy, environments: tuple[str, ...], report: Report
) -> Project:
    for document in of_kind(documents, "Project"):
        if document.name != name:
            what = f"this is project {shown(name)}, not {shown(document.name)}"
            report.add(CONTRADICTION, document.place, what, mend=f"Write 'name: {name}'.")
        check_tickets(document.spec.values.get("alerts"), policy, report)
        values = _plain(document.spec)
        heal = convert(values.get("heal", {}), Heal)
        return Project(
            name=name,
            policy=policy,
            heal=heal,
            alerts=convert(values.get("alerts", {}), Detection),
            branch=str(values.get("branch", "main")),
            environments=environments,
            sinks=tuple(values.get("sinks", ())),
        )
    return Project(name=name, policy=policy, environments=environments)


def _service(document: ServiceDocument, project: str, branch: str) -> Service:
    values: dict[str, Any] = {"branch": branch, **document.values}
    values |= {"project": project, "environment": document.environment, "name": document.name}
    if "port" in values:
        values.setdefault("hostname", document.hostname)
    values["replicas"] = replicas_of(values.get("replicas", {}))
    return convert(plain(values), Service)


def replicas_of(declared: dict[str, int]) -> Replicas:
    """The bounds declared; a bound left out is the default, moved as far as the other one asks."""
    default = Replicas()
    low = declared.get("min", min(default.min, declared.get("max", default.min)))
    return Replicas(min=low, max=declared.get("max", max(default.max, low)))


def _plain(found: Found) -> dict[str, Any]:
    values = plain(found)
    assert isinstance(values, dict)
    return values
