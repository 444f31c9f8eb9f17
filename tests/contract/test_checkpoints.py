"""The contract of Checkpoints, over every adapter: whole or not at all, and never of two writers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from poise.adapters.memory_checkpoints import MemoryCheckpoints
from poise.adapters.totals import StoredCheckpoints
from poise.ports.checkpoints import Checkpoints, Head, Row


@pytest.fixture(params=["stored", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Checkpoints]:
    """Opens it; on disk, again and again the same one."""
    memory = MemoryCheckpoints()
    return lambda: memory if request.param == "memory" else StoredCheckpoints(tmp_path / "signals.db")


def row(tier: int, number: int, data: bytes = b"x") -> Row:
    return Row(tier=tier, number=number, data=data)


def test_what_was_written_is_there_for_the_next_process(make: Callable[[], Checkpoints]) -> None:
    """Rows by tier and number, each with the version that put it there."""

    async def play() -> None:
        one = make()
        assert await one.head() == Head()
        assert await one.write(0, b"a", [row(0, 5, b"five"), row(0, 6), row(1, 5, b"other")], ()) == 1
        assert await one.write(1, b"b", [row(0, 6, b"six"), row(0, 7)], ()) == 2
        again = make()
        assert await again.head() == Head(version=2, data=b"b")
        found = [(found.number, found.version, found.data) for found in await again.rows(0, 5, 7)]
        assert found == [(5, 1, b"five"), (6, 2, b"six"), (7, 2, b"x")]
        assert [found.data for found in await again.rows(1, 0, 100)] == [b"other"]

    anyio.run(play)


def test_old_rows_go_with_a_write(make: Callable[[], Checkpoints]) -> None:
    """What no window reaches is not kept for ever."""

    async def play() -> None:
        one = make()
        await one.write(0, b"a", [row(tier, number) for tier in (0, 1) for number in range(10)], ())
        await one.write(1, b"b", (), [4, 9])
        assert [found.number for found in await one.rows(0, 0, 99)] == list(range(4, 10))
        assert [found.number for found in await one.rows(1, 0, 99)] == [9]

    anyio.run(play)


def test_who_did_not_see_the_newest_writes_nothing(make: Callable[[], Checkpoints]) -> None:
    """Two processes that believe to be the only one must not mix their rows."""

    async def play() -> None:
        one, other = make(), make()
        assert await one.write(0, b"a", [row(0, 1, b"one")], ()) == 1
        assert await other.write(0, b"z", [row(0, 1, b"other")], [7]) is None
        assert await other.head() == Head(version=1, data=b"a")
        assert [found.data for found in await other.rows(0, 0, 9)] == [b"one"]
        assert await other.write(1, b"z", [row(0, 1, b"other")], ()) == 2
        assert await one.write(1, b"b", (), ()) is None

    anyio.run(play)
