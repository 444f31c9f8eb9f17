"""The working value of the evaluator: labelled rows over the grid of steps.

``values`` and ``present`` are ``[n, T]``. A row's ``__name__`` stays while it is computed with, since
``by (__name__)`` may still ask for it, and goes at the end where ``drops`` says so (Prometheus 3).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from poise.adapters.promql.errors import QueryInvalid
from poise.model.samples import NAME, Labels, Values

Mask = NDArray[np.bool_]
Places = NDArray[np.intp]
K = TypeVar("K", bound=Hashable)
META = frozenset({NAME, "__type__", "__unit__"})  # what a metric is, as against which one


class Vector:
    """Rows of one answer. ``order`` is true once the order of rows is part of the answer (sort, topk)."""

    __slots__ = ("drops", "ordered", "present", "series", "values")

    def __init__(
        self,
        series: Sequence[Labels],
        values: Values,
        present: Mask,
        drops: Mask | None = None,
        ordered: bool = False,
    ) -> None:
        self.series = series
        self.values = values
        self.present = present
        self.drops = np.zeros(len(series), bool) if drops is None else drops
        self.ordered = ordered

    def __len__(self) -> int:
        return len(self.series)

    def rows(self, places: Places | Mask) -> Vector:
        """Some rows, in the given order."""
        chosen = np.flatnonzero(places) if places.dtype == bool else places
        return Vector(
            [self.series[i] for i in chosen.tolist()],
            self.values[chosen],
            self.present[chosen],
            self.drops[chosen],
            self.ordered,
        )

    def with_values(self, values: Values, present: Mask | None = None, *, drop: bool = True) -> Vector:
        """The same rows with other values; a function's rows lose their name in the end."""
        drops = np.ones(len(self), bool) if drop else self.drops
        return Vector(self.series, values, self.present if present is None else present, drops)


def empty(steps: int) -> Vector:
    """No rows."""
    return Vector([], np.empty((0, steps)), np.empty((0, steps), bool))


def one_row(values: Values, labels: Labels = ()) -> Vector:
    """One row that is there at every step."""
    return Vector([labels], values[None, :], np.ones((1, len(values)), bool))


def joined(parts: Sequence[Vector], steps: int) -> Vector:
    """The rows of all parts, one after another."""
    parts = [one for one in parts if len(one)]
    if not parts:
        return empty(steps)
    if len(parts) == 1:
        return parts[0]
    return Vector(
        [labels for one in parts for labels in one.series],
        np.concatenate([one.values for one in parts]),
        np.concatenate([one.present for one in parts]),
        np.concatenate([one.drops for one in parts]),
    )


def without(labels: Labels, *names: str) -> Labels:
    """The labels but the named ones."""
    return tuple(pair for pair in labels if pair[0] not in names)


def with_label(labels: Labels, name: str, value: str) -> Labels:
    """The labels with one set, or removed where the value is empty."""
    rest = [pair for pair in labels if pair[0] != name]
    return tuple(sorted([*rest, (name, value)] if value else rest))


def keyed(series: Sequence[Labels], key: Callable[[Labels], K]) -> tuple[list[K], Places]:
    """The distinct keys in order of first sight, and each row's place among them."""
    seen: dict[K, int] = {}
    places = np.empty(len(series), np.intp)
    for i, labels in enumerate(series):
        places[i] = seen.setdefault(key(labels), len(seen))
    return list(seen), places


def grouping(labels: Sequence[str], is_without: bool) -> Callable[[Labels], Labels]:
    """What is left of a row's labels by ``by (...)`` or ``without (...)``."""
    wanted = frozenset(labels)
    if is_without:
        gone = wanted | META
        return lambda row: tuple(pair for pair in row if pair[0] not in gone)
    if not wanted:
        return lambda row: ()
    return lambda row: tuple(pair for pair in row if pair[0] in wanted)


def settled(vector: Vector) -> Vector:
    """The answer: names removed where they are to go, equal rows merged, rows without any value left out.

    Raises ``QueryInvalid`` where two rows of one label set have a value at the same step.
    """
    alive: Mask = np.asarray(vector.present.any(axis=1))
    vector = vector if alive.all() else vector.rows(alive)
    if not vector.drops.any():
        names: Sequence[Labels] = vector.series
    else:
        names = [
            without(labels, *META) if drop else labels
            for labels, drop in zip(vector.series, vector.drops.tolist(), strict=True)
        ]
    made = merged(Vector(names, vector.values, vector.present))
    made.ordered = vector.ordered
    return made


def merged(vector: Vector) -> Vector:
    """One row for each label set. Raises ``QueryInvalid`` where two have a value at the same step."""
    keys, places = keyed(vector.series, lambda labels: labels)
    if len(keys) == len(vector):
        return vector
    values = np.zeros((len(keys), vector.values.shape[1]))
    present = np.zeros(values.shape, bool)
    drops = np.zeros(len(keys), bool)
    for row, place in enumerate(places.tolist()):
        here = vector.present[row]
        if (present[place] & here).any():
            raise duplicate()
        values[place, here] = vector.values[row, here]
        present[place] |= here
        drops[place] |= vector.drops[row]
    return Vector(keys, values, present, drops)


def duplicate() -> QueryInvalid:
    """Two series became one."""
    return QueryInvalid(
        "vector cannot contain metrics with the same labelset",
        mend="Keep a label that tells them apart, or aggregate: sum by (...) (...).",
    )
