"""The seeded world: one heap of what happens, one clock, one team, one machine, and a day full of trouble."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Final

import numpy as np
from msgspec import Struct

from poise.engine.journal import verify
from poise.model.delivery import Rollout, Verb
from poise.ports.store import Transaction
from poise.simulation.book import Failure
from poise.simulation.clock import SimulatedClock
from poise.simulation.control import Control, Surroundings
from poise.simulation.faults import Crash, Trouble
from poise.simulation.holds import approvals_in, locks_in
from poise.simulation.invariants import Watch
from poise.simulation.machine import Machine, service_of
from poise.simulation.notify import Phones
from poise.simulation.people import POLICY, People
from poise.simulation.quiet import settled
from poise.simulation.responders import Responders
from poise.simulation.traffic import DAY_S, Envoy

RELEASES_A_DAY: Final = 13
STAGED_RELEASES_A_DAY: Final = 8  # each becomes a rollout twice
CONFIGS_A_DAY: Final = 4
ORDERS_A_DAY: Final = 8
OVERRIDES_A_DAY: Final = 2
DISPUTES_A_DAY: Final = 4
DISPUTED: Final = 5  # in every fifth world people disagree with the gate
LOCKS_A_DAY: Final = 6
SURGES_A_DAY: Final = 4  # times at which far more users come than usual
QUIET_S: Final = 3.5 * 3600.0
READ_S: Final = 20.0  # between two readings while a rollout is under way
READ_QUIET_S: Final = 75.0

HUNG_MAX_S: Final = 1500.0  # bounded by the heal budget's back-off and every fault that may delay it

Deed = Callable[[], Awaitable[None]]
TROUBLES_A_DAY: Final = {
    "crash": 9, "crash after raise": 4, "kill": 9, "hang": 4, "envoy": 3, "gap": 5, "clock": 4,
    "deaf gate": 3, "keeper": 3, "zombie": 4, "interrupt": 8,
}  # fmt: skip


class Outcome(Struct, frozen=True, kw_only=True):
    """How one seed went. ``head_hash`` seals its whole journal: equal runs, equal bytes."""

    seed: int
    rollouts: int
    faults: dict[str, int]
    events: int
    head_hash: str
    failures: tuple[Failure, ...]


class World:
    """One seed's world; ``live`` runs it to its end."""

    def __init__(self, seed: int, days: float) -> None:
        self.seed, self.end_t = seed, days * DAY_S
        self.quiet_t = max(self.end_t * 0.3, self.end_t - QUIET_S)
        self.rng = Random(f"{seed}/world")  # noqa: S311 - a simulation wants to be repeatable
        self.clock = SimulatedClock()
        self._heap: list[tuple[float, int, Callable[[], Awaitable[None] | None]]] = []
        self._count = 0
        names = ("shop", "cart") if seed % 4 == 0 else ("shop",)
        environments = ("staging", "production") if seed % 2 else ("production",)
        self.machine = Machine(self.clock, Random(f"{seed}/machine"), self._at, self._before, self._told)  # noqa: S311
        draws = np.random.Generator(np.random.PCG64(seed))
        self.envoy = Envoy(self.clock, self.machine, draws, {})
        self.trouble = Trouble(Random(f"{seed}/trouble"))  # noqa: S311
        self.watch = Watch(seed, self.clock, self.envoy, POLICY)
        self.phones = Phones(self.trouble, self.watch, Random(f"{seed}/phones"))  # noqa: S311
        self.around = Surroundings(
            self.clock, self.machine, self.envoy, self.trouble, self.watch, self._later, self.phones
        )
        responders = Responders(
            self.around.store,
            self.clock,
            Random(f"{seed}/responders"),  # noqa: S311
            self.after,
        )
        self.phones.heard = responders.heard
        self.people = People(self.around, seed, names, environments, self.after)
        for service in self.people.services:
            least, most = (1.0, 4.0) if "/staging/" in service else (3.0, 12.0)
            self.envoy.rates[service] = self.rng.uniform(least, most)
        self._lives = 0
        self.control: Control | None = None
        self.zombies: list[Control] = []

    # -- time -----------------------------------------------------------------------------------------

    def _at(self, t: float, deed: Callable[[], Awaitable[None] | None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (t, self._count, deed))

    def after(self, seconds: float, deed: Callable[[], Awaitable[None] | None]) -> None:
        """Let something happen after so long."""
        self._at(self.clock.t + seconds, deed)

    def _later(self, after_s: float, deed: Callable[[], Awaitable[object]]) -> None:
        async def do() -> None:
            await deed()

        self.after(after_s, do)

    def _before(self) -> None:
        self.envoy.settle()

    def _told(self, service: str) -> None:
        for control in (self.control, *self.zombies):
            if control is not None:
                control.wake("fleet", service)

    async def live(self) -> Outcome:
        """Run to the end, or to the first invariant that breaks."""
        await self.people.declare()
        self._plan()
        self._start()
        while not self.watch.failures:
            t = self._heap[0][0] if self._heap else self.end_t
            control = self.control
            if control is not None:
                t = min(t, control.next_t)
            if t >= self.end_t:
                break
            self.clock.advance(max(t, self.clock.t))
            await self._happen()
            await self._drive()
        return await self._end()

    async def _happen(self) -> None:
        while self._heap and self._heap[0][0] <= self.clock.t:
            _, _, deed = heapq.heappop(self._heap)
            try:
                doing = deed()
                if doing is not None:
                    await doing
            except Crash:  # a late effect's process is gone by now anyway
                continue
            if self.control is not None:
                await self.control.rest()

    async def _drive(self) -> None:
        control = self.control
        if control is None or control.next_t > self.clock.t:
            return
        try:
            await control.drive()
        except Crash:
            await self._died(control)
            return
        if control.paused:
            self._fell_asleep(control)

    # -- lives of the control process -----------------------------------------------------------------

    def _start(self) -> None:
        self._lives += 1
        self.control = Control(self.around, f"control-{self._lives}")

    async def _died(self, control: Control) -> None:
        await control.store.close()
        self.control = None
        lease = await self.around.store.lease("leader")
        if lease is not None and self.rng.random() < 0.5:
            await self.around.store.release(lease)  # the next one sees that its predecessor is dead
        self.after(self.rng.choice([0.5, 3.0, 20.0, 45.0, 120.0]), self._start)

    def _fell_asleep(self, control: Control) -> None:
        """The leader is paused in mid-deed: another takes over, and it wakes without knowing."""
        self.zombies.append(control)
        self._start()
        self.after(self.rng.uniform(30.0, 90.0), lambda: self._woke(control))

    async def _woke(self, control: Control) -> None:
        self.trouble.happened("zombie leader")
        with suppress(Crash):
            await control.resume()
        await control.store.close()
        self.zombies.remove(control)

    # -- the day --------------------------------------------------------------------------------------

    def _plan(self) -> None:
        days = self.end_t / DAY_S
        rng, services = self.rng, self.people.services
        releases = RELEASES_A_DAY if services == self.people.first else STAGED_RELEASES_A_DAY
        for service in self.people.first:
            self._at(60.0, partial(self.people.release, service, "good"))
        share = (self.quiet_t - 900.0) / (DAY_S - QUIET_S)
        for _ in range(max(2, round(releases * share))):
            service = rng.choice(services)
            self._at(self._when(), partial(self.people.release, service))
        for _ in range(max(1, round(CONFIGS_A_DAY * share))):
            self._at(self._when(), partial(self.people.configure, rng.choice(services)))
        for _ in range(round(ORDERS_A_DAY * share)):
            service = rng.choice(services)
            self._at(self._when(), partial(self.people.order, service))
        for _ in range(round(OVERRIDES_A_DAY * days)):
            service = rng.choice(services)
            self._at(self._when(), partial(self.people.override, service))
        if self.seed % DISPUTED == 0:
            for _ in range(max(1, round(DISPUTES_A_DAY * days))):
                self._at(self._when(), partial(self.people.dispute, rng.choice(services)))
        for _ in range(round(SURGES_A_DAY * days)):
            self._at(self._when(), partial(self._surge, rng.choice(services)))
        if locks_in(self.seed):
            for n in range(max(1, round(LOCKS_A_DAY * share))):
                at = 900.0 + (self.quiet_t - 900.0) * (n + 0.5) / max(1, round(LOCKS_A_DAY * share))
                self._at(at, partial(self.people.lock, services[n % len(services)]))
        if approvals_in(self.seed).required:
            self._at(100.0, self.people.approve)
        for kind, count in TROUBLES_A_DAY.items():
            for _ in range(max(1, round(count * share))):
                self._at(self._when(), partial(self._trouble, kind))
        self._at(5.0, self._read)
        self._at(self.quiet_t, self._calm)

    def _when(self) -> float:
        return self.rng.uniform(900.0, self.quiet_t)

    async def _read(self) -> None:
        control = self.control
        if control is not None:
            await control.reader.read_once()
        self._hung_too_long()
        for service in self.people.services:
            self.watch.waits(service)
        self.watch.response.look()
        self.after(READ_S if self.watch.moving() else READ_QUIET_S, self._read)

    def _hung_too_long(self) -> None:
        """One that hangs while its fellows serve is replaced; when all hang, the cause is elsewhere."""
        for key, life in self.machine.lives.items():
            if life.hung_at is None or self.clock.t - life.hung_at < HUNG_MAX_S or life.state != "running":
                continue
            fellows = [one for one in self.machine.lives.values() if service_of(one.key) == service_of(key)]
            if sum(one.hung_at is not None for one in fellows) == 1:
                self.watch.breach("a-hang-is-healed", f"{key} hangs since {life.hung_at:.0f} s: {life}")

    async def _trouble(self, kind: str) -> None:
        rng, trouble, t = self.rng, self.trouble, self.clock.t
        lives = sorted(key for key, life in self.machine.lives.items() if life.serves)
        match kind:
            case "crash":
                trouble.writes_to_crash = rng.randint(1, 25)
            case "crash after raise":
                trouble.crash_on_raise = True
            case "kill" if lives and self.machine.kill(rng.choice(lives)):
                trouble.happened("replica killed")
            case "hang":
                self._hang(lives)
            case "envoy":
                trouble.happened("envoy died")
                self.envoy.die(rng.uniform(1.0, 40.0))
            case "gap":
                trouble.happened("gap in signals")
                self.envoy.deaf_until = t + rng.uniform(60.0, 1200.0)
                if rng.random() < 0.5:
                    service = rng.choice(self.people.services)
                    self.after(rng.uniform(0.0, 600.0), lambda: self.people.release(service))
            case "clock":
                trouble.happened("clock stepped")
                self.clock.step(rng.choice([-60.0, -20.0, -3.0, 3.0, 20.0, 45.0, 400.0]))
            case "deaf gate":
                trouble.happened("verdict delayed")
                self.around.gate_deaf_until = t + rng.uniform(20.0, 200.0)
            case "keeper":
                trouble.happened("keeper down")
                self.machine.down_until = t + rng.uniform(5.0, 120.0)
            case "zombie" if self.control is not None:
                self.control.to_pause = True
            case "interrupt":
                trouble.interrupt = self._interrupt

    def _hang(self, lives: Sequence[str]) -> None:
        count = 2 if self.rng.random() < 0.25 else 1
        for key in self.rng.sample(lives, min(count, len(lives))):
            if self.machine.hang(key, self.rng.uniform(1800.0, 7200.0) if count == 1 else 1200.0):
                self.trouble.happened("replica hung")

    async def _interrupt(self, transaction: Transaction) -> bool:
        """A person's order lands between a rollout's look and its record."""
        found = next((write.body for write in transaction.writes if isinstance(write.body, Rollout)), None)
        if found is None or transaction.fence is None:
            return False
        self.trouble.interrupt = None
        await self.people.order(found.service_key, self.rng.choice([Verb.PAUSE, Verb.RESUME, Verb.ABORT]))
        return True

    def _surge(self, service: str) -> None:
        """More users for a while, then as many as before."""
        factor = self.rng.uniform(1.5, 3.0)
        self._load(service, factor)
        self.after(self.rng.uniform(600.0, 5400.0), lambda: self._load(service, 1.0 / factor))

    def _load(self, service: str, factor: float) -> None:
        self.envoy.settle()
        self.envoy.rates[service] *= factor

    def _resume(self) -> None:
        for service in self.people.services:
            self.after(1.0, partial(self.people.order, service, Verb.RESUME))

    def _calm(self) -> None:
        """From here on nothing new goes wrong, and what went wrong is over."""
        self.trouble.is_on, self.trouble.interrupt = False, None
        self.trouble.writes_to_crash, self.trouble.crash_on_raise = None, False
        self.envoy.settle()
        self.machine.calm()
        if self.control is not None:
            self.control.to_pause = False
        self.after(1300.0, self._resume)  # every pause has had its resume by now; no stray one is left

    async def _end(self) -> Outcome:
        self.clock.advance(max(self.clock.t, self.end_t))
        if not self.watch.failures:
            await settled(self.around, self.people.services)
        chain = await verify(self.around.store)
        if not chain.ok:
            self.watch.breach("the-chain-is-whole", chain.problem)
        return Outcome(
            seed=self.seed,
            rollouts=len(self.watch.all(Rollout)),
            faults=dict(sorted(self.trouble.seen.items())),
            events=chain.events,
            head_hash=chain.head_hash,
            failures=tuple(self.watch.failures),
        )
