"""Each form of our configuration as Envoy itself reads it, without running it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from poise.adapters.envoy import config, launch
from poise.ports.traffic import Cluster, TrafficPlan, VirtualHost


def static(plan: TrafficPlan, folder: Path) -> dict[str, Any]:
    """The bootstrap with everything in it that Envoy would read from files: clusters, listeners, routes."""
    files = {name: json.loads(body)["resources"] for name, body in config.render(plan, folder).items()}
    for cluster in config.clusters(plan):
        path = config.endpoint_file(folder, cluster.name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    for resource in (one for group in files.values() for one in group):
        resource.pop("@type")
    for listener in files[config.LDS]:
        for chain in listener["filter_chains"]:
            manager = chain["filters"][0]["typed_config"]
            if manager.pop("rds", None):
                manager["route_config"] = files[config.RDS][0]
    made = json.loads(config.bootstrap(folder))
    made.pop("dynamic_resources")
    made["static_resources"] = {"clusters": files[config.CDS], "listeners": files[config.LDS]}
    return dict(made)


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


@pytest.mark.parametrize("broken", ["tcp_keepalive", "filter_chains"])
def test_envoy_would_say_if_it_did_not_understand_a_key(tmp_path: Path, broken: str) -> None:
    """The check above must be able to fail."""
    made = static(PLAN, tmp_path)
    made["static_resources"]["listeners"][0][broken] = "?"
    assert validated(made, tmp_path).returncode != 0


def test_only_what_speaks_http2_has_a_route_for_grpc() -> None:
    """To any other app a gRPC call is a request like each other."""
    made = json.loads(config.render(PLAN, Path("/data/envoy"))[config.RDS])["resources"][0]["virtual_hosts"]
    calls = {one["name"]: [r["route"] for r in one["routes"] if "grpc" in r["match"]] for one in made}
    assert [name for name, found in calls.items() if found] == ["acme/production/rpc"]
    (route,) = calls["acme/production/rpc"]
    assert route["timeout"] == "0s" and "reset" not in route["retry_policy"]["retry_on"].split(",")


def test_a_stream_is_not_ended_for_resting() -> None:
    """A chat is silent at night; whoever is gone is found by TCP."""
    files = config.render(PLAN, Path("/data/envoy"))
    routes = json.loads(files[config.RDS])["resources"][0]["virtual_hosts"][2]["routes"]
    resting = [one["route"] for one in routes if one["route"]["timeout"] == "0s"]
    assert len(resting) == 2 and {one["idle_timeout"] for one in resting} == {"0s"}
    listeners = json.loads(files[config.LDS])["resources"]
    assert all(one["tcp_keepalive"] == config.KEEPALIVE for one in listeners)
