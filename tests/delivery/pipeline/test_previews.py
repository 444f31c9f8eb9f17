"""What a run makes for a branch preview: built as a release is, and none."""

from __future__ import annotations

from datetime import UTC, datetime

from poise.delivery.pipeline.decide import Job, Planned, Seen, Step, Target, begin, decide
from poise.delivery.pipeline.plan import Sources, artifacts, planned
from poise.model.acts import PackRelease
from poise.model.delivery import Built, Change, ChangeClass, JobRun, Run, RunState, StepRun
from poise.model.record import Decision, PrefixRef
from poise.model.service import Previews, Service

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
CHANGE = Change(
    project="shop", commit="c" * 40, branch="topic", summary="feat: cart", author="Ada", committed_at=NOW,
    pushed_by="ada", pushed_at=NOW, change_class=ChangeClass.FEATURE,
)  # fmt: skip
SERVICES = """
apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec: {command: run, port: 80, environments: [{name: staging}, {name: production}]}
---
apiVersion: poise.dev/v1
kind: Service
metadata: {name: mail}
spec: {command: run, port: 81}
---
apiVersion: poise.dev/v1
kind: Service
metadata: {name: jobs}
spec: {command: run}
"""
SOURCES = Sources(workflows={}, declarations=SERVICES)
WEB = Service(project="shop", environment="staging", name="web", command="run", port=80)


def after(decision: Decision) -> Run:
    (run,) = [write.body for write in decision.writes if isinstance(write.body, Run)]
    return run


def test_a_preview_is_of_every_service_that_one_can_look_at_or_of_those_named() -> None:
    """A worker of a branch would do the work of what is live."""
    every = planned(SOURCES, "shop", "topic", Previews(branches=("topic",)))
    assert (every.previews, every.problem) == (("mail", "web"), "")
    named = Previews(branches=("topic",), services=("web", "jobs"))
    assert planned(SOURCES, "shop", "topic", named).previews == ("web",)
    assert planned(SOURCES, "shop", "main").previews == ()


def test_it_is_packed_as_a_release_of_its_service_would_be() -> None:
    """By the branch's own declarations, whatever branch those release."""
    jobs = [JobRun(id="build")]
    (found,) = artifacts(SOURCES, "shop", "topic", jobs, ("web",))
    assert (found.service, found.job) == ("web", "build")
    assert [spec.environment for spec in found.specs] == ["staging", "production"]
    assert artifacts(SOURCES, "shop", "topic", jobs) == ()


def test_a_run_for_previews_keeps_what_it_built_and_releases_nothing() -> None:
    """Else the next environment would take a branch for a release."""
    build = JobRun(id="build", steps=(StepRun(name="test", run="true"),))
    plan = Planned(workflow="ci", jobs=(build,), previews=("web",))
    begun = after(begin(CHANGE, 3, plan, (), NOW))
    assert begun.previews == ("web",)
    step = Step(state=RunState.SUCCESS, exit_code=0, started_at=1.0, finished_at=2.0)
    results = {"build": Job(steps={0: step}, ended=RunState.SUCCESS, ended_at=2.0)}
    run = after(decide(Seen(run=begun, change=CHANGE, releases=True), NOW))
    packing = decide(Seen(run=run, change=CHANGE, results=results, releases=True), NOW)
    assert [intent.act for intent in packing.intents] == [PackRelease(run=run.key)]
    target = Target(
        service="web", n=9, digest="sha256:1", specs=(WEB,), ref=PrefixRef("Release", "shop/web/", 7)
    )
    seen = Seen(run=after(packing), change=CHANGE, results=results, releases=True, targets=(target,))
    done = decide(seen, NOW)
    assert [write.kind for write in done.writes] == ["Run"]
    run = after(done)
    assert (run.state, run.releases) == (RunState.SUCCESS, ())
    assert run.built == (Built(service="web", digest="sha256:1", spec=WEB),)
