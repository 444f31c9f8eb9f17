"""The stages deliver, observe, promote and protect: a change on its way to users, or back."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from msgspec import Struct

from poise.api.views import Page
from poise.cli.story.scene import Scene
from poise.cli.story.shop import PROJECT, SERVICES
from poise.cli.story.telling import Failed
from poise.model.balance import Budget
from poise.model.delivery import Release, Rollout, RolloutState, Run
from poise.model.record import Recorded

Facts = dict[str, Any]
RUN_S: Final = 60.0
ROLLOUT_S: Final = 120.0
OBSERVE_S: Final = 8.0
DETECT_MOST_S: Final = 60.0
ERRORS_MOST_RATIO: Final = 0.02
FAIL_ONE_IN: Final = 5
RECOUNT_S: Final = 7.0  # budgets are counted every 5 s from counters read every second
NOTICEABLE_RATIO: Final = 0.005
GOOD, BAD = "2", "3"


def must(holds: bool, otherwise: str) -> None:
    """Raise ``Failed`` with the reason unless it holds."""
    if not holds:
        raise Failed(otherwise)


async def run_of(scene: Scene, commit: str) -> Run:
    """The pipeline run of a commit, once it is over."""

    async def look() -> Run | None:
        page = await scene.get(f"projects/{PROJECT}/runs", Page[Run], limit=500)
        return next((run for run in page.items if run.commit == commit and run.state.is_final), None)

    return await scene.until("the pipeline runs the tests", look, RUN_S)


async def deliver(scene: Scene, facts: Facts) -> None:
    """A first push becomes three services behind Envoy."""
    scene.view.doing("poise up")
    facts["up_to_ready_s"] = round(await scene.open(), 2)
    began = time.monotonic()
    commit = await scene.push("The shop opens", "1")
    run = await run_of(scene, commit)
    facts["run_result"] = run.state.value
    facts["tests_passed"] = run.tests.passed
    must(run.state.value == "success", f"the run ended as {run.state.value}: {run.problem}")
    must(run.tests.passed > 0 and run.tests.failed == 0, f"tests: {run.tests}")

    async def answers() -> int | None:
        status = await scene.storefront_status()
        return status if status == 200 else None

    facts["http_status"] = await scene.until("users get an answer", answers, RUN_S, 0.02)
    facts["push_to_live_s"] = round(time.monotonic() - began, 2)
    releases = (await scene.get(f"projects/{PROJECT}/releases/storefront", Page[Release])).items
    facts["release_digest"] = releases[-1].digest
    facts["replicas_ready"] = await scene.until(
        "two replicas of each are ready", lambda: _ready(scene), RUN_S
    )
    await live(scene, commit, SERVICES)


async def _ready(scene: Scene) -> dict[str, int] | None:
    ready = {name: (await scene.service(name)).replicas_ready for name in SERVICES}
    return ready if min(ready.values()) >= 2 else None


async def live(scene: Scene, commit: str, services: tuple[str, ...]) -> None:
    """Wait until a commit is live in these services."""

    async def look() -> bool:
        found = [await scene.rollout_of(commit, name) for name in services]
        ended = [one for one in found if one and one.state.is_final]
        must(not ended, f"{[f'{one.key} {one.state.value}: {one.reason}' for one in ended]}")
        return all(one is not None and one.state is RolloutState.LIVE for one in found)

    await scene.until(f"{', '.join(services)} are live", look, ROLLOUT_S)


async def observe(scene: Scene, facts: Facts) -> None:
    """Users come; what they feel is measured and held to objectives."""
    users = scene.users
    began = users.now()
    users.start()
    scene.view.doing(f"users shop for {OBSERVE_S:g} s")
    await asyncio.sleep(OBSERVE_S)

    async def measured() -> list[Budget] | None:
        found = (await scene.service()).budgets
        fresh = len(found) >= 2 and all(one.measured_at and one.good + one.bad > 0 for one in found)
        return list(found) if fresh else None

    budgets = await scene.until("budgets are counted", measured, 30.0)
    felt = users.felt(began, users.now())
    facts["requests"] = felt.requests
    facts["availability_ratio"] = round(1 - felt.error_ratio, 6)
    facts["latency_ms_p95"] = felt.latency_ms_p95
    facts["coverage_ratio"] = round(min(one.coverage_ratio for one in budgets), 4)
    facts["objectives"] = [
        {"name": one.objective, "target": one.target_ratio, "left_ratio": round(one.left_ratio, 4)}
        for one in budgets
    ]
    must(felt.requests >= OBSERVE_S * 40, f"only {felt.requests} requests were answered")
    must(felt.failed == 0, f"requests failed: {users.failures(began)}")
    must(facts["coverage_ratio"] >= 0.9, "part of the time was not measured")


class Watched(Struct, kw_only=True):
    """A rollout as the API told of it from its push to its end."""

    rollout: Rollout
    weights: list[int]
    turned_at: float | None = None  # when it was first seen rolling back


async def watch(scene: Scene, commit: str, ends: tuple[RolloutState, ...]) -> Watched:
    """Follow the storefront's rollout of a commit until it is in one of ``ends``."""
    weights: list[int] = []
    turned: list[float] = []

    async def look() -> Rollout | None:
        rollout = await scene.rollout_of(commit)
        if rollout is None:
            return None
        route = (await scene.service()).route
        weight = route.acked.get(rollout.n, 0) if route else 0
        if not weights or weights[-1] != weight:
            weights.append(weight)
        if rollout.state in (RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK) and not turned:
            turned.append(scene.users.now())
        scene.view.doing(f"storefront rollout {rollout.n} {rollout.state.value} {weight} %")
        if rollout.state in ends:
            return rollout
        must(not rollout.state.is_final, f"rollout {rollout.n} {rollout.state.value}: {rollout.reason}")
        return None

    try:
        rollout = await scene.until("the storefront's rollout", look, ROLLOUT_S)
    except Failed as failed:
        raise Failed(f"{failed}; weights seen {weights}") from None
    return Watched(rollout=rollout, weights=weights, turned_at=turned[0] if turned else None)


