"""A service of containers, end to end: push, canary, promotion, the way back, and images that do not work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bench.engines import ContainerHouse, Engine
from bench.house import House, kill_and_see, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SPEC = """apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec:
  image: localhost/web:%s
  port: 8080
  resources: {memory: 48MiB, cpu: 1}
  env: {GREETING: hello}
  rollout: {steps: [50], step: 1s, maxBake: 4s, warmup: 1s, drain: 1s, minCanaryRequests: 5,
    startTimeout: 15s, onUnproven: promote}
"""
SERVE = """mkdir -p /www/cgi-bin
echo '#!/bin/sh' > /www/cgi-bin/work
echo '%s' >> /www/cgi-bin/work
chmod 755 /www/cgi-bin/work
trap 'exit 0' TERM
httpd -f -p 127.0.0.1:$PORT -h /www &
wait"""
GOOD = SERVE % 'printf "Content-Type: text/plain\\r\\n\\r\\n$GREETING"'
BAD = SERVE % 'printf "Status: 500 Broken\\r\\n\\r\\nsorry"'
one_engine_will_do = pytest.mark.parametrize("delivery", ["podman"], indirect=True)
LEAK = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"


class Delivery:
    """Images that are built and pushed by tag, and how each rollout ends."""

    def __init__(self, house: House, engine: Engine) -> None:
        self.house, self.engine = house, engine

    def push(self, tag: str, script: str) -> str:
        """Build and push; the image's digest."""
        digest = self.engine.image(f"web:{tag}", script).partition("@")[2]
        self.house.write({"poise.yaml": SPEC % tag})
        self.house.commit(f"feat: image {tag}")
        self.house.push()
        return digest

    def settled(self, n: int) -> dict[str, Any]:
        """The n-th rollout once it is over."""

        def ended() -> dict[str, Any] | None:
            one = next((one for one in self.house.rollouts("web") if one["n"] == n), None)
            final = ("live", "rolled_back", "failed", "superseded")
            return one if one and one["state"] in final else None

        return dict(until(ended, 120.0, f"rollout {n} is over"))


@pytest.fixture(scope="module", params=["podman", "docker"])
def delivery(request: pytest.FixtureRequest) -> Iterator[Delivery]:
    """The first image, live."""
    engine: Engine = request.getfixturevalue(request.param)
    with ContainerHouse("shop", {"poise.yaml": SPEC % "1"}, engine) as house:
        house.up()
        made = Delivery(house, engine)
        made.push("1", GOOD)
        assert made.settled(1)["state"] == "live"
        yield made


@contextmanager
def users(house: House) -> Iterator[list[int]]:
    """Some forty requests a second; gives the answers that were none or a 5xx."""
    over, failed = threading.Event(), list[int]()

    def visit() -> None:
        while not over.wait(0.05):
            try:
                status, _ = house.get("web", "/cgi-bin/work")
            except OSError:
                status = 0
            if status == 0 or status >= 500:
                failed.append(status)

    threads = [threading.Thread(target=visit) for _ in range(2)]
    for one in threads:
        one.start()
    try:
        yield failed
    finally:
        over.set()
        for one in threads:
            one.join()


@one_engine_will_do
def test_a_new_image_is_a_canary_is_promoted_and_can_be_taken_back(delivery: Delivery) -> None:
    """Not one request fails on the way there and back; what runs is a digest, whatever the tag is by now."""
    house = delivery.house
    assert house.get("web", "/cgi-bin/work") == (200, "hello")
    first = house.rollouts("web")[0]["digest"]
    with users(house) as failed:
        second = delivery.push("2", GOOD)
        assert delivery.settled(2)["state"] == "live"
        assert (house.get("web")[1], house.rollouts("web")[1]["digest"]) == ("web:2\n", second)
        house.poise("rollback", "web", "--reason", "we liked the first one")
        assert delivery.settled(3)["state"] == "live"
    assert failed == []
    assert (house.get("web")[1], house.rollouts("web")[2]["digest"]) == ("web:1\n", first)


