"""The newest lines that match, over many files, within a limit of bytes and time.

Files are read from their ends, the ones written last first, until enough lines are found. Over a limit the
answer is what was found so far, and says so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.masking import Masker
from poise.adapters.output.blocks import backward, line_end, line_start, near
from poise.adapters.output.files import Kept, OutputFile, kept, opened
from poise.adapters.output.index import FOREVER_MS, Index, stamp_ms
from poise.adapters.output.matcher import Matcher, every_line
from poise.adapters.output.text import Block, excerpt
from poise.model.output import OutputLine, OutputPage

SEARCH_BYTES: Final = 4 << 30
SEARCH_S: Final = 5.0
TAIL: Final = 100
TAIL_MAX: Final = 5_000
CONTEXT_MAX: Final = 50
MIB: Final = 1 << 20


class OutputQuery(Struct, frozen=True, kw_only=True):
    """What is asked: lines written in [``since_ms``, ``until_ms``), the newest ``tail`` that match.

    ``ends``: nothing at or after these offsets, by source. ``by_time``: all files merged by time; otherwise
    (steps of a run) one file after another.
    """

    matcher: Matcher | None = None
    since_ms: int = 0
    until_ms: int = FOREVER_MS
    tail: int = TAIL
    context: int = 0
    by_time: bool = True
    ends: Mapping[str, int] = {}
    search_bytes: int = SEARCH_BYTES
    search_s: float = SEARCH_S


Keyed = tuple[int, int, int, OutputLine]
"""(order: instant in ms or position of the file, number of the file, offset, line)."""


def search(files: Sequence[OutputFile], query: OutputQuery, masker: Masker) -> OutputPage:
    """The page that answers. Runs in a thread: RE2 lets go of the interpreter, a block takes milliseconds."""
    hunt = _Hunt(files, query, masker)
    for number in reversed(range(len(files))):
        hunt.file(number)
    items = hunt.newest()
    if query.context:
        items = hunt.with_context(items)
    return OutputPage(
        items=tuple(line for *_, line in items),
        sources=tuple(file.source for file in files),
        searched_bytes=hunt.searched_bytes,
        total_bytes=hunt.total_bytes,
        took_ms=round(1000 * (time.monotonic() - hunt.began), 1),
        shortened=hunt.shortened,
    )


def around(file: OutputFile, offset: int, context: int, masker: Masker) -> OutputPage:
    """The line in which ``offset`` is, and its neighbours; no items when it is no longer kept."""
    hunt = _Hunt([file], OutputQuery(context=context), masker)
    with opened(file) as descriptor:
        if descriptor is None or not (there := kept(descriptor)).begin <= offset < there.end:
            return OutputPage(items=(), sources=(file.source,))
        begin = line_start(descriptor, there, offset, masker)
        _, after = near(descriptor, there, begin, masker)
        lines = Lines(file, Index.of(file.path, there.written_at_ms))
        place = next(every_line(after.shown), (0, 0, 0))
        items = hunt.with_context([(0, 0, begin, lines.line(after, place)[1])])
    return OutputPage(items=tuple(line for *_, line in items), sources=(file.source,))


class Lines:
    """Makes lines of what stands in a block."""

    def __init__(self, file: OutputFile, index: Index) -> None:
        self._file, self._index = file, index

    def line(
        self, block: Block, place: tuple[int, int, int], is_context: bool = False
    ) -> tuple[tuple[int | None, int, int], OutputLine]:
        """((not before, by, likely) in ms, None where nothing is known; the line)."""
        begin, end, found = place
        offset, last = block.span(begin, end)
        raw = block.shown[begin:end]
        whole = raw.decode(errors="replace")
        text, cut_chars = excerpt(whole, len(raw[: found - begin].decode(errors="replace")))
        low_ms, by_ms = self._index.bounds_ms(max(offset, last - 1))
        likely_ms = self._index.likely_ms(offset)
        stamped_ms = stamp_ms(whole, low_ms, by_ms)
        if stamped_ms is not None:
            low_ms = by_ms = likely_ms = stamped_ms
        line = OutputLine(
            source=self._file.source,
            offset=offset,
            text=text,
            at=datetime.fromtimestamp(by_ms / 1000, UTC),
            earlier_s=None if low_ms is None else (by_ms - low_ms) / 1000,
            cut_chars=cut_chars,
            is_context=is_context,
        )
        return (low_ms, by_ms, likely_ms), line


class _Hunt:
    """One search: what was found so far and what it has cost."""

    def __init__(self, files: Sequence[OutputFile], query: OutputQuery, masker: Masker) -> None:
        self._files, self._query, self._masker = files, query, masker
        self.began = time.monotonic()
        self.found: list[Keyed] = []
        self.searched_bytes = self.total_bytes = 0
        self.shortened = ""

    def file(self, number: int) -> None:
        """Search one file from its end."""
        file = self._files[number]
        with opened(file) as descriptor:
            if descriptor is None:
                return
            there = kept(descriptor)
            index = Index.of(file.path, there.written_at_ms)
            begin, end = self._range(descriptor, there, index)
            end = min(end, self._query.ends.get(file.source, end))
            self.total_bytes += max(0, end - begin)
            if end <= begin or self.shortened or not self._can_add(there):
                return
            lines, count = Lines(file, index), 0
            for block in backward(descriptor, there, begin, end, file.over, self._masker):
                count += self._block(number, block, lines, self._query.tail - count)
                if count >= self._query.tail or self._is_over():
                    break
            self.found = self.newest()

    def _range(self, descriptor: int, there: Kept, index: Index) -> tuple[int, int]:
        """The bytes that may have been written in the time that is asked for."""
        begin, end = there.begin, there.end
        if (since := index.begin(self._query.since_ms)) > begin:
            begin = line_start(descriptor, there, min(since, end), self._masker)
        if self._query.since_ms > there.written_at_ms:
            begin = end
        until = index.end(self._query.until_ms) if self._query.until_ms < FOREVER_MS else None
        return begin, end if until is None else line_end(descriptor, there, min(end, until))

    def _can_add(self, there: Kept) -> bool:
        """Whether a file could still hold a line among the newest."""
        if len(self.found) < self._query.tail:
            return True
        return self._query.by_time and there.written_at_ms >= self.found[0][0]

    def newest(self) -> list[Keyed]:
        """The newest of what was found, in order; a line without a stamp stays behind the one before it."""
        latest, ordered = dict[int, int](), list[Keyed]()
        for order, number, offset, line in sorted(self.found, key=lambda one: one[1:3]):
            latest[number] = max(order, latest.get(number, 0))
            ordered.append((latest[number], number, offset, line))
        return sorted(ordered, key=lambda one: one[:3])[-self._query.tail :]

    def _block(self, number: int, block: Block, lines: Lines, wanted: int) -> int:
        self.searched_bytes += len(block.shown)
        query, count = self._query, 0
        found = query.matcher.lines(block.shown) if query.matcher else every_line(block.shown)
        for place in reversed(list(found)):
            (low_ms, by_ms, likely_ms), line = lines.line(block, place)
            if by_ms < query.since_ms or (low_ms is not None and low_ms >= query.until_ms):
                continue
            self.found.append((likely_ms if query.by_time else number, number, line.offset, line))
            count += 1
            if count >= wanted:
                break
        return count

    def _is_over(self) -> bool:
        """Whether a limit is reached; then it says which."""
        took_s = time.monotonic() - self.began
        if self.searched_bytes < self._query.search_bytes and took_s < self._query.search_s:
            return False
        self.shortened = (
            f"Only the newest {self.searched_bytes / MIB:,.0f} MiB were searched, in {took_s:.1f} s:"
            " ask for a shorter time or one replica."
        )
        return True

    def with_context(self, items: list[Keyed]) -> list[Keyed]:
        """The lines, and around each ``context`` neighbours of its file."""
        shown = {
            (number, line.offset): (order, number, line.offset, line) for order, number, _, line in items
        }
        for order, number, offset, _ in items:
            with opened(self._files[number]) as descriptor:
                if descriptor is None:
                    continue
                there = kept(descriptor)
                lines = Lines(self._files[number], Index.of(self._files[number].path, there.written_at_ms))
                for line in self._neighbours(descriptor, there, offset, lines):
                    shown.setdefault((number, line.offset), (order, number, line.offset, line))
        return sorted(shown.values(), key=lambda one: one[:3])

    def _neighbours(self, descriptor: int, there: Kept, offset: int, lines: Lines) -> list[OutputLine]:
        wanted = self._query.context
        before, after = near(descriptor, there, offset, self._masker)
        places = [] if before is None else [(before, one) for one in list(every_line(before.shown))[-wanted:]]
        places += [(after, one) for one in list(every_line(after.shown))[1 : wanted + 1]]
        return [replace(lines.line(block, place)[1], is_context=True) for block, place in places]
