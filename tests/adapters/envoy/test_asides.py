"""Copies of requests in Envoy's routes: which are copied, and that the users' split stays as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from poise.adapters.envoy import config
from poise.ports.traffic import Cluster, Copies, TrafficPlan, VirtualHost

SERVICE = "acme/production/shop"


def routes(mirror: Copies | None) -> list[dict[str, object]]:
    clusters = tuple(Cluster(name=f"{SERVICE}.{n}") for n in (1, 2))
    host = VirtualHost(
        service=SERVICE, hostnames=("shop.localhost",), port=18001, weights=((f"{SERVICE}.1", 100),),
        clusters=clusters, mirror=mirror,
    )  # fmt: skip
    files = config.render(TrafficPlan(version=1, ingress_port=8080, hosts=(host,)), Path("/x"))
    [resource] = json.loads(files[config.RDS])["resources"]
    return list(resource["virtual_hosts"][0]["routes"])


@pytest.mark.parametrize("writes", [False, True])
def test_reads_are_copied_writes_where_declared_and_streams_never(writes: bool) -> None:
    """What a request does must not be done twice unasked, and a stream has no end to wait for."""
    plain, found = routes(None), routes(Copies(cluster=f"{SERVICE}.2", percent=25, writes=writes))
    copied = []
    for before, after in zip(plain, found, strict=True):
        action = dict(after["route"])  # type: ignore[call-overload]
        policies = action.pop("request_mirror_policies", [])
        assert after | {"route": action} == before, "the split of the users is the same"
        copied.append(bool(policies))
        for policy in policies:
            assert policy["cluster"] == f"{SERVICE}.2"
            assert policy["runtime_fraction"]["default_value"] == {"numerator": 25, "denominator": "HUNDRED"}
    timeouts = [dict(route["route"])["timeout"] for route in plain]  # type: ignore[call-overload]
    assert not any(one for one, timeout in zip(copied, timeouts, strict=True) if timeout == "0s")
    assert sum(copied) == (sum(timeout != "0s" for timeout in timeouts) if writes else 1)
