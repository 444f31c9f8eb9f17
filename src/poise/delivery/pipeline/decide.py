"""Which jobs start, how a run ends, and what it yields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from poise.model.acts import PackRelease, RunJob
from poise.model.attestation import Attestation, Attested
from poise.model.delivery import (
    Built,
    Change,
    ChangeClass,
    JobRun,
    Release,
    Run,
    RunState,
    StepRun,
    TestCount,
)
from poise.model.event_types import (
    ARTIFACT_PACKAGED,
    JOB_FINISHED,
    JOB_STARTED,
    RUN_FINISHED,
    RUN_QUEUED,
    RUN_STARTED,
)
from poise.model.record import Decision, Event, Intent, Read, Write
from poise.model.service import Service

LOOK_AGAIN_S = 10.0  # a safety net: the end of a step tells


class Step(Struct, frozen=True, kw_only=True):
    """A step as observed; epoch seconds."""

    state: RunState
    exit_code: int | None = None
    started_at: float | None = None
    finished_at: float | None = None


class Job(Struct, frozen=True, kw_only=True):
    """A job as observed: its steps by index; ``ended`` once it has; ``problem`` when that is our fault."""

    steps: Mapping[int, Step] = {}
    ended: RunState | None = None
    ended_at: float | None = None
    tests: TestCount = TestCount()
    problem: str = ""


class Planned(Struct, frozen=True, kw_only=True):
    """What the files of a commit ask for, or why they are refused."""

    workflow: str = ""
    jobs: tuple[JobRun, ...] = ()
    problem: str = ""
    previews: tuple[str, ...] = ()


class Target(Struct, frozen=True, kw_only=True):
    """A service that the run releases: its artifact's digest, the number that it gets, what was signed."""

    service: str
    n: int
    digest: str
    specs: tuple[Service, ...]
    ref: Read
    attested: Attested | None = None


class Seen(Struct, frozen=True, kw_only=True):
    """A run that is not over. ``targets`` is None until its releases are packed; ``releases`` says
    whether it has any to pack; ``pack_problem`` why packing was given up."""

    run: Run
    change: Change | None
    results: Mapping[str, Job] = {}
    releases: bool = False
    targets: tuple[Target, ...] | None = None
    pack_problem: str = ""
    reads: tuple[Read, ...] = ()


def begin(change: Change, n: int, planned: Planned, reads: tuple[Read, ...], now: datetime) -> Decision:
    """Run ``n`` for a change: queued, or in error at once when its files are refused."""
    run = Run(
        project=change.project,
        n=n,
        commit=change.commit,
        branch=change.branch,
        workflow=planned.workflow,
        state=RunState.ERROR if planned.problem else RunState.QUEUED,
        jobs=planned.jobs,
        created_at=now,
        finished_at=now if planned.problem else None,
        problem=planned.problem,
        network=change.trusted,
        previews=planned.previews,
    )
    queued = _event(RUN_QUEUED, run, f"run {n} of {change.commit[:8]} ({change.branch}) is queued")
    events = (queued, _finished(run)) if planned.problem else (queued,)
    return Decision(reads=reads, writes=(_write(run),), events=events)


def decide(seen: Seen, now: datetime) -> Decision:
    """Fold what steps left behind into the run, start what may start, and close it when all is over."""
    if seen.run.state.is_final:
        return Decision()
    jobs = tuple(_fold(job, seen.results.get(job.id, Job()), now) for job in seen.run.jobs)
    jobs = _advance(jobs, now)
    run = replace(seen.run, jobs=jobs, state=RunState.RUNNING, tests=_tests(seen.results.values()))
    started = [job for job in jobs if job.state is RunState.RUNNING]
    intents = tuple(_run_job(run, job) for job in started)
    if all(job.state.is_final for job in jobs):
        return _close(seen, run, now)
    return _decision(seen, run, intents, now)


def artifact_job(service: Service, jobs: Iterable[str]) -> str | None:
    """The job whose workspace is the service's artifact: as declared, else the only one, else ``build``."""
    known = list(jobs)
    if service.artifact_job is not None:
        return service.artifact_job if service.artifact_job in known else None
    if len(known) == 1:
        return known[0]
    return "build" if "build" in known else None


