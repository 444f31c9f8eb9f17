"""The Probe port on loopback: what an answer, silence and a closed door are called."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from poise.adapters.probe import LoopbackProbe, connections, fixed_port, stopped
from poise.model.service import Protocol
from poise.ports.probe import ProbeResult

from .envoy.h2_peers import App

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def answer(server: socket.socket, body: bytes) -> threading.Thread:
    def run() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(body)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ProbeResult.OK),
        (b"HTTP/1.1 302 Found\r\n\r\n", ProbeResult.OK),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", ProbeResult.BAD),
        (b"HTTP/1.1 500 Oops\r\n\r\n", ProbeResult.BAD),
        (b"SSH-2.0-x\r\n", ProbeResult.BAD),
        (b"", ProbeResult.BAD),
    ],
)
async def test_only_an_answer_below_400_is_well(
    listener: socket.socket, said: bytes, result: ProbeResult
) -> None:
    """An error page is an answer, but not a healthy one."""
    thread = answer(listener, said)
    assert await LoopbackProbe().ask(listener.getsockname()[1], "/", 2.0) is result
    thread.join()


async def test_accepting_without_answering_is_slow(listener: socket.socket) -> None:
    """The kernel accepts for a stopped process too."""
    assert await LoopbackProbe().ask(listener.getsockname()[1], "/", 0.05) is ProbeResult.SLOW
    assert await LoopbackProbe().ask(listener.getsockname()[1], "", 1.0) is ProbeResult.OK


async def test_nobody_listening_is_refused(listener: socket.socket) -> None:
    """It is starting, or gone."""
    port = listener.getsockname()[1]
    listener.close()
    assert await LoopbackProbe().ask(port, "/", 1.0) is ProbeResult.REFUSED


def test_a_stopped_process_is_told_from_a_running_one() -> None:
    """SIGSTOP is the one hang that needs no second opinion."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not stopped(child.pid)
        os.kill(child.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 5
        while not stopped(child.pid):
            assert time.monotonic() < deadline
    finally:
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()
    assert not stopped(child.pid)


def test_open_connections_are_counted_at_the_servers_end(listener: socket.socket) -> None:
    """None open means that nothing is in flight."""
    port = listener.getsockname()[1]
    assert connections(port) == 0
    with socket.create_connection(("127.0.0.1", port)):
        assert connections(port) == 1


def test_a_fixed_port_is_the_same_for_the_same_name_and_never_taken_twice() -> None:
    """Dependents keep the address they were given."""
    first = fixed_port("acme/production/shop", ())
    assert first is not None and fixed_port("acme/production/shop", ()) == first
    assert fixed_port("acme/production/shop", {first}) != first


@pytest.mark.parametrize(
    ("health", "result"),
    [
        (b"\x08\x01", ProbeResult.OK),
        (b"\x08\x02", ProbeResult.BAD),
        (b"", ProbeResult.BAD),
        (None, ProbeResult.OK),
    ],
)
async def test_grpc_is_asked_by_its_own_health_call(health: bytes | None, result: ProbeResult) -> None:
    """NOT_SERVING and UNKNOWN are not well; an app without that service has answered, which is."""
    app = App("app", health)
    assert await LoopbackProbe().ask(app.port, "/", 20.0, Protocol.GRPC) is result
    app.close()


async def test_http2_without_tls_is_asked_with_a_get() -> None:
    """An app that speaks nothing else would never be ready."""
    app = App("app")
    assert await LoopbackProbe().ask(app.port, "/health", 20.0, Protocol.HTTP2) is ProbeResult.OK
    assert await LoopbackProbe().ask(app.port, "/health", 20.0) is ProbeResult.BAD
    app.close()


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\n\r\n", b""])
async def test_an_app_that_speaks_no_http2_after_all_is_not_well(
    listener: socket.socket, said: bytes
) -> None:
    """The declared protocol is wrong: users would get errors only."""
    thread = answer(listener, said)
    port = listener.getsockname()[1]
    assert await LoopbackProbe().ask(port, "/", 20.0, Protocol.HTTP2) is ProbeResult.BAD
    thread.join()
