"""A service in a dict: it applies decisions, answers asks, starts replicas and serves traffic."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from poise.delivery.rollout.decide import decide
from poise.delivery.rollout.facts import Seen, focus, stumbles
from poise.delivery.rollout.sequential import Total
from poise.delivery.rollout.silence import PROBES, is_probed
from poise.model.acts import VerifyRelease
from poise.model.attestation import Outcome, Verification
from poise.model.balance import Reason, Verdict, VerdictKind
from poise.model.config import Config, Secret
from poise.model.delivery import ChangeClass, Order, Release, Rollout, RolloutState, Verb
from poise.model.fleet import Identity, Replica, RollbackRequest, Route
from poise.model.record import Decision, Event
from poise.model.service import Replicas, Service, Strategy

START = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "acme/production/shop"
STRATEGY = Strategy(
    steps_percent=(5, 20, 50), step_s=5.0, max_bake_s=30.0, min_canary_requests=10, start_timeout_s=20.0
)
SERVICE = Service(
    project="acme", environment="production", name="shop", command="run", replicas=Replicas(min=2, max=4),
    port=8080, strategy=STRATEGY,
)  # fmt: skip

Gate = Callable[["World", Rollout], Verdict | None]


def verdict(world: World, rollout: Rollout, kind: VerdictKind = VerdictKind.GO, **fields: object) -> Verdict:
    ask = rollout.ask
    assert ask is not None
    base: dict[str, object] = {
        "kind": kind, "service": KEY, "digest": ask.digest, "step": ask.step,
        "weight_percent": ask.weight_percent, "max_weight_percent": 100,
        "change_class": rollout.change_class, "bake_factor": 1.0,
        "steps_percent": rollout.spec.strategy.steps_percent,
        "reasons": (Reason(rule="test", text=f"the test says {kind.value}"),), "until": None, "at": world.now,
    }  # fmt: skip
    return Verdict(**{**base, **fields})  # type: ignore[arg-type]


def go(world: World, rollout: Rollout) -> Verdict:
    return verdict(world, rollout)


def hold(world: World, rollout: Rollout) -> Verdict:
    return verdict(world, rollout, VerdictKind.HOLD, max_weight_percent=0)


class World:
    """Steps of one second. ``errors`` is the error ratio by rollout number; others fail ``world_ratio``."""

    def __init__(self, gate: Gate = go, seed: int = 1, requests_per_s: int = 100) -> None:
        self.now = START
        self.gate = gate
        self.rng = random.Random(seed)
        self.requests_per_s = requests_per_s
        self.rollouts: dict[int, Rollout] = {}
        self.releases: list[Release] = []
        self.orders: list[Order] = []
        self.verdicts: dict[tuple[int, int], Verdict] = {}
        self.route = Route(service=KEY)
        self.replicas: dict[str, Replica] = {}
        self.totals: dict[int, tuple[float, float]] = {}
        self.errors: dict[int, float] = {}
        self.probed: dict[int, tuple[float, float]] = {}  # by rollout: asked, failed
        self.deaf: set[int] = set()  # rollouts that answer no probe of theirs well
        self.boots: set[str] = set()  # digests that never become ready
        self.crashes: set[str] = set()
        self.acks = True
        self.measured_at: datetime | None = None
        self.override_at: datetime | None = None
        self.objective_bad_ratio: float | None = None
        self.before: World | None = None  # the environment that a release passes first
        self.configs: list[Config] = []
        self.secrets: list[Secret] = []
        self.request: RollbackRequest | None = None
        self.moving_elsewhere = 0
        self.tampered: set[str] = set()  # digests whose release is refused
        self.verifications: dict[int, Verification] = {}
        self.events: list[Event] = []
        self.weights_seen: list[tuple[int, int]] = []

    # -- what a test does

    def release(self, digest: str, change_class: ChangeClass = ChangeClass.FEATURE, **spec: object) -> None:
        n = len(self.releases) + 1
        declared = replace(SERVICE, **spec)
        self.releases.append(
            Release(
                project="acme", service="shop", n=n, digest=digest, run=n, commit=f"c{n}", summary=f"v{n}",
                change_class=change_class, committed_at=self.now, created_at=self.now, specs=(declared,),
            )
        )  # fmt: skip

    def stumble(self, n: int) -> None:
        """The first replica of rollout ``n`` ceases to be ready, and is ready again."""
        key = next(one.key for one in self.replicas.values() if one.rollout == n)
        one = self.replicas[key]
        self.replicas[key] = replace(one, losses=(*one.losses, self.now))

    def order(self, verb: Verb, release: int | None = None, rollout: int | None = None) -> None:
        self.orders.append(
            Order(
                service=KEY, n=len(self.orders) + 1, verb=verb, by="ann", reason="because", at=self.now,
                release=release, rollout=rollout,
            )
        )  # fmt: skip

    def config(self, change_class: ChangeClass = ChangeClass.FEATURE, **values: str) -> int:
        n = len(self.configs) + 1
        before = self.configs[-1].values if self.configs else {}
        self.configs.append(
            Config(
                service=KEY, n=n, values=before | values, by="anna", reason="why", at=self.now,
                change_class=change_class,
            )
        )  # fmt: skip
        return n

    def secret(self, **marks: str) -> int:
        n = len(self.secrets) + 1
        before = self.secrets[-1].marks if self.secrets else {}
        self.secrets.append(
            Secret(service=KEY, n=n, sealed={}, marks=before | marks, by="bob", reason="why", at=self.now)
        )
        return n

    def live(self) -> Rollout | None:
        return self.seen().live

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.tick()

    def until(self, state: RolloutState, n: int, limit_s: int = 200) -> Rollout:
        for _ in range(limit_s):
            if n in self.rollouts and self.rollouts[n].state is state:
                return self.rollouts[n]
            self.tick()
        raise AssertionError(f"rollout {n} is {self.rollouts.get(n)}")

    def settled(self, digest: str = "sha256:a") -> World:
        """With rollout 1 live."""
        self.release(digest)
        self.until(RolloutState.LIVE, 1)
        return self

    # -- what the world does

    def tick(self) -> None:
        for _ in range(8):
            before = self.state()
            self.look()
            self.answer()
            self.fleet()
            if self.state() == before:
                break
        self.serve()
        self.now += timedelta(seconds=1)

    def state(self) -> object:
        told = (dict(self.verdicts), dict(self.verifications))
        return (dict(self.rollouts), self.route, dict(self.replicas), *told)

    def listed(self) -> tuple[Rollout, ...]:
        return tuple(self.rollouts[n] for n in sorted(self.rollouts))

    def seen(self) -> Seen:
        rollouts = self.listed()
        moving = focus(rollouts)
        ask = moving.ask if moving else None
        return Seen(
            key=KEY,
            service=SERVICE,
            rollouts=rollouts,
            releases=tuple(self.releases),
            orders=tuple(self.orders),
            verdict=self.verdicts.get((moving.n, ask.n)) if moving and ask else None,
            route=self.route,
            replicas=tuple(r for r in self.replicas.values() if moving and r.rollout == moving.n),
            totals=tuple(
                Total(rollout=n, epoch="a", trials=t, failures=f) for n, (t, f) in self.totals.items()
            ),
            probed=tuple(
                Total(rollout=n, epoch="p", trials=t, failures=f, metric=PROBES)
                for n, (t, f) in self.probed.items()
            ),
            measured_at=self.measured_at,
            override_at=self.override_at,
            objective_bad_ratio=self.objective_bad_ratio,
            before=self.before.listed() if self.before else None,
            environment_before="staging" if self.before else "",
            configs=tuple(self.configs),
            secrets=tuple(self.secrets),
            request=self.request,
            moving_elsewhere=self.moving_elsewhere,
            beside_lost=sum(
                len(stumbles([one], moving))
                for one in self.replicas.values()
                if moving and one.rollout == moving.baseline
            ),
            verification=self.verifications.get(moving.n) if moving else None,
        )

    def look(self) -> Decision:
        seen = self.seen()
        decision = decide(seen, self.now)
        assert decision == decide(seen, self.now), "same inputs, same decision"
        assert decision.wake_at is not None and decision.wake_at > self.now
        for write in decision.writes:
            assert isinstance(write.body, Rollout)
            self.rollouts[write.body.n] = write.body
        self.events += decision.events
        for intent in decision.intents:
            assert isinstance(intent.act, VerifyRelease)
            self.verify(intent.act.rollout)
        self.check()
        return decision

    def verify(self, key: str) -> None:
        """As provenance would: the word of just now."""
        rollout = next(one for one in self.rollouts.values() if one.key == key)
        refused = rollout.digest in self.tampered
        self.verifications[rollout.n] = Verification(
            rollout=key, release=rollout.release, digest=rollout.digest, at=self.now, rule="files",
            outcome=Outcome.REFUSED if refused else Outcome.VERIFIED,
            text="its files were changed" if refused else "it is what was built",
        )  # fmt: skip

    def check(self) -> None:
        states = [r.state for r in self.rollouts.values()]
        assert states.count(RolloutState.LIVE) <= 1
        assert sum(state.is_active for state in states) <= 1
        assert all(0 <= r.weight_percent <= 100 for r in self.rollouts.values())

    def answer(self) -> None:
        moving = focus([self.rollouts[n] for n in sorted(self.rollouts)])
        if moving and moving.ask and (moving.n, moving.ask.n) not in self.verdicts:
            answered = self.gate(self, moving)
            if answered is not None:
                self.verdicts[moving.n, moving.ask.n] = answered

    def fleet(self) -> None:
        for r in self.rollouts.values():
            runs = r.state.is_active or r.state is RolloutState.LIVE
            count = r.replicas if runs else 0
            if r.state is RolloutState.LIVE:
                stays = [o.beside for o in self.rollouts.values() if o.state.is_active]
                count = min([count, *(beside for beside in stays if beside is not None)])
                self.replicas = {
                    k: v for k, v in self.replicas.items() if v.rollout != r.n or v.index < count
                }
            for index in range(count):
                crashed = r.digest in self.crashes
                replica = Replica(
                    service=KEY, rollout=r.n, index=index, ready=r.digest not in self.boots,
                    restarts=5 if crashed else 0, exited_at=self.now if crashed else None,
                    ended="exit code 127" if crashed else "",
                    identity=None if crashed else Identity(pid=9, start_ticks=9),
                )  # fmt: skip
                self.replicas.setdefault(replica.key, replica)
            if not runs:
                self.replicas = {k: v for k, v in self.replicas.items() if v.rollout != r.n}
        if self.acks:
            self.shift()

    def shift(self) -> None:
        """Envoy takes the wanted weights; a rise needs a fresh verdict for exactly this step and digest."""
        live = next((r for r in self.rollouts.values() if r.state is RolloutState.LIVE), None)
        canary = next((r for r in self.rollouts.values() if r.state.is_active), None)
        if canary is not None and canary.beside == 0:
            live = None
        share, now_percent = 0, 0
        if canary is not None:
            now_percent = self.route.acked.get(canary.n, 0)
            share = canary.weight_percent
            if share > now_percent and not self.may_rise(canary):
                share = now_percent
            if share < now_percent:
                assert canary.state is RolloutState.ROLLING_BACK, "only a rollback lowers the weight"
        weights = {canary.n: share} if canary and share else {}
        if live and share < 100:
            weights[live.n] = 100 - share
        assert sum(weights.values()) in (0, 100)
        if weights != self.route.acked:
            version = self.route.version + 1
            if canary:
                self.weights_seen.append((canary.n, share))
            self.route = replace(
                self.route, weights=weights, acked=weights, version=version, acked_version=version
            )

    def may_rise(self, canary: Rollout) -> bool:
        found = self.verdicts.get((canary.n, canary.ask.n)) if canary.ask else None
        return (
            found is not None
            and found.kind is not VerdictKind.HOLD
            and (found.step, found.digest) == (canary.step, canary.digest)
            and canary.weight_percent <= found.max_weight_percent
            and 0 <= (self.now - found.at).total_seconds() <= 30
        )

    def serve(self) -> None:
        for r in self.rollouts.values():
            if r.state is RolloutState.STEPPING and r.mirror_percent:
                copies = self.requests_per_s * r.mirror_percent // 100
                failed = sum(self.rng.random() < self.errors.get(r.n, 0.0) for _ in range(copies))
                trials, failures = self.totals.get(r.n, (0.0, 0.0))
                self.totals[r.n] = trials + copies, failures + failed
        for n, percent in self.route.acked.items():
            requests = self.requests_per_s * percent // 100
            failed = sum(self.rng.random() < self.errors.get(n, 0.0) for _ in range(requests))
            trials, failures = self.totals.get(n, (0.0, 0.0))
            self.totals[n] = trials + requests, failures + failed
        self.measured_at = self.now
        self.probe()

    def probe(self) -> None:
        """A round a second while it is silent; another pair begins at zero."""
        moving = focus(self.listed())
        if moving is None or moving.baseline is None or not is_probed(moving, self.now):
            self.probed = {}
            return
        pair = (moving.n, moving.baseline)
        if set(self.probed) != set(pair):
            self.probed = dict.fromkeys(pair, (0.0, 0.0))
            return
        if self.deaf >= set(pair):
            return  # a round that both sides fail is none
        for n, (asked, failed) in self.probed.items():
            self.probed[n] = asked + 1, failed + (n in self.deaf)

    def told(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.type == kind]
