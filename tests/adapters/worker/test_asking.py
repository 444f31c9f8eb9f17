"""What the worker answers arrives whole, and in parts so small that nothing waits for it."""

from __future__ import annotations

import time
from pathlib import Path

import anyio.lowlevel
import numpy as np
import pytest

from poise.adapters.blocks import BlockStore
from poise.adapters.worker.asking import AskedRules
from poise.adapters.worker.pool import QueryWorker
from poise.adapters.worker.wire import SERIES_AT_ONCE
from poise.model.rules import EvaluateRules, Rule, RuleGroup, RuleMemory
from poise.model.samples import NAME, Labels, Reading, Round

pytestmark = pytest.mark.anyio
COUNT = 3 * SERIES_AT_ONCE + 1
GROUP = RuleGroup(
    name="g", rules=(Rule(record="made", expr="up + 1"), Rule(record="none", expr="absent_one"))
)


async def test_a_rule_of_many_series_is_read_in_parts_and_whole(tmp_path: Path) -> None:
    """Ten thousand series read at once would hold the loop for ten milliseconds."""
    store = BlockStore(tmp_path / "metrics.db")
    series: tuple[Labels, ...] = tuple(((NAME, "up"), ("n", f"{n:05}")) for n in range(COUNT))
    now_ms = time.time_ns() // 1_000_000
    values = np.arange(float(COUNT))[:, None]
    await store.append(
        Round(readings=(Reading(target="t", series=series, at_ms=np.array([now_ms - 1000]), values=values),))
    )
    worker = QueryWorker(tmp_path / "metrics.db", workers=1)
    asked = AskedRules(worker)
    turns = 0

    async def turning() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        done = await asked(EvaluateRules(file="f", group=GROUP, at_ms=now_ms), 30.0)
        made, none = done.results
        assert {dict(labels)["n"]: value for labels, value in zip(made.series, made.values, strict=True)} == {
            f"{n:05}": n + 1.0 for n in range(COUNT)
        }
        assert (none.series, none.values, none.error) == ((), (), "")
        gone = (((NAME, "made"), ("n", "gone")),)
        memories = (RuleMemory(series=made.series), RuleMemory(series=made.series + gone))
        again = await asked(EvaluateRules(file="f", group=GROUP, at_ms=now_ms, memories=memories), 30.0)
        assert again.results[0].series is made.series and again.results[0].values == made.values
        assert set(again.results[1].gone) == {*made.series, *gone}
        group.start_soon(turning)
        before = turns
        await asked(EvaluateRules(file="f", group=GROUP, at_ms=now_ms), 30.0)
        assert turns - before >= COUNT // SERIES_AT_ONCE
        group.cancel_scope.cancel()
    await worker.close()
    await store.close()
