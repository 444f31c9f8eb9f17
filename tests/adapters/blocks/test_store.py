"""Age, full disks, second processes: what the embedded store does beyond the contract."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.adapters.blocks import BlockReader, BlockStore, Retention
from poise.adapters.blocks.assembly import joined
from poise.adapters.blocks.sealing import Directory, opened, seal, thinned
from poise.adapters.blocks.tending import DAY_MS, EVER, Entry, joinable
from poise.model.errors import TooLarge, Unreachable
from poise.model.samples import NAME, STALE, Block, Labels, Matcher, MatchOp, Reading, Round

NOW = 1_800_000_000_000
SMALL = Retention(raw_days=1, days=3, step_ms=60_000, seal_samples=10, seal_rows=1)
ALL = [Matcher(NAME, MatchOp.NOT_EQUAL, "")]


def labels(name: str, **rest: str) -> Labels:
    return tuple(sorted({NAME: name, **rest}.items()))


def put(store: BlockStore, at_ms: list[int], *values: list[float], name: str = "hits_total") -> None:
    series = tuple(labels(name, n=str(n)) for n in range(len(values)))
    one = Reading(target="t", series=series, at_ms=np.array(at_ms, np.int64), values=np.array(values, float))
    store.put(Round(readings=(one,)))


def points(store: BlockStore, name: str = "hits_total") -> list[tuple[int, float]]:
    block = store.reader.select([Matcher(NAME, MatchOp.EQUAL, name)], 0, EVER)
    return [
        (at, value)
        for _, at_ms, values in block.groups()
        for row in values
        for at, value in zip(at_ms.tolist(), row.tolist(), strict=True)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    made = BlockStore(tmp_path / "metrics.db", now_ms=lambda: NOW + 100 * DAY_MS, retention=SMALL)
    yield made
    asyncio.run(made.close())


def test_old_samples_are_thinned_and_older_ones_dropped_with_their_series(store: BlockStore) -> None:
    stamps = [NOW + 15_000 * n for n in range(12)]
    put(store, stamps, [float(n) for n in range(12)])
    store.seal()
    put(store, [NOW + 2 * DAY_MS], [99.0])
    store.tend()
    assert [at - NOW for at, _ in points(store)] == [45_000, 105_000, 165_000, 2 * DAY_MS]
    put(store, [NOW + 9 * DAY_MS], [1.0], name="other")
    store.seal()
    store.tend()
    store._forgot_ms = -EVER
    put(store, [NOW + 19 * DAY_MS], [1.0], name="other")
    store.seal()
    store.tend()
    assert points(store) == []
    assert store.reader.label_values(NAME, [], 0, EVER) == ["other"]


def test_a_forgotten_series_may_come_back(store: BlockStore) -> None:
    put(store, [NOW], [1.0])
    store.seal()
    put(store, [NOW + 9 * DAY_MS], [2.0], name="other")
    store.seal()
    store.tend()
    put(store, [NOW + 9 * DAY_MS + 1], [3.0])
    store.seal()
    assert points(store) == [(NOW + 9 * DAY_MS + 1, 3.0)]
    assert points(store, "other") == [(NOW + 9 * DAY_MS, 2.0)]


@settings(max_examples=100)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=60), st.integers(0, 20))
def test_thinning_keeps_the_increase_of_a_counter_from_step_to_step(grown: list[int], reset: int) -> None:
    at_ms = NOW // 60_000 * 60_000 + 15_000 * np.arange(1, len(grown) + 1)
    values = np.cumsum(grown).astype(float)
    values[reset:] -= values[min(reset, len(values) - 1)]
    block = Block(
        series=(labels("x"),), owner=np.array([0]), at_ms=(at_ms,), start=np.array([0]), flat=values
    )
    thin = thinned(block, 60_000, np.array([True]))
    for edge in range(int(at_ms[0]) // 60_000 * 60_000 + 59_999, int(at_ms[-1]) + 60_000, 60_000):
        assert _increase(thin.at_ms[0], thin.flat, edge) == _increase(at_ms, values, edge)


def _increase(at_ms: np.ndarray, values: np.ndarray, end_ms: int) -> float:
    """What a counter that began at zero has counted up to an instant, resets added back."""
    taken = values[at_ms <= end_ms]
    return float(taken[-1] + taken[:-1][taken[1:] < taken[:-1]].sum()) if len(taken) else 0.0


def test_a_gauge_keeps_its_last_sample_of_each_step() -> None:
    at_ms = NOW + 15_000 * np.arange(8)
    flat = np.array([5, 4, 3, 2, 9, 1, 7, 6.0])
    block = Block(series=(labels("x"),), owner=np.array([0]), at_ms=(at_ms,), start=np.array([0]), flat=flat)
    assert thinned(block, 60_000, np.array([False])).flat.tolist() == [2, 6]


def test_a_stale_marker_survives_thinning() -> None:
    at_ms = NOW + 15_000 * np.arange(8)
    flat = np.array([1, 2, STALE, 4, 5, 6, 7, 8.0])
    block = Block(series=(labels("x"),), owner=np.array([0]), at_ms=(at_ms,), start=np.array([0]), flat=flat)
    assert np.isnan(thinned(block, 60_000, np.array([True])).flat).sum() == 1


def test_small_neighbours_become_one_block_and_nothing_else_changes(store: BlockStore) -> None:
    for n in range(6):
        put(store, [NOW + 15_000 * n], [float(n)], [float(-n)])
        store.seal()
    before = points(store)
    store.tend()
    assert points(store) == before
    assert len(store.reader._blocks) == 1


@pytest.mark.parametrize(
    ("blocks", "run"),
    [
        ([], []),
        ([(0, 10, 0, 1)] * 3, []),
        ([(n, n + 1, 0, 1) for n in range(5)], [1, 2, 3, 4, 5]),
        ([(n, n + 1, 0, 8_000_000) for n in range(9)], []),
        ([(n * DAY_MS, n * DAY_MS + 1, 0, 1) for n in range(9)], []),
        ([(0, 1, 60, 1), *((n, n + 1, 0, 1) for n in range(1, 6))], [2, 3, 4, 5, 6]),
    ],
)
def test_which_blocks_are_joined(blocks: list[tuple[int, int, int, int]], run: list[int]) -> None:
    entries = [Entry(place, *one) for place, one in enumerate(blocks, start=1)]
    assert [one.id for one in joinable(entries, Retention())] == run


def test_a_full_disk_keeps_nothing_of_the_round_and_the_store_goes_on_after(store: BlockStore) -> None:
    put(store, [NOW], [1.0])
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unreachable, match="cannot be written") as told:
        put(store, [NOW + 1], *([float(n)] for n in range(5000)))
    assert "full" in told.value.why and "df -h" in told.value.mend
    assert points(store) == [(NOW, 1.0)]
    store._connection.execute("PRAGMA max_page_count = 1000000")
    put(store, [NOW + 1], *([float(n)] for n in range(5000)))
    assert len(points(store)) == 5001


def test_a_second_process_reads_while_this_one_writes(store: BlockStore, tmp_path: Path) -> None:
    put(store, [NOW], [1.0])
    reader = BlockReader(tmp_path / "metrics.db")
    for n in range(1, 30):
        put(store, [NOW + n], [float(n)])
        if n % 7 == 0:
            store.seal()
        block = reader.select(ALL, 0, EVER)
        assert block.at_ms[0].tolist() == [NOW + each for each in range(n + 1)]
    asked = "import sys; from pathlib import Path; from poise.adapters.blocks import BlockReader; "
    asked += "print(BlockReader(Path(sys.argv[1])).label_values('n', [], 0, 1 << 62))"
    told = subprocess.run(
        [sys.executable, "-c", asked, str(tmp_path / "metrics.db")],
        capture_output=True,
        check=True,
        text=True,
    )
    assert told.stdout.strip() == "['0']"
    reader.close()


WRITER = """
import sys, numpy as np
from pathlib import Path
from poise.adapters.blocks import BlockStore, Retention
from poise.model.samples import Reading, Round
small = Retention(seal_samples=50, seal_rows=1)
store = BlockStore(Path(sys.argv[1]), now_ms=lambda: 1 << 60, retention=small)
series = tuple((("__name__", "m"), ("n", str(n))) for n in range(10))
for turn in range(1 << 40):
    values = np.full((10, 1), float(turn))
    store.put(Round(readings=(Reading(target="t", series=series, at_ms=np.array([turn]), values=values),)))
    print(turn, flush=True)
    store.tend()
