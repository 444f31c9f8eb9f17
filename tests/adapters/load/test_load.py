"""The load generator counts what users would have felt, and stays within its bounds."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from poise.adapters.load import Load, LoadPlan, LoadResult, Sample, run_load
from poise.model.errors import Invalid

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-App-Version: 1\r\n\r\nok"
LOST = "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
REFUSED = (
    "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: "
    "remote connection failure, transport failure reason: delayed connect error: Connection refused"
)

Reply = Callable[[bytes, asyncio.StreamWriter], Awaitable[bytes | None]]


def envoy(status: int, body: str, *, upstream: bool = False) -> bytes:
    extra = "x-envoy-upstream-service-time: 3\r\n" if upstream else ""
    return (
        f"HTTP/1.1 {status} X\r\nserver: envoy\r\n{extra}content-length: {len(body)}\r\n\r\n{body}"
    ).encode()


@asynccontextmanager
async def server(reply: Reply) -> AsyncIterator[int]:
    """A tiny server; `reply` turns the head of each request into an answer, or None to hang up."""
    writers: set[asyncio.StreamWriter] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST"):
                    await reader.readexactly(len("item=tea"))
                answer = await reply(head, writer)
                if answer is None:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writers.discard(writer)
            writer.close()

    listening = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for writer in tuple(writers):
            writer.transport.abort()
        await listening.wait_closed()
        for _ in range(3):
            await asyncio.sleep(0)


def always(answer: bytes | None) -> Reply:
    async def reply(head: bytes, writer: asyncio.StreamWriter) -> bytes | None:
        return answer

    return reply


def load(reply: Reply, on_sample: Callable[[Sample], None] | None = None, **fields: object) -> LoadResult:
    """Run 50 requests (or what `fields` say) against a server that replies so."""

    async def run() -> LoadResult:
        async with server(reply) as port:
            values = {
                "url": f"http://127.0.0.1:{port}/",
                "rate_per_s": 500,
                "duration_s": 10,
                "count_limit": 50,
            }
            return await run_load(msgspec.convert(values | fields, LoadPlan), on_sample)

    return asyncio.run(run())


def test_all_requests_of_a_good_server_are_answered() -> None:
    """The quiet case: nothing is counted as pain when there is none."""
    result = load(always(OK), count_limit=100)
    assert (result.requests, result.answered, result.failed_requests, result.unsent) == (100, 100, 0, 0)
    assert (result.gets, result.posts) == (80, 20)
    assert result.statuses == {"200": 100}
    assert result.versions == {"1": 100}
    assert (
        0 < result.latency_ms_p50 <= result.latency_ms_p95 <= result.latency_ms_p99 <= result.latency_ms_max
    )


def test_connections_are_kept_alive() -> None:
    """A new connection for each request would measure the handshake and hide what a drain does to users."""
    writers: set[int] = set()

    async def reply(head: bytes, writer: asyncio.StreamWriter) -> bytes:
        writers.add(id(writer))
        return OK

    assert load(reply, rate_per_s=100, count_limit=20).answered == 20
    assert len(writers) < 5


def test_an_announced_close_is_no_failure() -> None:
    """Draining servers say so; a client that then reuses the connection would blame them wrongly."""
    closing = OK.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
    assert load(always(closing)).answered == 50


def test_the_host_header_and_the_paths_are_as_asked() -> None:
    """Envoy routes by Host."""
    heads: set[bytes] = set()

    async def reply(head: bytes, writer: asyncio.StreamWriter) -> bytes:
        heads.add(head)
        return OK

    load(reply, host="shop.example")
    assert {head.split(b"\r\n")[0] for head in heads} == {b"GET / HTTP/1.1", b"POST /orders HTTP/1.1"}
    assert all(b"\r\nHost: shop.example\r\n" in head for head in heads)
    assert not any(b"idempotency-key" in head.lower() for head in heads)


@pytest.mark.parametrize(
    ("answer", "field", "failed"),
    [
        (b"HTTP/1.1 500 X\r\nX-App-Version: 1\r\nContent-Length: 0\r\n\r\n", "app_5xx", 0),
        (b"HTTP/1.1 500 X\r\nServer: gunicorn\r\nContent-Length: 0\r\n\r\n", "app_5xx", 0),
        # what proves nothing is not blamed on the app: Envoy set to pass Server on names none of its own
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", "proxy_5xx", 50),
        (envoy(500, "sorry", upstream=True), "app_5xx", 0),
        (envoy(503, "no healthy upstream"), "proxy_5xx", 50),
        (envoy(503, REFUSED), "proxy_5xx", 50),
        (envoy(404, ""), "answered", 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "answered", 0),
        (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK, "answered", 0),
        (b"nonsense\r\n\r\n", "connection_errors", 50),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "connection_errors", 50),
        (None, "connection_errors", 50),
    ],
)
def test_each_answer_is_counted_as_what_it_is(answer: bytes | None, field: str, failed: int) -> None:
    """The product's promise is a number of failed requests: this is where it is counted."""
    result = load(always(answer))
    assert getattr(result, field) == 50
    assert result.failed_requests == failed


def test_a_post_lost_with_its_replica_is_counted_apart_and_a_get_is_not() -> None:
    """Nobody may retry that POST; a GET lost the same way should have been retried, so it is a failure."""
    result = load(always(envoy(503, LOST)), count_limit=100)
    assert result.posts_lost_in_flight == result.posts == 20
    assert result.failed_requests == result.proxy_5xx == result.gets == 80


