"""Which jobs start, how a run ends, what it yields."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.delivery.pipeline.decide import (
    Job,
    Planned,
    Seen,
    Step,
    Target,
    artifact_job,
    begin,
    decide,
)
from poise.delivery.pipeline.plan import Sources, artifacts
from poise.model.acts import PackRelease, RunJob
from poise.model.delivery import Change, ChangeClass, JobRun, Release, Run, RunState, StepRun, TestCount
from poise.model.event_types import RUN_FINISHED, RUN_QUEUED
from poise.model.record import Decision, PrefixRef
from poise.model.service import Service

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
ENDS = [RunState.SUCCESS, RunState.FAILURE, RunState.ERROR, RunState.TIMEOUT]
CHANGE = Change(
    project="shop",
    commit="c" * 40,
    branch="main",
    summary="feat: cart",
    author="Ada",
    committed_at=NOW,
    pushed_by="ada",
    pushed_at=NOW,
    change_class=ChangeClass.FEATURE,
)


def job(name: str, *needs: str) -> JobRun:
    return JobRun(id=name, needs=needs, steps=(StepRun(name="test", run="true"),))


def run_of(*jobs: JobRun) -> Run:
    run = begin(CHANGE, 1, Planned(workflow="ci", jobs=jobs), (), NOW).writes[0].body
    assert isinstance(run, Run)
    return run


def ended(state: RunState = RunState.SUCCESS, **more: object) -> Job:
    step = Step(state=state, exit_code=0, started_at=1.0, finished_at=2.0)
    return Job(steps={0: step}, ended=state, ended_at=2.0, **more)  # type: ignore[arg-type]


def look(run: Run, results: dict[str, Job] | None = None, **more: object) -> Decision:
    return decide(Seen(run=run, change=CHANGE, results=results or {}, **more), NOW)  # type: ignore[arg-type]


def after(run: Run, decision: Decision) -> Run:
    found = [write.body for write in decision.writes if isinstance(write.body, Run)]
    return found[0] if found else run


def started(decision: Decision) -> list[str]:
    return [intent.act.job for intent in decision.intents if isinstance(intent.act, RunJob)]


def test_jobs_start_when_what_they_need_has_succeeded() -> None:
    """The order that a team wrote is the order that runs."""
    run = run_of(job("build"), job("test", "build"), job("lint"))
    first = look(run)
    assert started(first) == ["build", "lint"]
    second = look(after(run, first), {"build": ended()})
    assert started(second) == ["test"]


def test_what_needs_a_failed_job_is_skipped_all_the_way() -> None:
    """Nothing is left waiting for what cannot come."""
    run = run_of(job("build"), job("test", "build"), job("ship", "test"))
    run = after(run, look(run))
    run = after(run, look(run, {"build": ended(RunState.FAILURE)}))
    assert [one.state for one in run.jobs] == [RunState.FAILURE, RunState.SKIPPED, RunState.SKIPPED]
    assert (run.state, run.finished_at) == (RunState.FAILURE, NOW)


@pytest.mark.parametrize("state", ENDS[1:])
def test_a_run_ends_as_its_worst_job(state: RunState) -> None:
    """A failure is never hidden by a success beside it."""
    run = run_of(job("a"), job("b"))
    run = after(run, look(run))
    run = after(run, look(run, {"a": ended(), "b": ended(state)}))
    assert run.state is state
    assert run.releases == ()


def test_refused_files_are_an_error_from_the_start_with_the_reason() -> None:
    """Never silently ignored: the run exists, is over, and says why."""
    decision = begin(CHANGE, 1, Planned(problem="POISE-S114 ... (ci.yml:7:5)"), (), NOW)
    run = after(run_of(), decision)
    assert (run.state, run.problem) == (RunState.ERROR, "POISE-S114 ... (ci.yml:7:5)")
    assert [event.type for event in decision.events] == [RUN_QUEUED, RUN_FINISHED]
    assert decision.intents == ()


def test_an_untrusted_change_builds_without_network() -> None:
    """Anyone's code may be built; not anyone's code may call out."""
    run = begin(replace(CHANGE, trusted=False), 1, Planned(jobs=(job("build"),)), (), NOW).writes[0].body
    assert isinstance(run, Run) and run.network is False


def test_a_success_is_packed_and_then_released_with_its_numbers() -> None:
    """The release and the end of the run are one transaction that checks the number it took."""
    run = run_of(job("build"))
    run = after(run, look(run))
    results = {"build": ended(tests=TestCount(passed=3))}
    packing = look(run, results, releases=True)
    assert [intent.act for intent in packing.intents] == [PackRelease(run=run.key)]
    run = after(run, packing)
    assert not run.state.is_final
    assert look(run, results, releases=True).is_empty
    spec = Service(project="shop", environment="production", name="web", command="run")
    ref = PrefixRef("Release", "shop/web/", 7)
    target = Target(service="web", n=4, digest="sha256:" + "0" * 64, specs=(spec,), ref=ref)
    done = look(run, results, releases=True, targets=(target,))
    (release,) = [write.body for write in done.writes if isinstance(write.body, Release)]
    assert (release.n, release.commit, release.run, release.specs) == (4, CHANGE.commit, 1, (spec,))
    assert ref in done.reads
    run = after(run, done)
    assert (run.state, run.releases, run.tests.passed) == (RunState.SUCCESS, (release.key,), 3)


def test_packing_that_was_given_up_ends_the_run_with_its_reason() -> None:
    """A run never waits for ever."""
    run = run_of(job("build"))
    run = after(run, look(run))
    run = after(run, look(run, {"build": ended()}, releases=True, pack_problem="the disk is full"))
    assert (run.state, run.problem) == (RunState.ERROR, "the disk is full")


@pytest.mark.parametrize(
    ("wanted", "jobs", "found"),
    [
        (None, ["only"], "only"),
        (None, ["lint", "build"], "build"),
        (None, ["lint", "test"], None),
        ("test", ["lint", "test"], "test"),
        ("gone", ["lint"], None),
    ],
)
def test_an_artifacts_job_is_declared_or_plain(
    wanted: str | None, jobs: list[str], found: str | None
) -> None:
    """Never guessed: what is not plain is refused."""
    spec = Service(project="shop", environment="production", name="web", command="run", artifact_job=wanted)
    assert artifact_job(spec, jobs) == found


@st.composite
def graphs(draw: st.DrawFn) -> tuple[JobRun, ...]:
    """Jobs that need only earlier ones, so there is no circle."""
    jobs = []
    for i in range(draw(st.integers(1, 6))):
        jobs.append(
            job(
                str(i),
                *draw(st.sets(st.sampled_from([str(k) for k in range(i)] or [""])) if i else st.just(set())),
            )
        )
    return tuple(jobs)


@given(graphs(), st.data())
def test_every_run_ends_and_starts_each_job_at_most_once(
    jobs: tuple[JobRun, ...], data: st.DataObject
) -> None:
    """However jobs end and in whatever order, nothing waits for ever and nothing runs twice or too soon."""
    run = run_of(*jobs)
    results: dict[str, Job] = {}
    asked: list[str] = []
    for _ in range(2 * len(jobs) + 2):
        decision = look(run, results)
        for name in started(decision):
            needs = next(one.needs for one in jobs if one.id == name)
            assert all(results[need].ended is RunState.SUCCESS for need in needs)
        asked += started(decision)
        run = after(run, decision)
        assert look(run, results).is_empty
        waiting = [name for name in asked if name not in results]
        if run.state.is_final:
            break
        results[data.draw(st.sampled_from(waiting))] = ended(data.draw(st.sampled_from(ENDS)))
    assert run.state.is_final
    assert len(set(asked)) == len(asked)
    assert all(one.state.is_final for one in run.jobs)
    failed = any(one.state is not RunState.SUCCESS for one in run.jobs)
    assert (run.state is RunState.SUCCESS) is not failed


def test_a_service_that_runs_elsewhere_is_not_released() -> None:
    """Two jobs would else be a refusal: which of them makes its artifact, nobody could say."""
    text = "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: billing}\nspec: {}\n"
    sources = Sources(workflows={}, declarations=text)
    jobs = [JobRun(id="one", steps=()), JobRun(id="two", steps=())]
    assert artifacts(sources, "acme", "main", jobs) == ()
