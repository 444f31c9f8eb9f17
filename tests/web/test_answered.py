"""What users of each service got over days, out of a real metrics file by a real worker."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poise.adapters.blocks import BlockStore
from poise.adapters.worker.asking import AskedRange
from poise.adapters.worker.pool import QueryWorker
from poise.model.errors import PoiseError
from poise.model.samples import NAME, Labels, Reading, Round
from poise.web.answered import STEPS, answered

pytestmark = pytest.mark.anyio
SINCE = timedelta(days=1)
BEAT_MS = 60_000


async def filled(path: Path, until: datetime) -> None:
    """A day of two projects: one in ten of shop fails in the last quarter, then it is quiet."""
    store = BlockStore(path, now_ms=lambda: round(until.timestamp() * 1000))
    count = 24 * 60
    at_ms = round(until.timestamp() * 1000) - BEAT_MS * np.arange(count - 1, -1, -1, dtype=np.int64)
    grown = 100.0 * np.minimum(np.arange(count), count - 120)
    failed = 10.0 * np.clip(np.arange(count) - count * 3 // 4, 0, count // 4 - 120)

    def series(name: str, service: str, **more: str) -> Labels:
        return tuple(sorted({NAME: name, "service": service, **more}.items()))

    rows: list[tuple[Labels, Any]] = []
    for service, bad in (("shop/production/web", failed), ("shopping/production/web", grown)):
        rows += [
            (series("poise_requests_total", service), grown),
            (series("poise_errors_total", service), bad),
        ]
        rows += [
            (series("poise_latency_ms_bucket", service, le=le), grown * share)
            for le, share in (("10", 0.5), ("100", 0.98), ("1000", 1.0), ("+Inf", 1.0))
        ]
    reading = Reading(
        target="t", series=tuple(one for one, _ in rows), at_ms=at_ms,
        values=np.array([values for _, values in rows]),
    )  # fmt: skip
    assert not (await store.append(Round(readings=(reading,)))).refused
    await store.close()


async def test_each_services_users_are_told_step_by_step(house: Any, tmp_path: Path) -> None:
    """The share that failed and both latencies; a step without a request is a gap; no other project's."""
    until = house.clock.now()
    await filled(tmp_path / "metrics.db", until)
    worker = QueryWorker(tmp_path / "metrics.db", workers=1)
    parts = replace(house.parts, ranges=AskedRange(worker))
    found = await answered(parts, "shop", until - SINCE, until)
    await worker.close()
    assert found.problem == "" and list(found.by_service) == ["shop/production/web"]
    points = found.by_service["shop/production/web"]
    assert len(points) == STEPS and points[-1].at == until and found.step_s == 960.0
    assert [one.error_ratio for one in points[10:60]] == [0.0] * 50
    assert points[75].error_ratio == pytest.approx(0.1)
    assert points[75].latency_ms_p50 == pytest.approx(10.0)
    assert points[75].latency_ms_p99 == pytest.approx(550.0)
    assert points[-1].error_ratio is None and points[-1].latency_ms_p99 is None


async def test_looking_again_asks_nobody(house: Any, tmp_path: Path) -> None:
    """A live page is made anew with every event of the project; its strips are those of a minute ago."""
    until = house.clock.now()
    await filled(tmp_path / "metrics.db", until)
    worker = QueryWorker(tmp_path / "metrics.db", workers=1)
    parts = replace(house.parts, ranges=AskedRange(worker))
    first = await answered(parts, "shop", until - SINCE, until)
    await worker.close()
    (tmp_path / "metrics.db").unlink()
    later = until + timedelta(seconds=30)
    again = await answered(parts, "shop", later - SINCE, later)
    assert again == first


async def test_what_happens_now_is_in_a_month_within_minutes(house: Any, tmp_path: Path) -> None:
    """A step of a month is eight hours; a young house, or a burn, must not wait for one."""
    until = house.clock.now()
    await filled(tmp_path / "metrics.db", until)
    worker = QueryWorker(tmp_path / "metrics.db", workers=1)
    parts = replace(house.parts, ranges=AskedRange(worker))
    now = until + timedelta(minutes=4, seconds=59)
    found = await answered(parts, "shop", now - timedelta(days=30), now)
    await worker.close()
    points = found.by_service["shop/production/web"]
    assert points[-1].at == until and points[-1].error_ratio is not None


async def test_no_answer_is_told_and_is_no_flat_line(house: Any) -> None:
    """Missing data is never a healthy service."""

    class Silent(AskedRange):
        async def __call__(self, *_: object) -> Any:
            raise PoiseError("POISE-W111", "the query waited 5 s for others")

    until = house.clock.now()
    parts = replace(house.parts, ranges=Silent(QueryWorker(house.data / "metrics.db")))
    found = await answered(parts, "shop", until - SINCE, until)
    assert found.problem == "the query waited 5 s for others" and not found.by_service