def _fold(job: JobRun, result: Job, now: datetime) -> JobRun:
    """A job with what was observed of it. Results never take back what is final."""
    if job.state.is_final or not (result.steps or result.ended):
        return job
    steps = tuple(_fold_step(step, result.steps.get(i)) for i, step in enumerate(job.steps))
    begun = [step.started_at for step in steps if step.started_at is not None]
    folded = replace(job, steps=steps, started_at=job.started_at or min(begun, default=None))
    if result.ended is None:
        return folded
    steps = tuple(step if step.state.is_final else replace(step, state=RunState.SKIPPED) for step in steps)
    ended_at = _instant(result.ended_at) or now
    return replace(folded, steps=steps, state=result.ended, finished_at=ended_at)


def _fold_step(step: StepRun, result: Step | None) -> StepRun:
    if result is None or step.state.is_final:
        return step
    return replace(
        step,
        state=result.state,
        exit_code=result.exit_code,
        started_at=_instant(result.started_at) or step.started_at,
        finished_at=_instant(result.finished_at) if result.state.is_final else None,
    )


def _advance(jobs: tuple[JobRun, ...], now: datetime) -> tuple[JobRun, ...]:
    """Start jobs whose needs succeeded; skip those of which one did not. Repeats until nothing moves."""
    state = {job.id: job.state for job in jobs}
    while True:
        moved = tuple(_move(job, state, now) for job in jobs)
        if moved == jobs:
            return jobs
        jobs = moved
        state = {job.id: job.state for job in jobs}


def _move(job: JobRun, state: Mapping[str, RunState], now: datetime) -> JobRun:
    if job.state is not RunState.QUEUED:
        return job
    needs = [state.get(need, RunState.ERROR) for need in job.needs]
    if any(need.is_final and need is not RunState.SUCCESS for need in needs):
        skipped = tuple(replace(step, state=RunState.SKIPPED) for step in job.steps)
        return replace(job, state=RunState.SKIPPED, steps=skipped, finished_at=now)
    if all(need is RunState.SUCCESS for need in needs):
        return replace(job, state=RunState.RUNNING, started_at=now)
    return job


def _close(seen: Seen, run: Run, now: datetime) -> Decision:
    """Every job is over: fail, or pack, or release and succeed."""
    state = _worst(run.jobs)
    problem = run.problem or next((job.problem for job in seen.results.values() if job.problem), "")
    if state is not RunState.SUCCESS:
        return _decision(seen, replace(run, state=state, problem=problem, finished_at=now), (), now)
    if seen.pack_problem:
        failed = replace(run, state=RunState.ERROR, problem=seen.pack_problem, finished_at=now)
        return _decision(seen, failed, (), now)
    if seen.releases and seen.targets is None:
        pack = Intent(key=f"run/{run.key}/pack", act=PackRelease(run=run.key))
        return _decision(seen, run, (pack,), now)
    if run.previews:
        built = tuple(_built(target) for target in seen.targets or ())
        return _decision(seen, replace(run, state=state, finished_at=now, built=built), (), now)
    releases = tuple(_release(seen, run, target, now) for target in seen.targets or ())
    done = replace(run, state=state, finished_at=now, releases=tuple(release.key for release in releases))
    return _decision(seen, done, (), now, releases)


def _worst(jobs: Iterable[JobRun]) -> RunState:
    states = {job.state for job in jobs}
    for state in (RunState.ERROR, RunState.FAILURE, RunState.TIMEOUT):
        if state in states:
            return state
    return RunState.SUCCESS


def _built(target: Target) -> Built:
    """What a preview is started from: as declared for the environment that a release enters first."""
    return Built(service=target.service, digest=target.digest, spec=target.specs[0])


def _release(seen: Seen, run: Run, target: Target, now: datetime) -> Release:
    change = seen.change
    return Release(
        project=run.project,
        service=target.service,
        n=target.n,
        digest=target.digest,
        run=run.n,
        commit=run.commit,
        summary=change.summary if change else "",
        change_class=change.change_class if change else ChangeClass.FEATURE,
        committed_at=change.committed_at if change else run.created_at,
        created_at=now,
        specs=target.specs,
    )


