"""The shell of drift: looks at declarations, files and processes at a slow beat. Keys are projects."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import anyio
import structlog

from poise.delivery.infrastructure.controller import declarations, declared_at, on_record
from poise.delivery.infrastructure.drift import Seen, decide, strays, undeclared
from poise.model.delivery import Release, Rollout
from poise.model.drift import Drift, DriftKind, Finding
from poise.model.errors import PoiseError
from poise.model.event_types import DECLARED, REDECLARED, SPEC_APPLIED, UNDECLARED
from poise.model.fleet import Replica
from poise.model.record import Decision, Ref
from poise.model.service import Project
from poise.ports.artifacts import Repositories
from poise.ports.drift import Disk
from poise.ports.runtime import Runtime
from poise.ports.store import Store

log = structlog.get_logger()

RELEASES_SEEN: Final = 50
EVENTS_SEEN: Final = 500


class DriftController:
    """Says what was changed outside, by whom and when, where that can be known."""

    name = "drift"

    def __init__(self, store: Store, repositories: Repositories, disk: Disk, runtime: Runtime) -> None:
        self._store, self._repositories, self._disk, self._runtime = store, repositories, disk, runtime
        self._since: dict[str, dict[str, datetime]] = {}

    async def keys(self) -> Iterable[str]:
        """Every project."""
        return [project.name for project in (await self._store.scan(Project))[0]]

    def wakes(self, ref: Ref) -> str | None:
        """The project whose declarations were written."""
        return (
            ref.key.split("/", 1)[0] if ref.kind in ("Project", "Service", "Objective", "RuleFile") else None
        )

    async def look(self, key: str, now: datetime) -> Decision:
        """Look at everything of project ``key``; what cannot be looked at stays as it was."""
        known, ref = await self._store.scan(Drift, f"{key}/")
        project, _ = await self._store.get(Project, key)
        if project is None:
            return Decision()
        found: dict[DriftKind, tuple[Finding, ...]] = {}
        looks = {
            DriftKind.DECLARATION: self._declarations,
            DriftKind.RELEASE: self._releases,
            DriftKind.TRAFFIC: self._traffic,
            DriftKind.WORKLOAD: self._workloads,
        }
        for kind, look in looks.items():
            try:
                seen = await look(project, now)
            except (PoiseError, OSError) as error:
                log.warning("drift was not looked for", kind=kind.value, error=str(error))
                continue
            if seen is not None:
                found[kind] = seen
        return decide(Seen(project=key, known=tuple(known), found=found, reads=(ref,)), now)

    async def _declarations(self, project: Project, now: datetime) -> tuple[Finding, ...] | None:
        """None until the head was applied: what is about to be applied is no drift."""
        key = project.name
        applied = await self._store.journal(subject=key, types=(SPEC_APPLIED,), last=True, limit=20)
        commits = [row.event.data.get("commit") for row in applied if row.event.subject == key]
        head = await anyio.to_thread.run_sync(self._repositories.head, key, project.branch)
        if head is None or not commits or commits[-1] != head:
            return None
        declared = await anyio.to_thread.run_sync(declared_at, self._repositories, key, head)
        if declared is None:
            return None
        current, _ = await on_record(self._store, key)
        types = (DECLARED, REDECLARED, UNDECLARED)
        told = await self._store.journal(subject=key, types=types, last=True, limit=EVENTS_SEEN)
        return undeclared(current, declarations(declared), head, told)

    async def _releases(self, project: Project, now: datetime) -> tuple[Finding, ...]:
        """Of the releases that run or may come back."""
        rollouts, _ = await self._store.scan(Rollout, f"{project.name}/", last=True)
        used = {rollout.digest for rollout in rollouts if not rollout.state.is_final}
        releases, _ = await self._store.scan(Release, f"{project.name}/", last=True)
        releases = [one for one in releases if not one.is_image]  # those are the engine's to keep
        packed = {one.digest: one.created_at for one in reversed(releases)}
        recent = [one.digest for one in releases][-RELEASES_SEEN:]
        wanted = {digest: at for digest, at in packed.items() if digest in used or digest in recent}
        return tuple(await anyio.to_thread.run_sync(self._disk.releases, wanted))

    async def _traffic(self, project: Project, now: datetime) -> tuple[Finding, ...]:
        """Of the proxy that serves every project; each is told."""
        return tuple(await anyio.to_thread.run_sync(self._disk.traffic))

    async def _workloads(self, project: Project, now: datetime) -> tuple[Finding, ...]:
        prefix = f"{project.name}/"
        replicas, _ = await self._store.scan(Replica, prefix)
        asked = {one.key for one in replicas if not one.draining}
        leaving = {one.key for one in replicas if one.draining}  # each takes its own time to go
        running = {one.key for one in await self._runtime.list() if one.key.startswith(prefix)} - leaving
        before, differ = self._since.get(project.name, {}), asked ^ running
        since = {key: before.get(key, now) for key in differ}
        self._since[project.name] = since
        return strays(project.name, asked, running, since, now)
