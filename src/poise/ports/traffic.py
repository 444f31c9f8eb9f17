"""Traffic: a desired plan in, acknowledgement and counters out."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from poise.model.signal import Batch


class Cluster(Struct, frozen=True, kw_only=True):
    """One rollout's replicas behind Envoy; endpoints are filled in by the keeper.

    ``http2``: they speak HTTP/2 without TLS (h2c), as gRPC does; else HTTP/1.1. ``endpoints`` is the cluster
    whose replicas it shares, counted apart; empty: it has its own.
    """

    name: str
    endpoints: str = ""
    http2: bool = False
    per_try_timeout_s: float = 1.0

    @property
    def members(self) -> str:
        """The cluster whose endpoints the keeper fills in."""
        return self.endpoints or self.name


class Copies(Struct, frozen=True, kw_only=True):
    """Who gets copies of ``percent`` of the requests: GET and HEAD, with ``writes`` all but streams.

    Their answers are thrown away.
    """

    cluster: str
    percent: int
    writes: bool = False


class Asked(Struct, frozen=True, kw_only=True):
    """Requests with this ``header``, or else this ``cookie``, go to ``cluster`` whatever the weights."""

    cluster: str
    header: str = ""
    cookie: str = ""


class VirtualHost(Struct, frozen=True, kw_only=True):
    """One service: where it is reached and how its requests split. Weights sum to 100 or are empty.

    ``service`` is its key ``project/environment/service``; ``hostnames`` without port; ``port`` is the
    fixed loopback port for dependents; ``weights`` are percents by cluster name.
    """

    service: str
    hostnames: tuple[str, ...]
    port: int
    weights: tuple[tuple[str, int], ...]
    clusters: tuple[Cluster, ...]
    mirror: Copies | None = None
    preview: Asked | None = None
    request_timeout_s: float = 15.0
    per_try_timeout_s: float = 1.0


class TrafficPlan(Struct, frozen=True, kw_only=True):
    """All of Envoy's configuration as data. The same plan gives the same bytes."""

    version: int
    ingress_port: int
    hosts: tuple[VirtualHost, ...]


class Acknowledged(Struct, frozen=True, kw_only=True):
    """What Envoy says it runs: ``version`` of the plan, and why it refused if it did.

    ``healthy`` counts healthy endpoints and ``active`` the requests in flight, by cluster. ``weights`` are
    the percents that it serves by cluster; None while they cannot be told (a change is under way).
    """

    version: int
    rejected: str = ""
    healthy: dict[str, int] = {}
    active: dict[str, int] = {}
    weights: dict[str, int] | None = None
    epoch: str = ""


class Traffic(Protocol):
    """Envoy, or the simulation's."""

    async def apply(self, plan: TrafficPlan) -> None:
        """Write the plan in the safe order (clusters, endpoints, routes, removal); idempotent.

        Returns once Envoy has acknowledged ``plan.version``; raises ``TimedOut`` when it has not within
        10 s and ``Conflict`` when it rejected it (the old plan then still serves).
        """
        ...

    async def observe(self) -> Acknowledged | None:
        """What Envoy runs now; None when it does not answer."""
        ...

    async def members(self) -> frozenset[int] | None:
        """The ports of all endpoints that it may send a new request to; None when it does not answer."""
        ...

    async def read(self) -> Batch | None:
        """Its counters as samples named in ``model.signal``; None when it does not answer."""
        ...
