"""A small real server on loopback that speaks Prometheus' HTTP API as it is told to."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    form: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    def __getitem__(self, name: str) -> str:
        return dict(self.form)[name]


@dataclass
class Reply:
    """What is answered; ``cut`` closes after so many bytes, ``hang`` waits for the server's end first."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    hang: bool = False
    endless: bool = False


def good(kind: str, result: Any, **more: Any) -> Reply:
    """A success in Prometheus' envelope."""
    data = {"resultType": kind, "result": result}
    return Reply(body=json.dumps({"status": "success", "data": data, **more}).encode())


def plain(data: Any) -> Reply:
    """A success whose data is no result."""
    return Reply(body=json.dumps({"status": "success", "data": data}).encode())


def bad(status: int, kind: str, text: str, **headers: str) -> Reply:
    """An error in Prometheus' envelope."""
    said = {"status": "error", "errorType": kind, "error": text}
    return Reply(status, json.dumps(said).encode(), headers)


Speak = Callable[[Asked], Reply]


class Server:
    """Answers with ``speak`` and remembers what it was asked."""

    def __init__(self, speak: Speak, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.over = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                parts = urlsplit(self.path)
                form = parse_qsl(parts.query)
                if self.headers.get("content-type", "").startswith("application/x-www-form"):
                    form += parse_qsl(body.decode())
                headers = {name.lower(): value for name, value in self.headers.items()}
                one = Asked(self.command, parts.path, form, headers, body)
                owner.asked.append(one)
                self.answer(speak(one))

            do_POST = do_GET

            def answer(self, reply: Reply) -> None:
                if reply.hang:
                    owner.over.wait(20)
                    return
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name.replace("_", "-"), value)
                    if not reply.endless:
                        self.send_header("content-length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body[: reply.cut])
                    while reply.endless and not owner.over.is_set():
                        self.wfile.write(b" " * 65536)
                except OSError:
                    pass
                if reply.cut is not None:
                    self.close_connection = True

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # a client that goes away, or refuses our certificate, is what some tests are about

        self._http = Quiet(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; whoever hangs is let go."""
        self.over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


@contextmanager
def serving(speak: Speak, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server for the time of a test."""
    server = Server(speak, tls)
    try:
        yield server
    finally:
        server.close()


def in_turn(*replies: Reply) -> Speak:
    """One reply after another; the last again and again."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]
