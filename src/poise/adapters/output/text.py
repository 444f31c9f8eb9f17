"""What of a block of raw output may be shown: text without escapes, control characters and secrets.

A block is whole lines of at most ``BLOCK_BYTES``. Most need nothing done to them, and finding that out is
cheap; the others are cleaned, line by line, and remember where their lines began.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import numpy as np
import re2  # type: ignore[import-untyped]

from poise.adapters.masking import Masker

BLOCK_BYTES: Final = 1 << 20
LINE_CHARS: Final = 4_000
"""Shown of one line; a longer one is told by how much."""
_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\-_])"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_COLOUR: Final = re.compile("\x1b\\[[0-9;]*m")
_ODD: Final = re.compile("[\x80-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_TAB, _NEWLINE, _SPACE, _DELETE = 9, 10, 32, b"\x7f"
SECRETS_MEMORY_BYTES: Final = 64 << 20


class Block:
    """Lines from ``base`` on as they may be shown, ``shown``, UTF-8 with one newline after each line.

    ``whole``: the last line has ended; otherwise a secret that has only begun at its end is masked too.
    """

    def __init__(self, raw: bytes, base: int, masker: Masker, whole: bool = True) -> None:
        self.base, self._end = base, base + len(raw)
        self._raw_starts: np.ndarray | None = None
        if is_plain(raw, masker) and whole:
            self.shown = raw
            return
        cleaned = clean(raw.decode(errors="replace"))
        self.shown = cleaned.encode()
        if masker.free and (not whole or _any_of(masker.free).search(self.shown)):
            lines = cleaned.split("\n")
            masked = [masker.text(line) for line in lines]
            if not whole:
                masked[-1] = masker.unfinished(lines[-1])
            self.shown = "\n".join(masked).encode()
        self._raw_starts, self._starts = _line_starts(raw), _line_starts(self.shown)

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Where in the file the line that stands at ``begin`` .. ``end`` of ``shown`` begins and ends."""
        if self._raw_starts is None:
            return self.base + begin, self.base + end
        line = int(np.searchsorted(self._starts, begin, side="right")) - 1
        last = line + 1 >= len(self._raw_starts)
        ends = self._end if last else self.base + int(self._raw_starts[line + 1]) - 1
        return self.base + int(self._raw_starts[line]), ends


def _line_starts(raw: bytes) -> np.ndarray:
    return np.concatenate(([0], np.flatnonzero(np.frombuffer(raw, np.uint8) == _NEWLINE) + 1))


def is_plain(raw: bytes, masker: Masker) -> bool:
    """Whether a block can be shown as it is: no control character, valid UTF-8, no secret."""
    letters = np.frombuffer(raw, np.uint8)
    allowed = np.count_nonzero(letters == _NEWLINE) + np.count_nonzero(letters == _TAB)
    if np.count_nonzero(letters < _SPACE) != allowed or _DELETE in raw:
        return False
    if masker.free and _any_of(masker.free).search(raw):
        return False
    if raw.isascii():
        return True
    try:
        return _ODD.search(raw.decode()) is None
    except UnicodeDecodeError:
        return False


@lru_cache(maxsize=2)
def _any_of(values: tuple[str, ...]) -> Any:
    """All secrets at once: one pass of RE2, however many they are."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = SECRETS_MEMORY_BYTES
    return re2.compile("|".join(map(re2.escape, values)).encode(), options)


def clean(text: str) -> str:
    """Text without escapes and control characters; of a progress bar (carriage returns) its last state.

    >>> clean("\\x1b[31mred\\x1b[0m\\r\\n 1 %\\r 2 %\\n")
    'red\\n 2 %\\n'
    """
    if "\x1b" in text:
        text = _COLOUR.sub("", text)  # most of what escapes are, at the speed of a search for a letter
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    return "\n".join(line if line.isprintable() else _cleaned(line) for line in text.split("\n"))


def _cleaned(line: str) -> str:
    line = _ESCAPES.sub("", line)
    return next((part for part in reversed(line.split("\r")) if part), "")


def excerpt(text: str, found: int) -> tuple[str, int]:
    """At most ``LINE_CHARS`` of a line, around ``found``, and how many characters are left out."""
    if len(text) <= LINE_CHARS:
        return text, 0
    begin = max(0, min(found - LINE_CHARS // 4, len(text) - LINE_CHARS))
    return text[begin : begin + LINE_CHARS], len(text) - LINE_CHARS
