"""Which series there are and which of them a list of matchers selects.

Labels are coded per name: ``codes[name][id]`` is the number of a value, 0 where the series lacks the label.
A regex runs once per distinct value, never once per series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from poise.adapters.regex import RegexError, anchored
from poise.model.errors import Invalid
from poise.model.samples import Labels, Matcher, MatchOp

Ids = NDArray[np.int32]
GROWTH = 1024


class _Column:
    """One label name: its distinct values, and which of them each series has."""

    def __init__(self) -> None:
        self.values: list[str] = [""]
        self.number: dict[str, int] = {"": 0}
        self.codes = np.zeros(0, np.int32)

    def put(self, series: int, value: str) -> None:
        number = self.number.get(value)
        if number is None:
            number = self.number[value] = len(self.values)
            self.values.append(value)
        if series >= len(self.codes):
            wider = np.zeros(max(GROWTH, 2 * series + 1), np.int32)
            wider[: len(self.codes)] = self.codes
            self.codes = wider
        self.codes[series] = number

    def of(self, ids: Ids) -> Ids:
        if not len(self.codes):
            return np.zeros(len(ids), np.int32)
        known = ids < len(self.codes)
        return np.where(known, self.codes[np.where(known, ids, 0)], 0).astype(np.int32)


class SeriesIndex:
    """Series by number. Numbers are never used twice; a forgotten one is ``None``."""

    def __init__(self) -> None:
        self.labels: list[Labels | None] = []
        self._columns: dict[str, _Column] = {}
        self._by_name: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, first: int, added: Sequence[Labels | None]) -> None:
        """Series with the numbers ``first``, ``first + 1``, ...; numbers before them that are not known stay
        forgotten."""
        self.labels.extend([None] * (first - len(self.labels)))
        for number, labels in enumerate(added, start=first):
            self.labels.append(labels)
            for name, value in labels or ():
                column = self._columns.get(name)
                if column is None:
                    column = self._columns[name] = _Column()
                column.put(number, value)
                if name == "__name__":
                    self._by_name.setdefault(value, []).append(number)

    def of(self, ids: Ids) -> tuple[Labels, ...]:
        """The labels of these series."""
        labels = self.labels
        return tuple(labels[one] or () for one in ids.tolist())

    def matching(self, matchers: Sequence[Matcher]) -> Ids:
        """Numbers of the series that satisfy every matcher, ascending. ``Invalid`` for a bad regex."""
        found, rest = self._first(matchers)
        for one in rest:
            if not len(found):
                break
            column = self._columns.get(one.label)
            test = _test(one)
            if column is None:
                found = found if test("") else found[:0]
                continue
            codes = column.of(found)
            if one.op is MatchOp.EQUAL:
                found = found[codes == column.number.get(one.value, -1)]
            elif one.op is MatchOp.NOT_EQUAL:
                found = found[codes != column.number.get(one.value, -1)]
            else:
                seen = np.unique(codes)
                passes = np.zeros(len(column.values), bool)
                passes[seen] = [test(column.values[code]) for code in seen.tolist()]
                found = found[passes[codes]]
        return found

    def _first(self, matchers: Sequence[Matcher]) -> tuple[Ids, list[Matcher]]:
        """Candidates by the metric's name where it is given, and the matchers still to be asked."""
        for place, one in enumerate(matchers):
            if one.label == "__name__" and one.op is MatchOp.EQUAL and one.value:
                found = np.array(self._by_name.get(one.value, ()), np.int32)
                return found, [*matchers[:place], *matchers[place + 1 :]]
        alive = np.array([n for n, labels in enumerate(self.labels) if labels is not None], np.int32)
        return alive, list(matchers)

    def names(self, ids: Ids) -> list[str]:
        """Label names of these series, sorted."""
        return sorted(name for name, column in self._columns.items() if column.of(ids).any())

    def values(self, label: str, ids: Ids) -> list[str]:
        """Values of one label among these series, sorted."""
        column = self._columns.get(label)
        if column is None:
            return []
        return sorted(column.values[code] for code in np.unique(column.of(ids)).tolist() if code)

    def order(self, label: str, ids: Ids) -> Ids:
        """A number per series that is equal where the label is."""
        column = self._columns.get(label)
        return np.zeros(len(ids), np.int32) if column is None else column.of(ids)


def _test(one: Matcher) -> Callable[[str], bool]:
    if one.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        return lambda value: (value == one.value) is (one.op is MatchOp.EQUAL)
    try:
        found = anchored(one.value)
    except RegexError as error:
        raise Invalid(
            "POISE-E484", f'invalid regular expression "{one.value}"', where=one.label, why=f"{error}.",
            mend="See github.com/google/re2/wiki/Syntax",
        ) from None  # fmt: skip
    return lambda value: (found.search(value) is not None) is (one.op is MatchOp.MATCHES)


def present(ids: Iterable[int]) -> Ids:
    """Numbers as an array."""
    return np.fromiter(ids, np.int32)
