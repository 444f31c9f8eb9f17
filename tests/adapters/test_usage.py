"""CPU and memory of an exact process and its children."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from poise.adapters.keeper.proc import start_ticks
from poise.adapters.memory import MemoryStore
from poise.adapters.usage import UsageSampler, usage
from poise.model.fleet import Identity, Replica
from poise.model.record import Write
from poise.model.signal import REPLICA_CPU_TOTAL, REPLICA_MEMORY
from poise.ports.store import Transaction

PARENT = """
import subprocess, sys
holds = "x = bytearray(80_000_000); print(flush=True); input()"
child = subprocess.Popen([sys.executable, "-c", holds], stdin=0)
child.wait()
"""


def me() -> Identity:
    begun = start_ticks(os.getpid())
    assert begun is not None
    return Identity(pid=os.getpid(), start_ticks=begun)


def test_cpu_grows_with_work_and_memory_is_there() -> None:
    before = usage(me())
    assert before is not None and before[1] > 1_000_000
    deadline = time.monotonic() + 20
    while (after := usage(me())) is not None and after[0] < before[0] + 0.05:
        assert time.monotonic() < deadline, "a tenth of a second of work must show"
        sum(range(100_000))


def test_a_pid_that_is_anothers_now_uses_nothing() -> None:
    """The start time tells it from a process that was given the same pid later."""
    assert usage(Identity(pid=os.getpid(), start_ticks=me().start_ticks + 1)) is None
    assert usage(Identity(pid=2**22 + 5, start_ticks=1)) is None


def test_the_children_of_a_replica_are_part_of_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline(), "the child holds its memory"
        begun = start_ticks(process.pid)
        assert begun is not None
        used = usage(Identity(pid=process.pid, start_ticks=begun))
        process.communicate(b"\n")
    assert used is not None and used[1] > 80_000_000


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(0)


@pytest.mark.parametrize(("after_s", "fresh"), [(1, False), (5, True)])
def test_every_replica_that_runs_is_sampled_on_its_own_beat(after_s: int, fresh: bool) -> None:
    async def work() -> None:
        store, clock = MemoryStore(), Clock()
        sampler = UsageSampler(store, clock)
        assert await sampler.samples() == ()
        running = Replica(service="acme/production/shop", rollout=2, index=1, identity=me())
        ended = Replica(service="acme/production/shop", rollout=2, index=0)
        writes = tuple(Write(kind="Replica", key=one.key, body=one) for one in (running, ended))
        await store.commit(Transaction(at=clock.at, writes=writes))
        clock.at += timedelta(seconds=after_s)
        found = await sampler.samples()
        names = [one.series.name for one in found]
        assert names == ([REPLICA_CPU_TOTAL, REPLICA_MEMORY] if fresh else [])
        labels = (("index", "1"), ("rollout", "2"), ("service", "acme/production/shop"))
        assert all(one.series.labels == labels for one in found)

    anyio.run(work)
