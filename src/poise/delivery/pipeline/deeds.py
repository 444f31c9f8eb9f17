"""What the pipeline asks for, done: the steps of a job, and the packing of releases.

Crash-safe by construction: a step is a workload of the keeper under a key of its own and writes its own
result, so a server that comes back reads results, awaits what still runs and starts only what never did.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import anyio

from poise.delivery.pipeline.attesting import Attester
from poise.delivery.pipeline.plan import Artifact, artifacts, load
from poise.engine.controller import Again, Dropped
from poise.model.acts import PackRelease, RunJob
from poise.model.attestation import Bill
from poise.model.delivery import JobRun, Run, RunState, StepRun
from poise.model.errors import Invalid, NotFound, TooLarge
from poise.ports.artifacts import Artifacts, Base, Images, Repositories
from poise.ports.clock import Clock
from poise.ports.runtime import Process, Runtime, Sandbox, Workload
from poise.ports.steps import JobResult, Packed, StepResult, Workspaces
from poise.ports.store import Store

JOBS_AT_ONCE: Final = 4  # well below the loop's intents at once: builds never keep traffic waiting
QUEUE_PAUSE_S: Final = 1.0
GRACE_S: Final = 15.0  # past a step's own limit, before the keeper is asked to end it
TREES_KEPT: Final = 5  # work trees of the newest runs stay, to be looked at
WORKSPACES_KEPT: Final = 20  # what older runs left is removed; their record and logs stay
RUNS_SEEN: Final = 50
REMOVED_AT_ONCE: Final = 20
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Wake = Callable[[str], None]


class JobRunner:
    """Performs ``RunJob``. ``wake`` is told the run's key when a step starts or ends."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        repositories: Repositories,
        workspaces: Workspaces,
        runtime: Runtime,
        wake: Wake,
    ) -> None:
        self._store = store
        self._clock = clock
        self._repositories = repositories
        self._workspaces = workspaces
        self._runtime = runtime
        self._wake = wake
        self._running = 0

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """Run the job's steps that have no result, in order; ends with the job's own end on record."""
        assert isinstance(act, RunJob)
        run, job = await self._job(act)
        if (await self._read(run, job)).ended is not None:
            return f"job {job.id} had ended"
        if self._running >= JOBS_AT_ONCE:
            raise Again(f"{JOBS_AT_ONCE} jobs run already", QUEUE_PAUSE_S)
        self._running += 1
        try:
            await self._prune(run)
            state = await self._steps(run, job, fence)
            await self._end(run, job, state)
        except (Invalid, NotFound, TooLarge) as error:  # trying again would not help
            await self._end(run, job, RunState.ERROR, str(error))
            return f"job {job.id} cannot run: {error}"
        finally:
            self._running -= 1
            self._wake(run.key)
        return f"job {job.id} ended in {state.value}"

    async def _job(self, act: RunJob) -> tuple[Run, JobRun]:
        run, _ = await self._store.get(Run, act.run)
        if run is None or run.state.is_final:
            raise Dropped(f"run {act.run} is over")
        return run, next(job for job in run.jobs if job.id == act.job)

    async def _steps(self, run: Run, job: JobRun, fence: int) -> RunState:
        for i, step in enumerate(job.steps):
            result = await self._step(run, job, i, step, fence)
            self._wake(run.key)
            if result.state is not RunState.SUCCESS:
                return result.state
        return RunState.SUCCESS

    async def _step(self, run: Run, job: JobRun, i: int, step: StepRun, fence: int) -> StepResult:
        """The step's result: on record, or as its process leaves it."""
        key = f"run/{run.key}/{job.id}/{i}"
        known = await self._final(run, job, i)
        if known is None and step.run is None:
            await self._checkout(run, job, i)
        elif known is None:
            await self._watch_over(run, job, i, step, key, fence)
        with contextlib.suppress(NotFound):
            if step.run is not None:
                await self._runtime.stop(fence, key, reason="the step has ended")
        result = known or await self._final(run, job, i)
        assert result is not None, "a step ends with a result"
        return result

    async def _watch_over(self, run: Run, job: JobRun, i: int, step: StepRun, key: str, fence: int) -> None:
        """Start the step's process unless it runs, wait for its end, and see to it that a result stands."""
        left_s = await self._left_s(run, job, step)
        if left_s <= 0:
            await self._record(run, job, i, StepResult(state=RunState.TIMEOUT))
            return
        if await self._process(key) is None:
            await self._runtime.spawn(fence, await self._workload(run, job, i, step, key, left_s))
        self._wake(run.key)
        with anyio.move_on_after(left_s + GRACE_S):
            await self._ended(key)
        if await self._final(run, job, i) is None:
            process = await self._process(key)
            alive = process is not None and process.state != "exited"
            await self._runtime.stop(fence, key, 0, reason="its time is up")
            await self._record(run, job, i, _lost(process, late=alive))

    async def _ended(self, key: str) -> None:
        """Return once nothing runs under ``key``: told by the runtime, from before the look at what is."""
        seen = (await self._runtime.hello()).seq
        process = await self._process(key)
        if process is None or process.state == "exited":
            return
        async with self._runtime.watch(seen) as events:
            async for event in events:
                if event.key == key and event.kind in ("exited", "stopped"):
                    return

    async def _process(self, key: str) -> Process | None:
        return next((process for process in await self._runtime.list() if process.key == key), None)

    async def _workload(
        self, run: Run, job: JobRun, i: int, step: StepRun, key: str, left_s: float
    ) -> Workload:
        files = await anyio.to_thread.run_sync(
            self._workspaces.prepare, run.key, job.id, i, step.run or "", step.working_directory, left_s
        )
        tree = await anyio.to_thread.run_sync(self._workspaces.tree, run.key, job.id)
        sandbox = Sandbox(
            network=run.network,
            binds=(
                (str(tree), "/app", "rw"),
                (str(files.given), "/.poise", "ro"),
                (str(files.out), "/.poise/out", "rw"),
            ),
            chdir="/app",
        )
        return Workload(
            key=key,
            argv=("/bin/bash", "/.poise/wrapper.sh"),
            env=environment(run, job, step),
            restart="never",
            sandbox=sandbox,
            log=str(files.log),
        )

    async def _checkout(self, run: Run, job: JobRun, i: int) -> None:
        begun = self._now_s()
        tree = await anyio.to_thread.run_sync(self._workspaces.tree, run.key, job.id)
        await anyio.to_thread.run_sync(self._repositories.checkout, run.project, run.commit, tree)
        done = StepResult(state=RunState.SUCCESS, exit_code=0, started_at=begun, finished_at=self._now_s())
        await self._record(run, job, i, done)

    async def _left_s(self, run: Run, job: JobRun, step: StepRun) -> float:
        """Seconds that the step may take: its own limit, or what is left of the job's."""
        result = await self._read(run, job)
        begun = [done.started_at for done in result.steps.values() if done.started_at is not None]
        spent_s = self._now_s() - min(begun, default=self._now_s())
        return min(step.timeout_s, job.timeout_s - spent_s)

    async def _read(self, run: Run, job: JobRun) -> JobResult:
        return await anyio.to_thread.run_sync(self._workspaces.read, run.key, job.id)

    async def _final(self, run: Run, job: JobRun, i: int) -> StepResult | None:
        result = (await self._read(run, job)).steps.get(i)
        return result if result is not None and result.state.is_final else None

    async def _record(self, run: Run, job: JobRun, i: int, result: StepResult) -> None:
        await anyio.to_thread.run_sync(self._workspaces.record, run.key, job.id, i, result)

    async def _end(self, run: Run, job: JobRun, state: RunState, problem: str = "") -> None:
        await anyio.to_thread.run_sync(self._workspaces.end, run.key, job.id, state, self._now_s(), problem)

    async def _prune(self, run: Run) -> None:
        runs, _ = await self._store.scan(Run, f"{run.project}/", last=True, limit=RUNS_SEEN)
        for old in runs[:-TREES_KEPT]:
            if old.state.is_final:
                await anyio.to_thread.run_sync(self._workspaces.prune, old.key)
        await self._remove_older(run.project, {one.key for one in runs[-WORKSPACES_KEPT:]})

    async def _remove_older(self, project: str, newest: set[str]) -> None:
        """A run that is not over is needed however old it is; one without a record is nobody's to judge."""
        left = await anyio.to_thread.run_sync(self._workspaces.runs, project)
        removed = 0
        for key in left:
            if key in newest or removed == REMOVED_AT_ONCE:
                continue
            old, _ = await self._store.get(Run, key)
            if old is not None and old.state.is_final:
                await anyio.to_thread.run_sync(self._workspaces.remove, key)
                removed += 1

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


