"""The room of an incident with a long timeline: how long a reader waits for it.

The events go through the real store; the page is asked of a real server over HTTP, signed in, one request
after another, newest lines and the earliest page alike. ``--entries`` and ``--times`` set the size.
"""

from __future__ import annotations

import argparse
import random
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx

from bench import report
from bench.report import Goal, Report, Unmeasured, percentile
from poise.model import event_types as types
from poise.model.incident import Diagnosis, Evidence, Incident, Severity, Suspect, SuspectKind
from poise.model.record import Event, Write
from poise.model.signal import ERRORS_TOTAL, REQUESTS_TOTAL, Batch, Sample, Series
from poise.ports.store import Transaction
from poise.web import routes
from storm import Served, client_of, served

SERVICE = "shop/production/t0-front"
BATCH = 500
SHOWN = 100
AGE = timedelta(hours=1)
READINGS_S = 10


def incident_of(now: datetime) -> Incident:
    return Incident(
        project="shop", environment="production", n=1, title="availability burns 124x",
        severity=Severity.SEV1, service=SERVICE, services=(SERVICE, "shop/production/t0-left"),
        onset_at=now - AGE, opened_at=now - AGE + timedelta(minutes=2),
    )  # fmt: skip


def diagnosis_of(one: Incident) -> Diagnosis:
    proof = Evidence(rule="precedes", text="70 s before the onset", events=(1, 2, 3))
    suspects = tuple(
        Suspect(
            kind=SuspectKind.CONFIG, subject=f"{SERVICE}/{n:06d}", summary=f"config {n}", at=one.onset_at,
            score=0.9 / n, evidence=(proof, proof, proof),
        )
        for n in range(1, 11)
    )  # fmt: skip
    return Diagnosis(
        incident=one.key, at=one.opened_at, onset_at=one.onset_at, explained=True, suspects=suspects[:5],
        cleared=suspects[5:], sentence="Most likely config 1",
    )  # fmt: skip


def told(one: Incident, count: int, seed: int) -> list[Event]:
    """Lines of every kind, half of them the incident's own."""
    chance = random.Random(seed)
    of_service = (types.GATE_ANSWERED, types.HEAL_ORDERED, types.SCALE_CHANGED, types.ROLLOUT_STEPPED)
    of_incident = (types.INCIDENT_NOTED, types.PAGE_SENT, types.INCIDENT_JOINED)
    made = []
    for n in range(count):
        own = n % 2 == 0
        kind = chance.choice(of_incident if own else of_service)
        subject = one.key if own else f"{chance.choice(one.services)}/{chance.randrange(1, 50):06d}"
        made.append(
            Event(type=kind, subject=subject, summary=f"line {n}: what happened, in words", data={"n": n})
        )
    return made


def fill(house: Served, count: int, seed: int) -> None:
    """The incident, its diagnosis, an hour of counters and ``count`` events of it and its services."""
    now = datetime.now(UTC)
    one = incident_of(now)
    lines = told(one, count, seed)

    async def write() -> None:
        made: list[Any] = [one, diagnosis_of(one)]
        writes = [Write(kind=type(body).__name__, key=body.key, body=body) for body in made]
        await house.store.commit(Transaction(at=house.clock.now(), writes=writes))
        for start in range(0, len(lines), BATCH):
            await house.store.commit(Transaction(at=house.clock.now(), events=lines[start : start + BATCH]))
        labels = (("service", SERVICE),)
        for step in range(int(AGE.total_seconds()) // READINGS_S):
            samples = (
                Sample(Series(REQUESTS_TOTAL, labels), 100.0 * step),
                Sample(Series(ERRORS_TOTAL, labels), 12.0 * step),
            )
            at = now - AGE + timedelta(seconds=step * READINGS_S)
            await house.parts.signals.append(Batch(at=at, epoch="bench", samples=samples))

    anyio.run(write)


def asked(client: httpx.Client, path: str, times: int) -> tuple[list[float], str]:
    """Milliseconds until each answer is read, and the last one."""
    took, page = [], ""
    for _ in range(times):
        began = time.perf_counter()
        answer = client.get(path)
        took.append((time.perf_counter() - began) * 1e3)
        page = answer.text
        if answer.status_code != 200:
            raise Unmeasured(f"{path} answered {answer.status_code}: {page[:300]}")
    return took, page


def measure(given: argparse.Namespace) -> Report:
    found = Report(goals=[Goal("page_ms_p95", at_most=300), Goal("earliest_ms_p95", at_most=300)])
    path = "/projects/shop/incidents/1"
    with served("", routes.ROUTES) as house, closing(client_of(house)) as client:
        root = httpx.URL(f"http://127.0.0.1:{house.port}")
        client.base_url = root
        fill(house, given.entries, given.seed)
        asked(client, path, 1)  # the first answer also loads what later ones share
        took, page = asked(client, path, given.times)
        if page.count('<li id="e') != SHOWN:
            raise Unmeasured(f"the page shows {page.count('<li id=')} lines")
        early, _ = asked(client, f"{path}?before={SHOWN}", given.times)
        one_kind, _ = asked(client, f"{path}?kind=note", given.times)
    found.figures |= {
        "entries": given.entries,
        "times": given.times,
        "page_kib": len(page.encode()) / 1024,
        "page_ms_p50": percentile(took, 50),
        "page_ms_p95": percentile(took, 95),
        "earliest_ms_p95": percentile(early, 95),
        "one_kind_ms_p95": percentile(one_kind, 95),
    }
    return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)


if __name__ == "__main__":
    raise SystemExit(report.run("incident_page", measure, options))
