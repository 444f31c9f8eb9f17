"""A file of objectives that stands alone: OpenSLO or short ones, and a policy, with no service declared.

Nothing of it is looked up in a store: a data source that it merely names is the one that is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from poise.model.exclusion import Exclusion
from poise.model.objective import Objective
from poise.model.policy import BudgetPolicy
from poise.model.service import DataSource
from poise.spec.document import Items, Mapping, Node, Place, Scalar, compose
from poise.spec.exclusion import exclusions_of
from poise.spec.objective import objectives_of, openslo_drafts
from poise.spec.objective_short import short_drafts
from poise.spec.problems import MISSING_KEY, Report
from poise.spec.query import sources_of
from poise.spec.read import Document
from poise.spec.service import document_of, of_kind, policy_of

_REFERENCES = ("metricSourceRef", "source")


class ObjectiveFile(Struct, frozen=True, kw_only=True):
    """What such a file says; ``places`` are ``file:line:column`` by an objective's key."""

    objectives: tuple[Objective, ...]
    places: dict[str, str]
    policy: BudgetPolicy
    sources: tuple[DataSource, ...] = ()  # those that are declared
    exclusions: tuple[Exclusion, ...] = ()

    @property
    def stale_after_s(self) -> float:
        """The longest that a declared data source allows; 0 where none is declared."""
        return max((one.stale_after_s for one in self.sources), default=0.0)


def parse_objectives(text: str, *, project: str, environment: str, filename: str, url: str) -> ObjectiveFile:
    """The objectives of a file. Raises ``Problems`` with every problem; ``url`` answers for every source."""
    report = Report(filename)
    nodes = compose(text, filename)
    documents = [document for node in nodes if (document := document_of(node, report)) is not None]
    slos = [*of_kind(documents, "SLO"), *of_kind(documents, "Objective")]
    if not slos and not report:
        report.add(MISSING_KEY, Place(), "no objective is declared", mend="Add a document of kind SLO.")
    services = {
        name: {f"{project}/{environment}/{name}": False}
        for name in dict.fromkeys(one.spec.text("service") for one in slos)
        if name is not None
    }
    sources = _sources(nodes, documents, url, report)
    drafts = [
        *openslo_drafts(documents, services, report, sources),
        *short_drafts(of_kind(documents, "Objective"), services, sources, (), report),
    ]
    objectives = objectives_of(drafts, services, report)
    policy = policy_of(documents, report)
    exclusions = _exclusions(documents, project, environment, objectives, report)
    report.raise_if_any()
    places = {one.objective.key: f"{filename}:{one.place.line}:{one.place.column}" for one in drafts}
    declared = sources_of(of_kind(documents, "DataSource"), of_kind(documents, "Project"), Report(filename))
    return ObjectiveFile(
        objectives=objectives, places=places, policy=policy, sources=declared, exclusions=exclusions
    )  # fmt: skip


def _exclusions(
    documents: list[Document], project: str, environment: str, objectives: Sequence[Objective], report: Report
) -> tuple[Exclusion, ...]:
    """Those of the file; one of other environments is no mistake here, and of no effect."""
    found = of_kind(documents, "Exclusion")
    named = (name for one in found if one.clean for name in _texts(one.spec.values.get("environments")))
    environments = list(dict.fromkeys((environment, *named)))
    return exclusions_of(found, project, objectives, environments, report)


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def _sources(
    nodes: Sequence[Node], documents: list[Document], url: str, report: Report
) -> tuple[DataSource, ...]:
    declared = sources_of(of_kind(documents, "DataSource"), of_kind(documents, "Project"), report)
    known = {one.name for one in declared}
    named = dict.fromkeys(name for node in nodes for name in _named(node) if name not in known)
    found = (*declared, *(DataSource(name=name, url=url) for name in named))
    return found or (DataSource(name="prometheus", url=url),)


def _named(node: Node) -> Iterator[str]:
    """Every source that is referred to anywhere in a document."""
    match node:
        case Mapping():
            for key, value in node.entries:
                if key.text in _REFERENCES and isinstance(value, Scalar) and value.text:
                    yield value.text
                else:
                    yield from _named(value)
        case Items():
            for item in node.items:
                yield from _named(item)