class Packer:
    """Performs ``PackRelease``: workspaces of a succeeded run become artifacts, images get their digest.

    What each comes from is signed at once: whoever comes later could only repeat what the record says.
    """

    def __init__(
        self,
        store: Store,
        repositories: Repositories,
        workspaces: Workspaces,
        store_of_releases: Artifacts,
        images: Images,
        wake: Wake,
        attester: Attester,
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._workspaces = workspaces
        self._artifacts = store_of_releases
        self._images = images
        self._wake = wake
        self._attester = attester

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """Pack each artifact once and record the digests by service, or why it cannot be done."""
        assert isinstance(act, PackRelease)
        run, _ = await self._store.get(Run, act.run)
        if run is None or run.state.is_final:
            raise Dropped(f"run {act.run} is over")
        try:
            packed = await anyio.to_thread.run_sync(self._pack, run, now)
        except (Invalid, NotFound, TooLarge) as error:
            packed = Packed(problem=str(error))
        await anyio.to_thread.run_sync(self._workspaces.record_packed, run.key, packed)
        self._wake(run.key)
        return packed.problem or f"packed {len(packed.digests)} releases"

    def _pack(self, run: Run, now: datetime) -> Packed:
        sources = load(self._repositories, run.project, run.commit)
        made: dict[tuple[str, str, str], tuple[str, Bill, Base | None]] = {}
        digests, attested = {}, {}
        for artifact in artifacts(sources, run.project, run.branch, run.jobs, run.previews):
            place = (artifact.image, artifact.job, artifact.path)
            if place not in made:
                digest = self._digest(run, artifact)
                base = self._images.base(digest) if artifact.image else None
                made[place] = (digest, self._attester.bill(artifact, digest), base)
            digest, bill, base = made[place]
            digests[artifact.service] = digest
            attested[artifact.service] = self._attester.attest(
                run, sources, artifact, digest, bill, base, now
            )
        return Packed(digests=digests, attested=attested)

    def _digest(self, run: Run, artifact: Artifact) -> str:
        """Of an image its own, once and for every environment; else that of the packed folder."""
        if artifact.image:
            return self._images.resolve(artifact.image)
        return self._artifacts.pack(self._workspaces.tree(run.key, artifact.job), artifact.path)


def environment(run: Run, job: JobRun, step: StepRun) -> Mapping[str, str]:
    """What a step finds in its environment; its own ``env`` wins.

    ``GITHUB_ENV``, ``GITHUB_OUTPUT`` and ``GITHUB_PATH`` are left out on purpose: a step that writes to
    them fails loudly, since nothing would read them.
    """
    return {
        "PATH": PATH,
        "HOME": "/tmp/home",  # noqa: S108 - the sandbox's own
        "LANG": "C.UTF-8",
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": "/app",
        "GITHUB_REPOSITORY": run.project,
        "GITHUB_SHA": run.commit,
        "GITHUB_REF": f"refs/heads/{run.branch}",
        "GITHUB_REF_NAME": run.branch,
        "GITHUB_REF_TYPE": "branch",
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_WORKFLOW": run.workflow,
        "GITHUB_JOB": job.id,
        "GITHUB_RUN_ID": str(run.n),
        "GITHUB_RUN_NUMBER": str(run.n),
        "GITHUB_RUN_ATTEMPT": "1",
        **step.env,
    }


def _lost(process: Process | None, *, late: bool) -> StepResult:
    """The result of a step whose wrapper could not write one: killed, or out of time."""
    if late:
        return StepResult(state=RunState.TIMEOUT)
    ended = process.last_exit if process is not None else None
    if ended is None:
        return StepResult(state=RunState.ERROR)
    code = ended.code if ended.code is not None else 128 + ended.signal if ended.signal else None
    return StepResult(state=RunState.ERROR, exit_code=code, finished_at=ended.at)
