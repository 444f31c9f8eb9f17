"""What is wrong with a text: every problem of it, each at its own line and column."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Protocol

from poise.model.errors import Invalid
from poise.spec import limits

TOO_LARGE = "POISE-S100"
NOT_YAML = "POISE-S101"
DUPLICATE_KEY = "POISE-S102"
TOO_DEEP = "POISE-S103"
YAML_FEATURE = "POISE-S104"
UNKNOWN_KEY = "POISE-S110"
MISSING_KEY = "POISE-S111"
WRONG_TYPE = "POISE-S112"
BAD_VALUE = "POISE-S113"
UNSUPPORTED = "POISE-S114"
UNKNOWN_NAME = "POISE-S115"
CYCLE = "POISE-S116"
DECLARED_TWICE = "POISE-S117"
CONTRADICTION = "POISE-S118"
UNKNOWN_KIND = "POISE-S120"
EXPRESSION = "POISE-S130"
TEMPLATE = "POISE-S131"
NO_FILE = "POISE-S132"
HOST_TAKEN = "POISE-S133"


class Problems(Invalid):
    """A text with one or more problems; ``problems`` holds each, in the order of lines.

    It reads as its first problem, so a caller that knows only ``Invalid`` still shows something true.
    """

    def __init__(self, problems: Iterable[Invalid]) -> None:
        self.problems: tuple[Invalid, ...] = tuple(problems)
        first = self.problems[0]
        super().__init__(first.code, first.what, where=first.where, why=first.why, mend=first.mend)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Placed(Protocol):
    """Anything with a place in the text; both numbers count from 1."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class Report:
    """Collects the problems of one file."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self._found: dict[tuple[int, int, str, str], Invalid] = {}
        self._others: list[Report] = []

    def add(self, code: str, place: Placed, what: str, *, why: str = "", mend: str = "") -> None:
        """Note a problem at ``place``; the same one twice is one; beyond the limit it is dropped."""
        if len(self._found) >= limits.PROBLEMS:
            return
        edit = f"Edit {self.filename} line {place.line}."
        where = f"{self.filename}:{place.line}:{place.column}"
        problem = Invalid(code, what, where=where, why=why, mend=f"{mend} {edit}".strip())
        self._found.setdefault((place.line, place.column, code, what), problem)

    def of(self, filename: str) -> Report:
        """The report of another file that this one names; what is noted there counts here as well."""
        self._others.append(Report(filename))
        return self._others[-1]

    def take(self, problems: Problems) -> None:
        """Note what was found elsewhere, with its own places."""
        for problem in problems.problems:
            self._found.setdefault((0, len(self._found), problem.code, problem.what), problem)

    def __len__(self) -> int:
        return len(self._found) + sum(len(other) for other in self._others)

    def raise_if_any(self) -> None:
        """Raise ``Problems`` with all that was noted, by file and line, or do nothing."""
        if self:
            raise Problems(self._all())

    def _all(self) -> Iterable[Invalid]:
        yield from (self._found[key] for key in sorted(self._found, key=lambda key: key[:2]))
        for other in self._others:
            yield from other._all()


def nearest(word: str, known: Iterable[str]) -> str:
    """``Did you mean 'replicas'?`` for the nearest known word, or the list of known words."""
    words = list(known)
    if (close := guess(word, words)) is not None:
        return f"Did you mean '{close}'?"
    return f"Known here: {', '.join(words)}." if words else ""


def guess(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, upper and lower case aside."""
    folded = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(word.lower()[:100], folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def shown(text: str) -> str:
    """A word of the user's text, short and printable, for a message."""
    printable = "".join(char if char.isprintable() else "·" for char in text[:61])
    return f"'{printable[:60]}…'" if len(text) > 60 else f"'{printable}'"
