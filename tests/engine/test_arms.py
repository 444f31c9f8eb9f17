"""Two arms' counters, read by real PromQL from the embedded store: growth, restarts, what is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import numpy as np
import pytest

from poise.adapters.blocks import BlockStore
from poise.engine.arms import Counters, Grown, grown
from poise.model.errors import Invalid
from poise.model.samples import NAME, Reading, Round

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CANARY = Counters(total='hits_total{v="new"}', bad='hits_total{v="new",code="500"}')
STABLE = Counters(total='sum(rate(hits_total{v="old"}[5m]))', good='hits_total{v="old",code="200"}')


def read(
    folder: Path, series: dict[tuple[str, str, str], list[float | None]], canary: Counters = CANARY
) -> list[Grown]:
    """The steps until now; ``series`` by version, code and pod are values ten seconds apart."""

    async def scenario() -> list[Grown]:
        store = BlockStore(folder / "metrics.db", now_ms=lambda: round(NOW.timestamp() * 1000))
        try:
            length = len(next(iter(series.values())))
            begin = NOW - timedelta(seconds=10 * length)
            for (version, code, pod), values in series.items():
                labels = ((NAME, "hits_total"), ("code", code), ("pod", pod), ("v", version))
                at_ms = [round(begin.timestamp() * 1000) + 10_000 * n for n in range(length)]
                kept = [(at, value) for at, value in zip(at_ms, values, strict=True) if value is not None]
                reading = Reading(
                    target=f"{version}{code}{pod}", series=(labels,),
                    at_ms=np.array([at for at, _ in kept], np.int64),
                    values=np.array([[value for _, value in kept]], float),
                )  # fmt: skip
                await store.append(Round(readings=(reading,)))
            return await grown(store, canary, STABLE, begin, NOW, 10.0)
        finally:
            await store.close()

    return anyio.run(scenario)


def summed(steps: list[Grown]) -> tuple[float, float, float, float]:
    return (
        sum(one.canary for one in steps),
        sum(one.canary_bad for one in steps),
        sum(one.baseline for one in steps),
        sum(one.baseline_bad for one in steps),
    )


def test_what_each_arm_answered_is_added_up_over_its_series(tmp_path: Path) -> None:
    """A restart counts from nothing, a new replica from where it began; a rate is taken off."""
    found = read(tmp_path, {
        ("new", "200", "a"): [0, 10, 20, 5, 15],
        ("new", "500", "a"): [0, 1, 1, 1, 3],
        ("new", "200", "b"): [None, None, 100, 110, 120],
        ("old", "200", "c"): [0, 90, 180, 270, 360],
        ("old", "500", "c"): [0, 0, 2, 2, 2],
    })  # fmt: skip
    assert [one.at_s for one in found] == [10.0, 20.0, 30.0, 40.0]  # the last seconds may still arrive
    assert summed(found) == (35 + 3 + 20, 3, 362, 2)


def test_an_arm_without_a_series_answered_nothing(tmp_path: Path) -> None:
    found = read(tmp_path, {("old", "200", "c"): [0, 90, 180, 270]})
    assert summed(found)[:2] == (0, 0) and summed(found)[2] > 0


@pytest.mark.parametrize(
    ("counters", "code", "where"),
    [
        (Counters(total="hits_total"), "POISE-E441", "canary"),
        (Counters(total="hits_total", bad="a", good="b"), "POISE-E441", "canary"),
        (Counters(total="hits_total + 1", bad="a"), "POISE-E442", "canary.total:12"),
        (Counters(total='hits_total{v="new",code="500"}', bad='hits_total{v="old"}'), "POISE-E443", "canary"),
    ],
)
def test_what_cannot_be_counted_is_refused(tmp_path: Path, counters: Counters, code: str, where: str) -> None:
    """More bad than all means that the selectors are of different things: no verdict may rest on it."""
    series: dict[tuple[str, str, str], list[float | None]] = {
        ("new", "500", "a"): [0, 1, 2, 3], ("old", "200", "c"): [0, 90, 180, 270]
    }  # fmt: skip
    with pytest.raises(Invalid) as refused:
        read(tmp_path, series, counters)
    assert (refused.value.code, refused.value.where) == (code, where)
