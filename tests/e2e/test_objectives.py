"""A real house with a threshold, a probe and a month: on the page, over the API and in the terminal."""

import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from bench.house import POISE, House, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SPEC = """apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec:
  command: python3 -m http.server --bind 127.0.0.1 $PORT
  port: 8080
  replicas: 2
  rollout: {steps: [50], step: 1s, maxBake: 4s, warmup: 1s, drain: 1s, minCanaryRequests: 5}
---
apiVersion: poise.dev/v1
kind: Probe
metadata: {name: home}
spec: {http: '%s', every: 2s}
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: idle}
spec:
  service: web
  target: 99%%
  threshold: node_load1
  below: 100000
  window: [28d, month]
  zone: Europe/Berlin
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: reachable}
spec: {service: web, target: 99.5%%, probe: home, window: week}
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: visit}
spec: {service: web, target: 95%%, allOf: [reachable, availability], slice: 10s, maxDelay: 45s}
"""
WEB = "/api/v1/projects/site/environments/production/services/web"


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One service, live, that is looked at from outside."""
    with House("site", {}) as house:
        house.write({"poise.yaml": SPEC % f"http://127.0.0.1:{house.port}/healthz"})
        house.up()
        house.ship("feat: web", ("web",))
        yield house


def budgets(house: House) -> dict[str, Any]:
    return {one["objective"]: one for one in house.api(f"{WEB}/budgets")["items"]}


def shown(house: House, path: str) -> str:
    token = (house.data / "token").read_text().strip()
    asked = urllib.request.Request(
        f"http://127.0.0.1:{house.port}{path}", headers={"authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(asked, timeout=10.0) as answer:
        return str(answer.read().decode())


def said(house: House, *words: str) -> str:
    return subprocess.run(
        [POISE, *words], cwd=house.app, env=house.environment, capture_output=True, text=True, timeout=60,
        check=True,
    ).stdout  # fmt: skip


def test_gauges_probes_and_journeys_have_budgets_over_their_windows(house: House) -> None:
    """Samples of the embedded store become events, and events a month's budget."""

    def measured() -> dict[str, Any] | None:
        found = budgets(house)
        mine = [found.get(name) for name in ("idle", "reachable", "visit")]
        return found if all(one and one["measured_at"] and one["good"] > 0 for one in mine) else None

    found = until(measured, 180.0, "every kind is measured")
    assert found["idle"]["left_ratio"] == 1.0 and found["idle"]["problem"] == ""
    assert [one["name"] for one in found["idle"]["periods"]][:2] == ["28d", "month (Europe/Berlin)"]
    assert found["reachable"]["periods"][0]["name"] == "week (UTC)"
    page = shown(house, "/services/site/production/web")
    for words in ("idle", "reachable", "visit", "month (Europe/Berlin)", "week (UTC)"):
        assert words in page
    table = said(house, "slo", "web")
    assert "month (Europe/Berlin)" in table and "week (UTC)" in table
    assert "node_load1" in said(house, "explain", "slo/web/idle")


def test_excluded_time_is_taken_out_and_put_back(house: House) -> None:
    """Announced work; who did it and why is in the journal."""
    said(house, "slo", "exclude", "work", "web/reachable", "--reason", "new disks", "--for", "10m")

    def excluded() -> Any:
        one = budgets(house)["reachable"]
        return one if one["excluded_s"] > 0 else None

    one = until(excluded, 60.0, "the exclusion is in force")
    assert one["unadjusted_left_ratio"] is not None
    assert "new disks" in said(house, "slo", "exclusions") and "new disks" in house.journal_text()
    said(house, "slo", "include", "work")
    until(lambda: budgets(house)["reachable"]["excluded_s"] == 0, 60.0, "the exclusion is gone")
