"""Fleet's decisions as tables and laws."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.model.acts import ApplyTraffic, RestartReplica, SpawnReplica, StopReplica
from poise.model.delivery import Ask, Rollout, RolloutState
from poise.model.fleet import HealOrder, Identity, Route
from poise.model.record import Decision
from poise.model.service import Preview, Replicas, Strategy, StrategyKind

from .conftest import KEY, NOW, SERVICE, World, rollout

LIVE, STARTING, STEPPING = RolloutState.LIVE, RolloutState.STARTING, RolloutState.STEPPING


def acts(world: World, kind: type) -> list[object]:
    return [
        intent.act for decision in world.decisions for intent in decision.intents if type(intent.act) is kind
    ]


def live_world() -> World:
    world = World(rollout(1, LIVE))
    world.settle()
    return world


def test_a_declared_service_gets_its_port_before_anything_runs() -> None:
    """Services that depend on it need its address first."""
    world = World()
    world.tick()
    assert world.route is not None and world.route.port == 18001 and world.route.weights == {}
    assert isinstance(next(iter(world.outbox.values())).act, ApplyTraffic)


def test_a_live_rollout_has_its_replicas_and_all_the_traffic() -> None:
    """The plain case."""
    world = live_world()
    assert sorted(world.replicas) == [f"{KEY}/000001/000", f"{KEY}/000001/001"]
    assert all(replica.ready for replica in world.replicas.values())
    assert world.route is not None and world.route.acked == {1: 100} and world.route.weights == {1: 100}


def test_what_is_as_it_should_be_is_left_alone() -> None:
    """Level-triggered means that a second look changes nothing."""
    world = live_world()
    assert world.tick().is_empty


def test_a_first_release_takes_all_once_it_is_ready_and_has_asked() -> None:
    """There is nobody to share with."""
    world = World(rollout(1, STEPPING, weight=5, ask=1))
    world.tick()
    assert world.route is not None and world.route.weights == {}
    world.settle()
    assert world.route.acked == {1: 100}
    assert world.route.verdict == f"{KEY}/000001/ask/000001"


def test_a_canary_rises_only_with_the_key_of_its_verdict() -> None:
    """The performer checks what the key names."""
    world = live_world()
    world.rollouts[2] = rollout(2, STEPPING, weight=5)
    world.settle()
    assert world.route is not None and world.route.acked == {1: 100}
    world.put(2, ask=Ask(n=3, step=1, digest="sha256:2", weight_percent=5, at=NOW))
    world.settle()
    last = acts(world, ApplyTraffic)[-1]
    assert isinstance(last, ApplyTraffic)
    assert (last.raises, last.verdict) == (2, f"{KEY}/000002/ask/000003")
    assert world.route.acked == {1: 95, 2: 5}


def test_a_canary_without_ready_replicas_gets_no_traffic() -> None:
    """Envoy would answer 503 for its share."""
    world = live_world()
    world.rollouts[2] = rollout(2, STEPPING, weight=5, ask=1)
    for _ in range(4):
        world.tick()
        for key in list(world.outbox):
            world.perform(key)
    assert world.route is not None and world.route.weights == {1: 100}


def test_a_canary_whose_process_died_since_the_last_look_gets_no_traffic() -> None:
    """What was recorded as ready a moment ago is no proof: this look has seen that it is gone."""
    world = live_world()
    world.rollouts[2] = rollout(2, STEPPING, weight=5)
    world.settle()
    assert world.replicas[f"{KEY}/000002/000"].ready
    world.put(2, ask=Ask(n=1, step=1, digest="sha256:2", weight_percent=5, at=NOW))
    world.processes[f"{KEY}/000002/000"] = world.process()
    world.tick()
    assert world.route is not None and world.route.weights == {1: 100}
    world.settle()
    assert world.route.acked == {1: 95, 2: 5}


def test_a_dropped_raise_waits_for_the_next_ask() -> None:
    """An old verdict must not be asked for again and again."""
    world = live_world()
    world.rollouts[2] = rollout(2, STEPPING, weight=5, ask=1)
    for _ in range(6):
        world.tick()
        for key in list(world.outbox):
            if key.startswith("traffic/"):
                del world.outbox[key]  # its performer dropped it
            else:
                world.perform(key)
        for key in world.processes:
            world.probe(key)
    asked = [
        intent for d in world.decisions for intent in d.intents if intent.act in acts(world, ApplyTraffic)
    ]
    assert [a.act.raises for a in asked].count(2) == 1
    assert world.route is not None and world.route.acked == {1: 100}
    world.put(2, ask=Ask(n=2, step=1, digest="sha256:2", weight_percent=5, at=NOW))
    world.settle()
    assert world.route.acked == {1: 95, 2: 5}


def test_a_rollback_needs_no_verdict_and_stops_only_what_serves_nobody() -> None:
    """Traffic first, processes last."""
    world = live_world()
    world.rollouts[2] = rollout(2, STEPPING, weight=20, ask=1)
    world.settle()
    world.put(2, state=RolloutState.ROLLED_BACK, weight_percent=0)
    world.active = {f"{KEY}.2": 3}
    decision = world.tick()
    assert not [intent for intent in decision.intents if isinstance(intent.act, StopReplica)]
    applied = [intent.act for intent in decision.intents if isinstance(intent.act, ApplyTraffic)]
    assert [(act.raises, act.verdict) for act in applied] == [(None, None)]
    for key in list(world.outbox):
        world.perform(key)
    for _ in range(3):
        assert not [i for i in world.tick().intents if isinstance(i.act, StopReplica)]
    world.active = {f"{KEY}.2": 0}
    world.settle()
    assert {replica.rollout for replica in world.replicas.values()} == {1}
    assert world.route is not None and world.route.acked == {1: 100}


def test_requests_in_flight_are_waited_for_no_longer_than_the_drain() -> None:
    """One endless stream must not keep a rejected release alive."""
    world = live_world()
    world.rollouts[2] = rollout(2, STEPPING, weight=20, ask=1)
    world.settle()
    world.put(2, state=RolloutState.ROLLED_BACK)
    world.active = {f"{KEY}.2": 1}
    world.settle(rounds=40)
    assert {replica.rollout for replica in world.replicas.values()} == {1}


def test_when_all_live_replicas_fail_their_probes_the_weights_stay() -> None:
    """Fail static: a broken probe must not take the service down."""
    world = live_world()
    for key in world.processes:
        world.probe(key, failures=3)
    world.tick()
    world.tick()
    assert not any(replica.ready for replica in world.replicas.values())
    assert world.route is not None and world.route.weights == {1: 100}


def test_without_the_keeper_nothing_is_spawned_and_nothing_stopped() -> None:
    """Not knowing is not absence."""
    world = live_world()
    before = dict(world.replicas)
    world.keeper = False
    assert not world.tick().intents
    assert world.replicas == before


def test_a_replica_gone_for_good_is_asked_for_with_a_new_key() -> None:
    """The old intent is done and would never be performed again."""
    world = live_world()
    key = f"{KEY}/000001/000"
    del world.processes[key]
    del world.probes[key]
    world.settle()
    spawned = [
        i.key for d in world.decisions for i in d.intents if type(i.act) is SpawnReplica and key in i.key
    ]
    assert len(spawned) == len(set(spawned)) == 2
    assert world.replicas[key].ready


def test_another_process_under_the_key_must_prove_itself() -> None:
    """Readiness belongs to a process, not to a name."""
    world = live_world()
    key = f"{KEY}/000001/000"
    world.processes[key] = world.process()
    world.tick()
    assert not world.replicas[key].ready and world.replicas[key].failures == 0
    assert world.replicas[key].identity == world.processes[key].identity
    world.probe(key)
    world.tick()
    assert world.replicas[key].ready


def test_a_heal_order_restarts_its_process_and_no_other() -> None:
    """Pids and ports are reused; an identity is not."""
    world = live_world()
    key = f"{KEY}/000001/000"
    identity = world.processes[key].identity
    assert identity is not None
    world.orders = (HealOrder(replica=key, identity=identity, reason="hangs", at=NOW),)
    world.settle()
    assert world.processes[key].identity != identity
    assert len({act.identity for act in acts(world, RestartReplica) if isinstance(act, RestartReplica)}) == 1


def test_a_withheld_order_kills_nothing() -> None:
    """In a mass failure the record stands and the processes too."""
    world = live_world()
    key = f"{KEY}/000001/000"
    identity = world.processes[key].identity
    assert identity is not None
    world.orders = (HealOrder(replica=key, identity=identity, reason="mass", at=NOW, mass=True),)
    world.settle()
    assert not acts(world, RestartReplica)


def test_shrinking_stops_the_last_replicas_and_only_while_the_others_are_ready() -> None:
    """Scaling in must not meet a failing replica half-way."""
    world = live_world()
    world.service = replace(SERVICE, replicas=Replicas(min=1, max=4))
    world.probe(f"{KEY}/000001/000", failures=3)
    world.tick()
    world.tick()
    assert len(world.replicas) == 2
    world.settle()
    assert sorted(world.replicas) == [f"{KEY}/000001/000"]


def test_a_replica_that_cannot_go_yet_is_looked_at_and_healed_like_the_others() -> None:
    """Else one that recovered would count as failing for ever, and a mass failure would not end."""
    world = live_world()
    first, last = f"{KEY}/000001/000", f"{KEY}/000001/001"
    for key in (first, last):
        world.probe(key, failures=3)
    world.service = replace(SERVICE, replicas=Replicas(min=1, max=4))
    world.tick()
    assert (world.replicas[first].ready, world.replicas[last].ready) == (False, False)
    world.probe(last)
    world.tick()
    assert world.replicas[last].ready and world.replicas[last].failures == 0
    identity = world.processes[last].identity
    assert identity is not None
    world.orders = (HealOrder(replica=last, identity=identity, reason="hangs", at=NOW),)
    world.tick()
    assert [act.replica for act in acts(world, RestartReplica) if isinstance(act, RestartReplica)] == [last]


def test_the_live_rollout_keeps_as_many_replicas_as_the_one_under_way_leaves_beside_it() -> None:
    """A rolling update takes their place; all come back when it is rolled back."""
    world = live_world()
    world.rollouts[2] = replace(rollout(2, STARTING), beside=1)
    world.settle()
    assert sorted(world.replicas) == [f"{KEY}/000001/000", f"{KEY}/000002/000"]
    world.put(2, state=RolloutState.ROLLING_BACK, beside=None)
    world.settle()
    world.put(2, state=RolloutState.ROLLED_BACK)
    world.settle()
    assert sorted(world.replicas) == [f"{KEY}/000001/000", f"{KEY}/000001/001"]


def test_who_asks_for_the_new_one_reaches_it_while_it_is_ready_and_on_its_way() -> None:
    """Before it takes a user; and not one moment without a ready replica."""
    world = live_world()
    strategy = Strategy(preview=Preview(header="x-poise-preview"))
    new = rollout(2, STARTING)
    world.rollouts[2] = replace(new, spec=replace(new.spec, strategy=strategy))
    world.tick()
    assert world.route is not None and world.route.preview is None
    world.settle()
    assert world.route.preview == 2 and world.route.acked == {1: 100}
    for key in world.processes:
        if "/000002/" in key:
            world.probe(key, failures=3)
    world.tick()
    world.tick()
    assert world.route.preview is None


def recreated(n: int, state: RolloutState, **fields: Any) -> Rollout:
    found = rollout(n, state, **fields)
    strategy = Strategy(kind=StrategyKind.RECREATE)
    return replace(found, spec=replace(found.spec, strategy=strategy))


def test_what_cannot_run_twice_starts_once_every_replica_of_the_other_is_gone() -> None:
    """Old traffic first, then old processes, then the new ones; and the same way back."""
    world = live_world()
    world.rollouts[2] = replace(recreated(2, STARTING), beside=0)
    starts = []
    for _ in range(40):
        world.tick()
        for key in list(world.outbox):
            world.perform(key)
        for key in world.processes:
            world.probe(key)
        starts.append({key.split("/")[3] for key in world.processes})
    assert {"000001", "000002"} not in starts
    assert starts[-1] == {"000002"}
    assert world.route is not None and world.route.acked == {}
    world.put(2, state=RolloutState.FAILED)
    world.settle()
    assert sorted(world.replicas) == [f"{KEY}/000001/000", f"{KEY}/000001/001"]
    assert world.route.acked == {1: 100}


def test_an_envoy_that_lost_its_routes_gets_them_again() -> None:
    """Acknowledged is what it runs, not what it once ran."""
    world = live_world()
    world.running_version = 0
    world.settle(rounds=20)
    assert world.route is not None and world.running_version == world.route.version > 1


def test_a_stop_that_was_done_in_vain_is_asked_for_again() -> None:
    """Otherwise a replica whose stop was lost would run, and be watched, for ever."""
    world = live_world()
    world.service = replace(SERVICE, replicas=Replicas(min=1, max=4))
    world.tick()
    lost = [key for key, intent in world.outbox.items() if isinstance(intent.act, StopReplica)]
    assert len(lost) == 1
    world.done |= {lost[0]}
    del world.outbox[lost[0]]
    world.settle()
    assert sorted(world.replicas) == sorted(world.processes) == [f"{KEY}/000001/000"]


def test_a_process_nobody_recorded_is_stopped() -> None:
    """A store restored from an older copy knows less than the keeper."""
    world = live_world()
    world.processes[f"{KEY}/000009/000"] = world.process()
    world.settle()
    assert f"{KEY}/000009/000" not in world.processes


def test_a_service_no_longer_declared_serves_nothing_and_then_runs_nothing() -> None:
    """Undeclaring is the way to remove one."""
    world = live_world()
    world.service = None
    world.settle(rounds=30)
    assert world.route is not None and world.route.acked == {} and not world.processes


KINDS = ["drop", "ok", "fail", "kill", "reject", "keeper", "envoy", "flight", "other"]
KINDS += 6 * ["round"] + 5 * ["advance"] + 3 * ["tick"] + 3 * ["perform"]  # else it would get nowhere


def script_of(seed: int) -> list[tuple[str, int]]:
    """Sixty things that happen, the same for the same seed."""
    chance = Random(seed)
    return [(chance.choice(KINDS), chance.randrange(10)) for _ in range(60)]


def _advance(world: World) -> None:
    """The rollout room moves on: a new canary, a step, a promotion."""
    n = max(world.rollouts)
    top = world.rollouts[n]
    acked = world.route.acked if world.route else {}
    if top.state is LIVE or top.state.is_final:
        world.rollouts[n + 1] = rollout(n + 1, STEPPING, weight=5, ask=1)
    elif top.state is RolloutState.PROMOTING and acked == {n: 100}:
        for other in [r for r in world.rollouts.values() if r.state is LIVE]:
            world.put(other.n, state=RolloutState.RETIRED, weight_percent=0)
        world.put(n, state=LIVE)
    elif acked.get(n, 0) >= top.weight_percent or top.weight_percent == 0:
        weight = {5: 50, 50: 100}.get(top.weight_percent, 100)
        asked = (top.ask.n if top.ask else 0) + 1
        ask = Ask(n=asked, step=asked, digest=top.digest, weight_percent=weight, at=NOW)
        state = RolloutState.PROMOTING if weight == 100 else STEPPING
        world.put(n, weight_percent=weight, ask=ask, state=state)
    else:
        assert top.ask is not None
        world.put(n, ask=replace(top.ask, n=top.ask.n + 1))


def _step(world: World, kind: str, pick: int) -> None:
    keys, outbox = sorted(world.processes), sorted(world.outbox)
    match kind:
        case "tick":
            world.tick()
        case "round":
            world.settle(rounds=2)
        case "other":
            world.apply_other()
        case "perform" if outbox:
            world.perform(outbox[pick % len(outbox)])
        case "drop" if outbox:
            del world.outbox[outbox[pick % len(outbox)]]
        case "ok" if keys:
            world.probe(keys[pick % len(keys)])
        case "fail" if keys:
            world.probe(keys[pick % len(keys)], failures=1 + pick % 3)
        case "kill" if keys:
            world.processes[keys[pick % len(keys)]] = world.process()
        case "advance":
            _advance(world)
        case "reject":
            n = max(world.rollouts)
            if world.rollouts[n].state.is_active:
                world.put(n, state=RolloutState.ROLLED_BACK, weight_percent=0)
        case "keeper" | "envoy":
            setattr(world, kind, False)
            world.tick()
            setattr(world, kind, True)
        case "flight":
            world.active = {r.cluster: pick % 3 for r in world.rollouts.values()}


class Lawful(World):
    """A world whose every tick is checked against the laws."""

    def tick(self) -> Decision:
        before = self.route
        decision = super().tick()
        _laws(self, before, {r.rollout for r in self.replicas.values() if r.ready})
        return decision


def _laws(world: World, before: Route | None, ready: set[int]) -> None:
    decision, route = world.decisions[-1], world.route
    assert route is not None
    assert sum(route.weights.values()) in (0, 100) and sum(route.acked.values()) in (0, 100)
    if before is None:
        return
    if before.acked and any(r.state is LIVE for r in world.rollouts.values()):
        assert route.weights, "what served once is never left without a split"
    if route.acked != before.acked:
        assert route.acked == world.running_weights, "acknowledged is what Envoy runs"
    if route.weights != before.weights:
        for n in route.weights.keys() - before.acked.keys() - route.acked.keys():
            assert n in ready, "nobody would answer"
    for intent in decision.intents:
        if isinstance(intent.act, StopReplica):
            n = int(intent.act.replica.split("/")[3])
            assert n not in route.weights and n not in route.acked
        if isinstance(intent.act, ApplyTraffic):
            for n, weight in route.weights.items():
                if weight > route.acked.get(n, 0) and world.rollouts[n].state is not LIVE:
                    assert intent.act.raises == n and intent.act.verdict is not None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_the_laws_hold_whatever_happens(seed: int) -> None:
    """Weights sum to 100; no canary rises without a verdict; nothing that has weight is stopped."""
    world = Lawful(rollout(1, LIVE))
    world.settle()
    for kind, pick in script_of(seed):
        _step(world, kind, pick)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_after_a_quiet_period_what_is_wanted_is_what_is(seed: int) -> None:
    """Liveness: no order of lost and late effects leaves it stuck."""
    world = World(rollout(1, STEPPING, weight=5, ask=1))
    for kind, pick in script_of(seed):
        _step(world, kind, pick)
    world.keeper = world.envoy = True
    world.active = {}
    top = world.rollouts[max(world.rollouts)]
    if top.ask is not None and top.state.is_active:
        world.put(top.n, ask=replace(top.ask, n=top.ask.n + 1))
    world.settle(rounds=40)
    assert world.route is not None and world.route.acked == world.route.weights
    assert world.route.acked_version == world.route.version
    wanted = {r.n for r in world.rollouts.values() if not r.state.is_final}
    assert {replica.rollout for replica in world.replicas.values()} == wanted
    assert set(world.processes) == set(world.replicas)
    if wanted:
        assert top.state.is_final or world.route.acked.get(top.n, 0) > 0


def test_identity_is_a_pair() -> None:
    """A pid alone may be another process tomorrow."""
    assert Identity(pid=1, start_ticks=1) != Identity(pid=1, start_ticks=2)
