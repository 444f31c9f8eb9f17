"""A service's world as values: what fleet decided is applied to it, with lost and late effects at will."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from poise.fleet.decide import decide, spawn_key, stop_key, traffic_key
from poise.fleet.seen import Probed, Process, Seen, TrafficSeen
from poise.model.acts import ApplyTraffic, RestartReplica, SpawnReplica, StopReplica
from poise.model.delivery import Ask, ChangeClass, Rollout, RolloutState
from poise.model.fleet import HealOrder, Identity, Replica, Route
from poise.model.record import Decision, Intent
from poise.model.service import Service

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = "acme/production/shop"
SERVICE = Service(project="acme", environment="production", name="shop", command="run", port=8080)


def rollout(
    n: int, state: RolloutState, weight: int = 0, replicas: int = 1, ask: int | None = None
) -> Rollout:
    return Rollout(
        project="acme",
        environment="production",
        service="shop",
        n=n,
        release=n,
        digest=f"sha256:{n}",
        revision=str(n),
        commit="c",
        summary="s",
        change_class=ChangeClass.FEATURE,
        spec=SERVICE,
        state=state,
        weight_percent=weight,
        replicas=replicas,
        ask=None if ask is None else Ask(n=ask, step=1, digest=f"sha256:{n}", weight_percent=weight, at=NOW),
        created_at=NOW,
    )


class World:
    """One service. ``tick`` decides and writes; ``perform`` does what was asked for."""

    def __init__(self, *rollouts: Rollout, key: str = KEY) -> None:
        self.key = key
        self.now = NOW
        self.rollouts = {r.n: r for r in rollouts}
        self.replicas: dict[str, Replica] = {}
        self.route: Route | None = None
        self.orders: tuple[HealOrder, ...] = ()
        self.processes: dict[str, Process] = {}
        self.probes: dict[str, Probed] = {}
        self.outbox: dict[str, Intent] = {}
        self.done: set[str] = set()
        self.running_version = 0
        self.running_weights: dict[int, int] = {}
        self.other_version = 0  # of another service's route
        self.active: dict[str, int] = {}
        self.service: Service | None = SERVICE
        self.keeper = True
        self.envoy = True
        self.pids = 100
        self.decisions: list[Decision] = []

    def see(self) -> Seen:
        waited = [spawn_key(r) for r in self.replicas.values()]
        waited += [stop_key(r) for r in self.replicas.values()]
        if self.route:
            waited.append(traffic_key(self.route))
        traffic = TrafficSeen(version=self.running_version, active=dict(self.active))
        return Seen(
            key=self.key,
            service=self.service,
            rollouts=tuple(self.rollouts.values()),
            replicas=tuple(self.replicas[key] for key in sorted(self.replicas)),
            route=self.route,
            orders=self.orders,
            processes=dict(self.processes) if self.keeper else None,
            probes=dict(self.probes),
            traffic=traffic if self.envoy else None,
            settled=frozenset(key for key in waited if key in self.done),
            pending=frozenset(key for key in waited if key in self.outbox),
            top_version=max(self.other_version, self.route.version if self.route else 0),
            free_port=18001,
        )

    def tick(self) -> Decision:
        decision = decide(self.see(), self.now)
        self.decisions.append(decision)
        for write in decision.writes:
            if isinstance(write.body, Replica):
                self.replicas[write.key] = write.body
            elif write.kind == "Route":
                assert write.body is None or isinstance(write.body, Route)
                self.route = write.body
            else:
                del self.replicas[write.key]
        for intent in decision.intents:
            if intent.key not in self.done:
                self.outbox[intent.key] = intent
        self.now += timedelta(seconds=1)
        return decision

    def perform(self, key: str) -> None:
        match self.outbox.pop(key).act:
            case SpawnReplica(replica=replica):
                self.processes.setdefault(replica, self.process())
            case StopReplica(replica=replica):
                self.processes.pop(replica, None)
                self.probes.pop(replica, None)
            case RestartReplica(replica=replica, identity=identity):
                found = self.processes.get(replica)
                if found is not None and found.identity == identity:
                    self.processes[replica] = self.process()
            case ApplyTraffic(version=version):
                if self.route is None or self.route.version != version:
                    return  # dropped: a newer one is asked for
                self.running_version = max(version, self.other_version)
                self.running_weights = dict(self.route.weights)
        self.done.add(key)

    def process(self) -> Process:
        self.pids += 1
        return Process(identity=Identity(pid=self.pids, start_ticks=self.pids), port=20000 + self.pids)

    def probe(self, key: str, failures: int = 0) -> None:
        identity = self.processes[key].identity
        assert identity is not None
        self.probes[key] = Probed(identity=identity, ok=failures == 0, failures=failures)

    def settle(self, rounds: int = 12) -> None:
        """Everything asked for is done and every process answers."""
        for _ in range(rounds):
            self.tick()
            for key in list(self.outbox):
                self.perform(key)
            for key in self.processes:
                self.probe(key)

    def apply_other(self) -> None:
        """Another service's split is applied: a newer plan with this one's weights as they were."""
        self.other_version = max(self.other_version, self.route.version if self.route else 0) + 1
        self.running_version = self.other_version

    def put(self, n: int, **changes: object) -> None:
        self.rollouts[n] = replace(self.rollouts[n], **changes)