"""


def test_kill_nine_in_the_middle_of_ingest_loses_no_acknowledged_round(tmp_path: Path) -> None:
    path = tmp_path / "metrics.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(60):
            line = writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        whole = [
            one for one in [line, *writer.stdout.read().splitlines(keepends=True)] if one.endswith(b"\n")
        ]
    store = BlockStore(path, now_ms=lambda: 1 << 60)
    block = store.reader.select(ALL, -1, EVER)
    assert len(block.series) == 10
    turns = block.at_ms[0].tolist()
    assert turns == list(range(len(turns))) and len(turns) > int(whole[-1])
    for _, at_ms, values in block.groups():
        assert (values == at_ms).all()
    asyncio.run(store.close())


def test_a_selection_past_the_limit_is_refused_before_it_is_read(store: BlockStore, tmp_path: Path) -> None:
    put(store, [NOW + n for n in range(100)], [1.0] * 100, [2.0] * 100)
    store.seal()
    reader = BlockReader(tmp_path / "metrics.db", samples_limit=150)
    with pytest.raises(TooLarge, match="over 150 samples"):
        reader.select(ALL, 0, EVER)
    assert len(reader.select([Matcher("n", MatchOp.EQUAL, "1"), *ALL], 0, EVER).flat) == 100
    reader.close()


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(Unreachable, match="cannot be written") as told:
        BlockStore(tmp_path / "metrics.db")
    assert told.value.mend.startswith("Move the file away")


def test_a_large_block_is_cut_into_chunks_and_comes_back(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    owners, length = 40, 500
    flat = chance.integers(0, 1 << 63, owners * 10 * length).astype(np.uint64).view(np.float64)
    at_ms = tuple(NOW + place + 15_000 * np.arange(length) for place in range(owners))
    ids = chance.permutation(owners * 10).astype(np.int32)
    block = Block(
        series=(),
        owner=np.repeat(np.arange(owners), 10),
        at_ms=at_ms,
        start=np.arange(owners * 10) * length,
        flat=flat,
    )
    sealed = seal(block, ids, (ids % 7).astype(np.int32))
    assert len(sealed.chunks) > 2
    directory = Directory(sealed.directory)
    chunks = [opened(body) for body in sealed.chunks]
    rows = directory.rows(np.sort(ids))
    again, numbers = joined(list(directory.parts(rows, chunks.__getitem__, -EVER, EVER)))
    want = {int(one): flat[place * length : (place + 1) * length].tobytes() for place, one in enumerate(ids)}
    got = {
        int(numbers[first + row]): values[row].tobytes()
        for first, _, values in again.groups()
        for row in range(len(values))
    }
    assert got == want


def test_a_copy_made_while_it_is_written_goes_on_as_the_store_does(store: BlockStore, tmp_path: Path) -> None:
    put(store, [NOW], [1.0])
    store.seal()
    put(store, [NOW + 1], [2.0])
    store._connection.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    again = BlockStore(tmp_path / "copy.db", now_ms=lambda: NOW + 100 * DAY_MS, retention=SMALL)
    put(again, [NOW + 2], [3.0])
    again.seal()
    assert [value for _, value in points(again)] == [1, 2, 3]
    asyncio.run(again.close())


def test_rounds_of_many_threads_are_each_kept_while_targets_come(tmp_path: Path) -> None:
    """Hundreds of targets are new at once after a start; one's append must not trip over another's."""
    store = BlockStore(tmp_path / "metrics.db")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            kept = list(pool.map(lambda n: store.put(_single(n)).kept, range(400)))
    finally:
        sys.setswitchinterval(interval)
    assert kept == [1] * 400
    assert store._samples == 400
    asyncio.run(store.close())


def _single(number: int) -> Round:
    """One sample of a target of its own."""
    series = (((NAME, "up"), ("n", str(number))),)
    at_ms = np.array([1_700_000_000_000 + number], np.int64)
    return Round(readings=(Reading(target=f"t{number}", series=series, at_ms=at_ms, values=np.ones((1, 1))),))
