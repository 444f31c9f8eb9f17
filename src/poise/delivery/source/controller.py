"""The shell of source: looks at branches, leaves the recording to the loop. Keys are projects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import anyio
from msgspec.structs import replace

from poise.delivery.source.decide import Head, Push, Seen, decide
from poise.model.delivery import Change
from poise.model.event_types import CHANGE_MERGED
from poise.model.exchange import Labels
from poise.model.policy import ClassRule
from poise.model.record import Decision, Ref
from poise.model.service import Project
from poise.ports.artifacts import Repositories
from poise.ports.store import Store
from poise.spec.commits import classified, incident

SUMMARY_CHARS = 200
COMMITS_MAX = 1000  # of one push
PATHS_MAX = 5000  # a larger change is no matter of its paths


class SourceController:
    """A push becomes a Change; told late, twice or never, since it looks at every head each time."""

    name = "source"

    def __init__(self, store: Store, repositories: Repositories) -> None:
        self._store = store
        self._repositories = repositories
        self._pushes: dict[str, dict[str, Push]] = {}

    def pushed(self, project: str, user: str, *, trusted: bool = True, branch: str = "") -> None:
        """Say who pushed, before waking ``project``; with no ``branch`` it holds for all its new heads."""
        self._pushes.setdefault(project, {})[branch] = Push(by=user, trusted=trusted)

    async def keys(self) -> Iterable[str]:
        """Every hosted repository: a push may have landed before its record."""
        return await anyio.to_thread.run_sync(self._repositories.projects)

    def wakes(self, ref: Ref) -> str | None:
        """A project: its repository may hold commits already; labels that a forge gave one of them."""
        if ref.kind == "Labels":
            return ref.key.partition("/")[0]
        return ref.key if ref.kind == "Project" else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read the heads of project ``key`` and decide which are new."""
        project, _ = await self._store.get(Project, key)
        branches = await anyio.to_thread.run_sync(self._repositories.branches, key)
        main = project.branch if project else "main"
        rules = project.policy.classes if project else ()
        heads = [await self._head(key, branch, commit, rules) for branch, commit in branches.items()]
        heads = [await self._with_commits(head, key) if head.branch == main else head for head in heads]
        told = self._pushes.get(key, {})
        last = told.get("", Push())
        seen = Seen(
            project=key,
            branch=main,
            heads=tuple(heads),
            pushes={head.branch: told.get(head.branch, last) for head in heads},
        )
        return decide(seen, now)

    async def _head(self, project: str, branch: str, sha: str, rules: Sequence[ClassRule]) -> Head:
        known, ref = await self._store.get(Change, f"{project}/{sha}")
        told, labels_ref = await self._store.get(Labels, f"{project}/{sha}")
        labels = told.labels if told is not None else ()
        if known is not None and known.labels == labels:  # git need not be asked for what is on record
            return Head(
                branch=branch,
                commit=sha,
                summary=known.summary,
                author=known.author,
                committed_at=known.committed_at,
                change_class=known.change_class,
                known=known,
                ref=ref,
                class_why=known.class_why,
                labels=labels,
                labels_ref=labels_ref,
            )
        commit = await anyio.to_thread.run_sync(self._repositories.commit, project, sha)
        paths = await self._paths(project, sha) if any(rule.paths for rule in rules) else ()
        found = classified(commit.message, paths, rules, labels)
        return Head(
            branch=branch,
            commit=sha,
            summary=(commit.message.splitlines() or [""])[0][:SUMMARY_CHARS],
            author=commit.author,
            committed_at=datetime.fromtimestamp(commit.committed_at, UTC),
            change_class=found.change_class,
            known=known,
            ref=ref,
            incident=incident(commit.message),
            class_why=found.why,
            labels=labels,
            labels_ref=labels_ref,
        )

    async def _paths(self, project: str, sha: str) -> Sequence[str]:
        """What differs from the change merged before; of a first one, what it touches itself."""
        last = await self._store.journal(subject=f"{project}/", types=(CHANGE_MERGED,), last=True, limit=1)
        before = str(last[-1].event.data["commit"]) if last else ""
        ask = self._repositories.paths
        found = await anyio.to_thread.run_sync(ask, project, before, sha, PATHS_MAX)
        return found if len(found) <= PATHS_MAX else ()

    async def _with_commits(self, head: Head, project: str) -> Head:
        """The head with what came since the head on record before it; a first push is the head alone."""
        known = head.known
        if known is not None and known.hosted and known.branch == head.branch:
            return head  # nothing new
        last = await self._store.journal(subject=f"{project}/", types=(CHANGE_MERGED,), last=True, limit=1)
        before = str(last[-1].event.data["commit"]) if last else head.commit
        if before == head.commit:
            return replace(head, commits=((head.commit, int(head.committed_at.timestamp())),))
        git = self._repositories.commits
        came = await anyio.to_thread.run_sync(git, project, before, head.commit, COMMITS_MAX)
        return replace(head, commits=tuple(came))
