"""Copies and previews in Envoy's routes: whose requests they are, and that the users' split stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from poise.adapters.envoy import config, counters
from poise.ports.traffic import Asked, Cluster, Copies, TrafficPlan, VirtualHost

SERVICE = "acme/production/shop"


PREVIEW = f"{SERVICE}.2.preview"


def routes(mirror: Copies | None = None, preview: Asked | None = None) -> list[dict[str, object]]:
    clusters = tuple(Cluster(name=f"{SERVICE}.{n}") for n in (1, 2))
    host = VirtualHost(
        service=SERVICE, hostnames=("shop.localhost",), port=18001, weights=((f"{SERVICE}.1", 100),),
        clusters=clusters, mirror=mirror, preview=preview,
    )  # fmt: skip
    files = config.render(TrafficPlan(version=1, ingress_port=8080, hosts=(host,)), Path("/x"))
    [resource] = json.loads(files[config.RDS])["resources"]
    return list(resource["virtual_hosts"][0]["routes"])


@pytest.mark.parametrize("writes", [False, True])
def test_reads_are_copied_writes_where_declared_and_streams_never(writes: bool) -> None:
    """What a request does must not be done twice unasked, and a stream has no end to wait for."""
    plain, found = routes(), routes(Copies(cluster=f"{SERVICE}.2", percent=25, writes=writes))
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


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (Asked(cluster=PREVIEW, header="x-poise-preview"), "x-poise-preview"),
        (Asked(cluster=PREVIEW, cookie="beta"), "cookie"),
    ],
)
def test_who_asks_comes_first_goes_to_the_preview_and_is_counted_as_no_user(asked: Asked, name: str) -> None:
    """The counters of the service and of the rollout must not hear of them."""
    plain, found = routes(), routes(preview=asked)
    assert found[len(plain) :] == plain, "everybody else is split as before"
    for before, after in zip(plain, found[: len(plain)], strict=True):
        assert "stat_prefix" in before and "stat_prefix" not in after
        assert after["match"]["headers"][0]["name"] == name  # type: ignore[index]
        parts = after["route"]["weighted_clusters"]["clusters"]  # type: ignore[index]
        assert parts == [{"name": PREVIEW, "weight": 100}]


def test_the_preview_has_its_rollouts_replicas_in_a_cluster_of_its_own() -> None:
    """One file of endpoints, two counters; and what is read back from the file is the same."""
    cluster = Cluster(name=PREVIEW, endpoints=f"{SERVICE}.2")
    files = config.render_clusters(1, [Cluster(name=f"{SERVICE}.2"), cluster], Path("/x"))
    base, preview = json.loads(files)["resources"]
    assert preview["eds_cluster_config"]["service_name"] == f"{SERVICE}.2"
    assert preview["eds_cluster_config"]["eds_config"] == base["eds_cluster_config"]["eds_config"]
    assert config.cluster_of(preview) == cluster and config.cluster_of(base).endpoints == ""
    assert counters._cluster_labels(PREVIEW) is None