def test_a_killed_keeper_and_control_process_fail_no_request_and_lose_no_container(
    delivery: Delivery,
) -> None:
    """Users must not notice; whoever comes next finds exactly the containers that run, each by its digest."""
    house = delivery.house
    before = {one["key"]: one["pid"] for one in house.replicas("web")}
    keeper, control = house.keeper_pid(), house.control_pid()
    assert keeper and control and before
    with users(house) as failed:
        kill_and_see(control)
        kill_and_see(keeper)
        house.up()
        until(lambda: house.keeper_pid() not in (None, keeper) and house.ready(), 30.0, "both are back")
        until(lambda: len(house.replicas("web")) == len(before), 30.0, "the keeper has adopted them")
    assert failed == []
    assert {one["key"]: one["pid"] for one in house.replicas("web")} == before
    name = {"podman": "localhost/poise-release@", "docker": ""}[delivery.engine.name]
    images = set(delivery.engine("ps", "--no-trunc", "--format", "{{.Image}}").split())
    assert images <= {name + one["digest"] for one in house.rollouts("web")}


@one_engine_will_do
def test_an_image_that_harms_ends_at_the_canary(delivery: Delivery) -> None:
    """The judgement is the same as of a process."""
    n = len(delivery.house.rollouts("web")) + 1
    with users(delivery.house):
        delivery.push("harmful", BAD)
        one = delivery.settled(n)
    assert one["state"] == "rolled_back"
    assert "canary requests failed" in one["reason"]
    assert delivery.house.get("web", "/cgi-bin/work") == (200, "hello")


@one_engine_will_do
@pytest.mark.parametrize(
    ("tag", "script", "reason"),
    [
        ("ends", "exit 7", "the last end: exit code 7"),
        ("elsewhere", "exec httpd -f -p 127.0.0.1:$((PORT - 9000)) -h /www", "run, and fail GET / on $PORT"),
        ("leaks", LEAK, "the last end: killed by the kernel: over its memory limit"),
    ],
)
def test_an_image_that_never_serves_fails_with_its_reason(
    delivery: Delivery, tag: str, script: str, reason: str
) -> None:
    """Users are served by the one before, and a person sees why without reading a log."""
    n = len(delivery.house.rollouts("web")) + 1
    delivery.push(tag, script)
    one = delivery.settled(n)
    assert one["state"] == "failed"
    assert reason in one["reason"]
    assert reason in delivery.house.poise("why", "web").stdout
    assert delivery.house.get("web", "/cgi-bin/work") == (200, "hello")


@one_engine_will_do
def test_a_tag_that_is_nowhere_ends_the_run_with_the_reason(delivery: Delivery) -> None:
    """Nothing is released of it."""
    before = len(delivery.house.rollouts("web"))
    delivery.house.write({"poise.yaml": SPEC % "nowhere"})
    delivery.house.commit("feat: an image that nobody built")
    delivery.house.push()

    def problem() -> str:
        runs = delivery.house.api("/api/v1/projects/shop/runs?limit=100")["items"]
        return str(next((run["problem"] for run in runs if "web:nowhere" in run["problem"]), ""))

    assert "neither on this machine nor to be had" in until(problem, 60.0, "the run has ended")
    assert len(delivery.house.rollouts("web")) == before


@one_engine_will_do
def test_an_image_that_was_removed_before_it_started_fails_the_rollout_and_nobody_notices(
    delivery: Delivery,
) -> None:
    """Somebody cleaned up on the machine between the release and its turn."""
    house = delivery.house
    n = len(house.rollouts("web")) + 1
    house.poise("lock", "web", "--reason", "cleaning up")
    delivery.push("removed", GOOD)

    def waits() -> bool:
        return any(one["n"] == n and "cleaning up" in one["reason"] for one in house.rollouts("web"))

    until(waits, 120.0, "the rollout waits for the lock")
    own_id = delivery.engine("inspect", "--format", "{{.Id}}", "localhost/web:removed")
    delivery.engine("rmi", "--force", own_id)
    with users(house) as failed:
        house.poise("unlock", "web")
        one = delivery.settled(n)
    assert (one["state"], failed) == ("failed", [])
    assert "exit code 125 (the engine could not start it: its log says why)" in one["reason"]
    assert one["reason"] in house.poise("status").stdout
    assert house.get("web", "/cgi-bin/work") == (200, "hello")
