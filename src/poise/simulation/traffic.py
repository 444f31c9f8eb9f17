"""Users, and the Envoy between them and the processes: arrivals, weights, and monotone counters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from numpy.random import Generator

from poise.model.errors import TimedOut
from poise.model.signal import (
    ERRORS_TOTAL,
    FAILURES_TOTAL,
    IN_FLIGHT,
    REQUESTS_TOTAL,
    TRIALS_TOTAL,
    Batch,
    Sample,
    Series,
)
from poise.ports.traffic import Acknowledged, TrafficPlan
from poise.simulation.clock import SimulatedClock
from poise.simulation.machine import Machine

DAY_S = 86_400.0
IN_FLIGHT_S = 0.05  # how long a request takes
HUNG_SHARE = 0.2  # of the requests that meet a hanging replica, those that no retry saves


class Counter:
    """One counter pair: requests and, of these, failures."""

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0


class Envoy:
    """It serves the last plan through every restart; its counters begin anew with each life."""

    def __init__(
        self, clock: SimulatedClock, machine: Machine, draws: Generator, rates: dict[str, float]
    ) -> None:
        self._clock, self.machine, self._draws = clock, machine, draws
        self.rates = rates  # mean requests per second by service
        self.plan: TrafficPlan | None = None
        self.weights: dict[str, dict[str, int]] = {}
        self.epoch = 1
        self.dead_until = 0.0
        self.deaf_until = 0.0  # its counters cannot be read
        self.services: dict[str, Counter] = {}
        self.clusters: dict[str, Counter] = {}
        self.happened_bad: dict[str, int] = {}
        self._settled_at = 0.0

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self._clock.t >= self.dead_until

    def die(self, for_s: float) -> None:
        """Its counters are lost; it serves again, as before, after ``for_s``."""
        self.settle()
        self.dead_until = self._clock.t + for_s
        self.epoch += 1
        self.services, self.clusters = {}, {}

    def apply(self, plan: TrafficPlan) -> None:
        """Serve this plan from now on."""
        self.settle()
        self.plan = plan
        self.weights = {host.service: dict(host.weights) for host in plan.hosts}
        known = {cluster.name for host in plan.hosts for cluster in host.clusters}
        self.clusters = {name: counter for name, counter in self.clusters.items() if name in known}

    def settle(self) -> None:
        """Let the users of the time since the last change or reading have come."""
        begin, end = self._settled_at, self._clock.t
        self._settled_at = end
        begin = max(begin, min(self.dead_until, end))
        if end <= begin:
            return
        for service, weights in self.weights.items():
            if not weights:
                continue
            shape = 1.0 + 0.4 * math.sin(2 * math.pi * (begin / DAY_S - 0.25))
            came = int(self._draws.poisson(self.rates[service] * shape * (end - begin)))
            left, total = came, 100
            for name, weight in weights.items():
                taken = left if weight == total else int(self._draws.binomial(left, weight / total))
                left, total = left - taken, total - weight
                self._answer(service, name, taken)
            self._copy(service, came)

    def _copy(self, service: str, requests: int) -> None:
        """What goes to a mirrored cluster too; nobody gets its answers."""
        hosts = self.plan.hosts if self.plan else ()
        copies = next((one.mirror for one in hosts if one.service == service), None)
        if copies is None or not requests:
            return
        taken = int(self._draws.binomial(requests, copies.percent / 100))
        counter = self.clusters.setdefault(copies.cluster, Counter())
        counter.requests += taken
        counter.failures += self._failures(service, copies.cluster, taken)

    def _answer(self, service: str, name: str, requests: int) -> None:
        failures = self._failures(service, name, requests)
        for counter in (
            self.services.setdefault(service, Counter()),
            self.clusters.setdefault(name, Counter()),
        ):
            counter.requests += requests
            counter.failures += failures
        self.happened_bad[service] = self.happened_bad.get(service, 0) + failures

    def _failures(self, service: str, name: str, requests: int) -> int:
        lives = self.machine.of_rollout(service, int(name.rpartition(".")[2]))
        running = [life for life in lives if life.state == "running"]
        serving = [life for life in running if life.hung_at is None]
        if not serving:
            return requests
        ratio = self.machine.error_ratio_of(serving[0])
        ratio = min(1.0, ratio + HUNG_SHARE * (1 - len(serving) / len(running)))
        return int(self._draws.binomial(requests, ratio)) if requests else 0

    def samples(self) -> Iterator[Sample]:
        """Every counter, named as in ``model.signal``."""
        for service, counter in self.services.items():
            labels = (("service", service),)
            yield Sample(Series(REQUESTS_TOTAL, labels), float(counter.requests))
            yield Sample(Series(ERRORS_TOTAL, labels), float(counter.failures))
        for name, counter in self.clusters.items():
            service, _, n = name.rpartition(".")
            both = (("rollout", n), ("service", service))
            yield Sample(Series(TRIALS_TOTAL, both), float(counter.requests))
            yield Sample(Series(FAILURES_TOTAL, both), float(counter.failures))
            flying = IN_FLIGHT_S * self.rates.get(service, 0.0) * self.weights[service].get(name, 0) / 100
            yield Sample(Series(IN_FLIGHT, both), round(flying, 1))


class SimulatedTraffic:
    """The Traffic port of one control process. ``applying(plan)`` hears each plan before it serves."""

    def __init__(self, envoy: Envoy, clock: SimulatedClock, applying: Callable[[TrafficPlan], None]) -> None:
        self._envoy, self._clock, self._applying = envoy, clock, applying

    async def apply(self, plan: TrafficPlan) -> None:
        """See the port."""
        if not self._envoy.is_up:
            raise TimedOut("POISE-T800", "Envoy did not acknowledge in time")
        self._applying(plan)
        self._envoy.apply(plan)

    async def observe(self) -> Acknowledged | None:
        """See the port."""
        envoy = self._envoy
        if not envoy.is_up:
            return None
        plan = envoy.plan
        hosts = plan.hosts if plan else ()
        active = {cluster.name: 0 for host in hosts for cluster in host.clusters}
        weights = {name: weight for host in hosts for name, weight in host.weights}
        return Acknowledged(
            version=plan.version if plan else 0,
            active=active,
            weights=weights,
            epoch=f"envoy-{envoy.epoch}",
        )

    async def members(self) -> frozenset[int] | None:
        """See the port. Endpoints follow the keeper at once, so whoever is held has left."""
        return frozenset() if self._envoy.is_up else None

    async def read(self) -> Batch | None:
        """See the port."""
        envoy = self._envoy
        if not envoy.is_up or self._clock.t < envoy.deaf_until:
            return None
        envoy.settle()
        return Batch(at=self._clock.now(), epoch=f"envoy-{envoy.epoch}", samples=tuple(envoy.samples()))
