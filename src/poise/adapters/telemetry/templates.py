"""The templates that a file knows, by number; what is masked once is looked up afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from poise.model.template import OTHER, alike, template_id, template_of

KEYS_REMEMBERED: Final = 50_000  # bodies that are alike; then all are forgotten at once
OTHER_NUMBER: Final = 0  # of the records that came after the last number
OTHER_ID: Final = template_id(OTHER)
Row = tuple[int, str, str]  # number, id, text


class Templates:
    """At most so many, each with a number that is used for no other while it stands."""

    def __init__(self, rows: Iterable[Row], at_most: int) -> None:
        self._at_most = at_most
        self._numbers: dict[str, int] = {}  # by id
        self._keys: dict[str, int] = {}
        self._rows: dict[int, Row] = {}
        self._newest = OTHER_NUMBER
        for row in rows:
            self._put(row)

    def __len__(self) -> int:
        return len(self._rows)

    def numbers(self, bodies: Sequence[str]) -> tuple[np.ndarray[Any, Any], list[Row]]:
        """The number of each body's template, and the templates among them that are new."""
        keys = alike(bodies)
        found = list(map(self._keys.get, keys))
        made: list[Row] = []
        if None in found:
            found = [
                self._number(key, made) if number is None else number
                for key, number in zip(keys, found, strict=True)
            ]
        return np.array(found, np.int32), made

    def take_back(self, made: Iterable[Row]) -> None:
        """New ones that were not written after all."""
        for number, one, _ in made:
            del self._rows[number], self._numbers[one]
        self._keys = {}

    def of(self, number: int) -> tuple[str, str]:
        """(id, text) of a number; of one that is not known the rest's."""
        _, one, text = self._rows.get(number, (0, OTHER_ID, OTHER))
        return one, text

    def number_of(self, wanted: str) -> int | None:
        """The number of an id."""
        return OTHER_NUMBER if wanted == OTHER_ID else self._numbers.get(wanted)

    def _number(self, key: str, made: list[Row]) -> int:
        known = self._keys.get(key)
        if known is not None:
            return known
        text = template_of(key)
        one = template_id(text)
        number = self._numbers.get(one)
        if number is None and len(self._rows) < self._at_most:
            made.append((self._newest + 1, one, text))
            number = self._put(made[-1])
        if len(self._keys) >= KEYS_REMEMBERED:
            self._keys = {}
        self._keys[key] = found = OTHER_NUMBER if number is None else number
        return found

    def _put(self, row: Row) -> int:
        number, one, _ = row
        self._newest = max(self._newest, number)
        self._numbers[one], self._rows[number] = number, row
        return number
