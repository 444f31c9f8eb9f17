"""Releases that go wrong in their own way, all at once on one house: users are served, and each says why."""

from __future__ import annotations

import html
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bench.house import House, until
from bench.patient import WORKFLOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PATIENCE_S = 180.0
OVER = ("live", "rolled_back", "failed", "superseded")
SERVER = """import os, signal, threading, time, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION, SERVICE = "{version}", os.environ["POISE_SERVICE"].rpartition("/")[2]
BAD, BEGAN, PORT = {bad}, time.monotonic(), int(os.environ["PORT"])


def leak():
    kept = []
    while True:
        try:
            kept.append(b"x" * 16_000_000)
        except MemoryError:
            os.abort()


def die_when_told():
    while True:
        time.sleep(0.3)
        with urllib.request.urlopen("SWITCH", timeout=5) as answer:
            if answer.read() == b"die":
                os._exit(5)


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def do_GET(self):
        if BAD and SERVICE == "leaks" and self.path != "/healthz":
            threading.Timer(0.5, leak).start()
        turn = (time.monotonic() - BEGAN) % 8 >= 4
        unwell = BAD and SERVICE == "flaps" and self.path == "/healthz" and turn
        self.send_response(503 if unwell else 200)
        self.send_header("content-length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION.encode())

    def log_message(self, *_):
        pass


if BAD and SERVICE == "never":
    time.sleep(3600)
if BAD and SERVICE == "elsewhere":
    PORT -= 7000
if BAD and SERVICE == "late":
    threading.Thread(target=die_when_told, daemon=True).start()
if SERVICE == "stays":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
ThreadingHTTPServer(("127.0.0.1", PORT), App).serve_forever()
"""
SERVICE = """apiVersion: poise.dev/v1
kind: Service
metadata: {name: NAME}
spec:
  command: python3 -u server.py
  port: 8080
  health: {path: /healthz, interval: 500ms}
  replicas: 1
  resources: {memory: 128MiB}
  rollout: {steps: [50], step: STEP, maxBake: 6s, drain: 1s, startTimeout: 12s, latency: false,
    minCanaryRequests: 5, onUnproven: promote}
---
"""
POLICY = """apiVersion: poise.dev/v1
kind: BudgetPolicy
metadata: {name: bench}
spec:
  slowSteps: [50]
  slowBakeFactor: 1
  parallel: {slow: 20, normal: 20, fast: 20}
"""
STEPS = {
    "never": "3s",
    "elsewhere": "3s",
    "gone": "3s",
    "leaks": "10s",
    "flaps": "10s",
    "stays": "10s",
    "calm": "60s",
    "late": "3s",
}


def files(version: str, bad: bool, switch: str = "") -> dict[str, str]:
    """The app: every service of it goes wrong in its own way, by its name, where ``bad``.

    ``switch`` is a URL that says when the one that goes wrong late does.
    """
    specs = [SERVICE.replace("NAME", name).replace("STEP", step) for name, step in STEPS.items()]
    spec = "".join(specs) + POLICY
    if bad:
        head, tail = spec.split("name: gone", 1)
        spec = f"{head}name: gone{tail.replace('python3 -u', 'no-such-python -u', 1)}"
    source = SERVER.replace("{version}", version).replace("{bad}", str(bad)).replace("SWITCH", switch)
    return {"server.py": source, "poise.yaml": spec, ".github/workflows/ci.yml": WORKFLOW}


class Switch:
    """What an app asks whether it is to die: it cannot remember it over its own end."""

    def __init__(self) -> None:
        self.says, switch = b"live", self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(switch.says)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Delivery:
    """A house whose services go wrong by their names from the second version on."""

    def __init__(self, house: House, switch: Switch) -> None:
        self.house, self.switch = house, switch

    def push(self, version: str, bad: bool = False) -> None:
        self.house.write(files(version, bad, self.switch.url))
        self.house.commit(f"feat: version {version}")
        self.house.push()

    def rollout(self, service: str, n: int) -> dict[str, Any]:
        found = next((one for one in self.house.rollouts(service) if one["n"] == n), None)
        return dict(found) if found else {"state": "none", "reason": ""}

    def until(self, service: str, n: int, *states: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            one = self.rollout(service, n)
            return one if one["state"] in states else None

        what = f"rollout {n} of {service} is {' or '.join(states)}"
        return dict(until(reached, PATIENCE_S, what, pause_s=0.2))

    def page(self, path: str) -> str:
        """A page as a browser that has signed in gets it."""
        token = (self.house.data / "token").read_text().strip()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.house.port}{path}", headers={"authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return html.unescape(answer.read().decode())


