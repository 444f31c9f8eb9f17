"""A query's failure is its own: what takes too long, too much or never ends leaves the next one unharmed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from poise.adapters.worker.pool import QueryWorker
from poise.adapters.worker.wire import Describe, Find, Query, QueryRange
from poise.model.errors import Invalid, PoiseError, TimedOut, TooLarge, Unreachable
from poise.model.samples import Limits

READER = """
import time
import numpy as np
from poise.adapters.memory_samples import MemorySamples
from poise.model.samples import Metadata, MetricKind


class Reader(MemorySamples):
    def __init__(self, path):
        super().__init__()
        for i in range(50):
            labels = (("__name__", "up"), ("i", str(i)), ("job", "shop"))
            self.add(labels, [(at * 1000, float(i)) for at in range(0, 601, 15)])

    def select(self, matchers, start_ms, end_ms, *, before=False):
        match matchers[0].value:
            case "hangs":
                while True:
                    time.sleep(0.01)
            case "deaf":
                import signal
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGALRM})
                while True:
                    time.sleep(0.01)
            case "huge":
                kept = [np.ones(1 << 24) for _ in range(1000)]
            case "crashes":
                import os
                os.abort()
            case "wrong":
                raise KeyError("oops")
        return super().select(matchers, start_ms, end_ms, before=before)

    def series(self, selectors, start_ms, end_ms):
        return sorted(self._series)

    def label_names(self, selectors, start_ms, end_ms):
        return ["__name__", "i", "job"]

    def label_values(self, label, selectors, start_ms, end_ms):
        return sorted({dict(one)[label] for one in self._series})

    def metadata(self, name=""):
        return [Metadata(name="up", kind=MetricKind.GAUGE, help="whether")]

    def close(self):
        pass
