"""The server and client that the services share, over real sockets."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

import web

HERE = Path(__file__).resolve().parent.parent


class Reading(unittest.TestCase):
    def read(self, data):
        return web.read_request(io.BytesIO(data))

    def test_a_request_has_lower_case_headers_and_its_body(self):
        request = self.read(b"POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\n\r\ntea")
        self.assertEqual(request, ("POST", "/orders", {"host": "shop", "content-length": "3"}, "tea"))

    def test_the_end_of_a_connection_is_no_request(self):
        self.assertIsNone(self.read(b""))

    def test_broken_requests_are_refused(self):
        too_long = f"Content-Length: {web.BODY_LIMIT_BYTES + 1}".encode()
        for status, head in (
            (400, b"hello"),
            (400, b"GET / HTTP/1.1\r\nno colon"),
            (400, b"GET / HTTP/1.1\r\nContent-Length: -1"),
            (400, b"GET / HTTP/1.1\r\nContent-Length: 9"),
            (411, b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked"),
            (413, b"GET / HTTP/1.1\r\n" + too_long),
        ):
            with self.subTest(head=head), self.assertRaises(web.BadRequest) as caught:
                self.read(head + b"\r\n\r\n")
            self.assertEqual(caught.exception.args[0], status)


class Serving(unittest.TestCase):
    def setUp(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        environment = {**os.environ, "PORT": str(self.port)}
        command = [sys.executable, "payments.py"]
        self.process = subprocess.Popen(command, cwd=HERE, env=environment)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)

    def connect(self, deadline_s=5):
        deadline = time.monotonic() + deadline_s
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=5)
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def test_one_connection_carries_many_requests(self):
        with self.connect() as connection, connection.makefile("rb") as stream:
            for _ in range(3):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: payments\r\n\r\n")
                self.assertEqual(stream.readline(), b"HTTP/1.1 200 OK\r\n")
                headers = web.read_headers(stream)
                self.assertEqual((headers["x-app"], headers.get("connection")), ("shop", None))
                self.assertEqual(web.read_body(stream, headers), "ok\n")

    def test_sigterm_lets_the_request_in_flight_finish(self):
        with self.connect() as connection, connection.makefile("rb") as stream:
            connection.sendall(b"POST /charges HTTP/1.1\r\nIdempotency-Key: k\r\nContent-Length: 3\r\n\r\n4")
            while not self.refuses():
                self.process.send_signal(signal.SIGTERM)
                time.sleep(0.02)
            connection.sendall(b"50")
            self.assertEqual(stream.readline(), b"HTTP/1.1 201 Created\r\n")
            self.assertEqual(web.read_headers(stream)["connection"], "close")
        self.assertEqual(self.process.wait(timeout=10), 0)

    def refuses(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        return False

    def test_the_client_reuses_its_connection_and_survives_a_closed_one(self):
        self.connect().close()
        os.environ["TEST_URL"] = f"http://127.0.0.1:{self.port}"
        upstream = web.Upstream("TEST_URL")
        self.addCleanup(upstream.close)
        status, answer = upstream.ask("POST", "/charges", body="450", key="k")
        self.assertEqual((status, answer["cents"]), (201, 450))
        kept = upstream.local.kept[0]
        self.assertEqual(upstream.ask("GET", "/healthz"), (200, "ok\n"))
        self.assertIs(upstream.local.kept[0], kept)
        kept.shutdown(socket.SHUT_RDWR)
        self.assertEqual(upstream.ask("GET", "/healthz"), (200, "ok\n"))

    def test_an_upstream_that_is_gone_is_unavailable(self):
        self.process.kill()
        self.process.wait()
        os.environ["TEST_URL"] = f"http://127.0.0.1:{self.port}"
        with self.assertRaises(web.Unavailable):
            web.Upstream("TEST_URL").ask("GET", "/healthz")
