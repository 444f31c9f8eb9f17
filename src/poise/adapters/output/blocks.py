"""A file as blocks of whole lines, from its end or around a place, while its keeper frees its front."""

from __future__ import annotations

import os
from collections.abc import Iterator

from poise.adapters.masking import Masker
from poise.adapters.output.files import Kept, kept
from poise.adapters.output.text import BLOCK_BYTES, Block

FIRST_BYTES = 1 << 16
"""The first block from the end: enough for most tails. Each further one is four times as long."""
NEAR_BYTES = 1 << 16
"""How far from a line its beginning or its neighbours are looked for."""


def backward(
    descriptor: int, there: Kept, begin: int, end: int, over: bool, masker: Masker
) -> Iterator[Block]:
    """Blocks of the bytes ``begin`` .. ``end``, the last first; ends early where the hole has grown.

    A line that is longer than a block comes in pieces; the beginning of a piece is left out as far as it
    could be the end of a secret.
    """
    high, size, starts = end, FIRST_BYTES, begin != there.begin or begin == 0
    while high > begin:
        low = max(begin, high - size)
        size = min(BLOCK_BYTES, 4 * size)
        raw = os.pread(descriptor, high - low, low)
        if low < kept(descriptor).begin or not raw:
            return  # freed while it was read
        at_start = starts if low == begin else os.pread(descriptor, 1, low - 1) == b"\n"
        cut = 0 if at_start else raw.find(b"\n") + 1
        piece = cut in (0, len(raw)) and not at_start
        if piece and low > begin and high - low < BLOCK_BYTES:
            continue  # a longer block may hold the beginning of its line
        lost = torn(raw, masker) if piece else cut
        whole = raw.endswith(b"\n") or (over and high == there.end)
        if lost < len(raw):
            yield Block(raw[lost:], low + lost, masker, whole)
        high = low if piece else low + cut
        if low == begin:
            return


def torn(raw: bytes, masker: Masker) -> int:
    """How much to leave out of bytes that begin within a line: what may be the end of a secret."""
    return min(raw.find(b"\n") + 1 or len(raw), 4 * masker.longest)  # a character has 4 bytes at most


def line_start(descriptor: int, there: Kept, offset: int, masker: Masker) -> int:
    """The beginning of the line in which ``offset`` is, or of what may be shown of one that is very long."""
    low = max(there.begin, offset - NEAR_BYTES)
    raw = os.pread(descriptor, offset - low, low)
    if (found := raw.rfind(b"\n")) >= 0 or low == 0:
        return low + found + 1
    return low + torn(os.pread(descriptor, NEAR_BYTES, low), masker)


def line_end(descriptor: int, there: Kept, offset: int) -> int:
    """The end of the line in which ``offset`` is, at most ``NEAR_BYTES`` after it; a line's start stays."""
    if offset == 0 or os.pread(descriptor, 1, offset - 1) == b"\n":
        return offset
    found = os.pread(descriptor, NEAR_BYTES, offset).find(b"\n")
    return min(there.end, offset + (NEAR_BYTES if found < 0 else found + 1))


def near(descriptor: int, there: Kept, offset: int, masker: Masker) -> tuple[Block | None, Block]:
    """What is before the line that begins at ``offset``, and that line with what is after it."""
    low = max(there.begin, offset - NEAR_BYTES)
    before = os.pread(descriptor, offset - low, low)
    cut = (before.find(b"\n") + 1 or len(before)) if low else 0
    after = os.pread(descriptor, NEAR_BYTES, offset)
    end = after.rfind(b"\n") + 1 or len(after)
    return (
        Block(before[cut:], low + cut, masker) if cut < len(before) else None,
        Block(after[:end], offset, masker, whole=after[:end].endswith(b"\n")),
    )
