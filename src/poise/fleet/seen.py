"""What fleet decides from: stored objects and observations, as values."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from poise.model.delivery import Rollout
from poise.model.fleet import HealOrder, Identity, Replica, Route, ScaleTarget
from poise.model.record import PrefixRef, Read
from poise.model.service import Service


class Process(Struct, frozen=True, kw_only=True):
    """What the keeper says of one workload; ``identity`` None while none is alive.

    ``exited_at`` is its last end, ``crashed`` whether that was its own doing: neither unknown, nor by a
    signal that is sent from outside; ``ended`` says how in words.
    """

    identity: Identity | None = None
    port: int | None = None
    restarts: int = 0
    stopping: bool = False
    exited_at: datetime | None = None
    crashed: bool = False
    ended: str = ""


class Probed(Struct, frozen=True, kw_only=True):
    """What the probes of one exact process heard: ``ok`` the last time, or ``failures`` in a row since."""

    identity: Identity
    ok: bool
    failures: int = 0


_IN_USE: Final = "Address already in use"  # strerror(EADDRINUSE), as Envoy tells it


class TrafficSeen(Struct, frozen=True, kw_only=True):
    """What Envoy runs: the plan's ``version``, the requests in flight and the percents by cluster.

    ``weights`` None: they cannot be told.
    """

    version: int
    active: dict[str, int] = {}
    weights: dict[str, int] | None = None


class Seen(Struct, frozen=True, kw_only=True):
    """Everything about one service at one instant.

    ``processes`` None: the keeper did not answer. ``traffic`` None: Envoy did not. ``settled`` holds the
    keys of fleet's intents that are done, ``pending`` of those under way. ``top_version`` is the highest
    version of any service's route, ``routes`` the reference that guards it. ``trouble`` is what Envoy said
    against the split that is asked for, empty where it said nothing. ``free_port`` is a candidate for
    a service that has no fixed port yet, or whose was taken by another program (``is_port_taken``).
    ``killed`` are those that had to be killed when they were stopped.
    """

    key: str
    service: Service | None
    rollouts: tuple[Rollout, ...] = ()
    reads: tuple[Read, ...] = ()
    routes: PrefixRef | None = None
    target: ScaleTarget | None = None
    replicas: tuple[Replica, ...] = ()
    route: Route | None = None
    orders: tuple[HealOrder, ...] = ()
    processes: dict[str, Process] | None = None
    probes: dict[str, Probed] = {}
    killed: frozenset[str] = frozenset()
    traffic: TrafficSeen | None = None
    settled: frozenset[str] = frozenset()
    pending: frozenset[str] = frozenset()
    trouble: str = ""
    top_version: int = 0
    free_port: int | None = None


def is_port_taken(route: Route | None, trouble: str) -> bool:
    """Whether Envoy cannot listen where nobody was served yet, since another program came first.

    A port that dependents were told of is kept: theirs would lead nowhere.
    """
    return route is not None and not route.acked_version and f":{route.port}': {_IN_USE}" in trouble
