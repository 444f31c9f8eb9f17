"""One life of the control process: the real loop and the real rooms, on the world's ports."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Final

from poise.adapters.memory_checkpoints import MemoryCheckpoints
from poise.adapters.memory_totals import MemoryTotals
from poise.balance.budget.controller import BudgetController
from poise.balance.burn.watch import BurnWatch
from poise.balance.gate.controller import GateController
from poise.balance.ledger.controller import LedgerController
from poise.balance.policy.controller import PolicyController
from poise.delivery.provenance.deeds import Verifier
from poise.delivery.rollout.controller import RolloutController
from poise.engine.controller import Controller, Performer
from poise.engine.limits import LEASE_RENEW_S
from poise.engine.loop import Loop
from poise.engine.reader import Reader
from poise.fleet.controller import FleetController
from poise.fleet.deeds import RestartPerformer, SpawnPerformer, StopPerformer, TrafficPerformer
from poise.model import acts
from poise.model.signal import Batch
from poise.ports.store import StoredIntent
from poise.ports.traffic import TrafficPlan
from poise.reliability.cause.controller import CauseController
from poise.reliability.detection.controller import DetectionController
from poise.reliability.healing.controller import HealingController
from poise.reliability.incident.controller import GroupingController, IncidentController
from poise.reliability.paging.controller import DisputeController, PagingController
from poise.reliability.paging.deeds import PagePerformer
from poise.reliability.review.controller import ReviewController
from poise.reliability.scaling.controller import ScalingController
from poise.simulation.clock import SimulatedClock
from poise.simulation.faults import ClumsyPerformer, Later, MortalStore, Paced, Trouble, WatchedStore
from poise.simulation.invariants import Watch
from poise.simulation.machine import Machine
from poise.simulation.notify import Phones, WitnessedPerformer, notifiers
from poise.simulation.runtime import SimulatedArtifacts, SimulatedProbes, SimulatedRuntime, SimulatedSilence
from poise.simulation.traffic import Envoy, SimulatedTraffic

SIGNING_KEY: Final = b"simulation"
ROUNDS_MAX: Final = 60  # of deciding and doing at one instant, before it is called a livelock
RESYNC_S: Final = 400.0
BUDGET_TICK_S: Final = 180.0
FIRST_PORT: Final = 18_000
DATA: Final = Path("/data")


class Surroundings:
    """What a control process finds when it starts, and leaves behind when it dies."""

    def __init__(
        self,
        clock: SimulatedClock,
        machine: Machine,
        envoy: Envoy,
        trouble: Trouble,
        watch: Watch,
        later: Later,
        phones: Phones,
    ) -> None:
        self.clock, self.machine, self.envoy = clock, machine, envoy
        self.trouble, self.watch, self.later = trouble, watch, later
        self.phones = phones
        self.store = WatchedStore(watch)
        self.signals, self.checkpoints = MemoryTotals(), MemoryCheckpoints()
        self.gate_deaf_until = 0.0


class Control:
    """A control process. ``next_t`` is when it next has something to do, in true time."""

    def __init__(self, around: Surroundings, name: str) -> None:
        self._around, self._name = around, name
        self.store = MortalStore(around.store, around.trouble)
        self._runtime = SimulatedRuntime(around.machine, around.watch.mutated)
        self._traffic = SimulatedTraffic(around.envoy, around.clock, self._applying)
        self.loop = Loop(self.store, around.clock, self._controllers(), self._performers(), name, RESYNC_S)
        self.reader = Reader(self._traffic, around.signals, around.clock, self._told)
        self.next_t = around.clock.t
        self.held: list[StoredIntent] = []
        self.to_pause = False
        self.paused = False

    def _controllers(self) -> list[Controller]:
        around, store, trouble = self._around, self.store, self._around.trouble
        probes = SimulatedProbes(around.machine, around.clock)
        silence = SimulatedSilence(around.machine, around.clock)
        return [
            Paced(RolloutController(store, around.signals, silence), trouble, 10.0, 240.0),
            Paced(GateController(store, SIGNING_KEY), trouble, 1.0, 1.0, self._gate_deaf_s),
            PolicyController(store),
            BudgetController(
                store,
                around.signals,
                tick_s=BUDGET_TICK_S,
                observers=(BurnWatch(),),
                checkpoints=around.checkpoints,
            ),
            LedgerController(store),
            Paced(HealingController(store), trouble, 10.0, 10.0),
            Paced(ScalingController(store, around.signals), trouble, 180.0, 180.0),
            Paced(DetectionController(store), trouble, 15.0, 240.0),
            Paced(GroupingController(store), trouble, 1.0, 1.0),
            Paced(IncidentController(store), trouble, 1.0, 1.0),
            Paced(PagingController(store), trouble, 1.0, 1.0),
            Paced(DisputeController(store), trouble, 1.0, 1.0),
            Paced(CauseController(store, around.signals), trouble, 30.0, 240.0),
            Paced(ReviewController(store, around.signals), trouble, 10.0, 60.0),
            Paced(FleetController(store, self._runtime, self._traffic, probes, _port), trouble, 10.0, 120.0),
        ]

    def _performers(self) -> dict[type, Performer]:
        store, runtime = self.store, self._runtime
        releases = SimulatedArtifacts()
        plain: dict[type, Performer] = {
            acts.VerifyRelease: Verifier(store, releases, lambda *_: False, SIGNING_KEY),
            acts.SpawnReplica: SpawnPerformer(store, runtime, releases, DATA),
            acts.StopReplica: StopPerformer(runtime, self._traffic, lambda port: 0),
            acts.RestartReplica: RestartPerformer(runtime, self._traffic, lambda port: 0),
            acts.ApplyTraffic: TrafficPerformer(
                store, runtime, self._traffic, 8080, lambda cluster: DATA / "envoy" / cluster
            ),
        }
        around = self._around
        clumsy: dict[type, Performer] = {
            act: ClumsyPerformer(performer, around.trouble, around.watch, around.later)
            for act, performer in plain.items()
        }
        told = notifiers(around.phones, self._name)
        pages = PagePerformer(store, told, SIGNING_KEY, "https://poise.test")
        return clumsy | {acts.SendPage: WitnessedPerformer(pages, around.watch)}

    def wake(self, room: str, key: str) -> None:
        """Something happened that a room would be told of."""
        self.loop.wake(room, key)
        self.next_t = min(self.next_t, self._around.clock.t)

    async def drive(self) -> None:
        """Decide and do until nothing is due at this instant."""
        clock, now = self._around.clock, self._around.clock.now()
        for _ in range(ROUNDS_MAX):
            if not await self.loop.lead():
                self.next_t = clock.t + LEASE_RENEW_S
                return
            wrote = await self.loop.tick(now)
            claimed = await self.loop.claim(now)
            if self.to_pause and claimed:
                self.paused, self.held = True, claimed
                return
            for stored in claimed:
                await self.loop.perform(stored)
            if not await self._is_due() and not wrote and not claimed:
                return
        self._around.watch.breach("rests", f"it decides and does without end at {now}")

    async def resume(self) -> None:
        """It wakes from a long pause and, not knowing, goes on with what it was about to do."""
        self.paused = self.to_pause = False
        for stored in self.held:
            await self.loop.perform(stored)
        await self.loop.tick(self._around.clock.now())
        self.held = []

    async def rest(self) -> None:
        """Note when there is next something to do (somebody may have written meanwhile)."""
        if self.loop.lease is not None:  # else it waits to lead
            await self._is_due()

    async def _is_due(self) -> bool:
        clock, at = self._around.clock, await self.loop.next_at()
        self.next_t = float("inf") if at is None else max(clock.t, clock.true_at(at))
        return at is not None and at <= clock.now()

    def _gate_deaf_s(self) -> float:
        return self._around.gate_deaf_until - self._around.clock.t

    def _applying(self, plan: TrafficPlan) -> None:
        token = self.loop.lease.token if self.loop.lease else 0
        self._around.watch.applying(plan, token, self._around.machine.token)

    def _told(self, batch: Batch) -> None:
        self._around.watch.read(batch)
        for service in sorted(self._around.watch.moving()):  # nobody else would do anything with it
            self.wake("rollout", service)


def _port(service: str, taken: Collection[int]) -> int | None:
    first = FIRST_PORT + int(hashlib.sha256(service.encode()).hexdigest(), 16) % 1000
    return next((port for port in range(first, first + 2000) if port not in taken), None)
