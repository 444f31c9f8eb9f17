"""Each form of our configuration as Envoy itself reads it, without running it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from poise.adapters.envoy import certificates, config, launch, listeners, xds
from poise.adapters.envoy.listeners import DOORS, Doors
from poise.ports.traffic import Cluster, TrafficPlan, VirtualHost

from .authority import NOW, Authority


def static(plan: TrafficPlan, folder: Path, doors: Doors = DOORS) -> dict[str, Any]:
    """The bootstrap with everything in it that Envoy would read from files: clusters, listeners, routes."""
    files = {
        name: json.loads(body)["resources"] for name, body in config.render(plan, folder, doors=doors).items()
    }
    for cluster in config.clusters(plan):
        path = config.endpoint_file(folder, cluster.name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    for resource in (one for group in files.values() for one in group):
        resource.pop("@type")
    for listener in files[xds.LDS]:
        for chain in [*listener["filter_chains"], *default_of(listener)]:
            manager = chain["filters"][0]["typed_config"]
            if manager.pop("rds", None):
                manager["route_config"] = files[xds.RDS][0]
    made = json.loads(config.bootstrap(folder))
    made.pop("dynamic_resources")
    made["static_resources"] = {"clusters": files[xds.CDS], "listeners": files[xds.LDS]}
    return dict(made)


def default_of(listener: dict[str, Any]) -> list[dict[str, Any]]:
    return [listener["default_filter_chain"]] if "default_filter_chain" in listener else []


def validated(made: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "validated.json").write_text(json.dumps(made))
    command = [str(launch.program()), "--mode", "validate", "--config-path", str(folder / "validated.json")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def host(name: str, weights: tuple[tuple[str, int], ...], http2: bool, port: int) -> VirtualHost:
    return VirtualHost(
        service=f"acme/production/{name}",
        hostnames=(f"{name}.localhost",),
        port=port,
        weights=weights,
        clusters=tuple(Cluster(name=one, http2=http2) for one, _ in weights),
    )


PLAN = TrafficPlan(
    version=3,
    ingress_port=8080,
    hosts=(
        host("empty", (), False, 18001),
        host("rpc", (("acme/production/rpc.1", 100),), True, 18002),
        host("shop", (("acme/production/shop.1", 95), ("acme/production/shop.2", 5)), False, 18003),
    ),
)


def test_envoy_accepts_every_form_of_service(tmp_path: Path) -> None:
    """What it refuses at a push would be found by users of every service."""
    done = validated(static(PLAN, tmp_path), tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


DOORS_OPEN = Doors(
    address="0.0.0.0",
    https_port=8443,
    redirect=True,
    secrets=(("one", ("shop.example.com",)), ("two", ("*.example.org", "shop.example.com")), ("three", ())),
)


def test_envoy_accepts_tls_for_several_hosts(tmp_path: Path) -> None:
    """Two chains for one name would be refused, and with them every port."""
    pair, _ = Authority().issue(tmp_path, "shop.example.com")
    proof = certificates.read(pair, NOW)
    for secret, _ in DOORS_OPEN.secrets:
        path = listeners.secret_file(tmp_path, secret)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(listeners.secret_body(secret, proof.chain, proof.key))
    done = validated(static(PLAN, tmp_path, DOORS_OPEN), tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


def test_each_name_has_one_chain_and_any_other_name_the_first_certificate() -> None:
    """Who declared a host first has it."""
    plain, secure = listeners.ingress(8080, Path("/data/envoy"), DOORS_OPEN)
    assert [one["filter_chain_match"]["server_names"] for one in secure["filter_chains"]] == [
        ["shop.example.com"],
        ["*.example.org"],
    ]
    told = [json.dumps(one["transport_socket"]) for one in (*secure["filter_chains"], *default_of(secure))]
    assert [("TLSv1_2" in one, '"h2", "http/1.1"' in one) for one in told] == [(True, True)] * 3
    assert ["sds/one.json" in one for one in told] == [True, False, True]
    address = {one["address"]["socket_address"]["address"] for one in (plain, secure)}
    assert address == {"0.0.0.0"} and "redirect" in json.dumps(plain["filter_chains"])


@pytest.mark.parametrize("broken", ["tcp_keepalive", "filter_chains"])
def test_envoy_would_say_if_it_did_not_understand_a_key(tmp_path: Path, broken: str) -> None:
    """The check above must be able to fail."""
    made = static(PLAN, tmp_path)
    made["static_resources"]["listeners"][0][broken] = "?"
    assert validated(made, tmp_path).returncode != 0


def test_only_what_speaks_http2_has_a_route_for_grpc() -> None:
    """To any other app a gRPC call is a request like each other."""
    made = json.loads(config.render(PLAN, Path("/data/envoy"))[xds.RDS])["resources"][0]["virtual_hosts"]
    calls = {one["name"]: [r["route"] for r in one["routes"] if "grpc" in r["match"]] for one in made}
    assert [name for name, found in calls.items() if found] == ["acme/production/rpc"]
    (route,) = calls["acme/production/rpc"]
    assert route["timeout"] == "0s" and "reset" not in route["retry_policy"]["retry_on"].split(",")


def test_a_stream_is_not_ended_for_resting() -> None:
    """A chat is silent at night; whoever is gone is found by TCP."""
    files = config.render(PLAN, Path("/data/envoy"))
    routes = json.loads(files[xds.RDS])["resources"][0]["virtual_hosts"][2]["routes"]
    resting = [one["route"] for one in routes if one["route"]["timeout"] == "0s"]
    assert len(resting) == 2 and {one["idle_timeout"] for one in resting} == {"0s"}
    made = json.loads(files[xds.LDS])["resources"]
    assert all(one["tcp_keepalive"] == listeners.KEEPALIVE for one in made)