def _decision(
    seen: Seen, run: Run, intents: tuple[Intent, ...], now: datetime, releases: tuple[Release, ...] = ()
) -> Decision:
    """What changed from the run on record to ``run``, with the events that say so."""
    wake_at = None if run.state.is_final else now + timedelta(seconds=LOOK_AGAIN_S)
    if run == seen.run:  # its intents were written with it; writing them again would wake this room again
        return Decision(wake_at=wake_at)
    before = {job.id: job.state for job in seen.run.jobs}
    fresh = tuple(intent for intent in intents if _is_fresh(intent, before))
    refs = tuple(target.ref for target in seen.targets or ()) if releases else ()
    return Decision(
        reads=(*seen.reads, *refs),
        writes=(_write(run), *_release_writes(releases, seen.targets or ())),
        intents=fresh,
        events=tuple(_events(seen.run, run, releases)),
        wake_at=wake_at,
    )


def _release_writes(releases: tuple[Release, ...], targets: tuple[Target, ...]) -> Iterable[Write]:
    """Each release, and with it what was signed of it."""
    for release, target in zip(releases, targets, strict=False):
        yield Write(kind="Release", key=release.key, body=release)
        signed = target.attested
        if signed is not None:
            made = Attestation(
                project=release.project,
                service=release.service,
                n=release.n,
                digest=release.digest,
                at=release.created_at,
                envelope=signed.envelope,
                key_id=signed.key_id,
                bill=signed.bill,
            )
            yield Write(kind="Attestation", key=made.key, body=made)


def _is_fresh(intent: Intent, before: Mapping[str, RunState]) -> bool:
    """Whether a job's intent was not written yet; packing is asked for with the end of the last job."""
    return not isinstance(intent.act, RunJob) or before.get(intent.act.job) is RunState.QUEUED


def _events(before: Run, after: Run, releases: Iterable[Release]) -> Iterable[Event]:
    if before.state is RunState.QUEUED:
        yield _event(RUN_STARTED, after, f"run {after.n} of {after.commit[:8]} started")
    was = {job.id: job.state for job in before.jobs}
    for job in after.jobs:
        if job.state is not was[job.id]:
            yield _job_event(after, job)
    for release in releases:
        yield Event(
            type=ARTIFACT_PACKAGED,
            subject=release.key,
            summary=f"release {release.n} of {release.service} is {release.digest[:19]}: {release.summary}",
            data={"digest": release.digest, "commit": release.commit, "run": release.run},
        )
    if after.state.is_final:
        yield _finished(after)


def _job_event(run: Run, job: JobRun) -> Event:
    done = job.state.is_final
    said = f"ended in {job.state.value}" if done else "started"
    return Event(
        type=JOB_FINISHED if done else JOB_STARTED,
        subject=run.key,
        summary=f"job {job.id} of run {run.n} {said}",
        data={"job": job.id, "state": job.state.value},
    )


def _finished(run: Run) -> Event:
    data = {
        "state": run.state.value,
        "commit": run.commit,
        "problem": run.problem,
        "passed": run.tests.passed,
        "failed": run.tests.failed,
        "skipped": run.tests.skipped,
    }
    return Event(
        type=RUN_FINISHED, subject=run.key, summary=f"run {run.n} ended in {run.state.value}", data=data
    )


def _event(kind: str, run: Run, summary: str) -> Event:
    return Event(
        type=kind, subject=run.key, summary=summary, data={"commit": run.commit, "branch": run.branch}
    )


def _run_job(run: Run, job: JobRun) -> Intent:
    return Intent(key=f"run/{run.key}/{job.id}", act=RunJob(run=run.key, job=job.id))


def _write(run: Run) -> Write:
    return Write(kind="Run", key=run.key, body=run)


def _tests(results: Iterable[Job]) -> TestCount:
    counts = [result.tests for result in results]
    return TestCount(
        passed=sum(count.passed for count in counts),
        failed=sum(count.failed for count in counts),
        skipped=sum(count.skipped for count in counts),
    )


def _instant(epoch_s: float | None) -> datetime | None:
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC)