@pytest.fixture(scope="module")
def delivery() -> Iterator[Delivery]:
    """Version one of everything, live."""
    with closing(Switch()) as switch, House("shop", files("one", bad=False)) as house:
        house.up()
        made = Delivery(house, switch)
        made.push("one")
        for name in STEPS:
            assert made.until(name, 1, *OVER)["state"] == "live"
        yield made


@contextmanager
def users(house: House) -> Iterator[Counter[str]]:
    """A few requests a second to each service; counts by service what was no answer or a 5xx."""
    over, failed = threading.Event(), Counter[str]()

    def visit(name: str) -> None:
        while not over.wait(0.1):
            try:
                status, _ = house.get(name)
            except OSError:
                status = 0
            failed[name] += status == 0 or status >= 500

    threads = [threading.Thread(target=visit, args=(name,)) for name in STEPS]
    for one in threads:
        one.start()
    try:
        yield failed
    finally:
        over.set()
        for one in threads:
            one.join()


def test_each_bad_release_ends_with_its_reason_and_users_are_served(delivery: Delivery) -> None:
    """Never ready, another port, no such command, a leak, ready by turns, deaf to SIGTERM; one is aborted."""
    house, reasons = delivery.house, {}
    expected = {
        "never": ("failed", "0 of 1 replicas were ready after 12 s; 1 run, and fail GET /healthz on $PORT"),
        "elsewhere": ("failed", "1 run, and fail GET /healthz on $PORT"),
        "gone": ("failed", "the last end: exit code 127 (its command is not there)"),
        "leaks": ("rolled_back", "the last end: signal 6"),
        "flaps": ("rolled_back", "its replicas ceased to be ready 3 times"),
        "stays": ("live", ""),
        "late": ("live", ""),
        "calm": ("rolled_back", "it looks odd"),
    }
    with users(house) as failed:
        delivery.push("two", bad=True)
        delivery.until("calm", 2, "stepping")
        aborted = house.poise("abort", "calm", "--reason", "it looks odd")
        assert "asked to abort" in aborted.stdout
        for name, (state, reason) in expected.items():
            one = delivery.until(name, 2, *OVER)
            assert one["state"] == state, (name, one["reason"])
            assert reason in one["reason"], name
            reasons[name] = one["reason"]
        until(lambda: house.get("stays")[1] == "two", PATIENCE_S, "the deaf one gave way")
        until(lambda: len(house.replicas("stays")) == 1, PATIENCE_S, "and is gone")
    dies = ("leaks", "flaps")  # a canary that dies, or is killed for hanging, takes along what it had begun
    assert sum(failed[name] for name in STEPS if name not in dies) == 0, failed
    status = house.poise("status").stdout
    for name, reason in reasons.items():
        assert house.get(name) == (200, "one" if reason else "two")
        if reason:
            assert reason in house.poise("rollout", "status", name).stdout
            assert reason in status
            assert reason in delivery.page(f"/rollouts/shop/production/{name}/2")
    late = house.poise("abort", "calm", "--reason", "again", check=False)
    assert (late.returncode, "it is too late: rollout 1 is live" in late.stderr) == (4, True)
    assert "poise rollback calm" in late.stderr


def test_a_release_that_dies_once_it_is_live_goes_back_by_itself(delivery: Delivery) -> None:
    """Nobody has to be awake for it."""
    assert delivery.rollout("late", 2)["state"] == "live"
    delivery.switch.says = b"die"
    back = delivery.until("late", 3, "live")
    delivery.switch.says = b"live"
    assert delivery.house.get("late") == (200, "one")
    assert "its replicas crashed" in back["summary"] and "the last end: exit code 5" in back["summary"]
    old = delivery.rollout("late", 2)
    assert old["state"] == "rolled_back" and back["summary"] in old["reason"]
    assert back["summary"] in delivery.house.poise("status").stdout


def test_of_two_pushes_at_once_the_second_is_live_in_the_end_and_the_first_says_what_became_of_it(
    delivery: Delivery,
) -> None:
    """Two people press the button in the same minute."""
    with users(delivery.house) as failed:
        delivery.push("three")
        delivery.until("stays", 3, "starting", "stepping")
        delivery.push("four")
        delivery.until("stays", 4, "waiting")
        assert "rollout 3 is under way" in delivery.house.poise("rollout", "status", "stays").stdout
        until(lambda: delivery.house.get("stays")[1] == "four", PATIENCE_S, "the second push serves")
        delivery.until("stays", 4, "live")
    first = delivery.rollout("stays", 3)
    assert (first["state"], first["reason"]) == ("retired", "rollout 4 took its place")
    assert failed["stays"] == 0
