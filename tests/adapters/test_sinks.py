"""A sink gets a signed CloudEvent; one that hangs, refuses or is gone is told apart."""

from __future__ import annotations

import hmac
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import anyio
import pytest

from poise.adapters.sinks import HttpSink, sink_secret
from poise.model.errors import Invalid, TimedOut, Unreachable

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVENT = {"specversion": "1.0", "id": "i1-7", "data": {"a": 1}}
KEY = b"k" * 32


class Stopped:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(0)


@pytest.fixture
def receiver() -> Iterator[Any]:
    """A server that answers as its path says: ``/503``, or never for ``/hang``."""
    took: list[tuple[dict[str, str], bytes]] = []
    leave = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            took.append(({name.lower(): value for name, value in self.headers.items()}, body))
            if self.path == "/hang":
                leave.wait(20)
                return
            self.send_response(int(self.path[1:]))
            self.send_header("location", "/200")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", took
    leave.set()
    server.shutdown()
    thread.join()
    server.server_close()


def send(url: str, timeout_s: float = 5.0) -> str:
    return anyio.run(HttpSink(KEY, Stopped(), timeout_s).send, "shop", url, EVENT)


def test_a_receiver_can_tell_that_it_is_ours(receiver: Any) -> None:
    base, took = receiver
    assert "answered 200" in send(f"{base}/200")
    ((headers, body),) = took
    assert headers["content-type"] == "application/cloudevents+json"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("i1-7", str(int(NOW.timestamp())))
    key = b64decode(sink_secret(KEY, "shop", f"{base}/200").removeprefix("whsec_"))
    signed = f"i1-7.{headers['webhook-timestamp']}.".encode() + body
    wanted = b64encode(hmac.new(key, signed, sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"


@pytest.mark.parametrize(
    ("path", "error"), [("/500", Unreachable), ("/429", Unreachable), ("/404", Invalid), ("/302", Invalid)]
)
def test_what_may_pass_is_told_from_what_never_will(receiver: Any, path: str, error: type) -> None:
    base, took = receiver
    with pytest.raises(error):
        send(base + path)
    assert len(took) == 1  # a redirect is not followed


def test_one_that_hangs_is_left_in_time(receiver: Any) -> None:
    with pytest.raises(TimedOut):
        send(receiver[0] + "/hang", timeout_s=0.2)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://name.invalid/"])
def test_one_that_is_gone_may_come_back(url: str) -> None:
    with pytest.raises(Unreachable):
        send(url)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://169.254.169.254/latest", "http:///x", "http://u@169.254.1.1/"]
)
def test_no_event_goes_where_a_cloud_keeps_its_secrets(url: str) -> None:
    with pytest.raises(Invalid):
        send(url)
