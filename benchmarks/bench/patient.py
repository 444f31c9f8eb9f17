"""A small app that can be made to hang, and how one asks it who it is."""

from __future__ import annotations

import socket
import time

from bench.report import Unmeasured

ASK_S = 0.03  # whoever waits longer asks anew, as the next user would
PAUSE_S = 0.002

SERVER = '''"""Answers with its pid and a name of its own.

GET /deadlock blocks every later answer, GET /spin keeps the interpreter for good.
"""

import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STUCK = threading.Lock()
NAME = f"{os.getpid()} {os.urandom(8).hex()}"  # in a sandbox the pid is the same at every start


class Patient(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/deadlock":
            STUCK.acquire()
        if self.path == "/spin":
            re.match("(a+)+$", "a" * 64 + "b")
        with STUCK:
            body = NAME.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


if __name__ == "__main__":
    Server(("127.0.0.1", int(os.environ["PORT"])), Patient).serve_forever()
'''

WORKFLOW = """name: ci
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: python3 -m py_compile server.py
"""


def spec(name: str, replicas: int) -> str:
    """A ``poise.yaml`` with every default but the number of replicas."""
    return (
        f"apiVersion: poise.dev/v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        f"spec:\n  command: python3 server.py\n  port: 8080\n  replicas: {replicas}\n"
    )


def files(name: str, replicas: int) -> dict[str, str]:
    """The app's repository."""
    return {
        "server.py": SERVER,
        ".github/workflows/ci.yml": WORKFLOW,
        "poise.yaml": spec(name, replicas),
    }


def ask(port: int, host: str = "localhost", path: str = "/", patience_s: float = ASK_S) -> str:
    """The body of a 200 on a fresh connection, else an empty string."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as asked:
            asked.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while chunk := asked.recv(4096):
                answer += chunk
    except OSError:
        return ""
    head, _, body = answer.partition(b"\r\n\r\n")
    return body.decode() if head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")) else ""


def wait_for_other(port: int, before: str, host: str = "localhost", patience_s: float = 20.0) -> str:
    """Ask until another process than ``before`` answers; its name (pid and nonce)."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = ask(port, host)
        if found and found != before:
            return found
        time.sleep(PAUSE_S)
    raise Unmeasured(f"no new process answered on port {port} within {patience_s:g} s")