"""
AT_MS = 600_000
Scene = Callable[[QueryWorker], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., None]]:
    (tmp_path / "reader_of_tests.py").write_text(READER)

    def run(scene: Scene, **how: Any) -> None:
        async def main() -> None:
            worker = QueryWorker(
                tmp_path / "metrics.db", reader="reader_of_tests:Reader",
                environment={"PYTHONPATH": str(tmp_path)}, **{"workers": 1, **how},
            )  # fmt: skip
            try:
                await scene(worker)
            finally:
                await worker.close()

        asyncio.run(main())

    yield run


async def asked(worker: QueryWorker, expression: str, seconds: float = 20.0, **how: Any) -> Any:
    return msgspec.json.decode(
        await whole(worker.ask("query", Query(expression=expression, at_ms=AT_MS, **how), seconds))
    )


async def whole(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def test_an_answer_is_prometheus_json(run: Callable[..., None]) -> None:
    async def scene(worker: QueryWorker) -> None:
        found = await asked(worker, "sum by (job) (up)", cost=True)
        assert found["status"] == "success"
        assert found["data"]["result"] == [{"metric": {"job": "shop"}, "value": [600, "1225"]}]
        assert found["data"]["stats"]["samples"]["totalQueryableSamples"] >= 50
        grid = QueryRange(expression="up{i='7'} / 2", start_ms=0, end_ms=30_000, step_ms=15_000)
        ranged = msgspec.json.decode(await whole(worker.ask("query_range", grid)))
        metric = {"i": "7", "job": "shop"}
        assert ranged["data"] == {
            "resultType": "matrix",
            "result": [{"metric": metric, "values": [[0, "3.5"], [15, "3.5"], [30, "3.5"]]}],
        }

    run(scene)


def test_series_labels_and_metadata_are_asked_of_the_same_process(run: Callable[..., None]) -> None:
    async def scene(worker: QueryWorker) -> None:
        span = {"start_ms": 0, "end_ms": AT_MS}
        series = msgspec.json.decode(
            await whole(worker.ask("series", Find(selectors=("up",), items=2, **span)))
        )
        assert len(series["data"]) == 2
        assert series["warnings"] == ["results truncated due to limit"]
        names = msgspec.json.decode(await whole(worker.ask("label_names", Find(**span))))
        assert names["data"] == ["__name__", "i", "job"]
        values = msgspec.json.decode(await whole(worker.ask("label_values", Find(label="job", **span))))
        assert values["data"] == ["shop"]
        told = msgspec.json.decode(await whole(worker.ask("metadata", Describe())))
        assert told["data"] == {"up": [{"type": "gauge", "help": "whether", "unit": ""}]}
        assert len(worker.pids) == 1
        with pytest.raises(Invalid, match="selector"):
            await whole(worker.ask("series", Find(selectors=("1 + 1",), **span)))
        with pytest.raises(Invalid, match="no job"):
            await whole(worker.ask("brew", Describe()))

    run(scene)


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("hangs", TimedOut),
        ("deaf", TimedOut),
        ("huge", TooLarge),
        ("crashes", TooLarge),
        ("wrong", PoiseError),
        ("up{", Invalid),
    ],
)
def test_a_query_past_its_limits_dies_alone(
    run: Callable[..., None], expression: str, error: type[PoiseError]
) -> None:
    async def scene(worker: QueryWorker) -> None:
        assert (await asked(worker, "count(up)"))["data"]["result"][0]["value"][1] == "50"
        with pytest.raises(error) as found:
            await asked(worker, expression, seconds=0.4 if error is TimedOut else 20.0)
        assert found.value.code
        assert (await asked(worker, "count(up)"))["data"]["result"][0]["value"][1] == "50"

    run(scene, memory_bytes=1 << 30)


def test_a_query_that_is_given_up_frees_its_worker(run: Callable[..., None]) -> None:
    async def scene(worker: QueryWorker) -> None:
        await asked(worker, "up")
        before = worker.pids
        for expression in ("hangs", "deaf"):
            task = asyncio.ensure_future(asked(worker, expression))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await asked(worker, "count(up)", seconds=15.0))["status"] == "success"
            if expression == "hangs":
                assert worker.pids == before
        assert worker.pids != before

    run(scene)


def test_an_answer_that_nobody_reads_to_its_end_is_given_up(run: Callable[..., None]) -> None:
    async def scene(worker: QueryWorker) -> None:
        async with aclosing(worker.ask("query", Query(expression="up", at_ms=AT_MS))) as pieces:
            assert (await anext(pieces)).startswith(b'{"status"')
        assert (await asked(worker, "count(up)"))["status"] == "success"

    run(scene)


def test_a_worker_that_was_killed_is_replaced(run: Callable[..., None]) -> None:
    async def scene(worker: QueryWorker) -> None:
        await asked(worker, "up")
        (pid,) = worker.pids
        ended = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        loop, seen = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(ended, seen.set)
        await seen.wait()
        loop.remove_reader(ended)
        os.close(ended)
        assert (await asked(worker, "count(up)"))["status"] == "success"
        assert worker.pids != [pid]

    run(scene)


def test_the_queue_is_bounded_and_waiting_is_too(run: Callable[..., None]) -> None:
    async def scene(worker: QueryWorker) -> None:
        slow = asyncio.ensure_future(asked(worker, "hangs"))
        await asyncio.sleep(0)
        waits = asyncio.ensure_future(asked(worker, "up", seconds=0.2))
        await asyncio.sleep(0)
        with pytest.raises(Unreachable, match="wait"):
            await asked(worker, "up")
        with pytest.raises(TimedOut, match="waited"):
            await waits
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)

    run(scene, queue=1)


def test_limits_are_told_as_what_they_are(run: Callable[..., None]) -> None:
    async def scene(worker: QueryWorker) -> None:
        with pytest.raises(TooLarge, match="series"):
            await asked(worker, "up", limits=Limits(series=10))

    run(scene)


def state_of(pid: int) -> str:
    """The letter that the kernel has for a process: T while it stands still."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


async def until_state(pid: int, still: bool) -> None:
    async with asyncio.timeout(10):
        while (state_of(pid) == "T") is not still:
            await asyncio.sleep(0.005)


def test_queries_stand_aside_while_a_workload_starts_and_then_end_as_usual(run: Callable[..., None]) -> None:
    """Who looks at a dashboard waits a moment longer; who waits for the service does not."""

    async def scene(worker: QueryWorker) -> None:
        await asked(worker, "up")
        (pid,) = worker.pids
        worker.stand_aside(True)
        await until_state(pid, True)
        late = asyncio.create_task(asked(worker, "count(up)"))
        worker.stand_aside(False)
        await until_state(pid, False)
        assert (await late)["data"]["result"][0]["value"] == [600, "50"]

    run(scene)


def test_a_workload_that_never_comes_up_holds_queries_back_for_a_part_of_the_time(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poise.adapters.worker.pool.EASE_SHARE", 1e-3)

    async def scene(worker: QueryWorker) -> None:
        await asked(worker, "up")
        (pid,) = worker.pids
        worker.stand_aside(True)
        await until_state(pid, True)
        await until_state(pid, False)  # by itself
        worker.stand_aside(True)  # it crashed, and starts again
        assert state_of(pid) != "T"
        assert (await asked(worker, "count(up)"))["status"] == "success"

    run(scene)


def test_who_stands_aside_is_killed_like_any_other(run: Callable[..., None]) -> None:
    async def scene(worker: QueryWorker) -> None:
        await asked(worker, "up")
        (pid,) = worker.pids
        worker.stand_aside(True)
        await until_state(pid, True)
        await worker.close()
        assert not Path(f"/proc/{pid}").exists()

    run(scene)
