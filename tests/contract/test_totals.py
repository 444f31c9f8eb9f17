"""The contract of Totals, over every adapter: what is appended is there, once, and stays exact."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import numpy as np
import pytest

from poise.adapters.memory_totals import MemoryTotals
from poise.adapters.totals import Retention, StoredTotals
from poise.model.errors import Invalid
from poise.model.signal import Batch, Rows, Sample, Series
from poise.ports.totals import Totals

T0 = datetime(2026, 11, 1, tzinfo=UTC)
SHOP = Series("poise_requests_total", (("service", "acme/production/shop"),))
PAY = Series("poise_requests_total", (("service", "acme/production/pay"),))
GAUGE = Series("poise_rollout_in_flight", (("rollout", "1"), ("service", "acme/production/shop")))

Open = Callable[..., Totals]


@pytest.fixture(params=["blocks", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    def build(retention: Retention | None = None) -> Totals:
        if request.param == "blocks":
            return StoredTotals(tmp_path / "signals.db", retention)
        return MemoryTotals(retention)

    return build


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def batch(seconds: float, epoch: str = "e1", **values: float) -> Batch:
    names = {"shop": SHOP, "pay": PAY, "gauge": GAUGE}
    samples = tuple(Sample(names[name], value) for name, value in values.items())
    return Batch(at=at(seconds), epoch=epoch, samples=samples)


def run(store: Totals, *batches: Batch) -> None:
    async def append() -> None:
        for one in batches:
            await store.append(one)

    anyio.run(append)


def select(store: Totals, start: float, end: float, **options: bool) -> list[tuple[str, list[float]]]:
    async def read() -> list[tuple[str, list[float]]]:
        found = await store.select(
            SHOP.name, {"service": "acme/production/shop"}, at(start), at(end), **options
        )
        return [(points.epoch, [value for _, value in points.points]) for points in found]

    return anyio.run(read)


def close(store: Totals) -> None:
    anyio.run(store.close)


def test_a_window_excludes_its_start_and_includes_its_end(make: Open) -> None:
    store = make()
    run(store, *(batch(second, shop=second) for second in (0, 10, 20, 30)))
    assert select(store, 10, 30, include_before=False) == [("e1", [20, 30])]
    close(store)


def test_the_last_point_before_a_window_is_added_so_that_a_delta_needs_no_guess(make: Open) -> None:
    store = make()
    run(store, batch(0, shop=1), batch(5, shop=2), batch(6, pay=9), batch(20, shop=3))
    assert select(store, 10, 30) == [("e1", [2, 3])]
    close(store)


def test_a_batch_appended_twice_is_one(make: Open) -> None:
    store = make()
    run(store, batch(0, shop=1), batch(0, shop=1), batch(0, shop=1))
    assert select(store, -1, 30) == [("e1", [1])]
    close(store)


def test_epochs_are_kept_apart(make: Open) -> None:
    store = make()
    run(store, batch(0, shop=100), batch(10, "e2", shop=1), batch(20, "e2", shop=2))
    assert select(store, -1, 30) == [("e1", [100]), ("e2", [1, 2])]
    close(store)


def test_labels_select_by_inclusion(make: Open) -> None:
    store = make()
    run(store, batch(0, shop=1, pay=2, gauge=3))
    found = anyio.run(store.latest, GAUGE.name, {"service": "acme/production/shop"})
    assert [(points.series, points.points[0][1]) for points in found] == [(GAUGE, 3)]
    assert len(anyio.run(store.latest, SHOP.name, {})) == 2
    assert anyio.run(store.latest, SHOP.name, {"service": "other"}) == []
    close(store)


def test_latest_gives_the_newest_point_of_each_epoch(make: Open) -> None:
    store = make()
    run(store, batch(0, shop=1), batch(5, shop=2), batch(9, "e2", shop=7), batch(10, "e2", pay=1))
    found = anyio.run(store.latest, SHOP.name, {"service": "acme/production/shop"})
    assert [(points.epoch, points.points) for points in found] == [
        ("e1", ((at(5).timestamp(), 2.0),)),
        ("e2", ((at(9).timestamp(), 7.0),)),
    ]
    close(store)


def test_epochs_say_when_they_were_first_and_last_read(make: Open) -> None:
    store = make()
    assert anyio.run(store.epochs) == []
    run(store, batch(0, shop=1), batch(5, shop=2), batch(9, "e2", shop=7))
    found = anyio.run(store.epochs)
    assert [(one.name, one.first_at, one.kept_from, one.last_at) for one in found] == [
        ("e1", at(0).timestamp(), at(0).timestamp(), at(5).timestamp()),
        ("e2", *[at(9).timestamp()] * 3),
    ]
    close(store)


def readings(
    store: Totals, start: float, end: float, **options: bool
) -> list[tuple[str, dict[str, list[float]]]]:
    async def read() -> list[tuple[str, dict[str, list[float]]]]:
        found = await store.readings(at(start), at(end), **options)
        return [
            (rows.epoch, {"at": [one - T0.timestamp() for one in rows.at_s.tolist()]} | {
                dict(series.labels)["service"].rsplit("/", 1)[-1]: rows.values[:, place].tolist()
                for place, series in enumerate(rows.series)
            })
            for rows in found
        ]  # fmt: skip

    return anyio.run(read)


def test_everything_that_was_read_comes_in_one_read(make: Open) -> None:
    """Whoever follows a thousand counters asks once, and is told sets of series apart."""
    store = make()
    run(store, batch(0, shop=1), batch(5, shop=2), batch(9, "e2", shop=7), batch(10, shop=3, pay=4))
    assert readings(store, 0, 10) == [
        ("e1", {"at": [0, 5], "shop": [1, 2]}),
        ("e2", {"at": [9], "shop": [7]}),
        ("e1", {"at": [10], "pay": [4], "shop": [3]}),
    ]
    assert readings(store, 0, 9, include_before=False) == [
        ("e1", {"at": [5], "shop": [2]}),
        ("e2", {"at": [9], "shop": [7]}),
    ]
    assert readings(store, 10, 90, include_before=False) == []
    close(store)


def test_equal_sets_of_series_are_one_object(make: Open) -> None:
    """So that what they mean is worked out once."""
    store = make()
    run(store, batch(0, shop=1, pay=1), batch(3, "e2", shop=1, pay=1))
    first, second = anyio.run(store.readings, at(-1), at(9))
    assert first.series is second.series
    close(store)


def test_many_sources_readings_are_kept_together(make: Open) -> None:
    store = make()
    at_s, values = np.array([T0.timestamp() + 1]), np.array([[3.0, 4.0]])
    rows = [Rows(epoch=name, series=(SHOP, PAY), at_s=at_s, values=values) for name in ("e1", "e2")]
    anyio.run(store.append_rows, rows)
    anyio.run(store.append_rows, rows)
    assert readings(store, 0, 9) == [(name, {"at": [1], "shop": [3], "pay": [4]}) for name in ("e1", "e2")]
    assert select(store, 0, 9) == [("e1", [3]), ("e2", [3])]
    bad = Rows(epoch="e1", series=(SHOP,), at_s=np.array([T0.timestamp() + 5]), values=np.array([[np.nan]]))
    with pytest.raises(Invalid, match="POISE-S102"):
        anyio.run(store.append_rows, [rows[0], bad])
    close(store)


def test_what_is_not_a_number_is_refused_and_nothing_is_kept(make: Open) -> None:
    store = make()
    with pytest.raises(Invalid, match="POISE-S102"):
        run(store, batch(0, shop=1, pay=float("nan")))
    assert select(store, -1, 30) == []
    close(store)


def test_old_points_thin_but_their_sums_stay_exact(make: Open) -> None:
    """Counters are monotone: dropping points between kept ones loses no event."""
    store = make(Retention(full_s=100, minute_s=1000, keep_s=5000, every_s=50))
    run(store, *(batch(second, shop=second) for second in range(0, 3001, 10)))
    ((_, values),) = select(store, -1, 3000)
    assert values[0] == 0 and values[-1] == 3000
    assert len(values) < 40, "3,000 s in 300 s, 60 s and 10 s steps"
    assert [value for value in values if value >= 2910] == list(range(2910, 3001, 10))
    steps = [b - a for a, b in itertools.pairwise(values)]
    assert max(steps) <= 300
    close(store)


def test_nothing_is_kept_beyond_its_age(make: Open) -> None:
    store = make(Retention(full_s=100, minute_s=200, keep_s=500, every_s=10))
    run(store, *(batch(second, shop=second) for second in range(0, 2001, 10)))
    ((_, values),) = select(store, -1, 2000)
    assert values[0] >= 1480
    (epoch,) = anyio.run(store.epochs)
    assert epoch.first_at == at(0).timestamp() and epoch.kept_from >= at(1480).timestamp()
    close(store)


def test_the_readings_around_a_reset_are_never_thinned(make: Open) -> None:
    """A decrease within an epoch is a reset: without both sides of it, events would be lost."""
    store = make(Retention(full_s=100, minute_s=10_000, keep_s=50_000, every_s=50))
    values = {0: 5.0, 10: 50.0, 20: 90.0, 25: 3.0, 40: 9.0, 50: 12.0}
    run(store, *(batch(second, shop=value, gauge=-value) for second, value in values.items()))
    run(store, *(batch(second, shop=12.0) for second in range(60, 500, 10)))
    ((_, kept),) = select(store, -1, 55)
    assert 90.0 in kept and 3.0 in kept and 50.0 not in kept
    close(store)


def test_a_reopened_file_holds_everything_acknowledged(tmp_path: Path) -> None:
    first = StoredTotals(tmp_path / "signals.db")
    run(first, batch(0, shop=1), batch(5, shop=2, pay=1))
    # not closed: what was acknowledged is durable already
    second = StoredTotals(tmp_path / "signals.db")
    assert select(second, -1, 30) == [("e1", [1, 2])]
    run(second, batch(5, shop=2, pay=1), batch(6, shop=3, pay=1))
    assert select(second, -1, 30) == [("e1", [1, 2, 3])]
    close(first)
    close(second)
