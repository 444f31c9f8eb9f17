"""The client and the start of the keeper, on the real one."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from poise.adapters.keeper import KeeperClient, ensure_keeper
from poise.adapters.keeper.client import spec_hash
from poise.model.errors import Unreachable
from poise.ports.runtime import RuntimeEvent, Workload

SLEEP = Workload(key="a", argv=("sleep", "1000"))


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder whose keeper, if one was started, ends with the test."""
    folder = Path(tempfile.mkdtemp(prefix="pk-", dir="/tmp"))
    yield folder
    if (folder / "run" / "keeper.sock").exists():
        ensure_keeper(folder)
        anyio.run(end, folder)
    shutil.rmtree(folder)


async def end(folder: Path) -> None:
    async with KeeperClient(folder) as client:
        hello = await client.hello()
        await client.shutdown(hello.token, timeout_s=0)
    wait_for_end(hello.pid)


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 15
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_no_keeper_is_unreachable_with_a_mend(data: Path) -> None:
    """`poise status` says what to do instead of a traceback."""

    async def ask() -> None:
        async with KeeperClient(data, patience_s=0.05) as client:
            await client.list()

    with pytest.raises(Unreachable) as caught:
        anyio.run(ask)
    assert caught.value.code == "POISE-K102"
    assert caught.value.mend


def test_racing_starts_lead_to_one_keeper(data: Path) -> None:
    """Two shells type `poise up` at the same time."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ensure_keeper, [data] * 4))
    log = (data / "logs" / "keeper.log").read_text()
    assert log.count(" serves ") == 1


def test_a_keeper_started_by_one_process_is_not_its_child(data: Path) -> None:
    """It must outlive the control process, and its session."""
    ensure_keeper(data)

    async def pid() -> int:
        async with KeeperClient(data) as client:
            return (await client.hello()).pid

    keeper = anyio.run(pid)
    fields = Path(f"/proc/{keeper}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[1]) != os.getpid()
    assert os.getsid(keeper) != os.getsid(0)


def test_a_folder_that_cannot_be_served_says_why(data: Path) -> None:
    """A path over the socket's limit is the commonest reason."""
    deep = data / ("x" * 120)
    with pytest.raises(Unreachable) as caught:
        ensure_keeper(deep)
    assert "shorter" in caught.value.why


def test_requests_and_watches_outlive_a_kill_of_the_keeper(data: Path) -> None:
    """The control process need not notice that a keeper died and another took over."""
    ensure_keeper(data)

    async def play() -> None:
        seen: list[RuntimeEvent] = []

        async def collect() -> None:
            async with client.watch(0) as events:
                async for event in events:
                    seen.append(event)

        async with KeeperClient(data) as client, anyio.create_task_group() as group:
            group.start_soon(collect)
            before = await client.spawn(1, SLEEP)
            keeper = (await client.hello()).pid
            os.kill(keeper, signal.SIGKILL)
            await anyio.to_thread.run_sync(ensure_keeper, data)
            after = (await client.list())[0]
            assert (after.pid, after.start_time) == (before.pid, before.start_time)
            assert (await client.hello()).pid != keeper
            await client.stop(1, "a", timeout_s=0)
            with anyio.fail_after(15):
                while not seen or seen[-1].kind != "stopped":
                    await anyio.sleep(0.005)
            group.cancel_scope.cancel()
        assert [event.kind for event in seen] == ["spawned", "exited", "stopped"]

    anyio.run(play)


def test_an_upgrade_is_not_felt_by_the_client(data: Path) -> None:
    """Same pid, same workloads, another image."""
    ensure_keeper(data)

    async def play() -> None:
        async with KeeperClient(data) as client:
            before = await client.spawn(1, SLEEP)
            keeper = (await client.hello()).pid
            await client.upgrade(1)
            assert (await client.list())[0].pid == before.pid
            assert (await client.hello()).pid == keeper

    anyio.run(play)


def test_a_cancelled_request_does_not_mix_up_the_next_answer(data: Path) -> None:
    """An answer left in the socket would be taken for another question's."""
    ensure_keeper(data)

    async def play() -> None:
        async with KeeperClient(data) as client:
            for _ in range(20):
                with anyio.move_on_after(0):
                    await client.list()
                assert (await client.hello()).version == 1

    anyio.run(play)


def test_equal_content_has_an_equal_hash() -> None:
    """The hash decides between adopting and refusing."""
    one = Workload(key="a", argv=("x",), env={"A": "1", "B": "2"})
    other = Workload(key="a", argv=("x",), env={"B": "2", "A": "1"})
    assert spec_hash(one) == spec_hash(other)
    assert spec_hash(one) != spec_hash(Workload(key="a", argv=("x",), env={"A": "1", "B": "3"}))
