"""Fleet on its real parts: keeper, bubblewrap, Envoy, processes; the store is in memory."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import pytest
from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.envoy.adapter import EnvoyTraffic
from poise.adapters.envoy.config import endpoint_file
from poise.adapters.envoy.launch import ensure_envoy
from poise.adapters.keeper import KeeperClient, ensure_keeper
from poise.adapters.memory import MemoryStore
from poise.adapters.probe import LoopbackProbe, connections, fixed_port, stopped
from poise.engine.loop import Loop
from poise.fleet.controller import FleetController
from poise.fleet.deeds import RestartPerformer, SpawnPerformer, StopPerformer, TrafficPerformer
from poise.fleet.prober import Prober
from poise.model.acts import ApplyTraffic, RestartReplica, SpawnReplica, StopReplica
from poise.model.balance import Verdict, VerdictKind, verdict_key
from poise.model.delivery import Ask, ChangeClass, Order, Rollout, RolloutState, Verb
from poise.model.fleet import Replica, Route
from poise.model.record import Write
from poise.model.service import Health, Project, Service, Strategy
from poise.ports.store import Transaction
from poise.reliability.healing.controller import HealingController

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]

APP = """
import http.server, os, re, signal
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # an answer leaves whole or not at all
    def log_message(self, *_): pass
    def do_GET(self):
        if self.path == "/spin":
            re.match("(a+)+$", "a" * 64 + "b")  # holds the interpreter for good
        body = (os.environ["POISE_ROLLOUT"] + " " + os.environ["POISE_REPLICA"]).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server.serve_forever()
"""
SERVICE = Service(
    project="acme",
    environment="production",
    name="shop",
    command="exec python3 -I -S app.py",
    port=8080,
    health=Health(path="/health"),
    strategy=Strategy(drain_s=5.0),
)
KEY = SERVICE.key
PortFor = Callable[[str, Collection[int]], int | None]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class Folder:
    """One release for every digest."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pack(self, workspace: Path, path: str) -> str:
        raise NotImplementedError

    def open(self, digest: str) -> Path:
        return self.path

    def measure(self, digest: str) -> str:
        return digest


class Place:
    """A running fleet and how to reach it."""

    def __init__(self, data: Path, port_for: PortFor = fixed_port) -> None:
        self.data, self.port_for = data, port_for
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.ingress = int(found.getsockname()[1])
        self.store = MemoryStore()
        self.runtime = KeeperClient(data)
        self.traffic = EnvoyTraffic(data)

    def loop(self) -> tuple[Loop, Prober, FleetController]:
        woken: list[Callable[[str], None]] = []
        prober = Prober(LoopbackProbe(), stopped, lambda service: woken[0](service))
        fleet = FleetController(self.store, self.runtime, self.traffic, prober, self.port_for)
        release = self.data / "releases" / "one"
        loop = Loop(
            self.store,
            Clock(),
            [fleet, HealingController(self.store)],
            {
                SpawnReplica: SpawnPerformer(self.store, self.runtime, Folder(release), self.data),
                StopReplica: StopPerformer(self.runtime, self.traffic, connections),
                RestartReplica: RestartPerformer(self.runtime, self.traffic, connections),
                ApplyTraffic: TrafficPerformer(
                    self.store,
                    self.runtime,
                    self.traffic,
                    self.ingress,
                    partial(endpoint_file, self.data / "envoy"),
                ),
            },
            "test",
        )
        woken.append(lambda service: loop.wake("fleet", service))
        return loop, prober, fleet

    async def put(self, *bodies: Struct) -> None:
        writes = [Write(kind=type(b).__name__, key=key_of(b), body=b) for b in bodies]
        await self.store.commit(Transaction(at=datetime.now(UTC), writes=writes))

    async def rise(
        self, rollout: Rollout, weight: int, step: int, state: RolloutState, *, age_s: float = 0.0
    ) -> Rollout:
        """What rollout and gate write for one step; the verdict is ``age_s`` old."""
        now = datetime.now(UTC)
        ask = Ask(n=step, step=step, digest=rollout.digest, weight_percent=weight, at=now)
        risen = replace(rollout, weight_percent=weight, step=step, ask=ask, state=state)
        verdict = Verdict(
            kind=VerdictKind.GO, service=KEY, digest=rollout.digest, step=step, weight_percent=weight,
            max_weight_percent=weight, change_class=ChangeClass.FEATURE, bake_factor=1.0, steps_percent=(),
            reasons=(), until=None, at=now - timedelta(seconds=age_s),
        )  # fmt: skip
        write = Write(kind="Verdict", key=verdict_key(rollout.key, step), body=verdict)
        await self.store.commit(Transaction(at=now, writes=[write]))
        await self.put(risen)
        return risen

    async def route(self) -> Route:
        found, _ = await self.store.get(Route, KEY)
        return found or Route(service=KEY)

    async def replicas(self) -> list[Replica]:
        return (await self.store.scan(Replica, f"{KEY}/"))[0]

    async def until(self, holds: Callable[[], object], within_s: float = 60.0) -> None:
        """Wait until an async predicate holds, or fail with all that is known."""
        with anyio.move_on_after(within_s):
            while not await holds():  # type: ignore[misc]
                await anyio.sleep(0.02)
            return
        route = await self.route()
        asked = await self.store.intent(f"traffic/{KEY}/{route.version}")
        paths = [self.data / name for name in ("logs/keeper.log", "envoy/envoy.log")]
        logs = [path.read_text()[-1000:] for path in paths if path.exists()]
        known = [route, await self.replicas(), asked, await self.traffic.observe(), *logs]
        raise AssertionError("\n".join(str(one) for one in known))

    async def acked(self, weights: dict[int, int]) -> bool:
        return (await self.route()).acked == weights

    async def all_ready(self, count: int) -> bool:
        found = await self.replicas()
        return len(found) == count and all(replica.ready for replica in found)