async def promote(scene: Scene, facts: Facts) -> None:
    """A good change goes to all users step by step, and nobody notices."""
    began = scene.users.now()
    scene.view.doing("git push of a good v2")
    commit = await scene.push("Version 2", GOOD)
    watched = await watch(scene, commit, (RolloutState.LIVE,))
    ended = scene.users.now()
    await live(scene, commit, SERVICES)
    felt = scene.users.felt(began, scene.users.now())
    facts["weights"] = watched.weights
    facts["took_s"] = round(ended - began, 1)
    facts["failed_requests"] = felt.failed
    facts["posts_lost_in_flight"] = felt.posts_lost
    facts["app_errors"] = felt.app_errors
    facts["requests"] = felt.requests
    facts["proven"] = bool(watched.rollout.proven)
    must(felt.failed + felt.posts_lost == 0, f"requests failed: {scene.users.failures(began)}")
    must(watched.weights[-1] == 100 and len(watched.weights) >= 3, f"weights seen: {watched.weights}")


async def left(scene: Scene) -> tuple[float, bool]:
    """What is left of the storefront's availability budget, and whether it is past its bootstrap."""
    found = [one for one in (await scene.service()).budgets if one.objective == "storefront-availability"]
    must(bool(found), "the storefront has no availability budget")
    return found[0].left_ratio, not found[0].bootstrap


async def recounted(scene: Scene, before: float) -> float:
    """What is left once the newest errors are counted; budgets are counted anew every few seconds."""
    deadline = time.monotonic() + RECOUNT_S
    ratio, _ = await left(scene)
    while abs(ratio - before) < NOTICEABLE_RATIO and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        ratio, _ = await left(scene)
    return ratio


async def protect(scene: Scene, facts: Facts) -> None:
    """A bad change meets few users, is recognised, taken back, and remembered."""

    async def grown() -> bool:
        return (await left(scene))[1]

    await scene.until("the objectives are past their bootstrap", grown, 60.0, 0.5)
    before, _ = await left(scene)
    pushed_at = scene.users.now()
    scene.view.doing("git push of a bad v3: one in five requests fails")
    commit = await scene.push("Version 3", BAD, FAIL_ONE_IN)
    watched = await watch(scene, commit, (RolloutState.ROLLED_BACK, RolloutState.LIVE))
    ended = scene.users.now()
    first = scene.users.first_of(BAD, pushed_at)
    trial = watched.rollout.trial
    facts["weights"] = watched.weights
    facts["canary_requests"] = trial.canary_requests
    facts["canary_errors"] = trial.canary_errors
    facts["e_value"] = round(trial.e_value, 1)
    facts["rolled_back"] = watched.rollout.state is RolloutState.ROLLED_BACK
    must(first is not None and watched.turned_at is not None, "no user met v3, or it went live")
    assert first is not None and watched.turned_at is not None
    felt = scene.users.felt(first, ended)
    facts["detected_after_s"] = round(watched.turned_at - first, 2)
    facts["rolled_back_after_s"] = round(ended - first, 2)
    facts["user_error_ratio"] = round(felt.error_ratio, 5)
    facts["failed_requests"] = felt.failed
    facts["rejected_remembered"] = await _remembered(scene, commit)
    await asyncio.sleep(
        max(0.0, ended + RECOUNT_S - scene.users.now())
    )  # its last errors are counted by then
    facts["budget_spent_ratio"] = round(before - (await left(scene))[0], 4)
    must(facts["rolled_back"], "v3 was not rolled back")
    must(facts["rolled_back_after_s"] <= DETECT_MOST_S, "v3 stayed too long")
    must(felt.error_ratio <= ERRORS_MOST_RATIO, "users saw too many errors")
    must(felt.failed == 0, f"requests failed: {scene.users.failures(first)}")


async def _remembered(scene: Scene, bad: str) -> bool:
    """Push the same content again: the release is refused with the rollout that rejected it."""
    scene.view.doing("the same content is pushed again")
    again = await scene.push("Version 3, once more")
    run = await run_of(scene, again)
    must(run.state.value == "success", f"the run ended as {run.state.value}: {run.problem}")

    async def refused() -> Recorded | None:
        subject = f"{PROJECT}/production/storefront"
        path = f"projects/{PROJECT}/events"
        rows = (await scene.get(path, Page[Recorded], subject=subject, newest="true", limit=100)).items
        return next((row for row in rows if row.event.type == "dev.poise.release.rejected"), None)

    await scene.until("the rejected digest is remembered", refused, 20.0)
    rollout = await scene.rollout_of(bad)
    return await scene.rollout_of(again) is None and rollout is not None
