"""The shell of infrastructure: reads declarations at the head of the project's branch. Keys are projects."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import anyio
from msgspec.structs import replace

from poise.delivery.infrastructure.decide import Declaration, Seen, change, decide
from poise.model.delivery import Change
from poise.model.errors import Invalid
from poise.model.event_types import SPEC_APPLIED, SPEC_REFUSED
from poise.model.exclusion import Exclusion
from poise.model.objective import Objective
from poise.model.oncall import EscalationPolicy, OnCallSchedule
from poise.model.record import Decision, Read, Ref
from poise.model.rules import RuleFile
from poise.model.service import Project, Service
from poise.ports.artifacts import Repositories
from poise.ports.store import Store
from poise.spec.hosts import taken
from poise.spec.rules import Check, read_rule_files, unchecked
from poise.spec.service import Declared, parse_project

FILE = "poise.yaml"


class InfrastructureController:
    """What the newest change on the project's branch declares becomes the record."""

    name = "infrastructure"

    def __init__(self, store: Store, repositories: Repositories, check: Check = unchecked) -> None:
        self._store = store
        self._repositories = repositories
        self._check = check

    async def keys(self) -> Iterable[str]:
        """Every hosted repository."""
        return await anyio.to_thread.run_sync(self._repositories.projects)

    def wakes(self, ref: Ref) -> str | None:
        """A change of the project."""
        return ref.key.split("/", 1)[0] if ref.kind == "Change" else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read the head's ``poise.yaml`` and what is on record; decide."""
        project, _ = await self._store.get(Project, key)
        branch = project.branch if project else "main"
        head = await anyio.to_thread.run_sync(self._repositories.head, key, branch)
        pushed, ref = await self._store.get(Change, f"{key}/{head}")
        if head is None or pushed is None:  # source has not recorded it yet; its write wakes this room
            return Decision()
        settled = await self._settled(key)
        if settled == head:
            return Decision()
        try:
            declared = await anyio.to_thread.run_sync(declared_at, self._repositories, key, head, self._check)
            refused = ""
            if declared is not None:
                await require_own_hosts(self._store, declared)
        except Invalid as error:
            declared, refused = None, str(error)
        if declared is None and not refused:  # a repository without declarations withdraws nothing
            return Decision()
        current, reads = await on_record(self._store, key)
        seen = Seen(
            project=key,
            commit=head,
            settled=settled,
            by=pushed.pushed_by,
            current=current,
            reads=(ref, *reads),
        )
        if declared is None:
            return decide(_with(seen, refused=refused))
        return decide(_with(seen, declared=declarations(declared)))

    async def _settled(self, project: str) -> str:
        types = (SPEC_APPLIED, SPEC_REFUSED)
        last = await self._store.journal(subject=project, types=types, last=True, limit=20)
        commits = [entry.event.data["commit"] for entry in last if entry.event.subject == project]
        return str(commits[-1]) if commits else ""


def declared_at(
    repositories: Repositories, project: str, sha: str, check: Check = unchecked
) -> Declared | None:
    """What a commit declares, the files it names included; None where it has no ``poise.yaml``.

    Raises ``Problems`` for what cannot be read.
    """

    def named(path: str) -> str | None:
        found = repositories.read(project, sha, path)
        return None if found is None else found.decode(errors="replace")

    text = repositories.read(project, sha, FILE)
    if text is None:
        return None
    declared = parse_project(text.decode(errors="replace"), project=project, filename=FILE, file=named)
    files = read_rule_files(
        declared.rule_globs,
        project=project,
        filename=FILE,
        listed=lambda folder: repositories.list(project, sha, folder),
        read=lambda path: (repositories.read(project, sha, path) or b"").decode(errors="replace"),
        check=check,
    )
    return replace(declared, rule_files=files)


async def require_own_hosts(store: Store, declared: Declared) -> None:
    """Raise ``Invalid`` for the first host name that reaches a service of another project."""
    everyone, _ = await store.scan(Service, "")
    for problem in taken(declared.services, everyone):
        raise problem


async def apply(store: Store, declared: Declared, by: str, now: datetime) -> Decision:
    """The decision for ``poise apply``: closes every difference, whatever commit is at the head.

    The caller commits it (``Stale`` means: call again). The next push of another commit applies anew.
    """
    await require_own_hosts(store, declared)
    current, reads = await on_record(store, declared.project.name)
    return change(current, declarations(declared), by, reads)


async def on_record(store: Store, project: str) -> tuple[tuple[Declaration, ...], tuple[Read, ...]]:
    """Every declaration on record of ``project``, and what was read for it."""
    known, ref = await store.get(Project, project)
    services, services_ref = await store.scan(Service, f"{project}/")
    objectives, objectives_ref = await store.scan(Objective, f"{project}/")
    schedules, schedules_ref = await store.scan(OnCallSchedule, f"{project}/")
    policies, policies_ref = await store.scan(EscalationPolicy, f"{project}/")
    rules, rules_ref = await store.scan(RuleFile, f"{project}/")
    exclusions, exclusions_ref = await store.scan(Exclusion, f"{project}/declared/")
    mine: tuple[Declaration, ...] = (known,) if known else ()
    bodies = (*mine, *services, *objectives, *schedules, *policies, *rules, *exclusions)
    refs = (services_ref, objectives_ref, schedules_ref, policies_ref, rules_ref, exclusions_ref)
    return bodies, (ref, *refs)


def declarations(declared: Declared) -> tuple[Declaration, ...]:
    """What a parsed ``poise.yaml`` declares, as one list."""
    return (
        declared.project,
        *declared.services,
        *declared.objectives,
        *declared.schedules,
        *declared.escalations,
        *declared.rule_files,
        *declared.exclusions,
    )


def _with(seen: Seen, *, declared: tuple[Declaration, ...] = (), refused: str = "") -> Seen:
    return Seen(
        project=seen.project,
        commit=seen.commit,
        settled=seen.settled,
        by=seen.by,
        current=seen.current,
        declared=declared,
        refused=refused,
        reads=seen.reads,
    )
