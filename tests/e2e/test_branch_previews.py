"""Branch previews on a real house: git push, a run, a process, Envoy; and nothing else is any different."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PATIENCE_S = 90.0
APP = """import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

{before}

class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len("{says}")))
        self.end_headers()
        self.wfile.write(b"{says}")

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"""
SPEC = """apiVersion: poise.dev/v1
kind: Service
metadata: {name: app}
spec:
  command: python3 -u server.py
  port: 8080
  replicas: 1
  rollout: {drain: 1s, startTimeout: 20s}
---
apiVersion: poise.dev/v1
kind: Project
metadata: {name: shop}
spec:
  previews: {branches: "feature/*", life: LIFE, max: MAX}
"""


def spec(life: str = "24h", most: int = 5) -> str:
    return SPEC.replace("LIFE", life).replace("MAX", str(most))


class Branches:
    """A house whose app is live from main, and branches beside it."""

    def __init__(self, house: House) -> None:
        self.house = house

    def push(self, branch: str, says: str, before: str = "", amend: bool = False) -> str:
        """A commit on ``branch`` that answers ``says``, pushed; with ``amend`` in place of the newest.

        What the push said.
        """
        git = self.house._git
        git("checkout", "-q", *([branch] if self.has(branch) else ["-b", branch, "main"]))
        self.house.write({"server.py": APP.format(says=says, before=before)})
        git("reset", "-q", "--soft", "HEAD~1" if amend else "HEAD")
        self.house.commit(f"feat: {says}")
        pushed = git("push", "-q", *(["--force"] if amend else []), "poise", branch)
        git("checkout", "-q", "main")
        return str(pushed.stderr)

    def has(self, branch: str) -> bool:
        return self.house._git("rev-parse", "-q", "--verify", branch, check=False).returncode == 0

    def delete(self, branch: str) -> None:
        self.house._git("push", "-q", "poise", "--delete", branch)

    def get(self, host: str) -> tuple[int, str]:
        return self.house.get(host.removesuffix(".localhost"))

    def says(self, host: str, text: str) -> None:
        until(lambda: self.get(host) == (200, text), PATIENCE_S, f"{host} says {text}: {self.rows()}")

    def is_gone(self, host: str) -> None:
        until(lambda: self.get(host)[0] in (404, 503), PATIENCE_S, f"{host} is gone")

    def rows(self) -> list[Any]:
        found: list[Any] = json.loads(self.house.poise("previews", "--json").stdout)
        return found

    def row(self, branch: str) -> Any:
        return next((one for one in self.rows() if one["branch"] == branch), {"state": ""})


@pytest.fixture(scope="module")
def branches() -> Iterator[Branches]:
    """One app, live, whose previews are declared."""
    with House("shop", {"server.py": APP.format(says="main", before=""), "poise.yaml": spec()}) as house:
        house.up()
        house.ship("feat: the app", ("app",))
        yield Branches(house)


def test_a_pushed_branch_answers_at_its_own_host_until_it_is_deleted(branches: Branches) -> None:
    """What reviewers look at is the branch; what users get is main, before, meanwhile and after."""
    host = "feature-login-2.app.localhost"
    before = branches.house.rollouts("app")
    said = branches.push("feature/login-2", "login")
    assert "note: feature/login-2 gets a preview of app once it is built. See: poise previews" in said
    branches.says(host, "login")
    assert branches.get("app.localhost") == (200, "main")
    branches.push("feature/login-2", "login again")
    branches.says(host, "login again")
    branches.push("feature/login-2", "rewritten", amend=True)
    branches.says(host, "rewritten")
    assert branches.get("app.localhost") == (200, "main")
    assert branches.house.rollouts("app") == before
    assert _processes("feature-login-2")
    branches.delete("feature/login-2")
    branches.is_gone(host)
    assert branches.get("app.localhost") == (200, "main")
    until(lambda: not _processes("feature-login-2"), PATIENCE_S, "no process of a preview is left")
    assert branches.row("feature/login-2")["stopped"] == "deleted"
    told = {one["event"]["type"] for one in branches.house.events() if "/~" in one["event"]["subject"]}
    rooms = {".".join(kind.split(".")[:3]) for kind in told}
    assert rooms <= {"dev.poise.preview", "dev.poise.replica", "dev.poise.traffic"}, told


def test_what_does_not_start_says_why_and_what_answered_goes_on(branches: Branches) -> None:
    """In the list, in the journal and on the service's page; users hear nothing of it."""
    host = "feature-broken.app.localhost"
    branches.push("feature/broken", "good")
    branches.says(host, "good")
    branches.push("feature/broken", "bad", before="raise SystemExit(3)")
    until(lambda: branches.row("feature/broken")["state"] == "failed", PATIENCE_S, "it failed")
    sentence = branches.row("feature/broken")["sentence"]
    assert "crashed 3 times before it was ready (exit code 3)" in sentence and "still answers" in sentence
    assert branches.get(host) == (200, "good")
    assert branches.get("app.localhost") == (200, "main")
    told = [one for one in branches.house.events() if one["event"]["type"] == "dev.poise.preview.failed"]
    assert sentence in [one["event"]["summary"] for one in told]
    for command in ("previews", "status"):
        answer = branches.house.poise(command)
        assert f"T{sentence[1:]}. See: poise logs" in answer.stderr and "feature/broken" in answer.stdout
    stopped = branches.house.poise("previews", "stop", "feature/broken", "--reason", "seen enough")
    assert "stops the previews of feature/broken: seen enough" in stopped.stdout
    branches.is_gone(host)
    assert branches.row("feature/broken")["stopped"] == "ordered"


def test_previews_answer_while_poise_is_dead_and_the_oldest_gives_way(branches: Branches) -> None:
    """As every workload, they outlive the control process; at most ``max`` branches have one."""
    house = branches.house
    house.write({"poise.yaml": spec(life="60s", most=1)})
    house.poise("apply")
    branches.push("feature/one", "one")
    branches.says("feature-one.app.localhost", "one")
    control = house.control_pid()
    assert control is not None
    os.kill(control, signal.SIGKILL)
    assert branches.get("feature-one.app.localhost") == (200, "one")
    house.up()
    branches.push("feature/two", "two")
    branches.says("feature-two.app.localhost", "two")
    assert branches.row("feature/one")["stopped"] == "crowded"
    until(lambda: branches.row("feature/two")["stopped"] == "expired", 2 * PATIENCE_S, "its life is over")
    branches.is_gone("feature-two.app.localhost")
    until(lambda: not _processes("feature-"), PATIENCE_S, "no process of a preview is left")
    assert branches.get("app.localhost") == (200, "main")


def _processes(label: str) -> list[str]:
    """Processes of replicas of a preview, by what they were started with."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"POISE_SERVICE=shop/~{label}".encode() in path.read_bytes():
                found.append(path.parent.name)
    return found
