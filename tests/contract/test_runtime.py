"""The runtime port's contract, on every adapter.

Processes and containers are two kinds of workload of one keeper, and every claim holds for both. Another
adapter joins by a branch in `kind`: it must run servers on $PORT (or play them), and end what it started.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from poise.adapters.keeper import KeeperClient, ensure_keeper
from poise.model.errors import Conflict, Invalid, NotFound
from poise.ports.runtime import Container, EndpointTemplate, Process, Runtime, RuntimeEvent, Sandbox, Workload

pytestmark = pytest.mark.anyio
Seen = TypeVar("Seen")

SERVER = """
import os, socket
s = socket.socket(); s.bind(("127.0.0.1", int(os.environ["PORT"]))); s.listen(64)
while True:
    c, _ = s.accept(); c.close()
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def keeper() -> AsyncIterator[Runtime]:
    data = Path(tempfile.mkdtemp(prefix="pk-", dir="/tmp"))
    ensure_keeper(data)
    async with KeeperClient(data) as client:
        pid = (await client.hello()).pid
        try:
            yield client
        finally:
            await client.shutdown((await client.hello()).token, timeout_s=0)
            await until(lambda: gone(pid))
    shutil.rmtree(data)


@pytest.fixture(params=["process", "podman", "docker"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kind:
    if request.param == "process":
        return Kind(image="")
    engine = request.getfixturevalue(request.param)
    monkeypatch.setenv("POISE_CONTAINER_ENGINE", engine.name)
    return Kind(image=engine.httpd())


@pytest.fixture
async def runtime(kind: Kind) -> AsyncIterator[Runtime]:
    async with keeper() as runtime:  # the engine is the keeper's too, so it comes first
        yield runtime


@dataclass(frozen=True)
class Kind:
    """What servers and steps are made of: processes, or containers of ``image``."""

    image: str

    def server(self, key: str = "a", cluster: str | None = None) -> Workload:
        if self.image:
            box = Container(image=self.image)
            return Workload(key=key, argv=(), container=box, port="fresh", cluster=cluster)
        argv = (sys.executable, "-I", "-S", "-c", SERVER)
        return Workload(key=key, argv=argv, port="fresh", cluster=cluster)

    def step(self, key: str, script: str) -> Workload:
        box = Container(image=self.image) if self.image else None
        return Workload(key=key, argv=("/bin/sh", "-c", script), container=box, restart="never")


async def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def until(claim: Callable[[], Awaitable[Seen | None]], within_s: float = 15.0) -> Seen:
    with anyio.fail_after(within_s):
        while not (seen := await claim()):
            await anyio.sleep(0.005)
        return seen


async def find(runtime: Runtime, key: str) -> Process | None:
    return next((process for process in await runtime.list() if process.key == key), None)


async def serving(runtime: Runtime, key: str, not_pid: int | None = None) -> Process:
    async def claim() -> Process | None:
        process = await find(runtime, key)
        return process if process and process.connects and process.pid not in (None, not_pid) else None

    return await until(claim)


async def test_a_spawned_workload_serves_on_its_port(runtime: Runtime, kind: Kind) -> None:
    """The port is in $PORT, and `connects` means that it accepts."""
    await runtime.spawn(1, kind.server())
    process = await serving(runtime, "a")
    assert process.state == "running"
    assert process.port is not None
    async with await anyio.connect_tcp("127.0.0.1", process.port):
        pass


async def test_the_same_key_and_content_is_adopted_and_other_content_refused(
    runtime: Runtime, kind: Kind
) -> None:
    """Intents come at least once."""
    await runtime.spawn(1, kind.server())
    process = await serving(runtime, "a")
    again = await runtime.spawn(1, kind.server())
    assert (again.pid, again.start_time) == (process.pid, process.start_time)
    with pytest.raises(Conflict):
        await runtime.spawn(1, kind.step("a", "true"))
    assert len(await runtime.list()) == 1


async def test_a_lower_token_changes_nothing(runtime: Runtime, kind: Kind) -> None:
    """Only the newest leader acts."""
    await runtime.spawn(5, kind.server())
    with pytest.raises(Conflict):
        await runtime.stop(4, "a")
    with pytest.raises(Conflict):
        await runtime.spawn(4, kind.server("b"))
    assert [process.key for process in await runtime.list()] == ["a"]
    assert (await runtime.hello()).token == 5


async def test_a_restart_hits_exactly_its_victim(runtime: Runtime, kind: Kind) -> None:
    """Told twice, it must not hit the successor."""
    await runtime.spawn(1, kind.server())
    first = await serving(runtime, "a")
    assert first.pid and first.start_time
    assert not await runtime.restart(1, "a", first.pid, first.start_time + 1, kill_now=True)
    assert await runtime.restart(1, "a", first.pid, first.start_time, kill_now=True, reason="hung")
    second = await serving(runtime, "a", not_pid=first.pid)
    assert second.port != first.port
    assert not await runtime.restart(1, "a", first.pid, first.start_time, kill_now=True)


async def test_a_stop_forgets_the_key_and_may_be_repeated(runtime: Runtime, kind: Kind) -> None:
    """Level-triggered: stopping what is not there is done already."""
    await runtime.spawn(1, kind.server())
    await serving(runtime, "a")
    await runtime.stop(1, "a", timeout_s=5, reason="test")

    async def absent() -> bool:
        return await find(runtime, "a") is None

    await until(absent)
    assert await runtime.stop(1, "a") is None


async def test_a_step_runs_once_and_its_code_is_kept(runtime: Runtime, kind: Kind) -> None:
    """Listed until it is stopped, so that nobody misses the result."""
    await runtime.spawn(1, kind.step("s", "exit 3"))

    async def exited() -> bool:
        process = await find(runtime, "s")
        return process is not None and process.state == "exited"

    await until(exited)
    again = await runtime.spawn(1, kind.step("s", "exit 3"))
    assert again.state == "exited"
    assert again.last_exit and again.last_exit.code == 3


async def test_endpoints_hold_the_ports_that_serve(runtime: Runtime, kind: Kind, tmp_path: Path) -> None:
    """In once it accepts, out when held, back when let, out when stopped."""
    template = {"shop.1": EndpointTemplate(path=str(tmp_path / "shop.1.json"), version=3)}
    await runtime.template(1, template)
    await runtime.spawn(1, kind.server(cluster="shop.1"))
    port = (await serving(runtime, "a")).port

    async def ports() -> tuple[int, ...]:
        return (await runtime.endpoints())["shop.1"].ports

    assert await ports() == (port,)
    version = (await runtime.endpoints())["shop.1"].version_info
    assert not (await runtime.hold(1, "a", False)).in_rotation
    assert await ports() == ()
    assert (await runtime.endpoints())["shop.1"].version_info != version
    await runtime.hold(1, "a", True)
    assert await ports() == (port,)
    await runtime.stop(1, "a", timeout_s=5)
    assert await ports() == ()
    assert await runtime.template(1, {}) == {}


async def test_a_key_nobody_knows_is_not_found(runtime: Runtime, kind: Kind) -> None:
    """Holding nothing is a caller's mistake, unlike stopping nothing."""
    with pytest.raises(NotFound):
        await runtime.hold(1, "nobody", False)


async def test_what_cannot_run_is_refused_before_it_starts(runtime: Runtime, kind: Kind) -> None:
    """A port nobody could reach is a mistake in the request."""
    with pytest.raises(Invalid):
        await runtime.spawn(
            1, Workload(key="a", argv=("true",), port="fresh", sandbox=Sandbox(network=False))
        )
    assert not await runtime.list()


async def test_watch_gives_past_and_coming_events_in_order(runtime: Runtime, kind: Kind) -> None:
    """What was missed comes first; then live; numbers ascend."""
    await runtime.spawn(1, kind.server())
    first = await serving(runtime, "a")
    seen: list[RuntimeEvent] = []
    with anyio.fail_after(15):
        async with runtime.watch(0) as events:
            async for event in events:
                seen.append(event)
                if event.kind == "connected" and len(seen) < 4:
                    assert first.pid
                    os.kill(first.pid, signal.SIGKILL)
                elif event.kind == "connected":
                    break
    assert [event.kind for event in seen] == ["spawned", "connected", "exited", "restarted", "connected"]
    assert [event.seq for event in seen] == sorted({event.seq for event in seen})
    assert seen[2].exit and seen[2].exit.signal == signal.SIGKILL
    with anyio.fail_after(15):
        async with runtime.watch(seen[-2].seq) as events:
            assert (await anext(events)).seq == seen[-1].seq