def key_of(body: Struct) -> str:
    return body.name if isinstance(body, Project) else body.key  # type: ignore[attr-defined, no-any-return]


def rollout(n: int) -> Rollout:
    return Rollout(
        project="acme", environment="production", service="shop", n=n, release=n, digest=f"sha256:{n}",
        revision=str(n), commit="c", summary="s", change_class=ChangeClass.FEATURE, spec=SERVICE,
        state=RolloutState.STARTING, replicas=2 if n == 1 else 1, created_at=datetime.now(UTC),
    )  # fmt: skip


@asynccontextmanager
async def running(port_for: PortFor = fixed_port) -> AsyncIterator[Place]:
    data = Path(tempfile.mkdtemp(prefix="poise-fleet-"))  # short: a socket's path is limited
    (data / "releases" / "one").mkdir(parents=True)
    (data / "releases" / "one" / "app.py").write_text(APP)
    ensure_keeper(data)
    place = Place(data, port_for)
    try:
        async with place.runtime, anyio.create_task_group() as group:
            loop, prober, fleet = place.loop()
            await ensure_envoy(data, place.runtime, 1, place.ingress)
            group.start_soon(prober.run)
            group.start_soon(loop.run)
            group.start_soon(fleet.follow, lambda service: loop.wake("fleet", service))
            await place.put(Project(name="acme"), SERVICE)
            try:
                yield place
            finally:
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await place.runtime.shutdown(1 << 40, 0.0)
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def load(port: int) -> Iterator[list[tuple[int, str]]]:
    """GET requests one after another until the block ends; what each got."""
    got: list[tuple[int, str]] = []
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/", headers={"Host": "shop.localhost"})
                answer = connection.getresponse()
                got.append((answer.status, answer.read().decode()))
            except (OSError, http.client.HTTPException) as error:
                got.append((0, str(error)))
            finally:
                connection.close()
            time.sleep(0.005)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield got
    finally:
        done.set()
        for thread in threads:
            thread.join()


async def first_light(place: Place) -> Rollout:
    one = await place.rise(rollout(1), 100, 1, RolloutState.PROMOTING)
    await place.until(lambda: place.acked({1: 100}))
    one = replace(one, state=RolloutState.LIVE)
    await place.put(one)
    await place.until(lambda: place.all_ready(2))
    return one


