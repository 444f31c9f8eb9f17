"""What is counted, kept: a checkpoint of book, counter and shaper, so that a restart goes on from there.

It is exact: who resumes it and takes the readings since has, bit for bit, what the process would have that
wrote it. It is also derived: one that is missing, not whole, of another format, from the future, or of
budgets that began at another time is left aside, and everything is counted again from the totals.

Rows of the book's tiers are written once, when they stand, and again when time before them turns out to be
known. The head, with what is still open, is written with the last of them: a crash in between leaves the head
before, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from poise.balance.budget.book import Book, KeptBook
from poise.balance.budget.counting import Counting, aside
from poise.balance.budget.measure import sheet
from poise.balance.indicator.counters import Counter, KeptCounter
from poise.model.balance import Budget
from poise.model.errors import PoiseError
from poise.model.increments import Shaper
from poise.ports.checkpoints import Checkpoints

log = structlog.get_logger()

KEPT_EVERY_S: Final = 300.0
FORMAT: Final = 1  # another one is not read
PIECE_BYTES: Final = 32_000_000  # of rows that are read or written at once
HEAD_BYTES: Final = 4_500  # of each place in a head, about
AHEAD_S: Final = 60.0  # one from so far in the future is not believed


class _Head(Struct, frozen=True, kw_only=True):
    format: int
    until_s: float
    book: KeptBook
    counter: KeptCounter
    shaper: bytes


class Keeping:
    """Writes what changed of a counting since it last did, and reads all of it after a restart."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._version: int | None = None  # the newest, as far as is known
        self._counting: Counting | None = None  # whose checkpoint it is
        self._at: datetime | None = None  # when it was last whole

    async def resumed(
        self, shaper: Callable[[], Shaper], budgets: Mapping[str, Budget], now: datetime
    ) -> Counting | None:
        """The counting as it was kept, with readings up to its ``until``; None where none can be used."""
        head = await self._checkpoints.head()
        self._version = head.version
        if not head.data:
            return None
        places = len(head.data) // HEAD_BYTES
        found = await aside(places, partial(_decoded, head.data, shaper()))
        if found is None or found.until.timestamp() > now.timestamp() + AHEAD_S:
            return None
        if not _agrees(found, budgets) or not await self._filled(found.book):
            return None
        self._counting, self._at = found, now
        return found

    async def keep(self, counting: Counting, now: datetime) -> None:
        """Write what is new, every ``KEPT_EVERY_S``; of much, a piece. It may fail: the totals are there."""
        if counting is not self._counting:
            counting.book.unkept()
            self._counting, self._at = counting, None
        if self._at is not None and 0 <= (now - self._at).total_seconds() < KEPT_EVERY_S:
            return
        try:
            await self._write(counting, now)
        except (PoiseError, OSError) as error:
            log.warning("what was counted could not be kept", error=str(error))
            counting.book.unkept()
            self._version, self._at = None, now

    async def _write(self, counting: Counting, now: datetime) -> None:
        if self._version is None:
            self._version = (await self._checkpoints.head()).version
        found, book = self._version, counting.book
        rows, whole = await aside(book.width, partial(book.changed, PIECE_BYTES))
        data = await aside(book.width, partial(_encoded, counting, found + 1)) if whole else b""
        self._version = await self._checkpoints.write(found, data, rows, book.oldest if whole else ())
        if self._version is None:  # another process writes, too: rows of both lie there
            book.unkept()
            return
        book.keep(rows, self._version)
        self._at = now if whole else None

    async def _filled(self, book: Book) -> bool:
        """Put every row in its place; whether all were there."""
        many = max(1, PIECE_BYTES // (24 * book.width))
        for tier, (first, last) in enumerate(book.rows_kept):
            for begin in range(first, last + 1, many):
                end = min(last, begin + many - 1)
                rows = await self._checkpoints.rows(tier, begin, end)
                if len(rows) != end - begin + 1:
                    return False
                await aside(book.width, partial(book.put, rows))
        return True


def _encoded(counting: Counting, version: int) -> bytes:
    return msgspec.msgpack.encode(
        _Head(
            format=FORMAT,
            until_s=counting.until.timestamp(),
            book=counting.book.kept(version),
            counter=counting.counter.kept(),
            shaper=counting.shaper.kept(),
        )
    )


def _decoded(data: bytes, shaper: Shaper) -> Counting | None:
    """Without the rows of its book. None where it is of another format."""
    try:
        head = msgspec.msgpack.decode(data, type=_Head)
        if head.format != FORMAT:
            return None
        shaper.resume(head.shaper)
        return Counting(
            book=Book.resumed(head.book),
            counter=Counter.resumed(head.counter),
            shaper=shaper,
            sheet=sheet((), (), ()),
            until=datetime.fromtimestamp(head.until_s, UTC),
        )
    except (msgspec.MsgspecError, ValueError, IndexError):
        return None


def _agrees(counting: Counting, budgets: Mapping[str, Budget]) -> bool:
    """Whether it measures since when the budgets on record say: one of the two may be out of a backup."""
    for key, column in counting.counter.columns.items():
        budget = budgets.get(key)
        if budget is None or not column.has_begun or budget.measured_at is None:
            continue
        if budget.definition == column.definition and abs(budget.since.timestamp() - column.since_s) > 1e-3:
            return False
    return True
