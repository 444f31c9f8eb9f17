"""Replica, route and heal order: what runs and who reaches it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.service import Replicas

REPLICAS_MAX = 100  # of one rollout
CRASHES_KEPT = 10


class Identity(Struct, frozen=True, kw_only=True):
    """Which process exactly: never a port or a name. ``start_ticks`` is field 22 of /proc/pid/stat."""

    pid: int
    start_ticks: int


class Replica(Struct, frozen=True, kw_only=True):
    """One replica; key ``project/environment/service/rollout/index``. Written by fleet.

    ``ready`` is fleet's alone to set. ``failures`` counts consecutive failed probes of this identity.
    ``draining`` is set before it leaves the rotation. ``asked_at`` is when this start was asked for: it makes
    the key of the intent, so that a replica gone for good can be asked for again. ``exited_at`` is the newest
    end of a process that was looked at; ``crashes`` are those (newest last, at most ten) that nobody asked
    for: not healed, not restarted, not killed from outside. ``ended`` says in words how the newest ended.
    ``losses`` are the instants (newest last, at most ten) at which it ceased to be ready while it ran.
    """

    service: str
    rollout: int
    index: int
    identity: Identity | None = None
    port: int | None = None
    ready: bool = False
    failures: int = 0
    failing_since: datetime | None = None
    restarts: int = 0
    draining: bool = False
    started_at: datetime | None = None
    probed_at: datetime | None = None
    asked_at: datetime | None = None
    exited_at: datetime | None = None
    crashes: tuple[datetime, ...] = ()
    ended: str = ""
    losses: tuple[datetime, ...] = ()

    @property
    def key(self) -> str:
        """``project/environment/service/rollout/index``, zero-padded."""
        return f"{self.service}/{self.rollout:06d}/{self.index:03d}"


class Route(Struct, frozen=True, kw_only=True):
    """A service's traffic; key ``project/environment/service``. Written by fleet.

    ``weights`` are percents by rollout number and sum to 100; ``version`` is what was asked for,
    ``acked_version`` and ``acked`` what Envoy confirmed. ``mirror`` is the rollout that gets copies, and
    of how many percent of the requests; ``preview`` the one for which those are let in who ask for it.
    ``trouble`` is why Envoy has not taken what was asked for, since ``troubled_since``; empty once it has.
    """

    service: str
    weights: dict[int, int] = {}
    mirror: tuple[int, int] | None = None
    preview: int | None = None
    version: int = 0
    acked: dict[int, int] = {}
    acked_version: int = 0
    step: int = 0
    verdict: str | None = None  # key of the verdict that allowed a raise
    port: int | None = None  # the fixed loopback port at which other services reach it
    changed_at: datetime | None = None
    trouble: str = ""
    troubled_since: datetime | None = None


class ScaleTarget(Struct, frozen=True, kw_only=True):
    """How many replicas scaling wants; key ``project/environment/service``. Written by scaling.

    ``rule`` and ``numbers`` say why; ``changed_at`` is when ``replicas`` last changed, ``reversals`` the
    instants at which its direction turned (the flap budget counts them); ``direction`` is 1 after going out,
    -1 after going in, 0 before either. ``withheld`` is the rule that keeps it from moving, "" when none.
    """

    service: str
    replicas: int
    rule: str = ""
    reason: str = ""
    numbers: dict[str, float] = {}
    changed_at: datetime | None = None
    reversals: tuple[datetime, ...] = ()
    direction: int = 0
    withheld: str = ""

    @property
    def key(self) -> str:
        """``project/environment/service``."""
        return self.service


def wanted_replicas(bounds: Replicas, target: ScaleTarget | None) -> int:
    """How many replicas take a service's whole load: the scale target within its bounds, else the minimum."""
    count = target.replicas if target else bounds.min
    return min(max(bounds.min, min(count, bounds.max)), REPLICAS_MAX)


class RollbackRequest(Struct, frozen=True, kw_only=True):
    """Healing asks delivery to roll back; key ``project/environment/service``. Written by healing.

    ``rollout`` is the number of the rollout whose replicas crash in a loop; a request about any other than
    the newest active or live one is void.
    """

    service: str
    rollout: int
    reason: str
    at: datetime


class HealOrder(Struct, frozen=True, kw_only=True):
    """Healing's order to restart one exact process; key as the replica's. Written by healing.

    Spent once the replica's identity is another. ``count`` is how often in a row it was healed without a
    quiet time between; ``gentle`` orders drain first (a person asked), the others kill. ``checked_at`` is
    when it was seen whether the heal helped, ``failed`` how many in a row did not.
    """

    replica: str
    identity: Identity
    reason: str
    at: datetime
    mass: bool = False  # a mass failure: nothing is killed
    count: int = 1
    gentle: bool = False
    checked_at: datetime | None = None
    failed: int = 0
