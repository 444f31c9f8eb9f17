"""The shell of branch previews: reads branches, runs and replicas. Keys are projects."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import anyio.to_thread

from poise.delivery.branch_preview.decide import Branch, Seen, decide
from poise.model.branch_preview import MARK, BranchPreview, PreviewOrder, is_branch_preview
from poise.model.delivery import Change, Run
from poise.model.fleet import Replica
from poise.model.record import Decision, Read, Ref
from poise.model.service import Project, Service
from poise.ports.artifacts import Repositories
from poise.ports.store import Store
from poise.spec.previews import gets_preview

NAME: Final = "branch_preview"
RUNS_SEEN: Final = 500


class BranchPreviewController:
    """A pushed branch gets its preview; a deleted one loses it. Told late, twice or never."""

    name = NAME

    def __init__(self, store: Store, repositories: Repositories) -> None:
        self._store = store
        self._repositories = repositories

    async def keys(self) -> Iterable[str]:
        """Every project that declares previews or has any."""
        projects, _ = await self._store.scan(Project)
        known, _ = await self._store.scan(BranchPreview)
        return sorted(
            {one.name for one in projects if one.previews.branches} | {one.project for one in known}
        )

    def wakes(self, ref: Ref) -> str | None:
        """Declarations, runs, a person's word, and replicas of previews."""
        project = ref.key.partition("/")[0]
        if ref.kind == "Replica":
            return project if is_branch_preview(ref.key) else None
        return project if ref.kind in ("Project", "Service", "Run", "PreviewOrder") else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read and decide for one project."""
        store = self._store
        project, project_ref = await store.get(Project, key)
        known, known_ref = await store.scan(BranchPreview, f"{key}/")
        if project is None or not (project.previews.branches or known):
            return Decision()
        services, services_ref = await store.scan(Service)
        replicas, replicas_ref = await store.scan(Replica, f"{key}/{MARK}")
        orders, orders_ref = await store.scan(PreviewOrder, f"{key}/")
        reads: list[Read] = [project_ref, known_ref, services_ref, replicas_ref, orders_ref]
        heads = await anyio.to_thread.run_sync(self._repositories.branches, key)
        previews = project.previews
        fits = {
            name: commit
            for name, commit in heads.items()
            if name != project.branch and gets_preview(previews, name)
        }
        seen = Seen(
            project=key,
            previews=previews,
            branches=await self._branches(key, fits, reads),
            existing=frozenset(heads) | await self._beyond(key, known, heads),
            bases=_bases(project, services),
            hosts=frozenset(one.hostname for one in services if one.port and one.hostname),
            known=tuple(known),
            replicas=tuple(replicas),
            orders=tuple(orders),
            reads=tuple(reads),
        )
        return decide(seen, now)

    async def _beyond(
        self, project: str, known: Iterable[BranchPreview], heads: dict[str, str]
    ) -> frozenset[str]:
        """Branches with a preview that were not listed and are there all the same: a list has a limit."""
        asked = {one.branch for one in known} - set(heads)
        head = self._repositories.head
        found = {name: await anyio.to_thread.run_sync(head, project, name) for name in sorted(asked)}
        return frozenset(name for name, commit in found.items() if commit is not None)

    async def _branches(self, project: str, fits: dict[str, str], reads: list[Read]) -> tuple[Branch, ...]:
        if not fits:
            return ()
        runs, ref = await self._store.scan(Run, f"{project}/", last=True, limit=RUNS_SEEN)
        reads.append(ref)
        found = []
        for name, commit in sorted(fits.items()):
            run = next((run for run in reversed(runs) if _is_of(run, name, commit)), None)
            change, _ = await self._store.get(Change, f"{project}/{commit}")
            found.append(Branch(name=name, commit=commit, change=change, run=run))
        return tuple(found)


def _is_of(run: Run, branch: str, commit: str) -> bool:
    """Whether a run made what the branch shows; a commit that two branches share is built once."""
    return run.commit == commit and (run.branch == branch or bool(run.previews))


def _bases(project: Project, services: Iterable[Service]) -> dict[str, str]:
    """The host name of each service with a port, in the last environment that it is declared for."""
    order = {name: i for i, name in enumerate(project.environments)}
    mine = [one for one in services if one.project == project.name and one.port and not one.runs_elsewhere]
    mine.sort(key=lambda one: order.get(one.environment, -1))
    return {one.name: one.hostname or f"{one.name}.localhost" for one in mine}
