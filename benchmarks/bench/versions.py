"""A service in many versions, as processes or as containers, and each of its rollouts to its end."""

from __future__ import annotations

from typing import Any

from bench.engines import ContainerHouse, Podman
from bench.house import House, until
from bench.patient import WORKFLOW
from bench.report import Unmeasured

SERVICE, HOST = "app", "app.localhost"
ROLLOUT_S = 120.0
OVER = ("live", "rolled_back", "failed", "superseded", "retired")
STRATEGIES = {
    "canary": "steps: [20, 50], step: 1s, maxBake: 3s, warmup: 1s, minCanaryRequests: 20, "
    "onUnproven: promote",
    "blue-green": "strategy: blue-green, keepWarm: 2s",
    "rolling": "strategy: rolling, minReady: 1s",
    "mirror": "strategy: mirror, mirror: {time: 2s}, steps: [50], step: 1s, maxBake: 3s, warmup: 1s, "
    "minCanaryRequests: 20, onUnproven: promote",
    "recreate": "strategy: recreate",
}
"""How each is written, with its waits cut to seconds."""
APP = """import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("APP_VERSION", "@VERSION@")
FAIL_ONE_IN = int("@FAIL_ONE_IN@")
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


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


Server(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"""
SPEC = """apiVersion: poise.dev/v1
kind: Service
metadata: {name: app}
spec:
  @RUNS@
  port: 8080
  health: /healthz
  replicas: 2
  env: {POISE_BENCH: @MARK@}
  rollout: {drain: 3s, startTimeout: 30s, @STRATEGY@}
---
apiVersion: poise.dev/v1
kind: BudgetPolicy
metadata: {name: bench}
spec:
  slowSteps: [20, 50]
  slowBakeFactor: 1
"""


def source(version: int, fail_one_in: int = 0) -> str:
    """The app: it answers its version, and fails every so many-th request where told so."""
    return APP.replace("@VERSION@", str(version)).replace("@FAIL_ONE_IN@", str(fail_one_in))


class Versions:
    """Versions of one service in a house, one rollout after another; 1 is the first release.

    With ``podman`` its replicas are containers.
    """

    def __init__(self, house: House, strategy: str, podman: Podman | None = None) -> None:
        self.house, self.strategy, self.podman = house, strategy, podman
        self._version = 0

    @staticmethod
    def house_for(podman: Podman | None) -> House:
        """A house that knows the engine's storage, if there is one."""
        return ContainerHouse("shop", {}, podman) if podman else House("shop", {})

    def begin(self, count: int) -> int:
        """The house is up and the first of so many versions rests; its rollout. Images are built now."""
        self._prepare(count)
        self._write(1)
        self.house.commit("chore: begin")
        self.house.up()
        first = self.push()
        self.wait_resting(first)
        return first

    def _prepare(self, count: int) -> None:
        if self.podman:
            self.podman.python_image(f"{SERVICE}:base", source(0))
            for version in range(1, count + 1):
                self.podman.variant(f"{SERVICE}:{version}", f"{SERVICE}:base", APP_VERSION=str(version))

    def push(self, fail_one_in: int = 0) -> int:
        """Commit and push the next version; the number that its rollout will have."""
        self._version += 1
        self._write(self._version, fail_one_in)
        self.house.commit(f"feat: version {self._version}")
        found = self.house.rollouts(SERVICE) if self._version > 1 else []
        self.house.push()
        return max((int(one["n"]) for one in found), default=0) + 1

    def _write(self, version: int, fail_one_in: int = 0) -> None:
        runs = f"image: localhost/{SERVICE}:{version}" if self.podman else "command: python3 server.py"
        spec = SPEC.replace("@RUNS@", runs).replace("@STRATEGY@", STRATEGIES[self.strategy])
        self.house.write({"poise.yaml": spec.replace("@MARK@", self.house.folder.name)})
        if not self.podman:
            self.house.write({"server.py": source(version, fail_one_in)})
            self.house.write({".github/workflows/ci.yml": WORKFLOW})

    def rollout(self, n: int) -> dict[str, Any] | None:
        """The n-th rollout, if it is on record by now."""
        return next((one for one in self.house.rollouts(SERVICE) if one["n"] == n), None)

    def acknowledged(self, n: int) -> int:
        """Percent of the users that the n-th rollout has."""
        route = self.house.service(SERVICE)["route"] or {}
        return int(route.get("acked", {}).get(str(n), 0))

    def rests_on(self, n: int) -> bool:
        """Whether the n-th rollout is live, alone and whole, and nothing else runs or is under way."""
        status: Any = self.house.service(SERVICE)
        live, route = status["live"], status["route"] or {}
        if live is None or live["n"] != n or status["active"] is not None:
            return False
        weights = {rollout: weight for rollout, weight in route.get("acked", {}).items() if weight}
        replicas = [(one["rollout"], one["ready"]) for one in status["replicas"]]
        return weights == {str(n): 100} and replicas == [(n, True)] * 2

    def wait_resting(self, n: int) -> None:
        """Until the n-th rollout ``rests``; with the reason where it does not."""
        try:
            until(lambda: self.rests_on(n), ROLLOUT_S, f"{self.strategy}: rollout {n} is live and whole")
        except Unmeasured as late:
            raise Unmeasured(f"{late}\n{self.house.poise('why', SERVICE, check=False).stdout}") from None

    def take_back(self, n: int, before: int) -> int:
        """Back to rollout ``before`` as soon as users meet the n-th; the rollout that rests then."""

        def met() -> bool:
            one = self.rollout(n)
            return one is not None and (self.acknowledged(n) > 0 or one["state"] in OVER)

        until(met, ROLLOUT_S, f"{self.strategy}: users meet rollout {n}")
        self.house.poise("abort", SERVICE, "--reason", "measured", check=False)
        over: Any = until(
            lambda: one if (one := self.rollout(n)) and one["state"] in OVER else None,
            ROLLOUT_S, f"{self.strategy}: rollout {n} is over",
        )  # fmt: skip
        if over["state"] == "live":  # it had all users before the word reached it
            self.house.poise("rollback", SERVICE, "--reason", "measured")

        def back() -> int:
            live = self.house.service(SERVICE)["live"]
            found = int(live["n"]) if live else 0
            return found if found in (before, n + 1) and self.rests_on(found) else 0

        return int(until(back, ROLLOUT_S, f"{self.strategy}: {before} has all users again"))
