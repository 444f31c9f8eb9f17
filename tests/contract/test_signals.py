"""The contract of SignalStore, for every store that appends: what was acknowledged is there, once, exact."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.adapters.blocks import BlockStore
from poise.adapters.blocks.intake import Caps
from poise.model.errors import Invalid, PoiseError
from poise.model.samples import (
    NAME,
    STALE_BITS,
    Appended,
    Block,
    Labels,
    Matcher,
    MatchOp,
    Metadata,
    MetricKind,
    Reading,
    Round,
)

T = TypeVar("T")
NOW = 1_800_000_000_000
BITS = st.integers(0, 2**64 - 1)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def labels(name: str, **rest: str) -> Labels:
    return tuple(sorted({NAME: name, **rest}.items()))


def reading(target: str, at_ms: list[int], rows: dict[Labels, list[float]]) -> Reading:
    return Reading(
        target=target,
        series=tuple(rows),
        at_ms=np.array(at_ms, np.int64),
        values=np.array(list(rows.values()), float),
    )


def put(store: BlockStore, *readings: Reading, metadata: tuple[Metadata, ...] = ()) -> Appended:
    return run(store.append(Round(readings=readings, metadata=metadata)))


def held(block: Block) -> dict[Labels, list[tuple[int, int]]]:
    """Instants and bits by series."""
    found: dict[Labels, list[tuple[int, int]]] = {}
    for first, at_ms, values in block.groups():
        bits = np.ascontiguousarray(values).view(np.uint64)
        for row in range(len(values)):
            assert block.series[first + row] not in found, "a series is told once"
            found[block.series[first + row]] = list(zip(at_ms.tolist(), bits[row].tolist(), strict=True))
    return found


def named(name: str) -> list[Matcher]:
    return [Matcher(NAME, MatchOp.EQUAL, name)]


def everything(store: BlockStore) -> dict[Labels, list[tuple[int, int]]]:
    return held(run(store.select([Matcher(NAME, MatchOp.NOT_EQUAL, "")], 0, NOW * 2)))


def values(store: BlockStore, name: str, start: int = 0, end: int = NOW * 2) -> list[tuple[int, float]]:
    found = held(run(store.select(named(name), start, end)))
    return [(at, float(np.uint64(bits).view(np.float64))) for points in found.values() for at, bits in points]


Make = Callable[..., BlockStore]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[BlockStore] = []

    def build(**options: Any) -> BlockStore:
        made.append(BlockStore(tmp_path / "metrics.db", now_ms=lambda: NOW + 3_600_000, **options))
        return made[-1]

    yield build
    for store in made:
        run(store.close())


@pytest.fixture(params=["recent", "sealed"])
def settled(request: pytest.FixtureRequest) -> Callable[[BlockStore], None]:
    """Each claim holds for rounds as they came and for sealed blocks."""
    return lambda store: store.seal() if request.param == "sealed" else None


def test_what_was_appended_is_selected_by_its_window(make: Make, settled: Callable[..., None]) -> None:
    store = make()
    put(store, reading("a", [NOW, NOW + 10, NOW + 20], {labels("up"): [1, 0, 1]}))
    settled(store)
    assert values(store, "up", NOW, NOW + 20) == [(NOW + 10, 0), (NOW + 20, 1)]
    assert values(store, "down") == []


def test_the_last_sample_before_a_window_comes_when_asked_for(
    make: Make, settled: Callable[..., None]
) -> None:
    store = make()
    put(store, reading("a", [NOW, NOW + 10], {labels("up"): [1, 2], labels("old"): [7, 8]}))
    settled(store)
    put(store, reading("a", [NOW + 50], {labels("up"): [3]}))
    block = run(store.select([Matcher(NAME, MatchOp.MATCHES, "up|old")], NOW + 30, NOW + 60, before=True))
    assert {dict(one)[NAME]: [at for at, _ in points] for one, points in held(block).items()} == {
        "up": [NOW + 10, NOW + 50],
        "old": [NOW + 10],
    }


def test_the_same_sample_twice_is_one(make: Make, settled: Callable[..., None]) -> None:
    store = make()
    one = reading("a", [NOW], {labels("up"): [1], labels("x"): [float("nan")]})
    assert put(store, one).kept == 2
    settled(store)
    again = put(store, one)
    assert (again.kept, again.refused) == (2, ())
    assert len(everything(store)[labels("up")]) == 1


def test_another_value_at_a_taken_instant_is_refused_and_the_rest_of_the_round_kept(
    make: Make, settled: Callable[..., None]
) -> None:
    store = make()
    put(store, reading("a", [NOW], {labels("up"): [1]}))
    settled(store)
    answer = put(store, reading("a", [NOW], {labels("up"): [2], labels("new"): [5]}))
    assert answer.kept == 1
    assert [(one.reason, one.target, one.count) for one in answer.refused] == [("duplicate", "a", 1)]
    assert values(store, "up") == [(NOW, 1)] and values(store, "new") == [(NOW, 5)]


def test_samples_may_come_out_of_order_within_the_window_and_not_before_it(
    make: Make, settled: Callable[..., None]
) -> None:
    store = make(caps=Caps(out_of_order_ms=1000))
    put(store, reading("a", [NOW], {labels("up"): [1]}))
    settled(store)
    assert put(store, reading("a", [NOW - 500], {labels("up"): [0]})).kept == 1
    refused = put(store, reading("a", [NOW - 1000], {labels("up"): [9]}))
    assert [one.reason for one in refused.refused] == ["out-of-order"]
    assert values(store, "up") == [(NOW - 500, 0), (NOW, 1)]


def test_a_sample_from_the_future_is_refused_and_named(make: Make) -> None:
    store = make(caps=Caps(future_ms=1000))
    answer = put(store, reading("a", [NOW + 3_600_000, NOW + 3_602_000], {labels("up"): [1, 2]}))
    assert answer.kept == 1
    assert [(one.reason, one.count) for one in answer.refused] == [("future", 1)]


def test_one_target_cannot_fill_the_store_and_is_named(make: Make) -> None:
    store = make(caps=Caps(series=3))
    rows = {labels("bomb", id=str(n)): [1.0] for n in range(10)}
    answer = put(store, reading("bad", [NOW], rows), reading("good", [NOW], {labels("up"): [1]}))
    assert answer.kept == 4
    assert [(one.reason, one.target, one.count) for one in answer.refused] == [("series-limit", "bad", 7)]
    again = put(store, reading("bad", [NOW + 1], rows))
    assert again.kept == 3 and again.refused[0].count == 7


def test_a_label_bomb_is_refused_and_the_rest_of_its_target_kept(make: Make) -> None:
    store = make(caps=Caps(label_bytes=100))
    rows = {labels("up"): [1.0], labels("bomb", x="y" * 101): [1.0]}
    answer = put(store, reading("a", [NOW], rows))
    assert answer.kept == 1 and [one.reason for one in answer.refused] == ["label-limit"]


def test_a_series_named_twice_in_a_reading_is_kept_once(make: Make) -> None:
    store = make()
    twice = Reading(
        target="a",
        series=(labels("up"), labels("up")),
        at_ms=np.array([NOW]),
        values=np.array([[1.0], [2.0]]),
    )
    answer = put(store, twice)
    assert answer.kept == 1 and [one.reason for one in answer.refused] == ["duplicate"]
    assert values(store, "up") == [(NOW, 1)]


def test_series_come_and_go_and_come_back(make: Make, settled: Callable[..., None]) -> None:
    store = make()
    put(store, reading("a", [NOW], {labels("x"): [1], labels("y"): [2]}))
    put(store, reading("a", [NOW + 1], {labels("y"): [3], labels("z"): [4]}))
    settled(store)
    put(store, reading("a", [NOW + 2], {labels("x"): [5], labels("z"): [6]}))
    put(store, reading("b", [NOW + 3], {labels("x"): [7]}))
    found = {dict(one)[NAME]: [at - NOW for at, _ in points] for one, points in everything(store).items()}
    assert found == {"x": [0, 2, 3], "y": [0, 1], "z": [1, 2]}


def test_labels_series_and_values_are_told_for_a_window(make: Make, settled: Callable[..., None]) -> None:
    store = make()
    put(store, reading("a", [NOW], {labels("up", job="shop"): [1]}))
    settled(store)
    put(store, reading("b", [NOW + 1000], {labels("up", job="pay", env="prod"): [1]}))
    both = [[Matcher(NAME, MatchOp.EQUAL, "up")]]
    assert run(store.series(both, NOW, NOW)) == [labels("up", job="shop")]
    assert run(store.series([], NOW, NOW + 1000)) == sorted(everything(store))
    assert run(store.label_names([], NOW, NOW + 1000)) == [NAME, "env", "job"]
    assert run(store.label_names(both, NOW, NOW + 999)) == [NAME, "job"]
    assert run(store.label_values("job", both, NOW, NOW + 1000)) == ["pay", "shop"]
    assert run(store.label_values("job", [], NOW + 1, NOW + 1000)) == ["pay"]


@pytest.mark.parametrize(
    ("op", "value", "found"),
    [
        (MatchOp.EQUAL, "shop", ["shop"]),
        (MatchOp.EQUAL, "", ["-"]),
        (MatchOp.NOT_EQUAL, "shop", ["-", "pay"]),
        (MatchOp.MATCHES, "s.*|pay", ["pay", "shop"]),
        (MatchOp.MATCHES, "sho", []),
        (MatchOp.MATCHES, ".*", ["-", "pay", "shop"]),
        (MatchOp.NOT_MATCHES, "s.*", ["-", "pay"]),
    ],
)
def test_matchers_mean_what_prometheus_means(make: Make, op: MatchOp, value: str, found: list[str]) -> None:
    store = make()
    rows = {labels("up", job="shop"): [1.0], labels("up", job="pay"): [1.0], labels("up"): [1.0]}
    put(store, reading("a", [NOW], rows))
    block = run(store.select([*named("up"), Matcher("job", op, value)], NOW - 1, NOW))
    assert sorted(dict(one).get("job", "-") for one in block.series) == found


def test_a_regex_that_is_none_is_a_clear_error(make: Make) -> None:
    store = make()
    put(store, reading("a", [NOW], {labels("up", job="shop"): [1]}))
    with pytest.raises(Invalid, match="invalid regular expression"):
        run(store.select([Matcher("job", MatchOp.MATCHES, "(")], 0, NOW))


def test_metadata_is_kept_the_newest_of_a_family(make: Make) -> None:
    store = make()
    put(store, metadata=(Metadata("up", MetricKind.GAUGE, "old"), Metadata("x", MetricKind.COUNTER)))
    put(store, metadata=(Metadata("up", MetricKind.GAUGE, "new"),))
    assert run(store.metadata("up")) == [Metadata("up", MetricKind.GAUGE, "new")]
    assert [one.name for one in run(store.metadata())] == ["up", "x"]


def test_it_answers_in_promql(make: Make, settled: Callable[..., None]) -> None:
    store = make()
    stamps = [NOW + 15_000 * n for n in range(21)]
    put(store, reading("a", stamps, {labels("hits_total", job="shop"): [30.0 * n for n in range(21)]}))
    settled(store)
    frame = run(store.query("sum by (job) (rate(hits_total[5m]))", stamps[-1]))
    assert frame.series == ((("job", "shop"),),) and frame.values[0, 0] == pytest.approx(2.0)
    wide = run(store.query_range("hits_total", stamps[0], stamps[-1], 30_000))
    assert wide.values[0].tolist() == [60.0 * n for n in range(11)]
    with pytest.raises(PoiseError):
        run(store.query("sum(", NOW))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 5), BITS), min_size=1, max_size=6, unique_by=lambda x: x[0]),
        min_size=1,
        max_size=12,
    ),
    st.sets(st.integers(0, 11)),
)
def test_every_bit_of_every_sample_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[int, int]]], seals: set[int]
) -> None:
    store = BlockStore(tmp_path_factory.mktemp("bits") / "metrics.db", now_ms=lambda: NOW)
    wanted: dict[Labels, list[tuple[int, int]]] = {}
    for turn, rows in enumerate([*rounds, [(0, STALE_BITS), (1, 1 << 63)]]):
        at = NOW - 1_000_000 + turn * 15_000
        series = tuple(labels("m", n=str(n)) for n, _ in rows)
        bits = np.array([[each] for _, each in rows], np.uint64).view(np.float64)
        put(store, Reading(target="t", series=series, at_ms=np.array([at]), values=bits))
        for one, (_, each) in zip(series, rows, strict=True):
            wanted.setdefault(one, []).append((at, each))
        if turn in seals:
            store.seal()
    assert everything(store) == wanted
    run(store.close())
    again = BlockStore(store._path, now_ms=lambda: NOW)  # the same after it was opened anew
    assert everything(again) == wanted
    again.tend()
    assert everything(again) == wanted
    run(again.close())


def test_orders_of_arrival_do_not_matter_within_the_window(tmp_path: Path) -> None:
    outcomes = []
    for place, order in enumerate(itertools.permutations(range(4))):
        store = BlockStore(tmp_path / f"{place}.db", now_ms=lambda: NOW)
        for turn, n in enumerate(order):
            put(store, reading("t", [NOW + n], {labels("up"): [float(n)]}))
            if turn == 1:
                store.seal()
        outcomes.append(values(store, "up"))
        run(store.close())
    assert all(one == outcomes[0] and len(one) == 4 for one in outcomes)
