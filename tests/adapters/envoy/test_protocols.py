"""What passes through a real Envoy: HTTP/2, gRPC with its trailers, WebSocket; and what is sent twice."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest

from poise.adapters.envoy import admin
from poise.adapters.envoy.adapter import EnvoyTraffic
from poise.model import signal

from .conftest import SERVICE, Machine, free_port
from .h2_peers import App, call, framed

pytestmark = pytest.mark.anyio
HOST = "shop.localhost"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def app() -> Iterator[Callable[[str], App]]:
    apps: list[App] = []

    def start(name: str) -> App:
        apps.append(App(name))
        return apps[-1]

    yield start
    for one in apps:
        one.close()


def upgraded(port: int, path: str = "/") -> socket.socket:
    """A client's end of a WebSocket; the bytes after the upgrade are the app's and the client's own."""
    connected = socket.create_connection(("127.0.0.1", port), timeout=20)
    head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
    connected.sendall(
        f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connected.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return connected


def echoed(connected: socket.socket, said: bytes) -> bytes:
    connected.sendall(said)
    heard = b""
    while len(heard) < len(said) and (more := connected.recv(4096)):
        heard += more
    return heard


@pytest.fixture
def echo() -> Iterator[int]:
    """An app that upgrades and then says again what it hears."""

    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(101)
            self.send_header("connection", "upgrade")
            self.send_header("upgrade", "websocket")
            self.end_headers()
            self.wfile.flush()
            while heard := self.connection.recv(4096):
                self.connection.sendall(heard)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


async def test_users_speak_either_protocol_to_either_app(
    machine: Machine, serve: Callable[[str], int], app: Callable[[str], App]
) -> None:
    """What the app speaks is its own business."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, serve("one"))
    await traffic.apply(machine.plan(1, {1: 100}, (1,)))
    with call(machine.ingress, HOST) as asked:
        asked.begin("GET", "/", end=True)
        assert (asked.hear(), asked.head[":status"]) == (b"one", "200")
    machine.endpoints(2, app("two").port)
    await traffic.apply(machine.plan(2, {2: 100}, (2,), http2=True))
    plain = http.client.HTTPConnection("127.0.0.1", machine.ingress, timeout=20)
    plain.request("GET", "/", headers={"Host": HOST})
    assert plain.getresponse().read() == b"two"
    plain.close()


async def test_a_grpc_call_streams_both_ways_and_its_trailers_arrive(
    machine: Machine, app: Callable[[str], App]
) -> None:
    """The status of a call stands in its trailers; a buffered stream would be no stream."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, app("one").port)
    await traffic.apply(machine.plan(1, {1: 100}, (1,), http2=True))
    with call(machine.ingress, HOST) as asked:
        asked.begin_call("/shop.Cart/Follow", want_status="5")
        first, second = framed(b"first"), framed(b"second")
        asked.say(first)
        assert asked.hear(len(first)) == first  # heard while the call goes on
        asked.say(second, end=True)
        assert asked.hear() == first + second
    assert asked.head[":status"] == "200"
    assert (asked.trailers["grpc-status"], asked.trailers["said-by"]) == ("5", "one")


async def test_a_grpc_call_ends_at_its_own_deadline(machine: Machine, app: Callable[[str], App]) -> None:
    """The caller says how long it may take; nobody else does."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, app("one").port)
    await traffic.apply(machine.plan(1, {1: 100}, (1,), http2=True))
    with call(machine.ingress, HOST) as asked:
        asked.begin_call("/shop.Cart/Follow", grpc_timeout="200m")
        asked.hear()
    assert asked.reset or asked.trailers.get("grpc-status", asked.head.get("grpc-status")) == "4"


async def test_an_open_websocket_and_an_open_call_outlive_their_rollouts_place_in_the_plan(
    machine: Machine, echo: int, app: Callable[[str], App]
) -> None:
    """A rollout drops nobody: what is open stays with its replica until that one ends."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, echo)
    await traffic.apply(machine.plan(1, {1: 100}, (1,)))
    socket_ = upgraded(machine.ingress)
    machine.endpoints(2, app("two").port)
    await traffic.apply(machine.plan(2, {2: 100}, (1, 2), http2=True))
    with call(machine.ingress, HOST) as asked:
        asked.begin_call("/shop.Cart/Follow")
        asked.say(framed(b"a"))
        asked.hear(6)
        machine.endpoints(3, app("three").port)
        await traffic.apply(machine.plan(3, {3: 100}, (3,), http2=True))
        for rollout in (1, 2):
            machine.endpoints(rollout)  # out of rotation
        with anyio.fail_after(20):
            while await traffic.members() != {asked_port(machine, 3)}:
                await anyio.sleep(0.02)
        await traffic.read()
        assert echoed(socket_, b"still here") == b"still here"
        asked.say(framed(b"b"), end=True)
        assert asked.hear() == framed(b"a") + framed(b"b") and asked.trailers["said-by"] == "two"
        socket_.close()
    with anyio.fail_after(20):
        while any(f"{SERVICE}.{n}" in (machine.data / "envoy" / "cds.json").read_text() for n in (1, 2)):
            await traffic.read()
            await anyio.sleep(0.02)


def asked_port(machine: Machine, rollout: int) -> int:
    path = next((machine.data / "envoy" / "eds").glob(f"*.{rollout}.json"))
    member = json.loads(path.read_text())["resources"][0]["endpoints"][0]["lb_endpoints"][0]
    return int(member["endpoint"]["address"]["socket_address"]["port_value"])


class Resetting:
    """An app that cuts each connection once it has read the request; counts them by method."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.heard: list[str] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connected, _ = self.listener.accept()
            except OSError:
                return
            with connected:
                said = connected.recv(65536)
                if said:
                    self.heard.append(said.split(b" ", 1)[0].decode())

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def ask(port: int, method: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, "/", headers={"Host": HOST, **named})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


async def test_what_reached_an_app_is_sent_again_only_where_that_is_safe(
    machine: Machine, serve: Callable[[str], int]
) -> None:
    """An order must not be placed twice because its answer was lost."""
    traffic = EnvoyTraffic(machine.data)
    cut = Resetting()
    machine.endpoints(1, cut.port, serve("well"))
    await traffic.apply(machine.plan(1, {1: 100}, (1,)))
    assert {ask(machine.ingress, "GET") for _ in range(20)} == {200}
    assert {ask(machine.ingress, "POST", idempotency_key="1") for _ in range(20)} == {200}
    assert {"GET", "POST"} <= set(cut.heard)
    cut.heard.clear()
    statuses = [ask(machine.ingress, "POST") for _ in range(20)]
    assert statuses.count(503) == len(cut.heard) > 0
    cut.close()


async def test_a_replica_that_does_not_answer_costs_nobody_and_is_ejected(
    machine: Machine, serve: Callable[[str], int]
) -> None:
    """Nothing was sent, so even an order goes to another replica; then the dead one is left alone a while."""
    traffic = EnvoyTraffic(machine.data)
    machine.endpoints(1, free_port(), serve("well"))
    await traffic.apply(machine.plan(1, {1: 100}, (1,)))
    assert {ask(machine.ingress, method) for _ in range(20) for method in ("POST", "GET")} == {200}
    name = f"cluster.{SERVICE}.1.outlier_detection.ejections_enforced_consecutive_local_origin_failure"
    body, _ = await admin.ask(machine.data / "envoy" / "admin.sock", "/stats?filter=outlier_detection")
    counted = dict(line.split(": ") for line in body.decode().splitlines())
    assert int(counted[name]) > 0


async def test_a_call_that_its_app_failed_is_an_error_and_counted_once(
    machine: Machine, app: Callable[[str], App]
) -> None:
    """Every answer of gRPC is a 200; what the caller got wrong (5, NOT_FOUND) is not the app's failure."""
    traffic = EnvoyTraffic(machine.data)
    well, gone = app("one").port, free_port()
    machine.endpoints(1, well)
    await traffic.apply(machine.plan(1, {1: 100}, (1,), http2=True))

    def ask_for(**asked: str) -> None:
        with call(machine.ingress, HOST) as made:
            made.begin_call("/shop.Cart/Get", **asked)
            made.say(framed(b"x"), end=True)
            made.hear()

    for asked in (
        {},
        {"want_status": "5"},
        {"want_status": "14"},
        {"want_status": "2"},
        {"want_http": "500"},
    ):
        ask_for(**asked)
    machine.endpoints(1, gone)
    with anyio.fail_after(20):
        while await traffic.members() != {gone}:
            await anyio.sleep(0.02)
    ask_for()
    with anyio.fail_after(20):
        while True:
            batch = await traffic.read()
            assert batch is not None
            sums = {
                name: sum(s.value for s in batch.samples if s.series.name == name)
                for name in (signal.REQUESTS_TOTAL, signal.ERRORS_TOTAL)
            }
            if sums == {signal.REQUESTS_TOTAL: 6, signal.ERRORS_TOTAL: 4}:
                break  # two by status, one 500, one that Envoy answered for the app
            await anyio.sleep(0.05)
    failed = [s for s in batch.samples if s.series.name == signal.FAILURES_TOTAL]
    by_status = [s.value for s in failed if ("by", signal.BY_GRPC_STATUS) in s.series.labels]
    assert by_status == [2]
