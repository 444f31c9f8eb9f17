"""Operators between scalars and vectors, and the joins they make."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from poise.adapters.promql.errors import QueryInvalid
from poise.adapters.promql.parser import COMPARISONS, Binary, Matching
from poise.adapters.promql.text import shown
from poise.adapters.promql.vectors import (
    META,
    Mask,
    Vector,
    empty,
    joined,
    keyed,
    merged,
    with_label,
    without,
)
from poise.model.samples import NAME, Labels, Values

_ARITHMETIC: dict[str, Callable[..., Values]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
_COMPARE: dict[str, Callable[..., Mask]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


def scalars(op: str, left: Values, right: Values) -> Values:
    """Between two scalars; a comparison (it must say ``bool``) answers 0 or 1."""
    with np.errstate(all="ignore"):
        if op in COMPARISONS:
            return _COMPARE[op](left, right).astype(float)
        return np.asarray(_ARITHMETIC[op](left, right), float)


def with_scalar(node: Binary, vector: Vector, scalar: Values, *, scalar_left: bool) -> Vector:
    """Between a vector and a scalar ``[T]``."""
    left, right = (scalar[None, :], vector.values) if scalar_left else (vector.values, scalar[None, :])
    with np.errstate(all="ignore"):
        if node.op not in COMPARISONS:
            return vector.with_values(np.asarray(_ARITHMETIC[node.op](left, right), float))
        kept = _COMPARE[node.op](left, right)
    if node.bool_:
        return vector.with_values(kept.astype(float))
    return vector.with_values(vector.values, vector.present & kept, drop=False)


def _signature(matching: Matching) -> Callable[[Labels], Labels]:
    names = frozenset(matching.labels)
    if matching.on:
        return lambda labels: tuple(pair for pair in labels if pair[0] in names)
    gone = names | {NAME}
    return lambda labels: tuple(pair for pair in labels if pair[0] not in gone)


def sets(node: Binary, left: Vector, right: Vector) -> Vector:
    """``and``, ``or``, ``unless``, step by step."""
    signature = _signature(node.matching)
    keys, places = keyed([*left.series, *right.series], signature)
    ours, theirs = places[: len(left)], places[len(left) :]
    steps = left.values.shape[1]
    of_left, of_right = np.zeros((len(keys), steps), bool), np.zeros((len(keys), steps), bool)
    np.logical_or.at(of_left, ours, left.present)
    np.logical_or.at(of_right, theirs, right.present)
    if node.op == "or":
        rest = Vector(right.series, right.values, right.present & ~of_left[theirs], right.drops)
        return merged(joined([left, rest], steps))
    met = of_right[ours]
    kept = left.present & (met if node.op == "and" else ~met)
    return Vector(left.series, left.values, kept, left.drops)


class _Join:
    """Rows of the ``many`` side against rows of the ``one`` side (the right one unless group_right)."""

    def __init__(self, node: Binary, left: Vector, right: Vector) -> None:
        self.node, self.matching = node, node.matching
        self.swapped = node.matching.many == "right"
        self.many, self.one = (right, left) if self.swapped else (left, right)
        self.signature = _signature(node.matching)
        self.steps = left.values.shape[1]
        keys, places = keyed([*self.many.series, *self.one.series], self.signature)
        self.keys = keys
        self.of_many, self.of_one = places[: len(self.many)], places[len(self.many) :]
        left_fill, right_fill = node.matching.fill_left, node.matching.fill_right
        self.fill_many, self.fill_one = (right_fill, left_fill) if self.swapped else (left_fill, right_fill)

    def check_one_side(self) -> None:
        """Raises ``QueryInvalid`` where two rows of the ``one`` side stand for the same labels at a step."""
        seen: dict[int, tuple[int, Mask]] = {}
        filled = self.fill_many is not None or self.fill_one is not None
        asked = np.ones(self.steps, bool) if filled else self.many.present.any(axis=0)
        for row, place in enumerate(self.of_one.tolist()):
            present = self.one.present[row] & asked
            if place in seen:
                if (seen[place][1] & present).any():
                    raise self._twice(place, self.one.series[seen[place][0]], self.one.series[row])
                present = seen[place][1] | present
            seen[place] = (row, present)

    def _twice(self, place: int, first: Labels, second: Labels) -> QueryInvalid:
        both = ", ".join(sorted([shown(first), shown(second)]))
        return QueryInvalid(
            f"found duplicate series for the match group {shown(self.keys[place])} on the "
            f"{'left' if self.swapped else 'right'} hand-side of the operation: [{both}]"
            ";many-to-many matching not allowed: matching labels must be unique on one side",
            mend="Name more labels in on(...), or aggregate that side first.",
        )

    def labels(self, many: Labels, one: Labels) -> Labels:
        """The result's labels."""
        matching = self.matching
        found = many if self.node.op in COMPARISONS else without(many, *META)
        if matching.many is None:
            names = frozenset(matching.labels)
            if matching.on:
                found = tuple(pair for pair in found if pair[0] in names)
            else:
                found = tuple(pair for pair in found if pair[0] not in names)
        values = dict(one)
        for name in matching.include:
            found = with_label(found, name, values.get(name, ""))
        return found

    def computed(self, many: Values, one: Values) -> tuple[Values, Mask]:
        """Values and which of them are kept."""
        left, right = (one, many) if self.swapped else (many, one)
        with np.errstate(all="ignore"):
            if self.node.op not in COMPARISONS:
                values = np.asarray(_ARITHMETIC[self.node.op](left, right), float)
                return values, np.ones(values.shape, bool)
            kept = _COMPARE[self.node.op](left, right)
        if self.node.bool_:
            return kept.astype(float), np.ones(kept.shape, bool)
        return np.broadcast_to(left, kept.shape), kept


