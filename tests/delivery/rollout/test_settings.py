"""Changing config or a secret is a rollout of what is live, judged and remembered like any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tests.delivery.rollout.world import KEY, World, go, hold

from poise.delivery.rollout.settings import Versions, versions_of
from poise.model import event_types
from poise.model.delivery import ChangeClass, Rollout, Verb
from poise.model.delivery import RolloutState as S
from poise.model.fleet import RollbackRequest


def live(world: World) -> tuple[str, int, int]:
    found = world.live()
    assert found is not None
    return found.digest.removeprefix("sha256:"), found.config, found.secret


def test_a_new_config_is_rolled_out_with_the_live_release() -> None:
    """It takes its steps like a release, and the record says who changed what and why, never a value."""
    world = World().settled()
    world.config(PAYMENTS_TIMEOUT="0", LEVEL="info")
    world.run(60)
    assert live(world) == ("a", 1, 0)
    rollout = world.rollouts[2]
    assert (rollout.release, rollout.changes) == (1, ("config",))
    assert rollout.summary == "config 1: LEVEL, PAYMENTS_TIMEOUT changed by anna: why"
    assert rollout.revision != world.rollouts[1].revision
    (event,) = world.told(event_types.ROLLOUT_CREATED)[1:]
    assert (event.actor, event.data["changes"]) == ("anna", ["config"])
    assert {percent for n, percent in world.weights_seen if n == 2} >= {5, 20, 50, 100}


def test_the_sentence_names_what_changed_and_no_more_than_five() -> None:
    """Sixty changed names would hide the reason."""
    world = World()
    world.config(**{f"K{i}": "x" for i in range(8)})
    world.settled()
    assert live(world) == ("a", 1, 0)  # the first release takes what is set
    world.config(**{f"K{i}": "y" for i in range(7)})
    world.run(2)
    assert world.rollouts[2].summary == "config 2: K0, K1, K2, K3, K4 and 2 more changed by anna: why"


def test_a_secret_is_rolled_out_by_its_marks() -> None:
    """Two versions differ in marks; a value is nowhere."""
    world = World().settled()
    world.secret(TOKEN="m1", KEY="m2")
    world.run(60)
    assert live(world) == ("a", 0, 1)
    assert world.rollouts[2].summary == "secret 1: KEY, TOKEN changed by bob: why"


def test_a_config_passes_the_gate() -> None:
    """Changing one is a change."""
    world = World().settled()
    world.gate = hold
    world.config(A="1")
    world.run(30)
    assert world.rollouts[2].state is S.WAITING
    assert live(world) == ("a", 0, 0)
    world.gate = go
    world.run(60)
    assert live(world) == ("a", 1, 0)


def test_a_bad_config_is_rolled_back_and_remembered_while_its_digest_is_not() -> None:
    """The next release must not bring it in silently, and a push of the same code is not refused."""
    world = World().settled()
    world.errors[2] = 0.5
    world.config(A="bad")
    world.until(S.ROLLED_BACK, 2)
    world.run(60)
    assert len(world.rollouts) == 2, "it is not tried again by itself"
    assert "rejected: config 1" in world.told(event_types.SERVICE_ROLLED_BACK)[-1].summary
    world.release("sha256:b")
    world.run(80)
    assert live(world) == ("b", 0, 0)
    world.release("sha256:a")
    world.run(80)
    assert live(world) == ("a", 0, 0)
    assert not world.told(event_types.RELEASE_REJECTED)
    world.config(A="good")
    world.run(80)
    assert live(world) == ("a", 2, 0)


def test_a_config_that_breaks_the_start_is_tried_once() -> None:
    """Else it would be asked for again and again, for ever."""
    world = World().settled()
    world.crashes.add("sha256:a")
    world.boots.add("sha256:a")
    world.config(A="bad")
    world.until(S.FAILED, 2)
    world.run(30)
    assert sorted(world.rollouts) == [1, 2]


def test_a_bad_release_does_not_condemn_the_config_that_came_with_it() -> None:
    """What came together is judged apart: first the digest goes, then the config is tried alone."""
    world = World().settled()
    world.gate = hold
    world.config(A="1")
    world.run(3)
    world.release("sha256:b")
    world.errors[3] = 0.5
    world.run(3)
    assert (world.rollouts[3].changes, world.rollouts[3].config) == (("release", "config"), 1)
    world.gate = go
    world.until(S.ROLLED_BACK, 3)
    world.run(80)
    assert live(world) == ("a", 1, 0)
    assert world.rollouts[4].changes == ("config",)


def test_a_fix_does_not_wait_for_somebodys_feature() -> None:
    """The gate holds the config; a fix of the code goes without it, and the config waits on."""
    world = World().settled()
    world.gate = lambda w, r: go(w, r) if r.change_class is ChangeClass.FIX else hold(w, r)
    world.config(A="1")
    world.run(3)
    world.release("sha256:b", ChangeClass.FIX)
    world.run(60)
    assert live(world) == ("b", 0, 0)
    waiting = world.rollouts[max(world.rollouts)]
    assert (waiting.state, waiting.digest, waiting.config) == (S.WAITING, "sha256:b", 1)


def test_a_waiting_release_takes_the_settings_that_became_live_meanwhile() -> None:
    """It was made before; started as it was it would take the config away again."""
    world = World().settled()
    world.config(A="1")
    world.until(S.STEPPING, 2)
    world.release("sha256:b", ChangeClass.FIX)
    world.run(120)
    assert live(world) == ("b", 1, 0)


def test_an_aborted_config_is_not_taken_again() -> None:
    """A person said no."""
    world = World().settled()
    world.gate = hold
    world.config(A="1")
    world.run(3)
    world.order(Verb.ABORT)
    world.gate = go
    world.run(60)
    assert live(world) == ("a", 0, 0)
    assert sorted(world.rollouts) == [1, 2]


def test_a_rollback_restores_the_settings_of_that_rollout() -> None:
    """Back means as it was: code, config and secret; and what went back stays away."""
    world = World().settled()
    world.config(A="1")
    world.run(60)
    world.secret(T="1")
    world.run(60)
    world.release("sha256:b")
    world.config(A="2")
    world.run(100)
    assert live(world) == ("b", 2, 1)
    world.order(Verb.ROLLBACK)
    world.run(100)
    assert live(world) == ("a", 1, 1)
    newest = world.rollouts[max(world.rollouts)]
    assert newest.back_to is not None and newest.summary == "back to release 1, config 1, secret 1: because"


def test_a_rollback_class_of_config_goes_straight() -> None:
    """Restoring an earlier version is a way back: no bakes on the way."""
    world = World().settled()
    world.config(A="1")
    world.run(60)
    world.config(ChangeClass.ROLLBACK, A="0")
    world.run(10)
    assert live(world) == ("a", 2, 0)
    world.run(30)
    assert len(world.rollouts) == 3


# -- healing's request --------------------------------------------------------------------------------


def request(world: World, rollout: int) -> None:
    world.request = RollbackRequest(service=KEY, rollout=rollout, reason="crash loop", at=world.now)


@pytest.mark.parametrize(("about", "ends"), [(2, ("a", 0, 0)), (1, ("b", 0, 0)), (9, ("b", 0, 0))])
def test_healings_request_goes_back_from_the_newest_live_alone(
    about: int, ends: tuple[str, int, int]
) -> None:
    """Any other is void: what it was about runs no more."""
    world = World().settled()
    world.release("sha256:b")
    world.run(80)
    request(world, about)
    world.run(60)
    assert live(world) == ends
    refused = world.told(event_types.ORDER_REFUSED)
    assert [event.actor for event in refused] == ([] if about == 2 else ["healing"])


def test_healings_request_ends_a_canary_and_is_answered_once() -> None:
    """The same release, deployed again by a person, is not thrown out by the old request."""
    world = World().settled()
    world.release("sha256:b")
    world.until(S.STEPPING, 2)
    request(world, 2)
    world.until(S.ROLLED_BACK, 2)
    assert world.told(event_types.ROLLOUT_ROLLING_BACK)[-1].actor == "healing"
    world.order(Verb.DEPLOY, release=2)
    world.run(80)
    assert live(world) == ("b", 0, 0)


def test_a_void_request_stays_void() -> None:
    """It named what was live under a canary; once the canary is gone it must not come true."""
    world = World().settled()
    world.release("sha256:b")
    world.run(80)
    world.release("sha256:c")
    world.until(S.STEPPING, 3)
    request(world, 2)
    world.run(3)
    world.order(Verb.ABORT)
    world.run(60)
    assert live(world) == ("b", 0, 0)


def test_healing_does_not_go_back_to_what_was_rejected() -> None:
    """The only release has nothing before it."""
    world = World().settled()
    request(world, 1)
    world.run(30)
    assert live(world) == ("a", 0, 0)
    assert world.told(event_types.ORDER_REFUSED)[0].summary.endswith("no earlier live release is known")


# -- the law ------------------------------------------------------------------------------------------

HAPPENINGS = st.lists(
    st.sampled_from(
        ["release", "bad", "config", "bad config", "secret", "fix", "rollback", "abort", "hold", "go"]
    ),
    max_size=12,
)


@given(happenings=HAPPENINGS, seed=st.integers(0, 1000))
@examples(max_examples=40, deadline=None)
def test_left_alone_it_comes_to_rest_with_what_was_not_rejected(happenings: list[str], seed: int) -> None:
    """No loop, no lost version: the newest settings are live unless they were judged or sent back."""
    world = World(seed=seed).settled()
    for i, happening in enumerate(happenings):
        bad_next = max(world.rollouts) + 1
        match happening:
            case "release" | "bad" | "fix":
                kind = ChangeClass.FIX if happening == "fix" else ChangeClass.FEATURE
                world.release(f"sha256:{i}", kind)
            case "config" | "bad config":
                world.config(A=str(i))
            case "secret":
                world.secret(T=str(i))
            case "rollback" | "abort":
                world.order(Verb.ROLLBACK if happening == "rollback" else Verb.ABORT)
            case "hold" | "go":
                world.gate = hold if happening == "hold" else go
        if happening.startswith("bad"):
            world.errors[bad_next] = 0.6
        world.run(15)
    world.gate = go
    world.errors.clear()
    world.run(400)
    count, resting = len(world.rollouts), world.live()
    world.run(50)
    assert len(world.rollouts) == count and world.live() == resting
    assert resting is not None
    newest = Versions(len(world.configs), len(world.secrets))
    for kind, runs, wanted in zip(("config", "secret"), versions_of(resting), newest, strict=True):
        assert runs == wanted or any(_ended(one, kind, wanted) for one in world.listed())


def _ended(one: Rollout, kind: str, version: int) -> bool:
    judged = one.aborted or one.state in (S.ROLLED_BACK, S.FAILED)
    return judged and getattr(one, kind) == version


def test_versions_are_those_of_no_rollout_before_the_first() -> None:
    """0 stands for none."""
    assert versions_of(None) == Versions(0, 0)
