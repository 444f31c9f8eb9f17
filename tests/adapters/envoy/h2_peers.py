"""Both ends of HTTP/2 for tests: an app that speaks h2c and gRPC's framing, and a client of either kind."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

HEALTH_CALL = "/grpc.health.v1.Health/Check"


def framed(message: bytes) -> bytes:
    """A gRPC message: not compressed, its length, its bytes."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class App:
    """Answers a GET with its name; echoes each message of a gRPC call as it comes, then the status asked for.

    The status is the call's header ``want-status``; ``want-http`` answers with that code and no gRPC at all.
    ``health`` is the body of the health call, None for an app that has none.
    """

    def __init__(self, name: str, health: bytes | None = b"\x08\x01") -> None:
        self.name, self.health = name, health
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.open: set[int] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connected,), daemon=True).start()

    def _serve(self, connected: socket.socket) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        calls: dict[int, dict[str, str]] = {}
        with connected, suppress(ProtocolError, OSError):  # another protocol, or gone
            connected.sendall(connection.data_to_send())
            while data := _received(connected):
                for event in connection.receive_data(data):
                    self._hear(connection, calls, event)
                connected.sendall(connection.data_to_send())

    def _hear(self, connection: H2Connection, calls: dict[int, dict[str, str]], event: Event) -> None:
        if isinstance(event, RequestReceived):
            asked = calls[event.stream_id] = dict(event.headers)  # type: ignore[arg-type]
            if asked.get("content-type") == "application/grpc" and "want-http" not in asked:
                head = [(":status", "200"), ("content-type", "application/grpc")]
                connection.send_headers(event.stream_id, head)
        elif isinstance(event, DataReceived):
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            asked = calls[event.stream_id]
            if event.data and asked[":path"] != HEALTH_CALL and "want-http" not in asked:
                connection.send_data(event.stream_id, event.data)
        elif isinstance(event, StreamEnded):
            self._finish(connection, event.stream_id, calls.pop(event.stream_id))

    def _finish(self, connection: H2Connection, stream: int, asked: dict[str, str]) -> None:
        if asked.get("content-type") == "application/grpc" and "want-http" not in asked:
            status = asked.get("want-status", "0")
            if asked[":path"] == HEALTH_CALL:
                status = "12" if self.health is None else "0"
                connection.send_data(stream, framed(self.health or b""))
            connection.send_headers(
                stream, [("grpc-status", status), ("said-by", self.name)], end_stream=True
            )
            return
        connection.send_headers(stream, [(":status", asked.get("want-http", "200"))])
        connection.send_data(stream, self.name.encode(), end_stream=True)


class Call:
    """One HTTP/2 connection with one request on it, over TLS where a context is given."""

    def __init__(self, port: int, host: str, context: ssl.SSLContext | None = None) -> None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket = context.wrap_socket(raw, server_hostname=host) if context else raw
        self.connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.connection.initiate_connection()
        self.host, self.scheme = host, "https" if context else "http"
        self.head: dict[str, str] = {}
        self.trailers: dict[str, str] = {}
        self.body = b""
        self.ended, self.reset = False, False

    def begin(self, method: str, path: str, *, end: bool, **more: str) -> None:
        pseudo = [(":method", method), (":path", path), (":scheme", self.scheme), (":authority", self.host)]
        plain = [(name.replace("_", "-"), value) for name, value in more.items()]
        self.stream = self.connection.get_next_available_stream_id()
        self.connection.send_headers(self.stream, [*pseudo, *plain], end_stream=end)
        self._flush()

    def begin_call(self, path: str, **more: str) -> None:
        self.begin("POST", path, end=False, content_type="application/grpc", te="trailers", **more)

    def say(self, data: bytes, *, end: bool = False) -> None:
        self.connection.send_data(self.stream, data, end_stream=end)
        self._flush()

    def hear(self, until: int | None = None) -> bytes:
        """Read until so many bytes of body are there, else until the end; the body so far."""
        while not self.ended and (until is None or len(self.body) < until):
            data = _received(self.socket)
            if not data:
                self.reset = self.ended = True
            for event in self.connection.receive_data(data):
                self._take(event)
            self._flush()
        return self.body

    def close(self) -> None:
        self.socket.close()

    def _take(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            self.head |= dict(event.headers)  # type: ignore[arg-type]
        elif isinstance(event, TrailersReceived):
            self.trailers |= dict(event.headers)  # type: ignore[arg-type]
        elif isinstance(event, DataReceived):
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.body += event.data
        elif isinstance(event, StreamEnded):
            self.ended = True
        elif isinstance(event, StreamReset):
            self.reset = self.ended = True

    def _flush(self) -> None:
        if out := self.connection.data_to_send():
            self.socket.sendall(out)


@contextmanager
def call(port: int, host: str, context: ssl.SSLContext | None = None) -> Iterator[Call]:
    made = Call(port, host, context)
    try:
        yield made
    finally:
        made.close()


def _received(connected: socket.socket) -> bytes:
    try:
        return connected.recv(65536)
    except ConnectionError:
        return b""
