"""The shell of pipeline: looks at changes without a run and at runs that are not over.

Keys are ``change/<project>/<commit>`` and ``run/<project>/<n>``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import anyio
from msgspec import Struct

from poise.delivery.pipeline.decide import Job, Planned, Seen, Step, Target, begin, decide
from poise.delivery.pipeline.plan import Artifact, artifacts, load, planned
from poise.model.delivery import Change, Release, Run, RunState
from poise.model.record import Decision, PrefixRef, Ref
from poise.model.service import Project
from poise.ports.artifacts import Repositories
from poise.ports.steps import JobResult, Packed, Workspaces
from poise.ports.store import LIST_LIMIT, Body, IntentState, Store
from poise.spec.previews import gets_preview


class PipelineController:
    """A change is run once per branch; a run ends as its steps did."""

    name = "pipeline"

    def __init__(self, store: Store, repositories: Repositories, workspaces: Workspaces) -> None:
        self._store = store
        self._repositories = repositories
        self._workspaces = workspaces

    async def keys(self) -> Iterable[str]:
        """Every change without a run and every run that is not over."""
        runs, _ = await _all(self._store, Run, "")
        changes, _ = await _all(self._store, Change, "")
        ran = {(run.project, run.commit, run.branch) for run in runs}
        waiting = [c.key for c in changes if c.hosted and (c.project, c.commit, c.branch) not in ran]
        open_runs = [run.key for run in runs if not run.state.is_final]
        return [*(f"change/{key}" for key in waiting), *(f"run/{key}" for key in open_runs)]

    def wakes(self, ref: Ref) -> str | None:
        """A change, or a run that moved."""
        return f"{ref.kind.lower()}/{ref.key}" if ref.kind in ("Change", "Run") else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Plan a change's run, or fold what a run's steps left behind."""
        kind, name = key.split("/", 1)
        return await (self._begin(name, now) if kind == "change" else self._go_on(name, now))

    async def _begin(self, key: str, now: datetime) -> Decision:
        change, ref = await self._store.get(Change, key)
        if change is None or not change.hosted:
            return Decision()
        runs, runs_ref = await _all(self._store, Run, f"{change.project}/")
        if any(run.commit == change.commit and run.branch == change.branch for run in runs):
            return Decision()
        plan = await anyio.to_thread.run_sync(self._plan, change, await self._project(change.project))
        return begin(change, max((run.n for run in runs), default=0) + 1, plan, (ref, runs_ref), now)

    def _plan(self, change: Change, project: Project) -> Planned:
        sources = load(self._repositories, change.project, change.commit)
        if change.branch == project.branch:
            return planned(sources, change.project, change.branch)
        if change.trusted and gets_preview(project.previews, change.branch):
            return planned(sources, change.project, change.branch, project.previews)
        sources = type(sources)(workflows=sources.workflows, declarations=None)
        return planned(sources, change.project, change.branch)  # only the project's branch declares services

    async def _project(self, name: str) -> Project:
        known, _ = await self._store.get(Project, name)
        return known or Project(name=name)

    async def _go_on(self, key: str, now: datetime) -> Decision:
        run, ref = await self._store.get(Run, key)
        if run is None or run.state.is_final:
            return Decision()
        change, _ = await self._store.get(Change, f"{run.project}/{run.commit}")
        results = {job.id: await self._result(run, job.id) for job in run.jobs}
        packed = await anyio.to_thread.run_sync(self._workspaces.packed, run.key)
        targets = await self._targets(run, packed)
        seen = Seen(
            run=run,
            change=change,
            results=results,
            releases=bool(run.previews) or run.branch == (await self._project(run.project)).branch,
            targets=targets,
            pack_problem=packed.problem if packed else await self._given_up(f"run/{run.key}/pack"),
            reads=(ref,),
        )
        return decide(seen, now)

    async def _result(self, run: Run, job: str) -> Job:
        left = await anyio.to_thread.run_sync(self._workspaces.read, run.key, job)
        return _job(left, "" if left.ended else await self._given_up(f"run/{run.key}/{job}"))

    async def _given_up(self, intent: str) -> str:
        """Why an intent's attempts are spent; empty when they are not."""
        stored = await self._store.intent(intent)
        return stored.outcome if stored is not None and stored.state is IntentState.FAILED else ""

    async def _targets(self, run: Run, packed: Packed | None) -> tuple[Target, ...] | None:
        """The packed releases with the numbers that they get; None until they are packed."""
        if packed is None or packed.problem:
            return None
        sources = await anyio.to_thread.run_sync(load, self._repositories, run.project, run.commit)
        found = artifacts(sources, run.project, run.branch, run.jobs, run.previews)
        return tuple([
            await self._target(run, artifact, packed)
            for artifact in found
        ])  # fmt: skip

    async def _target(self, run: Run, artifact: Artifact, packed: Packed) -> Target:
        prefix = f"{run.project}/{artifact.service}/"
        last, ref = await self._store.scan(Release, prefix, last=True, limit=1)
        n = last[-1].n + 1 if last else 1
        return Target(
            service=artifact.service,
            n=n,
            digest=packed.digests[artifact.service],
            specs=artifact.specs,
            ref=ref,
            attested=packed.attested.get(artifact.service),
        )


def _job(left: JobResult, given_up: str = "") -> Job:
    steps = {
        i: Step(
            state=step.state,
            exit_code=step.exit_code,
            started_at=step.started_at,
            finished_at=step.finished_at,
        )
        for i, step in left.steps.items()
    }
    ended = RunState.ERROR if given_up else left.ended
    problem = given_up or left.problem
    return Job(steps=steps, ended=ended, ended_at=left.ended_at, tests=left.tests, problem=problem)


async def _all(store: Store, body: type[Body], prefix: str) -> tuple[list[Body], PrefixRef]:
    """Every object under a prefix, page by page. A write in between shows in the first page's reference."""
    found, ref = await store.scan(body, prefix)
    page = found
    while len(page) == LIST_LIMIT:
        page, _ = await store.scan(body, prefix, after=_key(page[-1]))
        found = [*found, *page]
    return found, ref


def _key(body: Struct) -> str:
    return str(getattr(body, "key"))  # noqa: B009 - every stored body has one
