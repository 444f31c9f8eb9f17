"""A branch preview under fleet's hands: shown without a gap, and nothing of it is left."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from poise.fleet.wanted import called_by, rollout_of, wanted_under
from poise.model.branch_preview import BranchPreview, PreviewRevision, PreviewState

from .conftest import NOW, SERVICE, World

SHOWN = BranchPreview(
    project="acme", branch="topic", label="topic", service="shop", host="topic.shop.localhost",
    state=PreviewState.STARTING, commit="c", run=1, taken_at=NOW, until=NOW, changed_at=NOW,
)  # fmt: skip


def at(*numbers: int) -> BranchPreview:
    """The preview with these revisions, the newest last."""
    revisions = (
        PreviewRevision(n=n, run=n, commit="c", digest=f"sha256:{n}", spec=SERVICE, since=NOW)
        for n in numbers
    )
    return replace(SHOWN, revisions=tuple(revisions), last=max(numbers, default=0))


def show(world: World, preview: BranchPreview) -> None:
    """What is wanted becomes this."""
    world.service = preview.declared
    world.rollouts = {one.n: one for one in preview.rollouts}


def shown(*numbers: int) -> World:
    world = World(key=SHOWN.key)
    show(world, at(*numbers))
    world.settle()
    return world


def test_it_runs_once_and_takes_all_of_its_own_host_without_a_verdict() -> None:
    """However many replicas the service declares: it is looked at, not used."""
    world = shown(1)
    assert len(world.processes) == 1 and world.route is not None
    assert world.running_weights == world.route.acked == {1: 100}
    assert world.route.verdict is None


def test_the_one_before_answers_until_the_next_is_ready_and_is_stopped_then() -> None:
    world = shown(1)
    show(world, at(1, 2))
    for _ in range(6):  # it is started and does not answer yet
        world.tick()
        for key in list(world.outbox):
            world.perform(key)
        assert world.running_weights == {1: 100}
    world.settle()
    assert world.running_weights == {2: 100}
    assert [key.split("/")[3] for key in world.processes] == ["000002"]


def test_a_stopped_one_leaves_nothing_and_no_version_is_given_twice() -> None:
    """Its route goes once another one has a higher version."""
    world = shown(1)
    show(world, at())
    world.settle()
    assert not world.processes and not world.replicas and not world.running_weights
    assert world.route is not None, "it holds the highest version"
    before = world.route.version
    world.apply_other()
    world.settle()
    assert world.route is None
    show(world, at(2))
    world.settle()
    assert world.route is not None and world.route.version > before and world.running_weights == {2: 100}


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_late_it_ends_as_it_is_wanted(seed: int) -> None:
    """Late effects, processes that die, a deaf keeper: once all is done it is as declared."""
    random, world = Random(seed), World(key=SHOWN.key)
    last, wanted = 0, at()
    for _ in range(60):
        move = random.choice(["push", "stop", "perform", "perform", "die", "probe", "other", "deaf", "tick"])
        if move == "push":
            last += 1
            wanted = at(*(one.n for one in wanted.revisions[-1:]), last)
        elif move == "stop":
            wanted = replace(at(), last=last)
        elif move == "perform" and world.outbox:
            world.perform(random.choice(sorted(world.outbox)))
        elif move == "die" and world.processes:
            world.processes.pop(random.choice(sorted(world.processes)))
        elif move == "probe" and world.processes:
            world.probe(random.choice(sorted(world.processes)))
        elif move == "other":
            world.apply_other()
        world.keeper = move != "deaf"
        show(world, wanted)
        world.tick()
    world.keeper = True
    world.settle(30)
    newest = wanted.newest
    assert len(world.processes) == len(world.replicas) == (1 if newest else 0)
    assert world.running_weights == ({newest.n: 100} if newest else {})


class Records:
    """A store that holds a few previews."""

    def __init__(self, *previews: BranchPreview) -> None:
        self._held = {one.key: one for one in previews}

    async def get(self, body: type, key: str) -> tuple[BranchPreview | None, None]:
        return self._held.get(key), None


@pytest.mark.anyio
async def test_it_calls_the_preview_of_its_own_branch_and_else_what_is_live() -> None:
    """A branch that changes two services is looked at with both."""
    cart, gone = replace(at(1), service="cart"), replace(at(), service="mail")
    store = Records(at(3, 4), cart, gone)
    mine = await rollout_of(store, f"{SHOWN.key}/000004")  # type: ignore[arg-type]
    assert mine is not None and (mine.digest, mine.spec.hostname) == ("sha256:4", SHOWN.host)
    assert await called_by(store, mine, "cart") == "acme/~topic/cart"  # type: ignore[arg-type]
    assert await called_by(store, mine, "mail") == "acme/production/mail"  # type: ignore[arg-type]
    assert await called_by(store, mine, "users") == "acme/production/users"  # type: ignore[arg-type]
    assert await rollout_of(store, f"{SHOWN.key}/000009") is None  # type: ignore[arg-type]
    service, rollouts, _ = await wanted_under(store, gone.key)  # type: ignore[arg-type]
    assert (service, rollouts) == (None, [])
