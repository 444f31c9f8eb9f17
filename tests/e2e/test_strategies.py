"""Every strategy on a real house under load: git push, Envoy, processes; no request fails, there or back."""

from __future__ import annotations

import re
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from bench.house import House, until
from bench.loading import Loading
from bench.patient import WORKFLOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
RATE_PER_S = 60.0
APP = """import os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION, FAIL_ONE_IN = "{version}", {fail_one_in}
count = 0

class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def do_GET(self):
        global count
        self.rfile.read(int(self.headers.get("content-length") or 0))
        count += self.path != "/healthz"
        bad = FAIL_ONE_IN and self.path != "/healthz" and count % FAIL_ONE_IN == 0
        self.send_response(500 if bad else 200)
        self.send_header("content-length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION.encode())

    do_POST = do_GET

    def log_message(self, *_):
        pass

{before}
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"""
SPEC = """apiVersion: poise.dev/v1
kind: Service
metadata: {name: app}
spec:
  command: python3 -u server.py
  port: 8080
  health: /healthz
  replicas: REPLICAS
  rollout: {drain: 3s, startTimeout: 15s, STRATEGY}
---
apiVersion: poise.dev/v1
kind: BudgetPolicy
metadata: {name: bench}
spec:
  slowSteps: [25, 50]
  slowBakeFactor: 1
"""
OVER = ("live", "rolled_back", "failed", "superseded")


class Delivery:
    """A house with one app, its versions, and how each rollout goes."""

    def __init__(self, house: House) -> None:
        self.house = house

    def push(self, version: str, fail_one_in: int = 0, before: str = "") -> int:
        """Commit and push a version; the number that its rollout will have."""
        source = APP.format(version=version, fail_one_in=fail_one_in, before=before)
        self.house.write({"server.py": source})
        self.house.commit(f"feat: version {version}")
        n = len(self.house.rollouts("app")) + 1
        self.house.push()
        return n

    def rollout(self, n: int) -> dict[str, Any]:
        found = next((one for one in self.house.rollouts("app") if one["n"] == n), None)
        return dict(found) if found else {"state": "none", "reason": ""}

    def until(self, n: int, *states: str) -> dict[str, Any]:
        """The n-th rollout once it is in one of ``states``."""

        def reached() -> dict[str, Any] | None:
            one = self.rollout(n)
            return one if one["state"] in states else None

        return dict(until(reached, 120.0, f"rollout {n} is {' or '.join(states)}: {self.rollout(n)}"))

    def answers(self) -> str:
        return self.house.get("app")[1]


@contextmanager
def delivery(strategy: str, replicas: int = 2) -> Iterator[Delivery]:
    """Version 1 live, by this strategy from then on."""
    spec = SPEC.replace("REPLICAS", str(replicas)).replace("STRATEGY", strategy)
    files = {"poise.yaml": spec, ".github/workflows/ci.yml": WORKFLOW}
    with House("shop", files) as house:
        house.up()
        made = Delivery(house)
        made.push("one")
        assert made.until(1, *OVER)["state"] == "live"
        yield made


def test_a_blue_green_changes_all_users_at_once_and_back_at_once() -> None:
    """The old one is warm, so the way back starts nothing; a person lets the good one pass."""
    with delivery("strategy: blue-green, promotion: manual, keepWarm: 6s") as made:
        house = made.house
        with Loading(house.ingress_port, "app.localhost", RATE_PER_S) as load:
            good = made.push("two")
            until(lambda: "poise promote" in made.rollout(good)["reason"], 60.0, "it waits for a person")
            assert made.answers() == "one"
            house.poise("promote", "app", "--reason", "we looked at it")
            made.until(good, "promoting")
            until(lambda: made.answers() == "two", 10.0, "all users changed over")
            old = {one["pid"] for one in house.replicas("app") if "/000001/" in one["key"]}
            assert len(old) == 2, "the old one is kept"
            made.until(good, "live")
            assert made.answers() == "two"
            bad = made.push("three", fail_one_in=3)
            until(lambda: "poise promote" in made.rollout(bad)["reason"], 60.0, "it waits for a person")
            house.poise("promote", "app", "--reason", "it looks good")
            back = made.until(bad, *OVER)
            assert back["state"] == "rolled_back"
            assert "the old one failed at most" in back["reason"]
            assert made.answers() == "two"
            time.sleep(1)
        assert load.total["failed_requests"] == 0, load.total


