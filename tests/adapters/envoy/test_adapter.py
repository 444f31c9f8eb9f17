"""The Traffic port on a real Envoy: order, acknowledgement, refusal, counters, restarts."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import pytest

from poise.adapters.envoy import adapter as module
from poise.adapters.envoy.adapter import EnvoyTraffic
from poise.model import signal
from poise.model.errors import Conflict, TimedOut
from poise.model.signal import Batch
from poise.ports.traffic import Cluster

from .conftest import SERVICE, Machine, free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def get(port: int, path: str = "/", host: str = "shop.localhost", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@contextmanager
def load(port: int) -> Iterator[list[tuple[int, str]]]:
    """Requests one after another until the block ends; what each got."""
    got: list[tuple[int, str]] = []
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            try:
                got.append(get(port))
            except OSError as error:
                got.append((0, str(error)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield got
    done.set()
    for thread in threads:
        thread.join()


def total(batch: Batch, name: str, **labels: str) -> float:
    return sum(
        s.value
        for s in batch.samples
        if s.series.name == name and set(labels.items()) <= set(s.series.labels)
    )


async def test_weights_move_under_load_without_a_failed_request(
    machine: Machine, serve: Callable[[str], int]
) -> None:
    """A step of a canary must never cost a user anything."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, serve("one"))
    await traffic.apply(machine.plan(1, {1: 100}, (1,)))
    with load(machine.ingress) as got:
        machine.endpoints(2, serve("two"))
        for version, canary in enumerate((5, 50, 100), start=2):
            weights = {1: 100 - canary, 2: canary}
            await traffic.apply(machine.plan(version, {n: w for n, w in weights.items() if w}, (1, 2)))
            await anyio.sleep(0.1)
        await traffic.apply(machine.plan(9, {2: 100}, (2,)))
        seen = await traffic.observe()
        after = len(got)
        while len(got) < after + 20:
            await anyio.sleep(0.01)
    assert seen is not None and seen.version == 9
    assert {status for status, _ in got} == {200}
    assert {body for _, body in got[after + 4 :]} == {"two"}


async def test_a_removed_cluster_keeps_its_last_reading(
    machine: Machine, serve: Callable[[str], int]
) -> None:
    """Removing a cluster resets its counters; the budget must still see its last requests."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, serve("one"))
    machine.endpoints(2, serve("two"))
    await traffic.apply(machine.plan(1, {1: 100}, (1,)))
    for path in ("/", "/", "/bad"):
        get(machine.ingress, path)
    await traffic.apply(machine.plan(2, {2: 100}, (2,)))
    with anyio.fail_after(10):
        while f"{SERVICE}.1" in (machine.data / "envoy" / "cds.json").read_text():
            batch = await traffic.read()
            await anyio.sleep(0.02)
        seen = await traffic.observe()
        while seen is None or f"{SERVICE}.1" in seen.healthy:
            seen = await traffic.observe()
    batch = await traffic.read()
    assert batch is not None
    assert total(batch, signal.TRIALS_TOTAL, rollout="1") == 3
    assert total(batch, signal.FAILURES_TOTAL, rollout="1") == 1
    assert total(batch, signal.REQUESTS_TOTAL, service=SERVICE) == 3
    assert total(batch, signal.ERRORS_TOTAL, service=SERVICE) == 1
    assert seen.version == 2


async def test_a_refused_plan_keeps_the_old_one_serving_and_says_why(
    machine: Machine, serve: Callable[[str], int]
) -> None:
    """An unknown cluster in a route would be a 503 for everyone."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, serve("one"))
    good = machine.plan(1, {1: 100}, (1,))
    await traffic.apply(good)
    taken = machine.plan(2, {1: 100}, (1,))
    bad = type(taken)(
        version=2,
        ingress_port=machine.ingress,
        hosts=(
            *taken.hosts,
            type(taken.hosts[0])(
                service="acme/production/other",
                hostnames=("shop.localhost",),
                port=free_port(),
                weights=((f"{SERVICE}.1", 100),),
                clusters=(Cluster(name=f"{SERVICE}.1"),),
            ),
        ),
    )
    with pytest.raises(Conflict) as refused:
        await traffic.apply(bad)
    assert "shop.localhost" in refused.value.why
    assert get(machine.ingress) == (200, "one")
    machine.restart()
    with anyio.fail_after(10):
        while (seen := await traffic.observe()) is None or seen.version != 1:
            await anyio.sleep(0.02)
    await traffic.apply(machine.plan(3, {1: 100}, (1,)))
    assert get(machine.ingress) == (200, "one")


