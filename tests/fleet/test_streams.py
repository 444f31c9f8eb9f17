"""A rollout under an open WebSocket and an open stream, on fleet's real parts."""

from __future__ import annotations

import http.client
import shutil
import socket
import time

import anyio
import anyio.to_thread
import pytest
from msgspec.structs import replace
from tests.fleet.test_real_parts import SERVICE, Place, first_light, rollout, running

from poise.model.delivery import Rollout, RolloutState

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]

APP = """
import http.server, os, signal, time
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        self.close_connection = True
        if self.headers.get("upgrade"):
            self.send_response(101)
            self.send_header("connection", "upgrade"); self.send_header("upgrade", "websocket")
            self.end_headers(); self.wfile.flush()
            while heard := self.connection.recv(4096):
                self.connection.sendall(heard)
        elif self.path == "/events":
            self.send_response(200); self.send_header("content-type", "text/event-stream"); self.end_headers()
            while True:
                self.wfile.write(("data: " + os.environ["POISE_ROLLOUT"] + "\\n\\n").encode())
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.send_response(200); self.send_header("content-length", "1"); self.end_headers()
            self.wfile.write(os.environ["POISE_ROLLOUT"].encode())
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server.serve_forever()
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def upgraded(port: int) -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", port), timeout=60)
    connected.sendall(
        b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += connected.recv(4096)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return connected


def echoed(connected: socket.socket) -> bytes:
    connected.sendall(b"hi")
    return connected.recv(4096)


def stream(port: int) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/events", headers={"Host": "shop.localhost", "Accept": "text/event-stream"})
    answer = connection.getresponse()
    assert answer.readline() == b"data: 1\n"
    return connection, answer


async def replaced(place: Place, one: Rollout) -> None:
    """The second rollout takes all traffic, and the first is retired."""
    two = replace(rollout(2), state=RolloutState.STARTING, replicas=2)
    await place.put(two)
    two = await place.rise(two, 100, 1, RolloutState.PROMOTING)
    await place.until(lambda: place.acked({2: 100}))
    await place.put(
        replace(two, state=RolloutState.LIVE), replace(one, state=RolloutState.RETIRED, weight_percent=0)
    )


async def test_what_is_open_goes_on_until_the_drain_is_over_and_is_then_closed() -> None:
    """A rollout drops nobody before the deadline, and nobody can hold it up for good."""
    async with running() as place:
        (place.data / "releases" / "one" / "app.py").write_text(APP)
        one = await first_light(place)
        chat = await anyio.to_thread.run_sync(upgraded, place.ingress)
        connection, events = await anyio.to_thread.run_sync(stream, place.ingress)
        began = time.monotonic()
        await replaced(place, one)

        async def leaving() -> bool:
            return any(replica.draining for replica in await place.replicas())

        await place.until(leaving)
        assert await anyio.to_thread.run_sync(echoed, chat) == b"hi"
        assert await anyio.to_thread.run_sync(events.readline) in (b"\n", b"data: 1\n")

        async def gone() -> bool:
            return {replica.rollout for replica in await place.replicas()} == {2}

        await place.until(gone, within_s=60.0)
        assert time.monotonic() - began >= SERVICE.strategy.drain_s
        assert await anyio.to_thread.run_sync(chat.recv, 4096) == b""
        with pytest.raises((http.client.IncompleteRead, OSError)):
            await anyio.to_thread.run_sync(read_on, events)
        chat.close()
        connection.close()


def read_on(events: http.client.HTTPResponse) -> None:
    while events.readline():
        pass
    raise ConnectionResetError("it ended")


async def test_a_rollout_waits_for_nobody_who_has_left() -> None:
    """Whoever hangs up lets the old replicas end before their drain is over."""
    async with running() as place:
        (place.data / "releases" / "one" / "app.py").write_text(APP)
        await place.put(replace(SERVICE, strategy=replace(SERVICE.strategy, drain_s=3600.0)))
        one = await first_light(place)
        chat = await anyio.to_thread.run_sync(upgraded, place.ingress)
        await replaced(place, one)
        assert await anyio.to_thread.run_sync(echoed, chat) == b"hi"
        chat.close()

        async def gone() -> bool:
            return {replica.rollout for replica in await place.replicas()} == {2}

        await place.until(gone, within_s=60.0)
