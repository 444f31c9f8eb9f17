"""What is scraped, told in Prometheus' shape: to those who may view the project, with what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from tests.adapters.scrape.exporters import exporter

from poise.model.record import Write
from poise.model.scrape import Relabel, RelabelAction, ScrapeConfig, TargetGroup
from poise.model.service import Project
from poise.ports.store import Transaction

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
DROP = Relabel(action=RelabelAction.DROP, source_labels=("__address__",), regex="old.*")


@pytest.fixture
def good(house: Any) -> str:
    """The address of a good target, scraped beside one that is down and one that is dropped."""

    async def scrape() -> str:
        async with exporter() as made:
            made.page("# HELP a_total All.\n# TYPE a_total counter\na_total 1\na_total 2\n")
            group = TargetGroup(targets=(made.address, "127.0.0.1:1", "old:1"), labels={"rack": "r"})
            config = ScrapeConfig(name="app", job="app", static=(group,), relabel=(DROP,))
            body = Project(name="shop", scrapes=(config,))
            write = Write(kind="Project", key="shop", body=body)
            await house.store.commit(Transaction(at=datetime.now(UTC), writes=[write]))
            scraper = house.parts.scraper
            await scraper.discover()
            for one in scraper.scrapings.values():
                one.due_s = 0.0
            async with anyio.create_task_group() as tasks:
                for one in scraper.due():
                    tasks.start_soon(scraper.once, one)
            await scraper.close()
            return made.address

    return anyio.run(scrape)


def asked(client: Client, headers: dict[str, str], path: str) -> Any:
    answer = client.get(f"/api/v1/{path}", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "success"
    return answer.json()["data"]


def test_targets_are_told_as_prometheus_tells_them(client: Client, headers: Headers, good: str) -> None:
    """Grafana's explorers and people's scripts read this; what Poise adds does not disturb them."""
    data = asked(client, headers("viewer"), "targets")
    by_instance = {one["labels"]["instance"]: one for one in data["activeTargets"]}
    up, down = by_instance[good], by_instance["127.0.0.1:1"]
    assert up["labels"] == {"instance": good, "job": "app", "project": "shop", "rack": "r"}
    assert up["discoveredLabels"]["__address__"] == good
    assert (up["scrapePool"], up["health"], up["lastError"]) == ("app", "up", "")
    assert (up["scrapeUrl"], up["scrapeInterval"], up["scrapeTimeout"]) == (
        f"http://{good}/metrics",
        "15s",
        "10s",
    )
    assert datetime.fromisoformat(up["lastScrape"]).tzinfo is not None
    assert up["faultCounts"] == {"duplicate": 1} and "is there twice" in up["faults"][0]
    assert down["health"] == "down" and "POISE-M502" in down["lastError"]
    assert data["droppedTargets"][0]["discoveredLabels"]["__address__"] == "old:1"
    assert data["droppedTargetCounts"] == {"app": 1}
    assert asked(client, headers("viewer"), "targets?state=active")["droppedTargets"] == []
    assert asked(client, headers("viewer"), "targets?state=dropped")["activeTargets"] == []
    assert asked(client, headers("viewer"), "targets?scrapePool=else")["activeTargets"] == []
    assert asked(client, headers("viewer"), "scrape_pools") == {"scrapePools": ["app"]}
    assert client.get("/api/v1/targets?state=x", headers=headers("viewer")).status_code == 400


def test_metadata_is_told_by_target(client: Client, headers: Headers, good: str) -> None:
    (row,) = asked(client, headers("viewer"), "targets/metadata")
    assert (row["metric"], row["type"], row["help"], row["unit"]) == ("a_total", "counter", "All.", "")
    assert row["target"]["instance"] == good
    for path, count in (
        ('targets/metadata?match_target={job="app"}', 1),
        ('targets/metadata?match_target={job=~"b.*"}', 0),
        ("targets/metadata?metric=other", 0),
    ):
        assert len(asked(client, headers("viewer"), path)) == count, path


def test_others_do_not_see_them(client: Client, headers: Headers, good: str) -> None:
    assert asked(client, headers("other-admin"), "targets")["activeTargets"] == []
    assert asked(client, headers("other-admin"), "targets/metadata") == []
    assert client.get("/api/v1/targets").status_code == 401


def test_they_are_counted_and_shown(client: Client, headers: Headers, good: str) -> None:
    page = client.get("/metrics", headers=headers("viewer")).text
    assert 'poise_scrape_targets{health="up"} 1' in page
    assert 'poise_intake_total{kind="failed-unreachable",source="scrape"} 1' in page
    assert 'poise_intake_total{kind="duplicate",source="scrape"} 1' in page
    html = client.get("/", headers=headers("viewer")).text
    assert "1 of 2 targets down." in html
    assert html.index("127.0.0.1:1<") < html.index(good)  # those in need first
