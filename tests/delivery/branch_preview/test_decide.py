"""Which branches have a preview, of which commit, and why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.delivery.branch_preview.decide import CRASHES_MAX, KEPT_S, Branch, Seen, decide
from poise.delivery.branch_preview.naming import label_of
from poise.model.branch_preview import LABEL_CHARS, BranchPreview, PreviewOrder, PreviewState, Stopped
from poise.model.delivery import Built, Run, RunState
from poise.model.fleet import Replica
from poise.model.record import Decision
from poise.model.service import Previews, Service

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
SPEC = Service(project="shop", environment="production", name="web", command="run", port=80)
PREVIEWS = Previews(branches=("**",), life_s=3600.0, max=2)


def run(n: int, commit: str, state: RunState = RunState.SUCCESS, problem: str = "") -> Run:
    built = (Built(service="web", digest=f"sha256:{commit}", spec=SPEC),)
    return Run(
        project="shop", n=n, commit=commit, branch="any", workflow="ci", state=state, created_at=NOW,
        problem=problem, previews=("web",), built=built if state is RunState.SUCCESS else (),
    )  # fmt: skip


class World:
    """A project whose previews are decided again and again."""

    def __init__(self, previews: Previews = PREVIEWS) -> None:
        self.previews, self.now = previews, NOW
        self.branches: dict[str, Branch] = {}
        self.known: dict[str, BranchPreview] = {}
        self.replicas: dict[str, Replica] = {}
        self.orders: dict[str, PreviewOrder] = {}
        self.hosts: frozenset[str] = frozenset({"web.localhost"})
        self.said: list[str] = []

    def push(self, branch: str, n: int, state: RunState = RunState.SUCCESS, problem: str = "") -> None:
        commit = f"{n:08d}"
        self.branches[branch] = Branch(name=branch, commit=commit, run=run(n, commit, state, problem))

    def look(self) -> Decision:
        seen = Seen(
            project="shop",
            previews=self.previews,
            branches=tuple(self.branches.values()),
            existing=frozenset(self.branches),
            bases={"web": "web.localhost"},
            hosts=self.hosts,
            known=tuple(self.known.values()),
            replicas=tuple(self.replicas.values()),
            orders=tuple(self.orders.values()),
        )
        decision = decide(seen, self.now)
        for write in decision.writes:
            if isinstance(write.body, BranchPreview):
                self.known[write.key] = write.body
            else:
                del self.known[write.key]
        self.said += [event.summary for event in decision.events]
        return decision

    def ready(self, branch: str, **more: object) -> None:
        one = self.of(branch)
        replica = Replica(service=one.key, rollout=one.last, index=0, **{"ready": True, **more})  # type: ignore[arg-type]
        self.replicas[replica.key] = replica

    def of(self, branch: str) -> BranchPreview:
        return next(one for one in self.known.values() if one.branch == branch)


def shown(world: World, branch: str) -> BranchPreview:
    """A branch whose preview is ready."""
    world.look()
    world.ready(branch)
    world.look()
    return world.of(branch)


def test_a_branch_is_built_started_and_shown_under_its_own_host() -> None:
    """From push to link."""
    world = World()
    world.push("feature/login", 1, RunState.RUNNING)
    world.look()
    assert world.of("feature/login").state is PreviewState.BUILDING
    world.push("feature/login", 1)
    world.look()
    one = world.of("feature/login")
    assert (one.state, one.host, one.until) == (
        PreviewState.STARTING,
        "feature-login.web.localhost",
        NOW + timedelta(hours=1),
    )
    assert one.declared is not None and one.declared.replicas.max == 1
    one = shown(world, "feature/login")
    assert (one.state, one.served) == (PreviewState.READY, 1)
    assert "is at feature-login.web.localhost" in world.said[-1]


def test_what_was_ready_answers_until_the_next_commit_is() -> None:
    """A reviewer's page does not go away because somebody pushed."""
    world = World()
    world.push("topic", 1)
    shown(world, "topic")
    world.push("topic", 2)
    world.look()
    assert [one.n for one in world.of("topic").revisions] == [1, 2]
    assert [one.state.value for one in world.of("topic").rollouts] == ["retired", "live"]
    world.push("topic", 3)
    world.look()
    assert [one.n for one in world.of("topic").revisions] == [1, 3], "2 was never ready: it goes at once"


@pytest.mark.parametrize(
    ("state", "problem", "said"),
    [
        (RunState.FAILURE, "", "run 2 of 00000002 ended in failure; 00000001 still answers"),
        (
            RunState.ERROR,
            "POISE-S110 unknown key",
            "run 2 of 00000002 ended in error: POISE-S110 unknown key",
        ),
    ],
)
def test_a_commit_that_cannot_be_built_says_so_and_what_answered_goes_on(
    state: RunState, problem: str, said: str
) -> None:
    world = World()
    world.push("topic", 1)
    shown(world, "topic")
    world.push("topic", 2, state, problem)
    world.look()
    one = world.of("topic")
    assert one.state is PreviewState.FAILED and said in one.reason
    assert [revision.n for revision in one.revisions] == [1]


def test_one_that_never_becomes_ready_fails_with_what_its_process_did() -> None:
    """Sooner when it crashes again and again: nobody need wait for that."""
    world = World()
    world.push("topic", 1)
    world.look()
    world.ready("topic", ready=False, ended="exit code 3", crashes=(NOW,) * CRASHES_MAX)
    world.look()
    assert world.of("topic").reason == "00000001 crashed 3 times before it was ready (exit code 3)"
    assert world.of("topic").declared is None, "nothing of it runs any more"
    world.push("topic", 2)
    world.look()
    world.now += timedelta(seconds=SPEC.strategy.start_timeout_s)
    world.look()
    assert world.of("topic").reason == "00000002 was not ready within 120 s"