def test_a_rolling_update_replaces_batch_by_batch_and_goes_back_without_a_failed_request() -> None:
    """At most one replica more than four, at least three ready; a batch that never comes up ends it."""
    with delivery("strategy: rolling, minReady: 2s, latency: false", replicas=4) as made:
        house = made.house
        with Loading(house.ingress_port, "app.localhost", RATE_PER_S) as load:
            good = made.push("two")
            most, least = 0, 4
            while made.rollout(good)["state"] not in OVER:
                stand = [one for one in house.service("app")["replicas"] if not one["draining"]]
                most, least = max(most, len(stand)), min(least, sum(one["ready"] for one in stand))
                time.sleep(0.05)
            assert made.rollout(good)["state"] == "live"
            assert (most, least) == (5, 3), "one more than four at most, and three ready at least"
            until(lambda: len(house.replicas("app")) == 4, 20.0, "the old ones are gone")
            bad = made.push("three", before='if os.environ["POISE_REPLICA"] != "0": time.sleep(3600)')
            assert made.until(bad, *OVER)["state"] == "failed"
            late = 'if int(os.environ["POISE_REPLICA"]) > 1: time.sleep(3600)'
            second = made.push("four", before=late)
            back = made.until(second, *OVER)
            assert back["state"] == "rolled_back"
            assert "2 of 4 replicas were ready" in back["reason"]

            def whole() -> bool:
                found = [one["key"].split("/")[3] for one in house.replicas("app")]
                return found == ["000002"] * 4

            until(whole, 20.0, "four replicas of the old one, and no other")
            assert made.answers() == "two"
            time.sleep(1)
        assert load.total["failed_requests"] == 0, load.total


def test_a_recreate_never_runs_two_revisions_and_comes_back_when_the_new_one_does_not_start() -> None:
    """It drops requests by its nature, and says so; what it must not do is run twice."""
    with delivery("strategy: recreate") as made:
        house = made.house
        good = made.push("two")
        seen = set()
        while made.rollout(good)["state"] not in OVER:
            seen.add(frozenset(one["key"].split("/")[3] for one in house.replicas("app")))
        assert made.rollout(good)["state"] == "live"
        assert frozenset(("000001", "000002")) not in seen
        until(lambda: made.answers() == "two", 20.0, "the new one serves")
        assert "nobody was served for" in house.journal_text()
        bad = made.push("three", before="raise SystemExit(3)")
        assert made.until(bad, *OVER)["state"] == "failed"
        until(lambda: made.answers() == "two", 30.0, "the old one is back")
        assert "exit code 3" in made.rollout(bad)["reason"]


def test_a_mirror_is_judged_by_copies_and_no_user_meets_one_that_fails_them() -> None:
    """What answers copies with errors ends there; what is well goes on as a canary to all users."""
    mirror = "strategy: mirror, mirror: {time: 4s}, steps: [50], step: 2s, maxBake: 6s, latency: false"
    with delivery(f"{mirror}, minCanaryRequests: 20, onUnproven: promote") as made:
        house = made.house
        with Loading(house.ingress_port, "app.localhost", RATE_PER_S) as load:
            time.sleep(2)
            bad = made.push("two", fail_one_in=3)
            back = made.until(bad, *OVER)
            assert back["state"] == "rolled_back"
            assert "requests failed, so at least" in back["reason"]
            assert load.sum("app_5xx", 0, time.monotonic()) == 0, "nobody got an answer of the mirrored one"
            good = made.push("three")
            assert made.until(good, *OVER)["state"] == "live"
            assert "copied requests failed; it goes on as a canary" in house.journal_text()
            until(lambda: made.answers() == "three", 10.0, "all users are on it")
            time.sleep(1)
        assert load.total["failed_requests"] == 0, load.total
        assert load.total["app_5xx"] == 0, load.total


def test_who_asks_for_a_preview_reaches_the_new_revision_and_is_no_evidence() -> None:
    """Testers meet it before any user does; what they find out is not what users met."""
    canary = "preview: {header: x-poise-preview}, steps: [25], step: 12s, maxBake: 14s, latency: false"
    with delivery(f"{canary}, minCanaryRequests: 20, onUnproven: promote") as made:
        house = made.house

        def ask(asks: bool) -> str:
            headers = {"host": "app.localhost"} | ({"x-poise-preview": "1"} if asks else {})
            asked = urllib.request.Request(f"http://127.0.0.1:{house.ingress_port}/", headers=headers)
            with urllib.request.urlopen(asked, timeout=5) as answer:
                return str(answer.read().decode())

        with Loading(house.ingress_port, "app.localhost", RATE_PER_S) as load:
            time.sleep(1)
            new = made.push("two")
            until(lambda: ask(True) == "two", 60.0, "the preview answers")
            made.until(new, "stepping")
            got = [ask(True) for _ in range(600)]
            assert set(got) == {"two"}
            over = made.until(new, *OVER)
            assert over["state"] == "live", over["reason"]
            until(lambda: ask(False) == "two" == ask(True), 10.0, "all users are on it")
            time.sleep(1)
        assert load.total["failed_requests"] == 0, load.total
        with closing(sqlite3.connect(f"file:{house.data / 'poise.db'}?mode=ro", uri=True)) as store:
            rows = [str(row) for row in store.execute("SELECT * FROM event")]
        [last] = [row for row in rows if "goes from 25 % to " in row]
        answered = {
            arm: int(re.findall(rf'"{arm}_requests":(\d+)', last)[0]) for arm in ("canary", "baseline")
        }
        assert 0 < answered["canary"] < answered["baseline"], "600 previews are not among them"
