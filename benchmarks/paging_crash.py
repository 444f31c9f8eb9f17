"""kill -9 of the control process at random instants of escalations: no page may be lost, few may double."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import threading
import time
import uuid
from collections import Counter
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from bench.house import House, until
from bench.report import Figure, Goal, Report, run

READY_S = 20.0
REACH_S = 60.0
KILLS_AN_INCIDENT = 5
OVERTAKEN_S = 2.0
SPEC = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {{name: web}}
spec: {{command: python3 -m http.server $PORT, port: 8080}}
---
apiVersion: poise.dev/v1
kind: OnCallSchedule
metadata: {{name: first}}
spec:
  zone: Europe/Berlin
  people:
    - name: anna
      contacts: [{{webhook: "{url}/anna/1"}}, {{webhook: "{url}/anna/2"}}]
  rotations: [{{people: [anna], starts: 2020-01-06}}]
---
apiVersion: poise.dev/v1
kind: OnCallSchedule
metadata: {{name: second}}
spec:
  zone: America/New_York
  people: [{{name: ben, contacts: [{{webhook: "{url}/ben"}}]}}]
  rotations: [{{people: [ben], starts: 2020-01-06}}]
---
apiVersion: poise.dev/v1
kind: EscalationPolicy
metadata: {{name: default}}
spec:
  steps: [{{schedule: first, wait: 1s}}, {{schedule: second, wait: 1s}}]
  rounds: 20
  remind: 2s
"""
GOALS = [
    Goal("pages_lost", at_most=0),
    Goal("duplicates_per_kill_max", at_most=1),
    Goal("escalations_stuck", at_most=0),
    Goal("chain_ok", at_least=1),
]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)


class Receiver:
    """Takes every page and keeps when which id came; now and then it is slow, so that kills hit a send."""

    def __init__(self, seed: int) -> None:
        self.got: list[tuple[float, str]] = []
        dice, got = random.Random(seed), self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                got.append((time.monotonic(), body["id"]))
                time.sleep(dice.choice((0.0, 0.0, 0.05, 0.2)))
                try:
                    self.send_response(204)
                    self.end_headers()
                except OSError:
                    pass  # who asked was killed

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def counts(self) -> Counter[str]:
        """How often each id came."""
        return Counter(id for _, id in list(self.got))


def measure(given: argparse.Namespace) -> Report:
    figures: dict[str, Figure] = {"kills": given.kills, "seed": given.seed}
    dice = random.Random(given.seed)
    with (
        Receiver(given.seed) as receiver,
        House("shop", {"poise.yaml": SPEC.format(url=receiver.url)}) as house,
    ):
        house.commit("feat: on-call")
        house.up()
        house.poise("apply")
        ready_s: list[float] = []
        doubled: list[int] = []
        left, stuck, incidents = given.kills, 0, []
        while left > 0:
            incident = open_incident(house)
            incidents.append(incident)
            for _ in range(min(left, KILLS_AN_INCIDENT)):
                before = sum(count - 1 for count in receiver.counts.values())
                ready_s.append(kill(house, dice))
                stuck += not goes_on(house, incident)
                doubled.append(sum(count - 1 for count in receiver.counts.values()) - before)
            left -= KILLS_AN_INCIDENT
            say(house, incident, "resolve")
            settled(house, [incident])
        account(house, receiver, incidents, figures)
    figures |= {
        "incidents": len(incidents),
        "duplicates_per_kill_max": max(doubled),
        "duplicates": sum(doubled),
        "kills_with_a_duplicate": sum(count > 0 for count in doubled),
        "escalations_stuck": stuck,
        "ready_again_s_median": statistics.median(ready_s),
        "ready_again_s_max": max(ready_s),
    }
    remarks = [
        "lost: a page asked for and not received, but for those asked for within the last 2 s of an incident",
        "duplicate: an id that came again; its Idempotency-Key is the same, so the receiver can drop it",
        "stuck: no further page was asked for within a minute after the restart",
    ]
    return Report(figures, GOALS, remarks)


def open_incident(house: House) -> int:
    """Open one by hand at sev1; its number."""
    body = {"service": "web", "title": "everything burns", "severity": "sev1"}
    path = f"/api/v1/projects/{house.project}/incidents"
    made = house.api(path, body, {"idempotency-key": str(uuid.uuid4())})
    return int(made["key"].rpartition("/")[2])


def say(house: House, incident: int, verb: str) -> None:
    path = f"/api/v1/projects/{house.project}/incidents/{incident}/orders"
    house.api(path, {"verb": verb}, {"idempotency-key": str(uuid.uuid4())})


def kill(house: House, dice: random.Random) -> float:
    """Kill at a random instant of the escalation; s until ready again."""
    time.sleep(dice.uniform(0.05, 2.5))
    began = time.monotonic()
    house.kill_control()
    house.up()
    until(house.ready, READY_S, "ready again", pause_s=0.01)
    return time.monotonic() - began


def goes_on(house: House, incident: int) -> bool:
    """Whether another page is asked for after the restart."""
    before = pages_of(house, incident)
    deadline = time.monotonic() + REACH_S
    while time.monotonic() < deadline:
        if len(pages_of(house, incident)) > len(before):
            return True
        time.sleep(0.1)
    return False


def pages_of(house: House, incident: int) -> list[Any]:
    """The newest pages of an incident, at most 100."""
    return list(house.api(f"/api/v1/projects/{house.project}/incidents/{incident}")["pages"])


def settled(house: House, incidents: list[int]) -> None:
    """Each is resolved, and those who were paged know it."""
    for incident in incidents:
        path = f"/api/v1/projects/{house.project}/incidents/{incident}"
        until(lambda path=path: house.api(path)["escalation"]["closed"], REACH_S, f"{path} is closed")  # type: ignore[misc]
        until(
            lambda incident=incident: all(  # type: ignore[misc]
                page["sent_at"] for page in pages_of(house, incident) if page["closing"]
            ),
            REACH_S,
            f"all know of the end of {incident}",
        )


def account(house: House, receiver: Receiver, incidents: list[int], figures: dict[str, Figure]) -> None:
    """Every page on record against what came. A page that its incident's end overtook is not due."""
    counts, due, lost, overtaken = receiver.counts, 0, [], 0
    for incident in incidents:
        for page in pages_of(house, incident):
            key = f"{page['incident']}/{page['k']:06d}"
            if counts[key]:
                due += 1
            elif page["sent_at"] or page["closing"] or not is_overtaken(house, incident, page):
                due += 1
                lost.append(key)
            else:
                overtaken += 1
    figures |= {"pages_due": due, "pages_lost": len(lost), "pages_overtaken": overtaken}
    figures["pages_received"] = sum(counts.values())
    figures["chain_ok"] = int(house.poise("audit", "verify", check=False).returncode == 0)
    for key in lost:
        print(f"  lost: {key}", file=sys.stderr)


def is_overtaken(house: House, incident: int, page: Any) -> bool:
    """Whether it was asked for within the last two seconds before its incident was resolved."""
    end = house.api(f"/api/v1/projects/{house.project}/incidents/{incident}")["incident"]["resolved_at"]
    if not end:
        return False
    left = datetime.fromisoformat(end) - datetime.fromisoformat(page["asked_at"])
    return left.total_seconds() < OVERTAKEN_S


if __name__ == "__main__":
    sys.exit(run("paging_crash", measure, options))
