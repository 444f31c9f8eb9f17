"""``poise targets``: which endpoints are scraped, which are down and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from poise.model.record import Write
from poise.model.scrape import ScrapeConfig, TargetGroup
from poise.model.service import Project
from poise.ports.store import Transaction

Run = Callable[..., Any]


def scrape(house: Any) -> None:
    async def once() -> None:
        config = ScrapeConfig(name="app", job="app", static=(TargetGroup(targets=("127.0.0.1:1",)),))
        write = Write(kind="Project", key="shop", body=Project(name="shop", scrapes=(config,)))
        await house.store.commit(Transaction(at=datetime.now(UTC), writes=[write]))
        scraper = house.parts.scraper
        await scraper.discover()
        for one in scraper.scrapings.values():
            one.due_s = 0.0
        for one in scraper.due():
            await scraper.once(one)
        await scraper.close()

    anyio.run(once)


def test_a_target_that_is_down_is_told_with_its_reason(house: Any, online: Run) -> None:
    """Exit 1, so that a script sees it too."""
    scrape(house)
    done = online("targets")
    assert done.code == 1, done.err
    head, row, why = done.out.splitlines()
    assert head.split() == ["job", "instance", "health", "last", "scrape", "took", "samples", "labels"]
    assert row.split()[:3] == ["app", "127.0.0.1:1", "down"]
    assert "POISE-M502" in why
    (data,) = map(json.loads, online("targets", "app", "--json").out.splitlines())
    assert data["activeTargets"][0]["health"] == "down"


def test_nothing_scraped_says_what_to_write(online: Run) -> None:
    done = online("targets")
    assert done.code == 0 and "scrapeConfigs" in done.out


def test_a_configuration_is_explained_without_a_server(poise: Run, tmp_path: Path) -> None:
    (tmp_path / "poise.yaml").write_text(
        "apiVersion: poise.dev/v1\nkind: Service\nmetadata: {name: web}\nspec: {command: run}\n---\n"
        "apiVersion: poise.dev/v1\nkind: Project\nmetadata: {name: shop}\n"
        "spec: {scrapeConfigs: [prometheus.yml]}\n"
    )
    (tmp_path / "prometheus.yml").write_text("scrape_configs: [{job_name: a b, static_configs: []}]\n")
    done = poise("explain", "scrape/a b", "--file", str(tmp_path / "poise.yaml"), "--project", "shop")
    assert done.code == 0, done.err
    assert any(line.split() == ["scrape_interval", "15s", "default"] for line in done.out.splitlines())
    assert poise("explain", "scrape/x", "--file", str(tmp_path / "poise.yaml"), "--project", "shop").code == 3