async def test_a_release_is_served_promoted_and_the_old_one_drained_without_a_failed_request() -> None:
    """The whole of fleet's work, on what a user has."""
    async with running() as place:
        one = await first_light(place)
        with load(place.ingress) as got:
            two = replace(rollout(2), state=RolloutState.STARTING)
            await place.put(two)
            two = await place.rise(two, 50, 1, RolloutState.STEPPING)
            await place.until(lambda: place.acked({1: 50, 2: 50}))
            two = await place.rise(replace(two, replicas=2), 100, 2, RolloutState.PROMOTING)
            await place.until(lambda: place.acked({2: 100}))
            await place.put(
                replace(two, state=RolloutState.LIVE),
                replace(one, state=RolloutState.RETIRED, weight_percent=0),
            )

            async def only_two() -> bool:
                return {replica.rollout for replica in await place.replicas()} == {2}

            await place.until(only_two)
        assert {status for status, _ in got} == {200}, [bad for bad in got if bad[0] != 200][:3]
        assert {body[0] for _, body in got} == {"1", "2"}


async def test_a_raise_without_a_fresh_verdict_is_dropped() -> None:
    """The last look before traffic moves is at the actuator."""
    async with running() as place:
        await first_light(place)
        await place.rise(rollout(2), 5, 1, RolloutState.STEPPING, age_s=60.0)

        async def dropped() -> bool:
            route = await place.route()
            stored = await place.store.intent(f"traffic/{KEY}/{route.version}")
            return route.weights == {1: 95, 2: 5} and stored is not None and stored.state == "dropped"

        await place.until(dropped)
        assert (await place.route()).acked == {1: 100}


async def test_a_killed_replica_is_known_anew_and_a_restart_replaces_all_without_a_failed_request() -> None:
    """The reflex is the keeper's, a person's restart is gentle; users notice neither."""
    async with running() as place:
        await first_light(place)
        with load(place.ingress) as got:
            victim = (await place.replicas())[0]
            assert victim.identity is not None
            os.kill(victim.identity.pid, signal.SIGKILL)

            async def back() -> bool:
                now = (await place.replicas())[0]
                return now.identity not in (None, victim.identity) and now.ready

            await place.until(back, within_s=5.0)
            before = {replica.key: replica.identity for replica in await place.replicas()}
            asked = datetime.now(UTC)
            await place.put(Order(service=KEY, n=1, verb=Verb.RESTART, by="ann", reason="why", at=asked))

            async def all_new() -> bool:
                found = await place.replicas()
                return all(r.ready and r.identity != before[r.key] for r in found)

            await place.until(all_new)
        assert {status for status, _ in got} == {200}, [bad for bad in got if bad[0] != 200][:3]
        assert all(process.in_rotation for process in await place.runtime.list())


@pytest.mark.parametrize("how", ["stop", "spin"])
async def test_a_hanging_replica_is_serving_again_within_five_seconds(how: str) -> None:
    """Nobody notices a stopped process but its users."""
    async with running() as place:
        await first_light(place)
        victim = (await place.replicas())[0]
        assert victim.identity is not None
        with load(place.ingress) as got:
            if how == "stop":
                os.kill(victim.identity.pid, signal.SIGSTOP)
            else:
                assert victim.port is not None
                with socket.create_connection(("127.0.0.1", victim.port)) as spin:
                    spin.sendall(b"GET /spin HTTP/1.1\r\nHost: x\r\n\r\n")
            began = time.monotonic()

            async def healed() -> bool:
                now = (await place.replicas())[0]
                return now.identity != victim.identity and now.ready

            await place.until(healed)
            took_s = time.monotonic() - began
        print(f"{how}: {took_s:.2f} s")
        assert took_s < 5.0
        assert {status for status, _ in got} == {200}, [bad for bad in got if bad[0] != 200][:3]


async def test_a_killed_envoy_serves_again_with_the_same_split() -> None:
    """It reads the files that fleet and the keeper wrote."""
    async with running() as place:
        await first_light(place)
        envoy = next(p for p in await place.runtime.list() if p.key == "envoy")
        assert envoy.pid is not None
        os.kill(envoy.pid, signal.SIGKILL)

        async def serves() -> bool:
            seen = await place.traffic.observe()
            return seen is not None and seen.version > 0 and seen.healthy.get(f"{KEY}.1") == 2

        await place.until(serves)
        with load(place.ingress) as got:
            await anyio.sleep(0.2)
        assert {status for status, _ in got} == {200}