def test_it_ends_with_its_branch_and_comes_back_with_it() -> None:
    world = World()
    world.push("topic", 1)
    shown(world, "topic")
    gone = world.branches.pop("topic")
    world.look()
    assert (world.of("topic").stopped, world.of("topic").declared) == (Stopped.DELETED, None)
    world.branches["topic"] = gone
    world.look()
    assert world.of("topic").state is PreviewState.STARTING
    assert world.of("topic").last == 2, "a revision's number is never used again"


@pytest.mark.parametrize("why", [Stopped.EXPIRED, Stopped.ORDERED])
def test_what_is_over_or_stopped_by_hand_stays_so_until_the_next_push(why: Stopped) -> None:
    world = World()
    world.push("topic", 1)
    shown(world, "topic")
    if why is Stopped.ORDERED:
        world.orders["topic"] = PreviewOrder(project="shop", label="topic", by="ada", reason="seen", at=NOW)
    else:
        world.now += timedelta(hours=1)
    world.look()
    assert world.of("topic").stopped is why
    world.now += timedelta(minutes=1)
    assert world.look().is_empty
    world.push("topic", 2)
    world.look()
    assert world.of("topic").state is PreviewState.STARTING


def test_above_the_limit_the_one_pushed_to_longest_ago_goes() -> None:
    """And is told which push took its place; it does not come back by itself."""
    world = World()
    for n, branch in enumerate(("a", "b", "c"), start=1):
        world.push(branch, n)
        world.now += timedelta(seconds=1)
        shown(world, branch)
    assert world.of("a").reason == "at most 2 branches have a preview, and c was pushed to later"
    assert [world.of(branch).state for branch in "bc"] == [PreviewState.READY] * 2
    assert world.look().is_empty


def test_a_declaration_that_is_taken_back_or_takes_its_host_ends_it() -> None:
    """A declared service is reached under its name, whatever branches there are."""
    world = World()
    world.push("topic", 1)
    shown(world, "topic")
    world.hosts |= {"topic.web.localhost"}
    world.look()
    assert world.of("topic").stopped is Stopped.HOST
    world.hosts -= {"topic.web.localhost"}
    world.look()
    assert world.of("topic").state is PreviewState.STARTING
    world.previews = replace(PREVIEWS, services=("other",))
    world.look()
    assert world.of("topic").stopped is Stopped.UNDECLARED


def test_one_that_is_long_over_is_forgotten_once_its_branch_is_gone() -> None:
    world = World()
    world.push("topic", 1)
    shown(world, "topic")
    world.branches.clear()
    world.look()
    world.now += timedelta(seconds=KEPT_S)
    world.look()
    assert world.known, "its replica is still there"
    world.replicas.clear()
    world.look()
    assert not world.known


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["push", "fail", "delete", "ready", "stop", "wait", "long"]),
        st.sampled_from(["main-2", "feature/a", "feature-a", "Feature/A", "x"]),
    ),
    max_size=40,
)


@given(MOVES)
def test_whatever_happens_it_settles_within_the_limit_and_no_host_is_two_branches(
    moves: list[tuple[str, str]],
) -> None:
    """The laws: a second look writes nothing; never more than ``max``; one host, one branch; a stopped or
    deleted one has nothing to run; what answered is dropped only for a newer one that is ready."""
    world = World()
    for n, (move, branch) in enumerate(moves, start=1):
        served = {one.key: one.served for one in world.known.values() if one.state is PreviewState.READY}
        match move:
            case "push":
                world.push(branch, n)
            case "fail":
                world.push(branch, n, RunState.FAILURE)
            case "delete":
                world.branches.pop(branch, None)
            case "ready" if any(one.branch == branch and one.revisions for one in world.known.values()):
                world.ready(branch)
            case "stop" if any(one.branch == branch for one in world.known.values()):
                label = world.of(branch).label
                world.orders[label] = PreviewOrder(project="shop", label=label, by="ada", at=world.now)
            case "long":
                world.now += timedelta(minutes=50)
        world.now += timedelta(seconds=1)
        world.look()
        world.look()
        assert world.look().is_empty
        running = [one for one in world.known.values() if one.revisions]
        assert len({one.branch for one in running}) <= PREVIEWS.max
        assert len({one.host for one in running}) == len(running)
        assert all(one.branch in world.branches and world.now < one.until for one in running)
        for one in running:
            kept = {revision.n for revision in one.revisions}
            assert one.key not in served or served[one.key] in kept or one.served > served[one.key]


@given(st.lists(st.text(min_size=1, max_size=120), max_size=8, unique=True), st.data())
def test_every_branch_has_a_label_of_its_own_that_is_one_of_a_host_name(
    branches: list[str], data: st.DataObject
) -> None:
    """Letters, digits and hyphens, 63 at most, none at the ends (RFC 1035), and never a declared host."""
    owners: dict[str, str] = {}
    for branch in branches:
        plain = label_of(branch, {}, (), ())
        hosts = {f"{plain}.web.localhost"} if data.draw(st.booleans()) else set()
        label = label_of(branch, owners, hosts, ("web.localhost",))
        assert label not in owners and f"{label}.web.localhost" not in hosts
        assert 0 < len(label) <= LABEL_CHARS and label.strip("-") == label
        assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        owners[label] = branch
        assert label_of(branch, owners, hosts, ("web.localhost",)) == label
