"""What comes after: from a cursor on, the lines that have ended since, file by file.

A cursor names each file and the offset up to which it was told. What comes faster than it can be shown is
passed over, counted, and can be searched for.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from poise.adapters.masking import Masker
from poise.adapters.output.blocks import torn
from poise.adapters.output.files import OutputFile, kept, opened
from poise.adapters.output.index import Index
from poise.adapters.output.matcher import Matcher, every_line
from poise.adapters.output.search import Lines
from poise.adapters.output.text import BLOCK_BYTES, Block
from poise.model.errors import Invalid
from poise.model.output import OutputLine

CURSOR_CHARS: Final = 12_000
UNFINISHED_S: Final = 2.0
"""A line that has not ended for so long is told all the same: a prompt, the last word of what was killed."""
LINES_MAX: Final = 1_000
"""Lines of one look that are told; of more the newest."""


class News(Struct, frozen=True, kw_only=True):
    """Lines since a cursor, the cursor after them, and the bytes that were passed over."""

    items: tuple[OutputLine, ...]
    cursor: str
    skipped_bytes: int = 0


def now_cursor(files: Sequence[OutputFile], began: Mapping[str, int] = {}) -> str:
    """The cursor at the ends of the last whole lines."""
    places = dict(began)
    for file in files:
        with opened(file) as descriptor:
            if descriptor is not None and file.source not in places:
                end = kept(descriptor).end
                if _is_still(descriptor, file):
                    places[file.source] = end
                    continue
                low = max(0, end - BLOCK_BYTES)
                last = os.pread(descriptor, end - low, low).rfind(b"\n")
                places[file.source] = low + last + 1 if last >= 0 else low
    return written(places)


def news(
    files: Sequence[OutputFile], cursor: str, matcher: Matcher | None, masker: Masker, whole: bool = False
) -> News:
    """What was written since; ``whole``: lines that have not ended count too, as nothing follows."""
    places, items, skipped_bytes = read(cursor), list[OutputLine](), 0
    for file in files:
        with opened(file) as descriptor:
            if descriptor is None:
                continue
            there, place = kept(descriptor), places.get(file.source, 0)
            if place > there.end:
                place = 0  # its workload emptied it
            if there.end == place:
                places[file.source] = place
                continue
            begin = max(place, there.begin, there.end - BLOCK_BYTES)
            raw = os.pread(descriptor, there.end - begin, begin)
            lost = _lost(descriptor, begin, place, raw, masker)
            ends = len(raw) if whole or _is_still(descriptor, file) else raw.rfind(b"\n") + 1
            if not ends and len(raw) >= BLOCK_BYTES:
                ends = len(raw)  # a line without an end
            skipped_bytes += begin + lost - place
            if ends > lost:
                places[file.source] = begin + ends
                block = Block(raw[lost:ends], begin + lost, masker, raw[:ends].endswith(b"\n"))
                lines = Lines(file, Index.of(file.path, there.written_at_ms))
                found = list((matcher.lines if matcher else every_line)(block.shown))
                skipped_bytes += sum(end + 1 - start for start, end, _ in found[:-LINES_MAX])
                items += [lines.line(block, one)[1] for one in found[-LINES_MAX:]]
            else:
                places[file.source] = begin + lost
    return News(items=tuple(items), cursor=written(places), skipped_bytes=skipped_bytes)


def _is_still(descriptor: int, file: OutputFile) -> bool:
    return file.over or time.time() - os.fstat(descriptor).st_mtime > UNFINISHED_S


def _lost(descriptor: int, begin: int, place: int, raw: bytes, masker: Masker) -> int:
    """What to leave out at ``begin``: the rest of a line that was passed over, or the end of a secret.

    A cursor comes from outside: it may point into the middle of a line.
    """
    if begin == 0 or os.pread(descriptor, 1, begin - 1) == b"\n":
        return 0
    return raw.find(b"\n") + 1 if begin > place else torn(raw, masker)


def written(places: Mapping[str, int]) -> str:
    """A cursor as text that stands in an address."""
    return base64.urlsafe_b64encode(msgspec.json.encode(places)).decode().rstrip("=")


def read(cursor: str) -> dict[str, int]:
    """The places of a cursor; ``Invalid`` for a text that is none."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        places = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=dict[str, int])
        if all(place >= 0 for place in places.values()):
            return places
    except (ValueError, msgspec.DecodeError):
        pass
    raise Invalid(
        "POISE-Y103", "the cursor is none", why="It names no places.", mend="Take the one of an answer."
    )
