"""Real faults against a real house under load: processes are killed, peers hang, apps misbehave."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from bench import shop
from bench.house import House, kill_and_see, until
from bench.loading import Loading
from bench.patient import WORKFLOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PATIENCE_S = 240  # a busy machine burns latency, and the gate rightly holds until that has passed
RATE_PER_S = 50.0

NOISY = """import os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Noisy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "3"); self.end_headers()
        self.wfile.write(b"ok\\n")
    def log_message(self, *_):
        pass

def shout():
    line = "x" * 1023 + "\\n"
    while True:
        began = time.monotonic()
        for _ in range(1000):
            sys.stdout.write(line)
        sys.stdout.flush()
        time.sleep(max(0, 0.1 - (time.monotonic() - began)))

threading.Thread(target=shout, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Noisy).serve_forever()
"""
SPEC = """apiVersion: poise.dev/v1
kind: Service
metadata: {name: noisy}
spec:
  command: python3 server.py
  port: 8080
"""


def whole(house: House) -> bool:
    """Every service of the shop has two ready replicas and an acknowledged route."""
    return all(
        sum(one["ready"] for one in status["replicas"]) >= 2 and 100 in status["route"]["acked"].values()
        for status in map(house.service, shop.SERVICES)
    )


def settle(house: House) -> None:
    until(lambda: whole(house), PATIENCE_S, "the shop is whole")


def test_a_killed_keeper_fails_no_request_and_the_next_adopts_every_process(house: House) -> None:
    """Workloads and Envoy must not die with the process that looks after them."""
    settle(house)
    before = {one["key"]: one["pid"] for one in house.processes("")}
    keeper = house.keeper_pid()
    assert keeper
    with Loading(house.ingress_port, shop.HOST, RATE_PER_S) as load:
        time.sleep(1)
        kill_and_see(keeper)
        until(lambda: house.keeper_pid() not in (None, keeper), 15, "another keeper answers")
        settle(house)
        time.sleep(1)
    assert {one["key"]: one["pid"] for one in house.processes("")} == before
    assert load.total["failed_requests"] == 0, load.total


def test_a_killed_control_process_fails_no_request_and_loses_no_replica(house: House) -> None:
    """Users must not notice that nobody decides for a while; a replica that dies meanwhile comes back."""
    settle(house)
    with Loading(house.ingress_port, shop.HOST, RATE_PER_S) as load:
        time.sleep(1)
        house.kill_control()
        victim = house.replicas("storefront")[0]
        os.kill(victim["pid"], signal.SIGKILL)

        def back() -> bool:
            found = [one for one in house.replicas("storefront") if one["key"] == victim["key"]]
            return bool(found) and found[0]["pid"] != victim["pid"] and found[0]["connects"]

        until(back, 10, "the replica is back without Poise")
        time.sleep(1)
        house.up()
        settle(house)
    assert load.total["failed_requests"] == 0, load.total


def test_a_dependency_that_accepts_and_never_answers_does_not_stop_the_control_process(house: House) -> None:
    """Clients that connect and say nothing, to every door, must cost nothing but their sockets."""
    settle(house)
    doors = [house.port] * 50
    held = [socket.create_connection(("127.0.0.1", port), timeout=2) for port in doors]
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(house.data / "run" / "keeper.sock"))
        silent.sendall(b'{"id": 1, "op": ')
        os.kill(house.replicas("payments")[0]["pid"], signal.SIGSTOP)  # accepts, never answers
        began = time.monotonic()
        assert house.poise("status").returncode == 0
        assert time.monotonic() - began < 3
        until(lambda: whole(house), 30, "the hung replica is replaced")
    for one in held:
        one.close()


def test_a_killed_envoy_comes_back_by_itself_and_everything_converges(house: House) -> None:
    """Its death is the one fault users see; it must be short and leave nothing behind."""
    settle(house)
    envoy = next(one for one in house.processes("") if "envoy" in one["key"])
    os.kill(envoy["pid"], signal.SIGKILL)
    until(lambda: house.get("storefront")[0] == 200, 15, "users are served again")
    house.write(shop.version("after-envoy"))
    with Loading(house.ingress_port, shop.HOST, RATE_PER_S) as load:  # a canary is judged by its requests
        house.ship("feat: after the fault", shop.SERVICES, PATIENCE_S)
        assert "after-envoy" in house.get("storefront")[1]
    assert load.total["failed_requests"] == 0, load.total


def test_a_noisy_app_is_bounded_while_poise_is_dead() -> None:
    """Nobody is there to rotate its log but the keeper, and the app must not wait for anyone."""
    files = {"server.py": NOISY, "poise.yaml": SPEC, ".github/workflows/ci.yml": WORKFLOW}
    with House("noisy", files) as house:
        house.up()
        house.ship("feat: noise", ("noisy",))
        house.kill_control()
        for _ in range(12):
            time.sleep(1)
            assert house.get("noisy")[0] == 200
        logs = [one for one in (house.data / "logs").rglob("*") if one.is_file() and "noisy" in str(one)]
        written = sum(one.stat().st_size for one in logs)
        assert written > 10_000_000, "it was noisy"
        replicas = len(house.replicas("noisy"))
        # sizes are apparent; on disk are per replica the newest 32 MiB and what is added before a look
        assert sum(one.stat().st_blocks * 512 for one in logs) < replicas * (32 + 20) * 2**20
        house.up()
        until(lambda: sum(r["ready"] for r in house.service("noisy")["replicas"]) >= 2, 30, "it is well")


def test_a_dependency_that_hangs_leaves_the_rest_of_the_house_alone(house: House) -> None:
    """All replicas of a dependency hang at once: nothing is killed, and status still answers."""
    settle(house)
    victims = house.replicas("payments")
    for victim in victims:
        os.kill(victim["pid"], signal.SIGSTOP)
    try:
        slowest = 0.0
        for _ in range(8):
            began = time.monotonic()
            house.service("catalog")
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.5)
        assert slowest < 1.0
        assert house.get("storefront")[0] == 200, "the front page needs no payments"
    finally:
        for victim in victims:
            if Path(f"/proc/{victim['pid']}").exists():
                os.kill(victim["pid"], signal.SIGCONT)
    settle(house)
    assert threading.active_count() < 50
