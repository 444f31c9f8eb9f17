"""What people do in the simulated world: declare, release, order, override; and which releases are bad."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.balance.gate.locks import lift_lock, place_lock
from poise.balance.gate.permits import approve_override, ask_grant, decide_grant, make_override
from poise.model import event_types
from poise.model.access import Principal, Role
from poise.model.balance import Override
from poise.model.config import Config
from poise.model.delivery import Change, ChangeClass, Order, Release, Rollout, RolloutState, Verb
from poise.model.errors import Conflict, Forbidden, NotFound
from poise.model.grant import Grant, GrantKind
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import BudgetPolicy, BurnTier
from poise.model.record import Event, Write
from poise.model.service import (
    Approvals,
    Detection,
    Health,
    Mirror,
    Preview,
    Project,
    Replicas,
    Scaling,
    Service,
    Strategy,
    StrategyKind,
)
from poise.ports.store import Transaction
from poise.simulation.control import SIGNING_KEY, Surroundings
from poise.simulation.holds import AUTHOR, FREEZE, approvals_in, freezes_in
from poise.simulation.machine import ERRORS_SETTING, Version
from poise.simulation.responders import declared

PROJECT: Final = "acme"
POLICY: Final = BudgetPolicy(
    stale_after_s=300.0,
    dwell_s=900.0,
    overspend_window_s=7200.0,
    bootstrap_s=1800.0,
    bootstrap_events=2000,
    fast_burn=(BurnTier(long_s=1800.0, short_s=300.0, factor=14.4),),
    escalate_to=("bob", "eve"),
    escalate_after_s=300.0,
)
ALERTS: Final = Detection(missing_after_s=400.0, close_after_s=900.0)
SCALING: Final = Scaling(
    service_rate_per_s=6.0, concurrency=2, stale_after_s=200.0, scale_in_after_s=900.0, reversals_per_day=6
)
STRATEGY: Final = Strategy(
    steps_percent=(10, 50), step_s=60.0, max_bake_s=240.0, start_timeout_s=120.0, drain_s=5.0
)
PREVIEW: Final = Preview(header="x-poise-preview")
STRATEGIES: Final = (
    replace(STRATEGY, kind=StrategyKind.BLUE_GREEN, keep_warm_s=300.0, preview=PREVIEW),
    replace(STRATEGY, kind=StrategyKind.ROLLING, min_ready_s=30.0),
    replace(STRATEGY, kind=StrategyKind.RECREATE),
    replace(STRATEGY, kind=StrategyKind.MIRROR, mirror=Mirror(time_s=120.0), preview=PREVIEW),
)
OBJECTIVE_WINDOW_S: Final = 7200.0
KINDS: Final = (
    ("good", 50), ("bad", 20), ("slightly bad", 5), ("crashing", 7), ("never ready", 5), ("hanging", 6),
    ("rejected again", 7), ("unchanged", 4),
)  # fmt: skip
ORDERS: Final = (
    Verb.PAUSE, Verb.PAUSE, Verb.ABORT, Verb.ROLLBACK, Verb.PROMOTE, Verb.DEPLOY, Verb.RESTART,
)  # fmt: skip

SETTINGS: Final = (("good", 45), ("bad", 40), ("back", 15))
OPERATORS: Final = ("ada", "bob")
HEALTHY_IN_STAGING: Final = 0.3  # of the releases: their faults show in production alone

Schedule = Callable[[float, Callable[[], Awaitable[None]]], None]


def strategy_of(seed: int) -> Strategy:
    """By which strategy this world rolls out: in every third one another than canary."""
    return STRATEGIES[seed // 3 % len(STRATEGIES)] if seed % 3 == 2 else STRATEGY


class People:
    """A team with one or two services in ``environments``, seeded. ``services`` are keys, of all of them."""

    def __init__(
        self,
        around: Surroundings,
        seed: int,
        names: Sequence[str],
        environments: Sequence[str],
        schedule: Schedule,
    ) -> None:
        self._around, self._schedule, self._seed = around, schedule, seed
        self._rng = Random(f"{seed}/people")  # noqa: S311
        self._disputing = Random(f"{seed}/disputes")  # noqa: S311
        self._drill = Random(f"{seed}/drill")  # noqa: S311 - apart, so that other draws stay as they are
        self._releases: dict[str, list[str]] = {}
        self._orders: dict[str, int] = {}
        self._environments = tuple(environments)
        self.services = [f"{PROJECT}/{where}/{name}" for where in environments for name in names]
        self.first = self.services[: len(names)]  # those that a release comes to first

    async def declare(self) -> None:
        """The team's declarations, as a push would apply them."""
        freezes = (FREEZE,) if freezes_in(self._seed) else ()
        project = Project(
            name=PROJECT, policy=POLICY, alerts=ALERTS, environments=self._environments, freezes=freezes
        )
        bodies: list[tuple[str, str, Struct]] = [("Project", project.name, project), *declared(PROJECT)]
        roles = {PROJECT: Role.OPERATOR}
        bodies += [("Principal", name, Principal(name=name, roles=roles)) for name in OPERATORS]
        for key in self.services:
            service = Service(
                project=PROJECT,
                environment=key.split("/")[1],
                name=key.rpartition("/")[2],
                command="serve",
                port=8000,
                health=Health(interval_s=20.0, timeout_s=5.0),
                replicas=Replicas(min=2, max=4),
                scaling=SCALING if key.split("/")[1] == self._environments[-1] else Scaling(),
                depends_on=("shop",) if key.endswith("/cart") else (),
                needs=("shop",) if key.endswith("/cart") else (),
                approvals=approvals_in(self._seed) if "/production/" in key else Approvals(),
                strategy=strategy_of(self._seed),
            )
            objective = Objective(
                service=key,
                name="availability",
                indicator=IndicatorKind.AVAILABILITY,
                target_ratio=0.99,
                window_s=OBJECTIVE_WINDOW_S,
            )
            bodies += [("Service", key, service), ("Objective", objective.key, objective)]
        writes = tuple(Write(kind=kind, key=key, body=body) for kind, key, body in bodies)
        event = Event(type=event_types.SPEC_APPLIED, subject=PROJECT, summary="declared")
        await self._write(writes, (event,))

    async def release(self, service: str, kind: str | None = None) -> None:
        """A succeeded run's release, as the pipeline would write it: of all environments of ``service``."""
        rng, known = self._rng, self._releases.setdefault(service.rpartition("/")[2], [])
        kind = kind or rng.choices([name for name, _ in KINDS], [weight for _, weight in KINDS])[0]
        digest = self._digest(service, kind)
        known.append(digest)
        now, n = self._around.clock.now(), len(known)
        change_class = rng.choices(
            [ChangeClass.FEATURE, ChangeClass.FIX, ChangeClass.SECURITY], [70, 20, 10]
        )[0]
        release = Release(
            project=PROJECT,
            service=service.rpartition("/")[2],
            n=n,
            digest=digest,
            run=n,
            commit=f"{n:040x}",
            summary=f"a {kind} release",
            change_class=change_class,
            committed_at=now,
            created_at=now,
        )
        event = Event(type=event_types.ARTIFACT_PACKAGED, subject=release.key, summary=release.summary)
        change = Change(
            project=PROJECT, commit=release.commit, branch="main", summary=release.summary, author=AUTHOR,
            committed_at=now, pushed_by=AUTHOR, pushed_at=now, change_class=change_class,
        )  # fmt: skip
        written = [("Change", change.key, change)] if approvals_in(self._seed).required else []
        bodies: list[tuple[str, str, Struct]] = [*written, ("Release", release.key, release)]
        writes = tuple(Write(kind=kind, key=key, body=body) for kind, key, body in bodies)
        await self._write(writes, (event,))

    def _digest(self, service: str, kind: str) -> str:
        """A new version that behaves so, or the digest of an earlier one."""
        rng, rollouts = self._rng, self._around.watch.all(Rollout, f"{service}/")
        if kind in ("rejected again", "unchanged"):
            wanted = RolloutState.ROLLED_BACK if kind == "rejected again" else RolloutState.LIVE
            digests = [one.digest for one in rollouts if one.state is wanted]
            if digests:
                return digests[-1]
        digest = f"sha256:{rng.getrandbits(256):064x}"
        version = Version(
            digest=digest, error_ratio=rng.uniform(0.0, 0.002), startup_s=rng.uniform(2.0, 10.0)
        )
        if len(self._environments) > 1 and rng.random() < HEALTHY_IN_STAGING:
            version.healthy_in = self._environments[0]
        match kind:
            case "bad":
                version.error_ratio = rng.uniform(0.05, 0.6)
            case "slightly bad":
                version.error_ratio = rng.uniform(0.004, 0.03)
            case "crashing":
                version.dies_after_s = rng.uniform(1.0, 6.0)
                version.startup_s = rng.uniform(2.0, 10.0)
            case "never ready":
                version.never_ready = True
            case "hanging":
                version.hangs_after_s = rng.uniform(600.0, 4000.0)
        self._around.machine.versions[digest] = version
        return digest

    async def configure(self, service: str) -> None:
        """``poise config set`` with a good value or one that breaks the app, or ``config rollback``."""
        rng, known, now = self._rng, self._around.watch.all(Config, f"{service}/"), self._around.clock.now()
        kind = rng.choices([name for name, _ in SETTINGS], [weight for _, weight in SETTINGS])[0]
        restores = max(0, len(known) - 1) if kind == "back" else None
        if restores is not None:
            values = dict(known[restores - 1].values) if restores else {}
        else:
            added = rng.uniform(0.1, 0.6) if kind == "bad" else rng.uniform(0.0, 0.001)
            values = {ERRORS_SETTING: f"{added:.6f}"}
        config = Config(
            service=service,
            n=len(known) + 1,
            values=values,
            by="ada",
            reason=f"a {kind} value",
            at=now,
            change_class=ChangeClass.FEATURE if restores is None else ChangeClass.ROLLBACK,
            restores=restores,
        )
        event = Event(type=event_types.CONFIG_CHANGED, subject=config.key, summary=config.reason, actor="ada")
        await self._write((Write(kind="Config", key=config.key, body=config),), (event,))

    async def order(self, service: str, verb: Verb | None = None) -> None:
        """A person's order; a pause is followed by a resume."""
        rng = self._rng
        verb = verb or rng.choice(ORDERS)
        n = self._orders[service] = self._orders.get(service, 0) + 1
        releases = len(self._releases.get(service.rpartition("/")[2], ()))
        release = rng.randint(1, max(1, releases)) if verb is Verb.DEPLOY else None
        now = self._around.clock.now()
        order = Order(service=service, n=n, verb=verb, by="ada", reason="drill", at=now, release=release)
        if verb is Verb.PAUSE:
            self._schedule(rng.uniform(120.0, 1200.0), lambda: self.order(service, Verb.RESUME))
        await self._write((Write(kind="Order", key=order.key, body=order),), ())

    async def override(self, service: str) -> None:
        """A wish to override the gate for a while; then somebody approves it, or tries their own."""
        now, for_s = self._around.clock.now(), self._rng.uniform(300.0, 1800.0)
        decision = await make_override(
            self._around.store, signing_key=SIGNING_KEY, service_key=service, by="ada", reason="drill",
            for_s=for_s, now=now,
        )  # fmt: skip
        await self._write(decision.writes, decision.events)
        override = decision.writes[0].body
        assert isinstance(override, Override)
        by = self._rng.choice(OPERATORS)
        self._schedule(self._rng.uniform(5.0, 200.0), lambda: self._approve(override, by))

    async def _approve(self, override: Override, by: str) -> None:
        now = self._around.clock.now()
        try:
            decision = await approve_override(
                self._around.store, signing_key=SIGNING_KEY, service_key=override.service,
                n=override.n, by=by, now=now,
            )  # fmt: skip
        except (Conflict, Forbidden):  # too late, or their own: somebody else must
            return
        await self._write(decision.writes, decision.events)

    async def dispute(self, service: str) -> None:
        """A disagreement with the gate. Bob, whom the policy names, upholds the policy, in time or not."""
        rng, store, now = self._disputing, self._around.store, self._around.clock.now()
        decision = await ask_grant(
            store, signing_key=SIGNING_KEY, service_key=service, kind=GrantKind.RULING, by="ada",
            reason="drill", for_s=rng.uniform(1200.0, 4000.0), now=now,
        )  # fmt: skip
        await self._write(decision.writes, decision.events)
        grant = decision.writes[0].body
        assert isinstance(grant, Grant)
        self._schedule(rng.uniform(30.0, 6000.0), lambda: self._uphold(grant))

    async def _uphold(self, grant: Grant) -> None:
        now = self._around.clock.now()
        try:
            decision = await decide_grant(
                self._around.store, signing_key=SIGNING_KEY, service_key=grant.service, n=grant.n, by="bob",
                allowed=False, reason="drill", now=now,
            )  # fmt: skip
        except Conflict:  # it has expired
            return
        await self._write(decision.writes, decision.events)

    async def lock(self, service: str) -> None:
        """Somebody locks a service or its environment, and mostly lifts it before it ends."""
        rng, now = self._drill, self._around.clock.now()
        place = rng.choice((service, service.rpartition("/")[0]))
        with suppress(Conflict):
            decision = await place_lock(
                self._around.store, place=place, by="bob", reason="drill", for_s=rng.uniform(300.0, 3000.0),
                now=now,
            )  # fmt: skip
            await self._write(decision.writes, decision.events)
            self._schedule(rng.uniform(200.0, 3000.0), lambda: self._unlock(place))

    async def _unlock(self, place: str) -> None:
        now = self._around.clock.now()
        with suppress(NotFound):
            decision = await lift_lock(self._around.store, place=place, by="ada", reason="done", now=now)
            await self._write(decision.writes, decision.events)

    async def approve(self) -> None:
        """Somebody looks at what waits at the door, and approves it; their own counts nothing."""
        by, now = self._drill.choice(OPERATORS), self._around.clock.now()
        for rollout in self._around.watch.all(Rollout):
            wanted = rollout.spec.approvals.required and not rollout.weight_percent
            if not wanted or rollout.state.is_final or rollout.state is RolloutState.LIVE:
                continue
            decision = await ask_grant(
                self._around.store, signing_key=SIGNING_KEY, service_key=rollout.service_key,
                kind=GrantKind.APPROVAL, by=by, reason="drill", for_s=3600.0, now=now, digest=rollout.digest,
            )  # fmt: skip
            await self._write(decision.writes, decision.events)
        self._schedule(self._drill.uniform(200.0, 600.0), self.approve)

    async def _write(self, writes: tuple[Write, ...], events: tuple[Event, ...]) -> None:
        now = self._around.clock.now()
        await self._around.store.commit(Transaction(at=now, writes=writes, events=events))
