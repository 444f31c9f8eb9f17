"""Which targets there are now: what projects declare, with what files, URLs and replicas add to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio.to_thread
from msgspec import Struct

from poise.adapters.regex import RegexError
from poise.adapters.scrape.asking import SCRAPE_ERRORS, Asker
from poise.adapters.scrape.discovery import groups_of_files, groups_of_json, groups_of_replicas
from poise.adapters.scrape.relabel import relabelling
from poise.adapters.scrape.target import Dropped, Target, target_of
from poise.adapters.unpacking import unpacked
from poise.model.branch_preview import is_branch_preview
from poise.model.fleet import Replica
from poise.model.scrape import Access, FileDiscovery, HttpDiscovery, ScrapeConfig, TargetGroup
from poise.model.service import Project
from poise.ports.store import Store

TARGETS_MAX: Final = 5000  # of one job
DROPPED_MAX: Final = 1000  # remembered, of all jobs
ANSWER_BYTES: Final = 4_194_304  # of a discovery URL
Job = tuple[str, str]
Groups = tuple[TargetGroup, ...]
AskerOf = Callable[[str, Access], Asker]


class Source(Struct, frozen=True, kw_only=True):
    """What one file set or URL said when it was last looked at, and what was wrong with that."""

    at_s: float
    groups: Groups = ()
    fault: str = ""


@dataclass
class Found:
    """What is to be scraped. ``faults`` are by job."""

    targets: dict[str, Target] = field(default_factory=dict)
    dropped: tuple[Dropped, ...] = ()
    faults: dict[Job, str] = field(default_factory=dict)
    jobs: frozenset[Job] = frozenset()
    accesses: frozenset[tuple[str, Access]] = frozenset()


class Finder:
    """Looks; files and URLs at their own interval. What cannot be read stays as it was."""

    def __init__(self, store: Store, asker_of: AskerOf, steady: Callable[[], float]) -> None:
        self._store, self._asker_of, self._steady = store, asker_of, steady
        self._sources: dict[tuple[str, str, str], Source] = {}

    async def look(self) -> Found:
        """Everything that is declared now, with its targets."""
        projects, _ = await self._store.scan(Project)
        replicas, _ = await self._store.scan(Replica)
        jobs = {(one.name, config.name): config for one in projects for config in one.scrapes}
        found = Found(jobs=frozenset(jobs), accesses=_accesses(jobs))
        groups: dict[Job, list[TargetGroup]] = {}
        for job, config in jobs.items():
            mine = [
                one
                for one in replicas
                if one.service.startswith(f"{job[0]}/") and not is_branch_preview(one.service)
            ]
            groups[job] = [*config.static, *groups_of_replicas(mine, config.services)]
            sources: tuple[HttpDiscovery | FileDiscovery, ...] = (*config.http, *config.files)
            for source in sources:
                told = await self._told(job, source)
                groups[job] += told.groups
                if told.fault:
                    found.faults[job] = told.fault
        self._sources = {key: one for key, one in self._sources.items() if key[:2] in jobs}
        await anyio.to_thread.run_sync(_fill, found, jobs, groups)
        return found

    async def _told(self, job: Job, source: HttpDiscovery | FileDiscovery) -> Source:
        key, now = (*job, repr(source)), self._steady()
        known = self._sources.get(key)
        if known is not None and not known.fault and now - known.at_s < source.refresh_s:
            return known
        before = known.groups if known is not None else ()
        try:
            groups, fault = await self._groups(job[0], source)
        except SCRAPE_ERRORS as error:
            groups, fault = (), str(error)
        self._sources[key] = Source(at_s=now, groups=groups if groups or not fault else before, fault=fault)
        return self._sources[key]

    async def _groups(self, project: str, source: HttpDiscovery | FileDiscovery) -> tuple[Groups, str]:
        if isinstance(source, FileDiscovery):
            read, faults = await anyio.to_thread.run_sync(groups_of_files, source.files)
            return read, str(faults[0]) if faults else ""
        asker = self._asker_of(project, source.access)
        got = await asker.get(source.url, min(10.0, source.refresh_s), ANSWER_BYTES, "application/json")

        def decoded() -> Groups:
            body = unpacked(got.body, got.encoding, ANSWER_BYTES)
            said = {"__meta_url": source.url}
            return tuple(
                TargetGroup(targets=one.targets, labels={**said, **one.labels})
                for one in groups_of_json(body, source.url)
            )

        try:
            return await anyio.to_thread.run_sync(decoded), ""
        finally:
            asker.drop(got)


def _accesses(jobs: Mapping[Job, ScrapeConfig]) -> frozenset[tuple[str, Access]]:
    own = {(job[0], config.access) for job, config in jobs.items()}
    return frozenset(own | {(job[0], one.access) for job, config in jobs.items() for one in config.http})


def _fill(
    found: Found, jobs: Mapping[Job, ScrapeConfig], groups: Mapping[Job, Sequence[TargetGroup]]
) -> None:
    dropped: list[Dropped] = []
    for job, config in jobs.items():
        for made in _targets(job, config, groups[job], found.faults):
            if isinstance(made, Dropped):
                dropped.append(made)
            else:
                found.targets.setdefault(made.key, made)
    found.dropped = tuple(dropped[:DROPPED_MAX])


def _targets(
    job: Job, config: ScrapeConfig, groups: Sequence[TargetGroup], faults: dict[Job, str]
) -> list[Target | Dropped]:
    try:
        relabel = relabelling(config.relabel)
        relabelling(config.metric_relabel)
    except RegexError as error:
        faults[job] = f"a relabelling cannot be read: {error}"
        return []
    places = [(address, group.labels) for group in groups for address in group.targets]
    if len(places) > TARGETS_MAX:
        faults[job] = f"{len(places)} targets; the first {TARGETS_MAX} are scraped"
    return [target_of(job[0], config, *place, relabel) for place in places[:TARGETS_MAX]]
