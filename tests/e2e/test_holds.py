"""What holds a rollout, on a real house: git push, Envoy, processes, and the command line that says why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bench.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
APP = """import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "3")
        self.end_headers()
        self.wfile.write(b"{version}"[:3])

    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"""
WORKFLOW = """name: ci
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
"""
SPEC = """apiVersion: poise.dev/v1
kind: Service
metadata: {name: app}
spec:
  command: python3 -u server.py
  port: 8080
  replicas: 1
  rollout: {steps: [50], step: 1s, maxBake: 2s, onUnproven: promote, drain: 1s}
"""
FREEZE = """---
apiVersion: poise.dev/v1
kind: FreezeWindow
metadata: {name: fair}
spec: {reason: the fair is open, firstEventStart: "STARTS", duration: 1h}
"""


class Delivery:
    """A house with one app, and how its newest rollout goes."""

    def __init__(self, house: House) -> None:
        self.house = house

    def push(self, version: str, subject: str, spec: str = SPEC) -> int:
        """The number that its rollout will have."""
        n = len(self.house.rollouts("app")) + 1
        self.house.write({"server.py": APP.replace("{version}", version), "poise.yaml": spec})
        self.house.commit(subject)
        self.house.push()
        return n

    def until(self, n: int, state: str, reason: str = "") -> dict[str, Any]:
        """The n-th rollout once it is in this state and says this."""

        def reached() -> dict[str, Any] | None:
            for one in self.house.rollouts("app"):
                if one["n"] == n and one["state"] == state and reason in one["reason"]:
                    return dict(one)
            return None

        return dict(until(reached, 120.0, f"rollout {n} is {state} {reason}: {self.house.rollouts('app')}"))


def test_a_lock_and_a_freeze_hold_what_they_should_and_say_so() -> None:
    """Locked, nothing goes; unlocked, it does; frozen, a fix passes the feature that waits."""
    with House("shop", {"poise.yaml": SPEC, ".github/workflows/ci.yml": WORKFLOW}) as house:
        house.up()
        made = Delivery(house)
        made.until(made.push("one", "feat: one"), "live")
        house.poise("lock", "app", "--reason", "moving the database", "--for", "1h")
        fixed = made.push("two", "fix: two")
        made.until(fixed, "waiting", "locked shop/production/app until")
        for command in (("status",), ("why", "app"), ("deploy", "app", "--plan")):
            assert "moving the database" in house.poise(*command).stdout, command
        assert house.get("app")[1] == "one"
        house.poise("unlock", "app", "--reason", "moved")
        made.until(fixed, "live")
        assert house.get("app")[1] == "two"
        starts = (datetime.now(UTC) - timedelta(minutes=5)).isoformat(timespec="seconds")
        frozen = SPEC + FREEZE.replace("STARTS", starts)
        feature = made.push("thr", "feat: three", frozen)
        held = made.until(feature, "waiting", "freeze window 'fair' until")
        assert "the fair is open" in held["reason"]
        repair = made.push("fou", "fix: four", frozen)
        made.until(repair, "live")
        assert house.get("app")[1] == "fou"