def test_a_body_that_ends_early_is_a_failure() -> None:
    """Half a page is not an answer."""

    async def reply(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    assert load(reply).connection_errors == 50


def test_no_answer_in_time_is_a_failure() -> None:
    """A hang hurts like an error."""

    async def reply(head: bytes, writer: asyncio.StreamWriter) -> bytes:
        await asyncio.sleep(60)
        return OK

    result = load(reply, answer_limit_s=0.2, count_limit=10)
    assert (result.no_answers, result.failed_requests, result.answered) == (10, 10, 0)


def test_nobody_listening_is_a_failure_not_a_crash() -> None:
    """Envoy killed is the very moment to measure."""

    async def run() -> LoadResult:
        async with server(always(OK)) as port:
            pass
        return await run_load(LoadPlan(url=f"http://127.0.0.1:{port}/", rate_per_s=200, count_limit=20))

    result = asyncio.run(run())
    assert (result.connection_errors, result.failed_requests) == (20, 20)


def test_a_slow_server_does_not_slow_the_schedule() -> None:
    """Waiting for answers before sending on would hide exactly the requests that suffered."""

    async def reply(head: bytes, writer: asyncio.StreamWriter) -> bytes:
        await asyncio.sleep(0.3)
        return OK

    result = load(reply, rate_per_s=200, count_limit=60)
    assert result.answered == 60
    assert result.took_s < 5  # one after another it would have been 18 s
    assert result.latency_ms_p50 >= 300


def test_slots_beyond_the_in_flight_limit_are_counted_as_unsent() -> None:
    """A bound that is silent would make an outage look shorter than it was."""

    async def reply(head: bytes, writer: asyncio.StreamWriter) -> bytes:
        await asyncio.sleep(60)
        return OK

    result = load(reply, in_flight_limit=5, answer_limit_s=0.5, count_limit=20, rate_per_s=500)
    assert result.unsent >= 10
    assert result.requests + result.unsent == 20


def test_every_request_is_sampled_once() -> None:
    """The demo times recovery by these samples."""
    samples: list[Sample] = []
    result = load(always(OK), samples.append)
    assert len(samples) == result.requests == 50
    assert [sample.at_s for sample in samples] == sorted(sample.at_s for sample in samples)
    assert {sample.version for sample in samples} == {"1"}
    assert not any(sample.failed for sample in samples)


def test_windows_add_up_to_the_whole() -> None:
    """A request between two windows must be in one of them."""

    async def run() -> tuple[LoadResult, list[LoadResult]]:
        async with server(always(OK)) as port:
            running = Load(LoadPlan(url=f"http://127.0.0.1:{port}/", rate_per_s=300, count_limit=90))
            running.start()
            windows = []
            while running.snapshot().requests < 90:
                windows.append(running.take_window())
                await asyncio.sleep(0.05)
            windows.append(running.take_window())
            return await running.stop(), windows

    total, windows = asyncio.run(run())
    assert len(windows) > 2
    assert sum(window.requests for window in windows) == total.requests == 90


def test_stop_ends_it_early_and_loses_no_answer() -> None:
    """The demo stops load between stages; a request cut off by that would be a false failure."""

    async def run() -> LoadResult:
        async def reply(head: bytes, writer: asyncio.StreamWriter) -> bytes:
            await asyncio.sleep(0.1)
            return OK

        async with server(reply) as port:
            running = Load(LoadPlan(url=f"http://127.0.0.1:{port}/", rate_per_s=100, duration_s=600))
            running.start()
            while not running.snapshot().answered:
                await asyncio.sleep(0.01)
            return await running.stop()

    result = asyncio.run(run())
    assert 0 < result.answered == result.requests < 1000
    assert result.failed_requests == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://example.com/"},
        {"url": "http://10.0.0.1/"},
        {"url": "http://0.0.0.0/"},
        {"url": "https://127.0.0.1/"},
        {"url": "127.0.0.1:80"},
        {"rate_per_s": 0},
        {"rate_per_s": 1e9},
        {"rate_per_s": float("nan")},
        {"duration_s": float("inf")},
        {"post_percent": 101},
        {"host": "a\r\nX: y"},
    ],
)
def test_a_plan_beyond_its_bounds_is_refused(fields: dict[str, object]) -> None:
    """A load generator that can be pointed at others is a weapon."""
    plan = msgspec.structs.replace(LoadPlan(url="http://127.0.0.1:1/"), **fields)
    with pytest.raises(Invalid) as caught:
        asyncio.run(run_load(plan))
    assert caught.value.mend


def test_the_command_prints_each_second_and_ends_on_sigterm_with_its_total() -> None:
    """Benchmarks run it beside Poise, so that killing one never stops the other."""

    async def run() -> list[str]:
        async with server(always(OK)) as port:
            command = [sys.executable, "-m", "poise.adapters.load", "--url", f"http://127.0.0.1:{port}/"]
            process = await asyncio.create_subprocess_exec(
                *command, "--rate", "50", "--seconds", "600", "--json", stdout=subprocess.PIPE
            )
            assert process.stdout
            first = await asyncio.wait_for(process.stdout.readline(), 30)
            os.kill(process.pid, signal.SIGTERM)
            rest, _ = await asyncio.wait_for(process.communicate(), 30)
            assert process.returncode == 0
            return [first.decode(), *rest.decode().splitlines()]

    lines = [json.loads(line) for line in asyncio.run(run())]
    assert lines[0]["window"]["requests"] > 0
    assert lines[-1]["total"]["requests"] >= lines[0]["window"]["requests"]
    assert lines[-1]["total"]["failed_requests"] == 0
