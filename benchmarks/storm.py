"""A storm of alerts: 1,000 from 5 causes become few incidents; among 10,000 open ones an answer stays quick.

Alerts arrive through the real webhook over HTTP, in random order, some flapping, some without a service; the
real store, loop and controllers serve them. ``--alerts``, ``--open`` and ``--acks`` set the size.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import uvicorn

from bench import report
from bench.report import Goal, Report, Unmeasured, percentile
from poise.adapters.clock import SystemClock
from poise.adapters.git.repositories import GitRepositories
from poise.adapters.masking import Masker
from poise.adapters.sealing import Sealer, secret_key
from poise.adapters.sqlite.store import SqliteStore
from poise.adapters.totals.store import StoredTotals
from poise.api import first
from poise.api.access import mint
from poise.api.parts import Parts
from poise.api.server import make_server
from poise.delivery.source.controller import SourceController
from poise.engine.loop import Loop
from poise.model.access import Principal, Role
from poise.model.incident import Alert, AlertState
from poise.model.record import Write
from poise.model.service import Project, Service
from poise.ports.store import Transaction
from poise.reliability.detection.controller import DetectionController
from poise.reliability.incident.controller import GroupingController, IncidentController

TREES = 5
# A tree: a front, two in the middle, two below.
NEEDS = {"front": ("left", "right"), "left": ("deep",), "right": ("store",), "deep": (), "store": ()}
URL = "http://127.0.0.1"


class _NoKeeper:
    async def list(self) -> list[Any]:
        raise ConnectionError("no keeper here")


class Served:
    """A control process without a keeper, in a thread: store, loop, API."""

    def __init__(self, data: Path, faces: Sequence[Any] = ()) -> None:
        self._faces = faces
        for name in ("run", "logs", "repos"):
            (data / name).mkdir(parents=True)
        self.store, self.clock = SqliteStore(data / "poise.db"), SystemClock()
        store, repositories = self.store, GitRepositories(data / "repos")
        sealer = Sealer(secret_key(data))
        controllers = (DetectionController(store), GroupingController(store), IncidentController(store))
        self.loop = Loop(store, self.clock, controllers, {}, f"bench:{os.getpid()}")
        given: dict[str, Any] = {
            "data": data, "store": store, "signals": StoredTotals(data / "signals.db"), "clock": self.clock,
            "loop": self.loop, "repositories": repositories, "runtime": _NoKeeper(),
            "source": SourceController(store, repositories), "signing_key": first.signing_key(data),
            "ingress_port": 0, "sealer": sealer, "masker": Masker(sealer),
            "stop": lambda: None,
        }  # fmt: skip
        self.parts = Parts(**given)
        self.credential, self._token = mint("bench", self.clock.now(), timedelta(hours=1))
        self.port = 0
        self.started = threading.Event()
        self._server: uvicorn.Server | None = None

    def run(self) -> None:
        anyio.run(self._run)

    async def _run(self) -> None:
        await self._declare()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(512)
            self.port = listener.getsockname()[1]
            config = uvicorn.Config(
                make_server(self.parts, self._faces),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
            )
            self._server = uvicorn.Server(config)
            self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            async with anyio.create_task_group() as group:
                group.start_soon(self.loop.run)
                self.started.set()
                await self._server.serve(sockets=[listener])
                group.cancel_scope.cancel()
        await self.parts.signals.close()
        await self.store.close()

    def stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True

    async def _declare(self) -> None:
        made: list[Any] = [
            Project(name="shop"),
            Principal(name="bench", roles={"*": Role.ADMIN}),
            self._token,
        ]
        for tree in range(TREES):
            for name, needs in NEEDS.items():
                depends_on = tuple(f"t{tree}-{one}" for one in needs)
                made.append(
                    Service(
                        project="shop", environment="production", name=f"t{tree}-{name}", command="run",
                        depends_on=depends_on,
                    )
                )  # fmt: skip
        writes = [
            Write(kind=type(one).__name__, key=getattr(one, "key", None) or one.name, body=one)
            for one in made
        ]
        await self.store.commit(Transaction(at=self.clock.now(), writes=writes))


@contextmanager
def served(folder: str, faces: Sequence[Any] = ()) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="poise-storm-", dir=folder or None) as data:
        house = Served(Path(data) / "data", faces)
        thread = threading.Thread(target=house.run)
        thread.start()
        if not house.started.wait(30):
            raise Unmeasured("the server did not start")
        try:
            yield house
        finally:
            house.stop()
            thread.join(30)


def client_of(house: Served) -> httpx.Client:
    headers = {"authorization": f"Bearer {house.credential}"}
    client = httpx.Client(base_url=f"{URL}:{house.port}/api/v1/projects/shop", headers=headers, timeout=60)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if client.get("/incidents").status_code == 200:
                return client
        except httpx.TransportError:
            time.sleep(0.02)
    raise Unmeasured("the server does not answer")


def storm(count: int, seed: int) -> list[dict[str, Any]]:
    """Alerts of five causes, one per tree. A tenth names its service by another label, a few by none."""
    chance = random.Random(seed)
    made = []
    for index in range(count):
        tree = index % TREES
        service = f"t{tree}-{chance.choice(list(NEEDS))}"
        labels = {
            "alertname": f"Alert{index}",
            "cause": str(tree),
            "severity": "critical",
            "service": service,
        }
        if index % 10 == 0:
            labels["service_name"] = labels.pop("service")
        elif index % 50 == 1:  # nothing but the machine that it came from; two machines in all
            del labels["service"]
            labels["job"] = f"node-{tree}" if tree < 2 else "node-0"
            labels["cause"] = "0" if tree >= 2 else str(tree)
        made.append(labels)
    chance.shuffle(made)
    return made


def payload(alerts: list[dict[str, str]], state: str, at: datetime) -> dict[str, Any]:
    told = [
        {
            "status": state, "labels": labels, "annotations": {"summary": f"{labels['alertname']} is bad"},
            "startsAt": at.isoformat(), "endsAt": at.isoformat() if state == "resolved" else
            "0001-01-01T00:00:00Z", "fingerprint": f"{int(labels['alertname'][5:]):016x}",
        }
        for labels in alerts
    ]  # fmt: skip
    return {"version": "4", "groupKey": "{}", "status": state, "alerts": told, "commonLabels": {}}


def send(client: httpx.Client, alerts: list[dict[str, str]], state: str, at: datetime) -> None:
    answer = client.post("/webhooks/alertmanager", json=payload(alerts, state, at))
    if answer.status_code != 200:
        raise Unmeasured(f"the webhook answered {answer.status_code}: {answer.text[:300]}")


def arrive(client: httpx.Client, alerts: list[dict[str, str]], over_s: float, seed: int) -> None:
    """In batches over ``over_s`` seconds; a twentieth ends and fires again."""
    chance, began, done = random.Random(seed + 1), time.monotonic(), 0
    while done < len(alerts):
        batch = alerts[done : done + chance.randint(1, 20)]
        send(client, batch, "firing", datetime.now(UTC))
        flapping = [one for one in batch if chance.random() < 0.05]
        if flapping:
            send(client, flapping, "resolved", datetime.now(UTC))
            send(client, flapping, "firing", datetime.now(UTC))
        done += len(batch)
        time.sleep(max(0.0, began + over_s * done / len(alerts) - time.monotonic()))


def causes_of(house: Served) -> dict[int, set[str]]:
    """The causes of the alerts of each open incident, found by the groups that they are part of."""
    from poise.model.incident import AlertGroup
    from poise.reliability.incident.grouping import place

    async def read() -> dict[int, set[str]]:
        groups, _ = await house.store.scan(AlertGroup)
        services = {one.key: one for one in (await house.store.scan(Service))[0]}
        n_of = {(group.service, group.group): group.incident for group in groups}
        found: dict[int, set[str]] = defaultdict(set)
        after = ""
        while page := (await house.store.scan(Alert, after=after))[0]:
            for alert in page:
                if alert.state is AlertState.FIRING:
                    found[n_of.get(place(alert, services)) or 0].add(alert.labels["cause"])
            after = page[-1].key
        return dict(found)

    return anyio.run(read)


def settled(client: httpx.Client) -> list[dict[str, Any]]:
    """All incidents, once their alerts have not grown for two seconds."""
    before, deadline, since = None, time.monotonic() + 120, time.monotonic()
    while time.monotonic() < deadline:
        found = client.get("/incidents", params={"limit": 500}).json()["items"]
        now = [(one["n"], one["state"], one["alert_count"]) for one in found]
        if now != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > 6.0:  # longer than the wait before an incident opens
            return list(found)
        time.sleep(0.1)
    raise Unmeasured("incidents did not settle")


def acknowledge(client: httpx.Client, numbers: list[int], times: int) -> tuple[list[float], list[float]]:
    """Milliseconds until each answer, and until the incident itself says so."""
    answered, visible = [], []
    for index in range(times):
        n, said = numbers[index % len(numbers)], index // len(numbers)
        verb = "acknowledge" if said == 0 else "note"
        body = {"verb": verb, "text": f"word {index}"}
        began = time.perf_counter()
        done = client.post(f"/incidents/{n}/orders", json=body, headers={"idempotency-key": f"k{index}"})
        answered.append((time.perf_counter() - began) * 1e3)
        if done.status_code != 201:
            raise Unmeasured(f"an acknowledgement was answered {done.status_code}: {done.text[:300]}")
        k = int(done.json()["key"].rsplit("/", 1)[-1])
        while client.get(f"/incidents/{n}").json()["incident"]["orders_seen"] < k:
            if time.perf_counter() - began > 30:
                raise Unmeasured("the loop did not follow")
        visible.append((time.perf_counter() - began) * 1e3)
    return answered, visible


def measure(given: argparse.Namespace) -> Report:
    found = Report(
        goals=[
            Goal("incidents", at_most=7),
            Goal("mixing_two_causes", at_most=0),
            Goal("alerts_in_no_incident", at_most=0),
            Goal("ack_ms_p95", at_most=100),
        ]
    )
    with served("") as house, closing(client_of(house)) as client:
        alerts = storm(given.alerts, given.seed)
        arrive(client, alerts, given.over, given.seed)
        incidents, causes = settled(client), causes_of(house)
        found.figures |= {
            "alerts": len(alerts),
            "causes": TREES,
            "incidents": len(incidents),
            "merged": sum(one["state"] == "merged" for one in incidents),
            "mixing_two_causes": sum(len(one) > 1 for n, one in causes.items() if n),
            "alerts_in_no_incident": len(causes.get(0, ())),
            "noise_cut_percent": 100 * (1 - len(incidents) / len(alerts)),
        }
        _many_open(house, client, given, found)
    return found


def _many_open(house: Served, client: httpx.Client, given: argparse.Namespace, found: Report) -> None:
    """Alerts up to ``--open``, each tree and a hundred jobs; then acknowledge them."""
    more = [
        {"alertname": f"Alert{index}", "cause": "x", "severity": "critical", "job": f"job-{index % 100}"}
        for index in range(given.alerts, given.open)
    ]
    began = time.monotonic()
    for index in range(0, len(more), 500):
        send(client, more[index : index + 500], "firing", datetime.now(UTC))
    found.figures["ingested_per_s"] = len(more) / max(1e-9, time.monotonic() - began)
    incidents = settled(client)
    opened = [one["n"] for one in incidents if one["state"] == "open"]
    answered, visible = acknowledge(client, opened, given.acks)
    found.figures |= {
        "open_alerts": given.open,
        "acks": len(answered),
        "ack_ms_p50": percentile(answered, 50),
        "ack_ms_p95": percentile(answered, 95),
        "ack_ms_max": max(answered),
        "ack_seen_ms_p95": percentile(visible, 95),
    }


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--alerts", type=int, default=1000)
    parser.add_argument("--open", type=int, default=10_000)
    parser.add_argument("--acks", type=int, default=100)
    parser.add_argument("--over", type=float, default=60.0, help="seconds over which the storm arrives")
    parser.add_argument("--seed", type=int, default=1)


if __name__ == "__main__":
    raise SystemExit(report.run("storm", measure, options))