def vectors(node: Binary, left: Vector, right: Vector) -> Vector:
    """Arithmetic or comparison between two vectors. Raises ``QueryInvalid`` where matches are not unique."""
    join = _Join(node, left, right)
    join.check_one_side()
    by_key: dict[int, list[int]] = defaultdict(list)
    for row, place in enumerate(join.of_one.tolist()):
        by_key[place].append(row)
    pairs = [(i, j) for i, place in enumerate(join.of_many.tolist()) for j in by_key.get(place, ())]
    parts: list[tuple[list[Labels], Values, Mask, Mask]] = []
    if pairs:
        i, j = np.array(pairs, np.intp).T
        met = join.many.present[i] & join.one.present[j]
        values, kept = join.computed(join.many.values[i], join.one.values[j])
        names = [join.labels(join.many.series[a], join.one.series[b]) for a, b in pairs]
        parts.append((names, values, met, kept))
    parts += _filled(join)
    if not parts:
        return empty(join.steps)
    return _merged(join, parts)


def _filled(join: _Join) -> list[tuple[list[Labels], Values, Mask, Mask]]:
    """Rows of either side at the steps where nothing on the other side matches."""
    parts = []
    sides = (
        (join.fill_one, join.many, join.of_many, join.one, join.of_one, False),
        (join.fill_many, join.one, join.of_one, join.many, join.of_many, True),
    )
    for fill, here, places, there, others, is_one in sides:
        if fill is None or not len(here):
            continue
        met = np.zeros((len(join.keys), join.steps), bool)
        np.logical_or.at(met, others, there.present)
        alone = here.present & ~met[places]
        stand_in = np.full(here.values.shape, fill)
        many, one = (stand_in, here.values) if is_one else (here.values, stand_in)
        values, kept = join.computed(many, one)
        names = []
        for labels in here.series:
            other = _matched(join.matching, labels)
            names.append(join.labels(other, labels) if is_one else join.labels(labels, other))
        parts.append((names, values, alone, kept))
    return parts


def _matched(matching: Matching, labels: Labels) -> Labels:
    names = frozenset(matching.labels)
    if matching.on:
        return tuple(pair for pair in labels if pair[0] in names)
    return tuple(pair for pair in labels if pair[0] not in names and pair[0] not in META)


def _merged(join: _Join, parts: Sequence[tuple[list[Labels], Values, Mask, Mask]]) -> Vector:
    names = [labels for part in parts for labels in part[0]]
    values = np.concatenate([part[1] for part in parts])
    met = np.concatenate([part[2] for part in parts])
    kept = np.concatenate([part[3] for part in parts])
    keys, places = keyed(names, lambda labels: labels)
    drops = np.full(len(keys), join.node.bool_)
    if len(keys) == len(names):
        return Vector(names, values, met & kept, drops)
    total = np.zeros((len(keys), join.steps), np.int64)
    np.add.at(total, places, met)
    if (total > 1).any():
        if join.matching.many is None:
            raise QueryInvalid(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                mend="Add group_left() or group_right(), or aggregate the side with more series.",
            )
        raise QueryInvalid(
            "multiple matches for labels: grouping labels must ensure unique matches",
            mend="Name more labels in on(...) or in group_left(...).",
        )
    out = np.zeros((len(keys), join.steps))
    present = np.zeros(out.shape, bool)
    for row, place in enumerate(places.tolist()):
        out[place] = np.where(met[row], values[row], out[place])
        present[place] |= met[row] & kept[row]
    return Vector(keys, out, present, drops)
