"""A checkpoint of what is counted: a restart from it is as if there had been none, wherever it fell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import dropwhile

import anyio
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from poise.adapters.memory_checkpoints import MemoryCheckpoints
from poise.adapters.memory_totals import MemoryTotals
from poise.balance.budget.counting import Counting, Declared, counted, redeclared, replayed
from poise.balance.budget.keeping import Keeping
from poise.balance.indicator.shaping import Shaping
from poise.model.balance import Budget
from poise.model.counting import definition
from poise.model.errors import Unreachable
from poise.model.objective import IndicatorKind, Method, Objective, Slicing
from poise.model.policy import BudgetPolicy
from poise.model.signal import ERRORS_TOTAL, REQUESTS_TOTAL, Batch, Sample, Series
from poise.ports.checkpoints import Row

T0 = datetime(2026, 11, 2, tzinfo=UTC)
SHOP = "acme/production/shop"
PLAIN = Objective(service=SHOP, name="plain", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999)
SLICED = structs.replace(
    PLAIN, name="sliced", method=Method.TIMESLICES, slicing=Slicing(slice_s=60.0, target_ratio=0.95)
)
LONG = structs.replace(PLAIN, name="long", window_s=40 * 86_400.0)
DECLARED = {one.key: (one, BudgetPolicy()) for one in (PLAIN, SLICED, LONG)}


class Dying(MemoryCheckpoints):
    """The process dies at a write, before or after it took hold."""

    def __init__(self) -> None:
        super().__init__()
        self.dies = ""

    async def write(self, found: int, data: bytes, rows: Sequence[Row], oldest: Sequence[int]) -> int | None:
        if self.dies == "before":
            raise Unreachable("POISE-T000", "dead")
        made = await super().write(found, data, rows, oldest)
        if self.dies == "after":
            raise Unreachable("POISE-T000", "dead")
        return made


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


async def begun(totals: MemoryTotals, declared: Declared = DECLARED) -> Counting:
    return await counted(totals, declared, {}, T0, Shaping)


async def again(
    totals: MemoryTotals, kept: MemoryCheckpoints, now: datetime, declared: Declared = DECLARED
) -> tuple[Counting, Keeping, bool]:
    """A new process: from the checkpoint, else from the totals; and whether it was the former."""
    keeping = Keeping(kept)
    found = await keeping.resumed(Shaping, {}, now)
    if found is None:
        made = await begun(totals, declared)
        await made.follow(totals, now)
        return made, keeping, False
    made = redeclared(found, declared, {}, now)
    assert made is not None
    await replayed(made, totals, made.until - timedelta(seconds=10), now)
    return made, keeping, True


def everything(counting: Counting) -> dict[str, object]:
    """All that a counting says and will say, bit for bit."""
    book, counter = counting.book, counting.counter.kept()
    lives = {
        name: (
            life.first_at,
            life.born_watched,
            life.at_s,
            dict(life.gone) | dict(zip(counter.series[life.series], np.frombuffer(life.values), strict=True)),
            life.known_to,
        )
        for name, life in counter.lives.items()
    }
    return {
        "book": structs.replace(book.kept(0), cleared={}, tiers=[]),
        "rows": [_since_something(book.tier_rows(tier)) for tier in range(len(book.rows_kept))],
        "lives": lives,
        "columns": counter.columns,
        "shaper": counting.shaper.kept(),
        "until": counting.until,
    }


def _since_something(rows: list[bytes]) -> list[bytes]:
    """Without rows of before anything was counted."""
    return list(dropwhile(lambda row: not any(row), rows))


MOVES = st.lists(
    st.tuples(
        st.integers(1, 400) | st.integers(1, 40_000),  # seconds on
        st.integers(0, 500),
        st.integers(0, 50),
        st.sampled_from(["", "", "", "restart", "before", "after", "epoch", "gap"]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(MOVES, st.booleans())
def test_wherever_it_dies_the_next_one_goes_on_bit_for_bit(
    moves: list[tuple[int, int, int, str]], sliced: bool
) -> None:
    """Nothing is counted twice and nothing is lost, at any instant of a crash.

    Slices that nobody read for two minutes are judged when somebody looks: they are of the shorter waits.
    """
    declared = {key: one for key, one in DECLARED.items() if sliced or one[0].slicing is None}

    async def play() -> None:
        totals, kept = MemoryTotals(), Dying()
        await read(totals, 0, 0, 0, "e0")
        whole, mine, keeping = await begun(totals, declared), await begun(totals, declared), Keeping(kept)
        seconds = total = bad = epoch = 0
        for wait, good, failed, event in moves:
            seconds += min(wait, 100) if sliced else wait
            total, bad = total + good + failed, bad + failed
            if event == "epoch":
                epoch, total, bad = epoch + 1, good, 0
            if event != "gap":
                await read(totals, seconds, total, bad, f"e{epoch}")
            for each in (whole, mine):
                await each.follow(totals, at(seconds))
            kept.dies = event if event in ("before", "after") else ""
            await keeping.keep(mine, at(seconds))
            if event in ("restart", "before", "after"):
                kept.dies = ""
                mine, keeping, resumed = await again(totals, kept, at(seconds), declared)
                assert resumed or (await kept.head()).data == b""
                if not resumed:
                    whole, _, _ = await again(totals, MemoryCheckpoints(), at(seconds), declared)
            one, other = everything(mine), everything(whole)
            assert [name for name in one if one[name] != other[name]] == [], repr(moves)

    anyio.run(play)


async def read(totals: MemoryTotals, seconds: float, total: float, bad: float, epoch: str) -> None:
    labels = (("service", SHOP),)
    samples = (Sample(Series(ERRORS_TOTAL, labels), bad), Sample(Series(REQUESTS_TOTAL, labels), total))
    await totals.append(Batch(at=at(seconds), epoch=epoch, samples=samples))


def test_what_is_kept_is_left_aside_where_it_cannot_be_right() -> None:
    """Not whole, not understood, from the future, or of budgets that began at another time."""

    async def play() -> None:
        totals, kept = MemoryTotals(), MemoryCheckpoints()
        await read(totals, 0, 0, 0, "e0")
        mine, keeping = await begun(totals), Keeping(kept)
        for second in (10, 20):
            await read(totals, second, second * 10, 1, "e0")
            await mine.follow(totals, at(second))
        await keeping.keep(mine, at(20))
        assert await Keeping(kept).resumed(Shaping, {}, at(30)) is not None
        assert await Keeping(kept).resumed(Shaping, {}, at(-50)) is None
        other = budget(at(5))
        assert await Keeping(kept).resumed(Shaping, {other.key: other}, at(30)) is None
        same = budget(at(mine.since_s()[0] - T0.timestamp()))
        assert await Keeping(kept).resumed(Shaping, {same.key: same}, at(30)) is not None
        head = await kept.head()
        for data in (b"", b"nonsense", head.data[:-40]):
            version = await kept.write((await kept.head()).version, data, (), ())
            assert version is not None
            assert await Keeping(kept).resumed(Shaping, {}, at(30)) is None
        await kept.write(version, head.data, (), [10**12])
        assert await Keeping(kept).resumed(Shaping, {}, at(30)) is None, "its rows are gone"

    anyio.run(play)


def test_who_is_told_that_another_wrote_keeps_everything_anew() -> None:
    """A process that does not know yet that it leads no more must not leave a mixture of both."""

    async def play() -> None:
        totals, kept = MemoryTotals(), MemoryCheckpoints()
        await read(totals, 0, 0, 0, "e0")
        mine, keeping = await begun(totals), Keeping(kept)
        other, zombie = await begun(totals), Keeping(kept)
        for second in range(400, 4000, 400):
            await read(totals, second, second, second // 100, "e0")
            await mine.follow(totals, at(second))
            await keeping.keep(mine, at(second))
            if second == 1200:
                await other.follow(totals, at(second))
                await zombie.keep(other, at(second))
            if second == 1600:
                assert await Keeping(kept).resumed(Shaping, {}, at(second)) is not None
        made, _, resumed = await again(totals, kept, at(3700))
        assert resumed
        one, whole = everything(made), everything(mine)
        assert [name for name in one if one[name] != whole[name]] == []

    anyio.run(play)


def budget(since: datetime) -> Budget:
    return Budget(
        service=SHOP, objective=PLAIN.name, target_ratio=0.999, window_s=PLAIN.window_s, good=0.0, bad=0.0,
        allowed=0.0, left_ratio=1.0, burns=(), coverage_ratio=1.0, bootstrap=False, since=since,
        measured_at=since, at=since, definition=definition(PLAIN),
    )  # fmt: skip