async def test_a_killed_envoy_reads_the_same_files_and_counts_in_a_new_epoch(
    machine: Machine, serve: Callable[[str], int]
) -> None:
    """Counters restart with the process: the epoch says so, or a delta would be negative."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, serve("one"))
    await traffic.apply(machine.plan(4, {1: 100}, (1,)))
    before = await traffic.read()
    machine.restart()
    with anyio.fail_after(10):
        while (seen := await traffic.observe()) is None or seen.version != 4:
            await anyio.sleep(0.02)
    assert before is not None and seen.epoch != before.epoch
    assert get(machine.port, host=f"127.0.0.1:{machine.port}") == (200, "one")


async def test_a_service_with_nothing_live_says_so(machine: Machine) -> None:
    """A blank 404 would send people looking in the wrong place."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1)
    await traffic.apply(machine.plan(1, {}, (1,)))
    status, body = get(machine.ingress)
    assert status == 503 and "nothing of acme/production/shop is live yet" in body


async def test_no_weight_goes_to_a_cluster_without_a_healthy_member(
    machine: Machine, serve: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Envoy would acknowledge such a route and answer 503."""
    monkeypatch.setattr(module, "ACK_TIMEOUT_S", 0.5)
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, serve("one"))
    with anyio.fail_after(10):
        while await traffic.observe() is None:
            await anyio.sleep(0.02)
    await traffic.apply(machine.plan(1, {1: 100}, (1,)))
    machine.endpoints(2)
    with pytest.raises(TimedOut, match="healthy members"):
        await traffic.apply(machine.plan(2, {2: 100}, (1, 2)))
    assert get(machine.ingress) == (200, "one")


async def test_latency_buckets_are_cumulative_with_our_bounds(
    machine: Machine, serve: Callable[[str], int]
) -> None:
    """A latency objective counts events at or under a bound."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, serve("one"))
    await traffic.apply(machine.plan(1, {1: 100}, (1,)))
    for _ in range(5):
        get(machine.ingress)
    deadline = time.monotonic() + 10
    while True:
        batch = await traffic.read()
        assert batch is not None and time.monotonic() < deadline
        if total(batch, signal.LATENCY_BUCKET, service=SERVICE, le="5000") == 5:
            break
        await anyio.sleep(0.05)
    bounds = [dict(s.series.labels)["le"] for s in batch.samples if s.series.name == signal.LATENCY_BUCKET]
    assert bounds == ["5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "+Inf"]
    assert total(batch, signal.IN_FLIGHT, rollout="1") == 0


async def test_who_leaves_before_the_end_is_not_slow_and_who_waits_in_vain_is(
    machine: Machine, serve: Callable[[str], int]
) -> None:
    """A closed tab costs no latency budget; a request that Envoy gives up is the slowest there is."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, serve("one"))
    await traffic.apply(machine.plan(1, {1: 100}, (1,), timeout_s=0.3))
    assert get(machine.ingress) == (200, "one")
    assert get(machine.ingress, "/never", method="POST")[0] == 504
    with socket.create_connection(("127.0.0.1", machine.ingress)) as left:
        left.sendall(b"GET /late HTTP/1.1\r\nhost: shop.localhost\r\n\r\n")
        assert left.recv(12) == b"HTTP/1.1 200"
    deadline = time.monotonic() + 20
    while True:
        batch = await traffic.read()
        assert batch is not None and time.monotonic() < deadline
        slow = total(batch, signal.LATENCY_BUCKET, le="+Inf") - total(batch, signal.LATENCY_BUCKET, le="5000")
        if (total(batch, signal.REQUESTS_TOTAL), total(batch, signal.LATENCY_BUCKET, le="5000")) == (3, 1):
            break
        await anyio.sleep(0.05)
    assert slow == 1
    assert total(batch, signal.ROLLOUT_LATENCY_BUCKET, rollout="1", le="+Inf") == 2


async def test_envoy_down_is_a_value(machine: Machine) -> None:
    """Fail static: nobody raises because a reading is missing."""
    machine.process.kill()
    machine.process.wait()
    traffic = EnvoyTraffic(machine.data)
    assert await traffic.observe() is None
    assert await traffic.read() is None
    assert await traffic.members() is None


async def test_the_admin_socket_is_the_owners_alone(machine: Machine) -> None:
    """The admin can stop Envoy."""
    traffic = EnvoyTraffic(machine.data)
    with anyio.fail_after(10):
        while await traffic.observe() is None:
            await anyio.sleep(0.02)
    assert (machine.data / "envoy" / "admin.sock").stat().st_mode & 0o777 == 0o600


async def test_a_port_is_a_member_until_envoy_has_taken_up_the_file_without_it(
    machine: Machine, serve: Callable[[str], int]
) -> None:
    """A drain that trusts the file alone stops a process that Envoy still sends requests to."""
    traffic = EnvoyTraffic(machine.data)
    stays, goes = serve("one"), serve("two")
    machine.endpoints(1, stays, goes)
    await traffic.apply(machine.plan(1, {1: 100}, (1,)))
    assert await traffic.members() == {stays, goes}
    machine.endpoints(1, stays)
    with anyio.fail_after(10):
        while await traffic.members() != {stays}:
            await anyio.sleep(0.02)
