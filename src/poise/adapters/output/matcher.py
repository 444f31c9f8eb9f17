"""A regular expression of a user over many lines at once, each line on its own.

RE2 takes linear time whatever it is given. A block is searched as one text in which nothing matches a newline
and ``^`` and ``$`` are a line's; expressions for which that would not be the same go line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import re2  # type: ignore[import-untyped]

from poise.model.errors import Invalid

PATTERN_CHARS: Final = 1_000
PATTERN_MEMORY_BYTES: Final = 8 << 20
_BY_LINE: Final = re.compile(r"\\[AzCQ]|\(\?[a-zA-Z]*[msU-]")


class Matcher:
    """Raises ``Invalid`` with the place in the expression for one that is none."""

    def __init__(self, pattern: str, ignore_case: bool = False) -> None:
        self.pattern = pattern
        if len(pattern) > PATTERN_CHARS:
            raise Invalid(
                "POISE-Y102",
                f"the expression has {len(pattern)} characters",
                why=f"At most {PATTERN_CHARS} are searched for.",
                mend="Search for less of it.",
            )
        self._by_line = _BY_LINE.search(pattern) is not None
        alone = _compiled(pattern, ignore_case)
        self._found = alone if self._by_line else _compiled(f"(?m:{pattern})", ignore_case)

    def lines(self, shown: bytes) -> Iterator[tuple[int, int, int]]:
        """(begin, end, begin of the first match) of each line of a block that matches, ascending."""
        search, begin, size = self._found.search, 0, len(shown)
        while begin < size:
            if self._by_line:
                end = _end(shown, begin)
                found = search(shown[begin:end])
                if found is not None:
                    yield begin, end, begin + found.start()
            else:
                if (found := search(shown, begin)) is None:
                    return
                place = found.start()
                begin, end = shown.rfind(b"\n", begin, place) + 1 or begin, _end(shown, place)
                if begin < size:
                    yield begin, end, place
            begin = end + 1


def every_line(shown: bytes) -> Iterator[tuple[int, int, int]]:
    """As ``Matcher.lines``, of all lines."""
    begin = 0
    while begin < len(shown):
        end = _end(shown, begin)
        yield begin, end, begin
        begin = end + 1


def _end(shown: bytes, place: int) -> int:
    end = shown.find(b"\n", place)
    return len(shown) if end < 0 else end


def _compiled(pattern: str, ignore_case: bool) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.never_nl = True
    options.never_capture = True
    options.max_mem = PATTERN_MEMORY_BYTES
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(pattern.encode(), options)
    except (re2.error, UnicodeEncodeError) as error:
        raise _refused(pattern, error) from None


def _refused(pattern: str, error: Exception) -> Invalid:
    reason = error.args[0] if error.args else error
    why = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    what, _, part = why.partition(": ")
    place = pattern.find(part) + 1 if part and part in pattern else 1
    return Invalid(
        "POISE-Y101",
        f"'{pattern}' is no regular expression",
        where=f"character {place}",
        why=f"{what}: {part}" if part else what,
        mend="See github.com/google/re2/wiki/Syntax; put a backslash before what is meant as it is.",
    )
