"""Targets on real sockets: what is good of them is kept, what is bad is named, and nothing waits for one."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.adapters.scrape.exporters import (
    Exporter,
    drip_for_ever,
    exporter,
    gzip_bomb,
    hang,
    stream_for_ever,
)

from poise.adapters.blocks import BlockStore
from poise.adapters.memory import MemoryStore
from poise.adapters.scrape.scraper import Scraper
from poise.adapters.scrape.scraping import REPORTS, Health
from poise.adapters.secrets import NamedSecrets
from poise.model.config import Secret
from poise.model.fleet import Replica
from poise.model.record import Write
from poise.model.scrape import (
    Access,
    FileDiscovery,
    HttpDiscovery,
    Relabel,
    RelabelAction,
    ScrapeConfig,
    TargetGroup,
)
from poise.model.service import Project
from poise.ports.store import Transaction

T0 = 1_790_000_000.0
GOOD = '# TYPE good_total counter\ngood_total 3\nother{a="b"} 1.5\n'
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass
class Clock:
    """Steady and wall time apart, as they are."""

    steady: float = 1000.0
    wall: float = T0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall, UTC)

    def pass_by(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


@dataclass
class World:
    """A scraper over a real metrics store, one project, and time that stands still."""

    store: MemoryStore
    metrics: BlockStore
    clock: Clock
    scraper: Scraper
    good: Exporter
    counts: Counter[str] = field(default_factory=Counter)

    async def declare(self, *configs: ScrapeConfig) -> None:
        body = Project(name="acme", scrapes=configs)
        await self.write("Project", "acme", body)
        await self.scraper.discover()

    async def write(self, kind: str, key: str, body: Any) -> None:
        at = datetime.fromtimestamp(T0, UTC)
        await self.store.commit(Transaction(at=at, writes=[Write(kind=kind, key=key, body=body)]))

    async def scrape(self, seconds: float = 15.0) -> dict[str, Health]:
        """Every target once, all at the same time; health by instance."""
        self.clock.pass_by(seconds)
        due = self.scraper.due()
        await asyncio.gather(*(self.scraper.once(one) for one in due))
        return {one.target.instance: one.health for one in due}

    async def value(self, expression: str) -> float | None:
        found = await self.metrics.query(expression, round(self.clock.wall * 1000) + 1)
        assert len(found.series) <= 1, found.series
        return float(found.values[0, 0]) if len(found.series) else None


def job(*addresses: str, name: str = "app", **rest: Any) -> ScrapeConfig:
    made = ScrapeConfig(name=name, job=name, static=(TargetGroup(targets=addresses),), timeout_s=5.0)
    return replace(made, **rest)


@asynccontextmanager
async def world(
    folder: Path, unseal: Callable[[Secret], dict[str, str]] = lambda _: {}
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(exporter())
        good.page(GOOD)
        clock, store, counts = Clock(), MemoryStore(), Counter[str]()
        metrics = BlockStore(folder / "metrics.db", now_ms=lambda: round(clock.wall * 1000))

        def count(source: str, kind: str, number: int) -> None:
            counts[f"{source}/{kind}"] += number

        scraper = Scraper(
            store, metrics, clock, NamedSecrets(store, unseal), count,  # type: ignore[arg-type]
            steady=lambda: clock.steady, wall=lambda: clock.wall,
        )  # fmt: skip
        yield World(store, metrics, clock, scraper, good, counts)
        await scraper.close()
        await metrics.close()


def played(scene: Callable[[World], Coroutine[Any, Any, None]], folder: Path) -> None:
    async def play() -> None:
        async with asyncio.timeout(60), world(folder) as made:
            await scene(made)

    asyncio.run(play())


def test_a_target_is_scraped_with_its_labels_and_reports(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.declare(job(w.good.address))
        health = (await w.scrape())[w.good.address]
        assert (health.up, health.kept, health.error, health.faults) == (True, 2, "", ())
        own = f'{{instance="{w.good.address}",job="app",project="acme"}}'
        assert await w.value(f"good_total{own}") == 3.0
        assert await w.value(f"up{own}") == 1.0
        assert await w.value(f"scrape_samples_scraped{own}") == 2.0
        assert await w.value(f"scrape_series_added{own}") == 2.0
        assert await w.value(f"scrape_duration_seconds{own}") is not None
        head = w.good.asked[0].lower()
        assert "accept: application/openmetrics-text" in head and "accept-encoding: gzip" in head
        assert "x-prometheus-scrape-timeout-seconds: 5" in head
        assert w.counts["scrape/taken"] == 2
        assert [(one.name, one.kind) for one in await w.metrics.metadata("good_total")] == [
            ("good_total", "counter")
        ]

    played(scene, tmp_path)


def test_what_vanishes_is_stale_at_once(tmp_path: Path) -> None:
    """A series, a target that is down, one that nobody names any more: none lives on as its last value."""

    async def scene(w: World) -> None:
        await w.declare(job(w.good.address))
        await w.scrape()
        w.good.page("good_total 4\n")
        await w.scrape()
        assert await w.value("good_total") == 4.0
        assert await w.value("other") is None
        w.good.paths.clear()  # 404
        health = (await w.scrape())[w.good.address]
        assert health.up is False and "status 404" in health.error
        assert await w.value("up") == 0.0
        assert await w.value("good_total") is None
        w.good.page(GOOD)
        await w.scrape()
        assert await w.value("good_total") == 3.0
        w.clock.pass_by(1)
        await w.declare()
        assert w.scraper.scrapings == {}
        for name in ("good_total", "other", *REPORTS):
            assert await w.value(name) is None, name

    played(scene, tmp_path)


def test_a_target_let_go_while_it_is_asked_is_stale_too(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.declare(job(w.good.address))
        await w.scrape()
        w.clock.pass_by(15)
        (one,) = w.scraper.due()
        going, release = asyncio.Event(), asyncio.Event()

        async def slow(writer: asyncio.StreamWriter) -> None:
            going.set()
            await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\ngood_total 9\n")
            await writer.drain()

        w.good.paths["/metrics"] = slow
        asked = asyncio.create_task(w.scraper.once(one))
        await going.wait()
        await w.declare()
        release.set()
        await asked
        assert await w.value("up") is None
        assert await w.value("good_total") is None

    played(scene, tmp_path)


def test_no_target_holds_up_another(tmp_path: Path) -> None:
    """Hanging, streaming for ever, dripping, bombs: each is down with its kind of failure; the good is up."""

    async def scene(w: World) -> None:
        async with exporter() as bad:
            bad.paths |= {"/hang": hang, "/stream": stream_for_ever, "/drip": drip_for_ever}
            bad.page(gzip_bomb(64 << 20), "/bomb", encoding="gzip")
            bad.page(gzip.compress(b"a 1\n" * 1000)[:-30], "/torn", encoding="gzip")
            bad.page(b"\x28\xb5\x2f\xfd", "/zstd", encoding="zstd")
            bad.page("\n" * 3_000_000, "/lines")
            bad.page("<html><body>Sign in</body></html>\n", "/login", "text/html")
            bad.page(b"\x0a\x02", "/protobuf", "application/vnd.google.protobuf")
            bad.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf 1\nhal", "/half")
            bad.raw(b"\x00\x01 no http at all\r\n\r\n", "/noise")
            bad.raw(
                b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/x\r\nContent-Length: 0\r\n\r\n",
                "/away",
            )
            expected = {
                "hang": "timeout", "drip": "timeout", "stream": "too-large", "bomb": "too-large",
                "torn": "encoding", "zstd": "encoding", "lines": "too-large", "login": "format",
                "protobuf": "format", "half": "unreachable", "noise": "unreachable", "away": "refused",
                "gone": "status",
            }  # fmt: skip
            jobs = [
                job(bad.address, name=name, path=f"/{name}", timeout_s=0.5 if kind == "timeout" else 20.0,
                    every_s=20.0, body_bytes=8 << 20)
                for name, kind in expected.items()
            ]  # fmt: skip
            await w.declare(job(w.good.address, name="good", every_s=20.0), *jobs)
            await w.scrape(20.0)
            health = {one.target.config.name: one.health for one in w.scraper.scrapings.values()}
            assert health.pop("good").up is True
            assert {name: one.failure for name, one in health.items()} == expected, health["gone"]
            assert all(one.error.startswith("POISE-") for one in health.values())
            assert await w.value("sum(up)") == 1.0 and await w.value("count(up)") == 14.0
            assert w.counts["scrape/failed-timeout"] == 2
            assert w.scraper.held_bytes == 0

    played(scene, tmp_path)


@pytest.mark.parametrize(
    ("page", "kind", "fault"),
    [
        ("a{x= 1\n", "text/plain", "syntax"),
        ("b 1\nb 2\n", "text/plain", "duplicate"),
        ("c 1x\n", "text/plain", "value"),
        ("d{l=\"%s\"} 1\n" % ("x" * 5000), "text/plain", "label-limit"),
        ("e{{{}}} 1\n".format(",".join(f'l{i}="v"' for i in range(100))), "text/plain", "label-limit"),
        ("f 1 99999999999999\n", "text/plain", "future"),
        ("g 1 1000\n", "text/plain", "out-of-order"),
        ("cut 1", "text/plain", "eof"),
        ("h 1\n", OPEN, "eof"),
    ],
)  # fmt: skip
def test_a_bad_line_costs_only_itself(tmp_path: Path, page: str, kind: str, fault: str) -> None:
    async def scene(w: World) -> None:
        w.good.page(GOOD + page, kind=kind)
        await w.declare(job(w.good.address))
        await w.scrape()
        health = (await w.scrape())[w.good.address]  # the second time as well
        assert health.up is True
        assert health.counts == {fault: 1}, health
        assert health.faults
        assert w.counts[f"scrape/{fault}"] == 2
        assert await w.value("good_total") == 3.0

    played(scene, tmp_path)


def test_a_label_bomb_ends_at_the_cap_of_its_target(tmp_path: Path) -> None:
    """Series by the ten thousand from one target: past its cap they are named, and no other target pays."""

    async def scene(w: World) -> None:
        async with exporter() as bad:
            bad.page("".join(f'bomb{{n="{n}"}} 1\n' for n in range(25_000)))
            await w.declare(job(bad.address, w.good.address))
            health = await w.scrape()
            told = health[bad.address]
            assert told.up is True and told.counts["series-limit"] > 4_000
            assert "series-limit" in told.faults[0]
            assert await w.value("count(bomb)") == 20_000.0
            assert await w.value("good_total") == 3.0
            assert await w.value(f'up{{instance="{bad.address}"}}') == 1.0

    played(scene, tmp_path)


def test_a_sample_limit_fails_the_scrape(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.declare(job(w.good.address, sample_limit=1))
        health = (await w.scrape())[w.good.address]
        assert (health.up, health.failure) == (False, "sample-limit")
        assert await w.value("good_total") is None
        assert await w.value("scrape_samples_scraped") == 2.0

    played(scene, tmp_path)


def test_a_clock_that_steps_neither_stops_nor_doubles_the_beat(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.declare(job(w.good.address))

        async def scrapes(seconds: int) -> int:
            return sum([len(await w.scrape(1.0)) for _ in range(seconds)])

        assert await scrapes(30) == 2
        w.clock.wall -= 1800.0  # half an hour back: the beat goes on, and what is scraped is kept
        assert await scrapes(30) == 2
        assert await w.value("up") == 1.0
        w.clock.wall += 86_400.0
        assert await scrapes(30) == 2
        assert await w.value("up") == 1.0

    played(scene, tmp_path)


def test_targets_have_places_of_their_own_within_the_interval(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.declare(job(*(f"127.0.0.1:{port}" for port in range(1000, 1100))))
        at = sorted(one.due_s % 15.0 for one in w.scraper.scrapings.values())
        assert all(1000.0 < one.due_s <= 1015.0 for one in w.scraper.scrapings.values())
        assert max(later - before for before, later in pairwise(at)) < 2.0

    played(scene, tmp_path)


def test_relabelling_chooses_targets_and_series(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        drop = Relabel(action=RelabelAction.DROP, source_labels=("__address__",), regex=".*:1")
        rack = Relabel(target_label="rack", replacement="r7")
        path = Relabel(target_label="__metrics_path__", replacement="/metrics")
        only = Relabel(action=RelabelAction.KEEP, source_labels=("__name__",), regex="good.*")
        config = job(
            w.good.address,
            "127.0.0.1:1",
            relabel=(drop, rack, path),
            metric_relabel=(only,),
            path="/elsewhere",
        )
        await w.declare(config)
        await w.scrape()
        assert await w.value('good_total{rack="r7"}') == 3.0
        assert await w.value("other") is None
        assert await w.value("scrape_samples_post_metric_relabeling") == 1.0
        (dropped,) = w.scraper.dropped
        assert dropped.why == "relabelling drops it"

    played(scene, tmp_path)


def test_labels_of_the_target_win_unless_scraped_ones_are_honoured(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        w.good.page('m{job="inner",instance=""} 1\n')
        await w.declare(job(w.good.address, name="a"), job(w.good.address, name="b", honor_labels=True))
        await w.scrape()
        assert await w.value('m{job="a",exported_job="inner"}') == 1.0
        assert await w.value(f'm{{job="inner",instance="{w.good.address}"}}') == 1.0

    played(scene, tmp_path)


def test_timestamps_and_exemplars_are_tolerated(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        at = T0 + 10
        w.good.page(
            f"# TYPE t counter\nt_total 5 {at}\n"
            f'h_bucket{{le="+Inf"}} 2 # {{trace_id="abc"}} 0.5 {at}\n# EOF\n',
            kind=OPEN,
        )
        await w.declare(job(w.good.address, name="kept"))
        health = (await w.scrape())[w.good.address]
        assert health.faults == ()
        assert await w.value("timestamp(t_total)") == at
        assert await w.value("h_bucket") == 2.0
        await w.declare(job(w.good.address, name="own", honor_timestamps=False))
        await w.scrape()
        assert await w.value('timestamp(t_total{job="own"})') == pytest.approx(w.clock.wall, abs=0.002)

    played(scene, tmp_path)


def test_targets_are_found_by_url_file_and_service(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        groups = [{"targets": [w.good.address], "labels": {"via": "http"}}]
        w.good.page(json.dumps(groups), "/sd", "application/json")
        file = tmp_path / "targets.yml"
        file.write_text(f"- targets: ['{w.good.address}']\n  labels: {{via: file}}\n")
        replica = Replica(service="acme/production/shop", rollout=1, index=0, port=w.good.port, ready=True)
        await w.write("Replica", replica.key, replica)
        preview = replace(replica, service="acme/~topic/shop")  # what a branch answers is nobody's SLI
        await w.write("Replica", preview.key, preview)
        await w.declare(
            ScrapeConfig(name="http", http=(HttpDiscovery(url=f"http://{w.good.address}/sd"),)),
            ScrapeConfig(name="file", files=(FileDiscovery(files=(str(tmp_path / "*.yml"),)),)),
            ScrapeConfig(name="shop", services=("shop",)),
        )
        assert w.scraper.faults == {}
        await w.scrape()
        assert await w.value('good_total{via="http",job="http"}') == 3.0
        assert await w.value('good_total{via="file",job="file"}') == 3.0
        assert await w.value('good_total{service="shop",environment="production"}') == 3.0
        # what cannot be read stays as it was, and is told
        w.good.page("nonsense", "/sd", "application/json")
        file.write_text("- targets: 5\n")
        w.clock.pass_by(400)
        await w.scraper.discover()
        assert set(w.scraper.faults) == {("acme", "http"), ("acme", "file")}
        assert len(w.scraper.scrapings) == 3

    played(scene, tmp_path)


def test_a_discovery_url_is_told_nothing_of_the_targets_secrets(tmp_path: Path) -> None:
    async def play() -> None:
        async with world(tmp_path, lambda _: {"TOKEN": "s3cret"}) as w:
            secret = Secret(
                service="acme/production/web", n=1, sealed={}, marks={}, by="t", reason="r",
                at=datetime.fromtimestamp(T0, UTC),
            )  # fmt: skip
            await w.write("Secret", f"{secret.service}/000001", secret)
            w.good.page(json.dumps([{"targets": [w.good.address]}]), "/sd", "application/json")
            await w.declare(
                ScrapeConfig(
                    name="a",
                    access=Access(bearer="production/web/TOKEN"),
                    http=(HttpDiscovery(url=f"http://{w.good.address}/sd"),),
                )
            )
            await w.scrape()
            asked_sd, asked_page = w.good.asked
            assert "authorization" not in asked_sd.lower()
            assert "authorization: Bearer s3cret" in asked_page.replace("Authorization", "authorization")

    asyncio.run(play())


def test_a_secret_that_was_never_set_is_the_targets_fault(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.declare(job(w.good.address, access=Access(bearer="production/web/TOKEN")))
        health = (await w.scrape())[w.good.address]
        assert (health.up, health.failure) == (False, "secret")
        assert "poise secret set" in health.error

    played(scene, tmp_path)


def test_each_target_keeps_one_connection_until_it_is_gone(tmp_path: Path) -> None:
    """To connect anew costs both sides more than to ask; what nobody asks any more must not stay open."""

    async def scene(w: World) -> None:
        w.good.keeps = True
        w.good.page(GOOD)
        address = w.good.address
        await w.declare(job(address, name="one"), job(address, name="two"))
        for _ in range(3):
            assert all(one.up for one in (await w.scrape()).values())
        assert (w.good.opened, w.good.open) == (2, 2)
        await w.declare(job(address, name="one"))
        while w.good.open > 1:
            await asyncio.sleep(0.01)
        assert (await w.scrape())[address].up
        assert w.good.opened == 2

    played(scene, tmp_path)
