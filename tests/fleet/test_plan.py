"""The plan of all services, and what runs for a replica: pure."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from poise.fleet.plan import plan_of
from poise.fleet.workload import shell_line, workload_of
from poise.model.branch_preview import BranchPreview, PreviewRevision, PreviewState
from poise.model.delivery import RolloutState
from poise.model.fleet import Replica, Route
from poise.model.service import Resources
from poise.ports.artifacts import RELEASED
from poise.ports.runtime import Container

from .conftest import KEY, NOW, SERVICE, rollout


def route(service: str, version: int, weights: dict[int, int], acked: dict[int, int]) -> Route:
    return Route(service=service, version=version, weights=weights, acked=acked, port=18000 + version)


def test_only_the_services_that_were_checked_move() -> None:
    """Another service's raise must not slip in with this one's."""
    other = "acme/production/other"
    rollouts = {KEY: [rollout(1, RolloutState.LIVE), rollout(2, RolloutState.STEPPING)], other: []}
    routes = [route(KEY, 4, {1: 95, 2: 5}, {1: 100}), route(other, 5, {}, {})]
    held = plan_of(routes, rollouts, {other}, 8080)
    moved = plan_of(routes, rollouts, {KEY, other}, 8080)
    assert held.version == moved.version == 5
    assert held.hosts[1].weights == ((f"{KEY}.1", 100),)
    assert moved.hosts[1].weights == ((f"{KEY}.1", 95), (f"{KEY}.2", 5))


def test_clusters_of_rollouts_that_run_are_kept_without_weight() -> None:
    """A cluster removed and added again would lose its counters."""
    rollouts = {
        KEY: [
            rollout(1, RolloutState.RETIRED),
            rollout(2, RolloutState.LIVE),
            rollout(3, RolloutState.PROMOTING),
        ]
    }
    plan = plan_of([route(KEY, 1, {3: 100}, {3: 100})], rollouts, {KEY}, 8080)
    assert [cluster.name for cluster in plan.hosts[0].clusters] == [f"{KEY}.2", f"{KEY}.3"]
    assert plan.hosts[0].hostnames == ("shop.localhost",)


def test_a_host_name_stands_once_and_who_serves_keeps_it() -> None:
    """Envoy refuses the whole where one stands twice, and then no service's traffic could change."""
    other = "aaa/production/shop"
    rollouts = {KEY: [rollout(1, RolloutState.LIVE)], other: []}
    routes = [route(KEY, 4, {1: 100}, {1: 100}), route(other, 5, {}, {})]
    plan = plan_of(routes, rollouts, {KEY, other}, 8080)
    assert {host.service: host.hostnames for host in plan.hosts} == {KEY: ("shop.localhost",), other: ()}


def test_config_is_laid_over_what_is_declared_and_secrets_over_that() -> None:
    """Secrets reach the environment and no other part of what the keeper is asked."""
    base = rollout(1, RolloutState.LIVE)
    declared = replace(base, spec=replace(base.spec, env={"A": "spec", "B": "spec", "C": "spec"}))
    replica = Replica(service=KEY, rollout=1, index=0)
    config, secrets = {"B": "config", "C": "config"}, {"C": "s3cr3t-canary"}
    workload = workload_of(replica, declared, Path("/x"), {}, Path("/data"), config, secrets)
    assert {name: workload.env[name] for name in "ABC"} == {"A": "spec", "B": "config", "C": "s3cr3t-canary"}
    assert "s3cr3t-canary" not in repr(replace(workload, env={}))


def test_a_replica_runs_in_a_sandbox_that_hides_the_data_folder() -> None:
    """A hostile app finds neither the store nor a token, and its release stays as it was built."""
    replica = Replica(service=KEY, rollout=1, index=0)
    workload = workload_of(
        replica,
        rollout(1, RolloutState.LIVE),
        Path("/data/releases/x"),
        {"pay-ments": 18001},
        Path("/data"),
    )
    assert workload.sandbox is not None
    assert workload.sandbox.masks == ("/data",)
    assert workload.sandbox.binds == (("/data/releases/x", "/app", "ro"),)
    assert workload.env["PAY_MENTS_URL"] == "http://127.0.0.1:18001"
    assert (workload.port, workload.cluster, workload.argv[-1]) == ("fresh", f"{KEY}.1", "exec run")
    assert workload.log == f"/data/logs/{KEY}/1-0.log"
    assert workload.log_limit_bytes == 32 * 2**20


