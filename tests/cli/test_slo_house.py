"""Backtest and lint out of the house's own stores, beside which nothing has to run."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np

from poise.adapters.blocks import BlockStore
from poise.adapters.totals.store import StoredTotals
from poise.balance.backtest.report import Backtest
from poise.model.samples import Labels, Reading, Round
from poise.model.signal import ERRORS_TOTAL, REQUESTS_TOTAL, Batch, Sample, Series

MINUTES = 60
SPEC = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec: {command: ./shop, port: 8080}
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: orders}
spec: {service: shop, target: 0.99, bad: 'http_total{code="500"}', total: http_total}
"""


async def filled(folder: Path) -> None:
    """An hour of scraped counters and of Envoy's, a reading a minute."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics, totals = BlockStore(folder / "metrics.db"), StoredTotals(folder / "signals.db")
    first_s = int(time.time()) // 60 * 60 - 60 * MINUTES
    at_s = [first_s + 60 * n for n in range(MINUTES)]
    series: tuple[Labels, ...] = tuple(
        (("__name__", "http_total"), ("code", code)) for code in ("200", "500")
    )
    values = np.array([np.arange(MINUTES) * 100.0, np.arange(MINUTES) * 1.0])
    at_ms = np.array(at_s, np.int64) * 1000
    await metrics.append(Round(readings=(Reading(target="t", series=series, at_ms=at_ms, values=values),)))
    of = (("service", "shop/production/shop"),)
    for n, at in enumerate(at_s):
        samples = (Sample(Series(REQUESTS_TOTAL, of), 10.0 * n), Sample(Series(ERRORS_TOTAL, of), float(n)))
        await totals.append(Batch(at=datetime.fromtimestamp(at, UTC), epoch="envoy", samples=samples))
    await totals.close()
    await metrics.close()


def test_scraped_counters_and_envoys_are_replayed_together(poise: Callable[..., Any], tmp_path: Path) -> None:
    """Who has run Poise for a month has the best history there is."""
    anyio.run(filled, tmp_path / "data")
    Path("poise.yaml").write_text(SPEC)
    done = poise("slo", "backtest", "poise.yaml", "--since", "2h", "--json", "--quiet")
    assert done.code == 0, done.err
    made = {one.name: one for one in msgspec.json.decode(done.out, type=Backtest).objectives}
    steps = MINUTES - 1
    assert (made["orders"].good, made["orders"].bad) == (100.0 * steps, 1.0 * steps)
    assert (made["availability"].good, made["availability"].bad) == (9.0 * steps, 1.0 * steps)
    assert poise("slo", "lint", "poise.yaml", "--house", "--since", "1h", "--quiet").code == 0
