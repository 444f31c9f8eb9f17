"""What each strategy promises, worked out apart from the rooms that keep it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.fleet import Replica, Route
from poise.model.service import StrategyKind
from poise.simulation.book import Book
from poise.simulation.machine import Machine, service_of


class StrategyLaws:
    """Holds rollouts to their strategy."""

    def __init__(self, book: Book, machine: Machine) -> None:
        self._book, self._machine = book, machine
        self._switched: dict[str, datetime] = {}  # rollout -> when all users were about to change over

    def is_interrupted(self, service: str) -> bool:
        """Whether a rollout is under way that declared to serve nobody for a while."""
        rollouts = self._book.all(Rollout, f"{service}/")
        recreated = any(one.spec.strategy.kind is StrategyKind.RECREATE for one in rollouts)
        return recreated and any(one.state.is_active and one.beside == 0 for one in rollouts)

    def spawning(self, key: str) -> None:
        """The keeper is about to start a replica."""
        service, n, _ = key.rsplit("/", 2)
        rollout = self._book.one(Rollout, f"{service}/{n}")
        if rollout is None or rollout.spec.strategy.kind is not StrategyKind.RECREATE:
            return
        others = [one for one in self._machine.lives if service_of(one) == service and f"/{n}/" not in one]
        if others:
            self._book.breach("never-two-revisions", f"{key} starts beside {others}")

    def applying(self, service: str, weights: Mapping[str, int], serving: Mapping[str, int]) -> None:
        """Envoy is about to split ``service`` so; percents by cluster."""
        rollouts = {one.cluster: one for one in self._book.all(Rollout, f"{service}/")}
        for name, weight in weights.items():
            rollout = rollouts.get(name)
            if rollout is None or weight <= serving.get(name, 0):
                continue
            kind, from_nobody = rollout.spec.strategy.kind, serving.get(name, 0) == 0
            if kind is StrategyKind.MIRROR and weight == 100 and from_nobody and _is_judged(rollout):
                self._book.breach("shadow-evidence-promotes-nobody", f"{name} gets all users at once")
            if weight == 100:
                self._switched[rollout.key] = self._book.now()
            elif kind is StrategyKind.BLUE_GREEN and rollout.state.is_active:
                self._book.breach("all-users-change-at-once", f"{name} gets {weight} % of its users")

    def rollout(self, rollout: Rollout, before: Struct | None) -> None:
        """A rollout was written; ``before`` is what it was."""
        became_live = isinstance(before, Rollout) and before.state is not rollout.state is RolloutState.LIVE
        strategy = rollout.spec.strategy
        if not became_live or rollout.baseline is None or rollout.change_class is ChangeClass.ROLLBACK:
            return
        if strategy.kind is StrategyKind.BLUE_GREEN:
            switched = self._switched.get(rollout.key)
            warm_s = (self._book.now() - switched).total_seconds() if switched else 0.0
            if warm_s < strategy.keep_warm_s:
                said = f"{rollout.key} is live {warm_s:.0f} s after the switch, and the old one goes"
                self._book.breach("the-way-back-is-warm", said)

    def route(self, route: Route, before: Struct | None) -> None:
        """A route was written: whoever gets more of the users has the replicas ready that it should have."""
        known = before if isinstance(before, Route) else Route(service=route.service)
        for n, weight in route.weights.items():
            if weight <= max(known.weights.get(n, 0), known.acked.get(n, 0)):
                continue
            rollout = self._book.one(Rollout, f"{route.service}/{n:06d}")
            if rollout is None or not rollout.state.is_active:
                continue
            replicas = self._book.all(Replica, f"{rollout.key}/")
            ready = sum(one.ready and not one.draining for one in replicas)
            if ready < rollout.replicas:
                said = f"{rollout.key} gets {weight} % with {ready} of {rollout.replicas} replicas ready"
                self._book.breach("a-share-has-its-replicas", said)


def _is_judged(rollout: Rollout) -> bool:
    """Whether it is on its way beside another one, and nobody has ordered it straight to all users."""
    return rollout.state.is_active and rollout.baseline is not None and not rollout.straight