def test_an_image_runs_by_the_digest_of_its_release_with_its_limits() -> None:
    """The tag may have moved since; the image's own environment is not overwritten with a process'."""
    base = rollout(1, RolloutState.LIVE)
    resources = Resources(memory_bytes=64 * 2**20, cpu=0.5)
    spec = replace(base.spec, image="shop:1", command="", env={"A": "1"}, resources=resources, read_only=True)
    replica = Replica(service=KEY, rollout=1, index=0)
    workload = workload_of(replica, replace(base, spec=spec), None, {}, Path("/data"))
    assert workload.container == Container(
        image=f"{RELEASED}@{base.digest}", memory_bytes=64 * 2**20, cpu=0.5, read_only=True
    )
    assert (workload.argv, workload.sandbox, workload.cwd) == ((), None, "/")
    assert (workload.env["A"], "PATH" in workload.env) == ("1", False)
    assert (workload.port, workload.cluster) == ("fresh", f"{KEY}.1")


def test_the_memory_of_a_process_is_bounded_too() -> None:
    """A declared limit is honoured or refused, never ignored."""
    base = rollout(1, RolloutState.LIVE)
    bounded = replace(base, spec=replace(base.spec, resources=Resources(memory_bytes=8 * 2**20)))
    replica = Replica(service=KEY, rollout=1, index=0)
    assert workload_of(replica, bounded, Path("/x"), {}, Path("/data")).rlimits == {"data": 8 * 2**20}


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("python3 server.py", "exec python3 server.py"),
        ("serve --bind :$PORT -c 'a; b'", "exec serve --bind :$PORT -c 'a; b'"),
        ("migrate && serve", "migrate && serve"),
        ("MODE=fast serve", "MODE=fast serve"),
        ("cd app; serve", "cd app; serve"),
        ("exec serve", "exec serve"),
        ("serve 'unclosed", "serve 'unclosed"),
        ("serve `port`", "serve `port`"),
        ("serve\nserve", "serve\nserve"),
    ],
)
def test_a_plain_command_takes_the_shells_place(command: str, line: str) -> None:
    """Else SIGTERM would end the shell and with it, undrained, the app; and a hang would not be the app's."""
    assert shell_line(command) == line


def test_a_branch_preview_is_reached_by_its_own_host_and_none_when_it_is_stopped() -> None:
    """Never by that of the service, whatever is live of it."""
    shown = BranchPreview(
        project="acme", branch="topic", label="topic", service="shop", host="topic.shop.localhost",
        state=PreviewState.READY, commit="c", run=1, taken_at=NOW, until=NOW, changed_at=NOW, last=2,
        revisions=tuple(
            PreviewRevision(n=n, run=n, commit="c", digest="d", spec=SERVICE, since=NOW) for n in (1, 2)
        ),
    )  # fmt: skip
    routes = [route(KEY, 4, {}, {}), route(shown.key, 5, {2: 100}, {1: 100})]
    plan = plan_of(routes, {KEY: [], shown.key: shown.rollouts}, {shown.key}, 8080)
    assert [(host.hostnames, host.weights) for host in plan.hosts] == [
        (("shop.localhost",), ()),
        (("topic.shop.localhost",), ((f"{shown.key}.2", 100),)),
    ]
    routes = [route(KEY, 4, {}, {}), route(shown.key, 5, {}, {1: 100})]
    plan = plan_of(routes, {KEY: [], shown.key: ()}, {shown.key}, 8080)
    assert [host.hostnames for host in plan.hosts] == [("shop.localhost",), ()]


def test_a_declared_service_keeps_its_host_name_before_a_branch_preview() -> None:
    """Also while nothing of it serves."""
    preview = "aaa/~shop/shop"
    taken = replace(rollout(1, RolloutState.LIVE), spec=replace(SERVICE, hostname="shop.localhost"))
    routes = [route(KEY, 4, {}, {}), route(preview, 5, {1: 100}, {1: 100})]
    plan = plan_of(routes, {KEY: [], preview: [taken]}, {KEY, preview}, 8080)
    assert {host.service: host.hostnames for host in plan.hosts} == {KEY: ("shop.localhost",), preview: ()}
