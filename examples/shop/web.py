"""What the three shop services share: a very small HTTP/1.1 server and client.

One thread per kept-alive connection, plain sockets, and nothing slow to import, so a replica serves within a
few hundredths of a second of being started.
"""

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import namedtuple
from contextlib import suppress

from version import VERSION

HEAD_LIMIT_BYTES = 16 * 1024
BODY_LIMIT_BYTES = 64 * 1024
UPSTREAM_TIMEOUT_S = 4.0
DRAIN_IDLE_S = 0.3  # after SIGTERM, how long kept-alive connections may still bring a request
DRAIN_LIMIT_S = 8.0  # after SIGTERM, how long a request in flight may take
DELAY_S = float(os.environ.get("DELAY_MS", "0")) / 1000  # a way to be a slow dependency
REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 411: "Length Required"}
REASONS |= {413: "Content Too Large", 500: "Internal Server Error", 502: "Bad Gateway"}

Request = namedtuple("Request", "method path headers body")
Response = namedtuple("Response", "status body", defaults=("",))


class BadRequest(ValueError):
    """The peer sent something that is not HTTP/1.1 as these services speak it; `args` is (status, reason)."""


class Unavailable(OSError):
    """The upstream gave no answer."""


def serve(handle):
    """Serve `handle(Request) -> Response` on 127.0.0.1:$PORT until SIGTERM; finish the work, return."""
    if not os.environ.get("PORT", "").isdecimal():
        sys.exit("PORT is not set: try PORT=8080 python3 storefront.py")
    wake_read, wake_write = socket.socketpair()
    wake_write.setblocking(False)
    signal.set_wakeup_fd(wake_write.fileno())
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)  # the wake-up descriptor tells the loop below
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=128)
    server = Server(handle)
    listener.setblocking(False)
    while wake_read not in select.select([listener, wake_read], [], [])[0]:
        server.accept_waiting(listener)
    server.stopping = True
    server.accept_waiting(listener)  # whoever already connected is still served
    listener.close()
    server.drain()


class Server:
    """The open connections of one service."""

    def __init__(self, handle):
        self.handle = handle
        self.stopping = False
        self.idle = set()
        self.threads = set()

    def accept_waiting(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setblocking(True)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self.converse, args=(connection,), daemon=True)
            self.threads.add(thread)
            thread.start()

    def converse(self, connection):
        """Answer requests on one connection until either side is done with it."""
        try:
            with connection, connection.makefile("rb") as stream:
                while self.answer_next(connection, stream):
                    pass
        except OSError:
            pass  # the peer went away
        finally:
            self.idle.discard(connection)
            self.threads.discard(threading.current_thread())

    def answer_next(self, connection, stream):
        self.idle.add(connection)
        try:
            request = read_request(stream, on_first_line=lambda: self.idle.discard(connection))
        except BadRequest as bad:
            connection.sendall(render(Response(*bad.args), close=True))
            return False
        if request is None:
            return False
        try:
            if DELAY_S and request.path != "/healthz":
                time.sleep(DELAY_S)
            response = self.handle(request)
        except Exception as error:
            print(f"{request.method} {request.path}: {error!r}", file=sys.stderr, flush=True)
            response = Response(500, "something went wrong here\n")
        close = self.stopping or request.headers.get("connection", "").lower() == "close"
        connection.sendall(render(response, close, head_only=request.method == "HEAD"))
        return not close

    def drain(self):
        """Let requests in flight finish; then say goodbye to connections that only wait."""
        time.sleep(DRAIN_IDLE_S if self.threads else 0)
        for connection in tuple(self.idle):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # its thread reads the end and closes
        deadline = time.monotonic() + DRAIN_LIMIT_S
        for thread in tuple(self.threads):
            thread.join(max(0, deadline - time.monotonic()))


def read_request(stream, on_first_line=lambda: None):
    """The next request on a connection, or None at its end."""
    first = stream.readline(HEAD_LIMIT_BYTES)
    on_first_line()
    if not first:
        return None
    try:
        method, path, _ = first.decode("ascii").split()
    except ValueError:
        raise BadRequest(400, "this is not HTTP\n") from None
    headers = read_headers(stream)
    if "transfer-encoding" in headers:
        raise BadRequest(411, "send a Content-Length\n")
    return Request(method, path, headers, read_body(stream, headers))


def read_headers(stream):
    headers, size = {}, 0
    while (line := stream.readline(HEAD_LIMIT_BYTES)) not in (b"\r\n", b"\n"):
        size += len(line)
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or size > HEAD_LIMIT_BYTES:
            raise BadRequest(400, "the headers are broken or too long\n")
        headers[name.strip().lower()] = value.strip()
    return headers


def read_body(stream, headers):
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequest(400, "Content-Length is not a number\n")
    if int(length) > BODY_LIMIT_BYTES:
        raise BadRequest(413, f"at most {BODY_LIMIT_BYTES} bytes, please\n")
    body = stream.read(int(length))
    if len(body) < int(length):
        raise BadRequest(400, "the body ended early\n")
    return body.decode("utf-8", "replace")


def render(response, close=False, head_only=False):
    body = response.body if isinstance(response.body, str) else json.dumps(response.body) + "\n"
    kind = "text/plain; charset=utf-8" if isinstance(response.body, str) else "application/json"
    payload = body.encode()
    head = (
        f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Unknown')}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(payload)}\r\n"
        f"X-App: shop\r\nX-App-Version: {VERSION}\r\n" + ("Connection: close\r\n" if close else "") + "\r\n"
    )
    return head.encode() + (b"" if head_only else payload)


class Upstream:
    """Another service, at the address Poise gives; one kept-alive connection per thread."""

    def __init__(self, variable):
        self.variable = variable
        self.local = threading.local()

    def ask(self, method, path, body="", key=""):
        """(status, decoded body); `key` makes a POST safe to send again. Raises Unavailable."""
        host = os.environ.get(self.variable, "").removeprefix("http://").rstrip("/")
        extra = f"Idempotency-Key: {key}\r\n" if key else ""
        payload = body.encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(payload)}\r\n{extra}\r\n"
        try:
            connection, stream = self.connect(host)
            connection.sendall(head.encode() + payload)
            return self.read_answer(stream)
        except (OSError, ValueError, IndexError) as error:
            self.close()
            raise Unavailable(f"{self.variable} ({host or 'not set'}): {error!r}") from error

    def connect(self, host):
        if (kept := getattr(self.local, "kept", None)) and not select.select([kept[0]], [], [], 0)[0]:
            return kept  # nothing to read while idle means the peer has not closed it
        self.close()
        address, _, port = host.partition(":")
        connection = socket.create_connection((address, int(port)), timeout=UPSTREAM_TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.local.kept = connection, connection.makefile("rb")
        return self.local.kept

    def read_answer(self, stream):
        status = int(stream.readline(HEAD_LIMIT_BYTES).split()[1])
        headers = read_headers(stream)
        body = read_body(stream, headers)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, json.loads(body) if headers.get("content-type") == "application/json" else body

    def close(self):
        for part in reversed(getattr(self.local, "kept", None) or ()):
            part.close()
        self.local.kept = None
