"""Aggregation operators: from many rows to one a group, or to the chosen ones of each group."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import numpy as np

from poise.adapters.promql.errors import QueryInvalid
from poise.adapters.promql.over_time import exact_mean, exact_sum, is_plain, quantiles
from poise.adapters.promql.text import number
from poise.adapters.promql.vectors import Mask, Places, Vector, empty, grouping, keyed, with_label
from poise.model.samples import Labels, Values

CHOOSING = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})


class _Groups:
    """Rows sorted by group: ``order`` puts them so, ``starts`` is where each group begins."""

    def __init__(self, vector: Vector, is_without: bool, labels: tuple[str, ...]) -> None:
        self.keys, self.places = keyed(vector.series, grouping(labels, is_without))
        self.order = np.argsort(self.places, kind="stable")
        self.starts = np.searchsorted(self.places[self.order], np.arange(len(self.keys)))
        is_sorted = bool((self.places[1:] >= self.places[:-1]).all())
        self.values = vector.values if is_sorted else vector.values[self.order]
        self.present = vector.present if is_sorted else vector.present[self.order]
        self.is_whole = bool(self.present.all())
        self.drops = np.logical_or.reduceat(vector.drops[self.order], self.starts)

    def reduce(
        self, ufunc: np.ufunc, values: Values, neutral: float, kind: type[np.floating] = np.float64
    ) -> Values:
        """``ufunc`` over each group and step in the precision of ``kind``, absent samples as ``neutral``."""
        known = values if self.is_whole else np.where(self.present, values, neutral)
        return np.asarray(ufunc.reduceat(known, self.starts, axis=0, dtype=kind), np.float64)

    def counts(self) -> Values:
        """Samples by group and step."""
        return np.add.reduceat(self.present, self.starts, axis=0, dtype=float)

    def spread(self, values: Values) -> Values:
        """Each group's value to its rows."""
        return np.repeat(values, np.diff([*self.starts, len(self.order)]), axis=0)

    def members(self, group: int) -> slice:
        """The sorted rows of a group."""
        end = self.starts[group + 1] if group + 1 < len(self.starts) else len(self.order)
        return slice(int(self.starts[group]), int(end))


def aggregate(
    op: str, vector: Vector, param: Values | str | None, is_without: bool, labels: tuple[str, ...]
) -> Vector:
    """One operator over all steps; ``param`` is a scalar ``[T]`` or, for count_values, a label name."""
    steps = vector.values.shape[1]
    if op in CHOOSING and isinstance(param, np.ndarray):
        _check_choice(op, param)
    if not len(vector):
        return empty(steps)
    if op == "count_values":
        return _count_values(vector, str(param), is_without, labels)
    groups = _Groups(vector, is_without, labels)
    if op in CHOOSING:
        assert isinstance(param, np.ndarray)
        return _chosen(op, vector, groups, param)
    counts = groups.counts()
    if op == "quantile":
        assert isinstance(param, np.ndarray)
        values = _by_group(groups, lambda v, p: quantiles(v.T, p.T, param))
    else:
        values = _REDUCERS[op](groups, counts)
    return Vector(groups.keys, values, counts > 0, groups.drops)


def _check_choice(op: str, param: Values) -> None:
    if np.isnan(param).any():
        raise QueryInvalid("Parameter value is NaN", mend=f"Give a number, such as {op}(1, ...).")
    if op != "limit_ratio" and (np.abs(param) >= 2**63).any():
        raise QueryInvalid("Scalar value overflows int64", mend="Give a smaller number.")


def _by_group(groups: _Groups, made: Callable[[Values, Mask], Values]) -> Values:
    found = []
    for group in range(len(groups.keys)):
        rows = groups.members(group)
        found.append(made(groups.values[rows], groups.present[rows]))
    return np.array(found)


def _sum(groups: _Groups, counts: Values) -> Values:
    with np.errstate(all="ignore"):
        total, safe = _sums(groups, counts)
    return _mend(groups, total, ~safe, exact_sum)


def _avg(groups: _Groups, counts: Values) -> Values:
    with np.errstate(all="ignore"):
        total, safe = _sums(groups, counts)
        mean = total / counts
    return _mend(groups, mean, ~safe, exact_mean)


def _sums(groups: _Groups, counts: Values) -> tuple[Values, Mask]:
    total = groups.reduce(np.add, groups.values, -0.0)  # the one number that changes no sum, not even -0.0
    signed = not groups.is_whole or not groups.values.min(initial=0.0) >= 0.0
    weight = groups.reduce(np.add, np.abs(groups.values), 0.0) if signed else total
    error = weight * counts * np.finfo(float).eps
    safe = is_plain(total, weight, error) | (counts == 0)
    if not safe.all():  # thousands of rows, or some that cancel out: once more with a longer significand
        total = np.where(safe, total, groups.reduce(np.add, groups.values, -0.0, np.longdouble))
        safe |= is_plain(total, weight, weight * counts * float(np.finfo(np.longdouble).eps))
    return total, safe


def _mend(groups: _Groups, result: Values, where: Mask, exactly: Callable[[Values], float]) -> Values:
    for group, step in np.argwhere(where).tolist():
        rows = groups.members(group)
        result[group, step] = exactly(groups.values[rows, step][groups.present[rows, step]])
    return result


def _extreme(ufunc: np.ufunc) -> Callable[[_Groups, Values], Values]:
    return lambda groups, _: groups.reduce(ufunc, groups.values, np.nan)


def _variance(groups: _Groups, counts: Values) -> Values:
    lowest = groups.reduce(
        np.fmin, groups.values, np.nan
    )  # as origin: equal values then vary by exactly nothing
    with np.errstate(all="ignore"):
        above = groups.values - groups.spread(lowest)
        mean = groups.reduce(np.add, above, 0.0) / counts
        away = above - groups.spread(mean)
        return groups.reduce(np.add, away * away, 0.0) / counts


def _deviation(groups: _Groups, counts: Values) -> Values:
    return np.asarray(np.sqrt(_variance(groups, counts)))


_REDUCERS: dict[str, Callable[[_Groups, Values], Values]] = {
    "sum": _sum,
    "avg": _avg,
    "max": _extreme(np.fmax),
    "min": _extreme(np.fmin),
    "count": lambda _, counts: counts,
    "group": lambda _, counts: np.ones(counts.shape),
    "stdvar": _variance,
    "stddev": _deviation,
}


def _chosen(op: str, vector: Vector, groups: _Groups, param: Values) -> Vector:
    kept = np.zeros(vector.present.shape, bool)
    if op == "limit_ratio":
        kept[:] = _sampled(vector, np.clip(param, -1.0, 1.0)) & vector.present
        return _order(Vector(vector.series, vector.values, kept, vector.drops), None)
    for group in range(len(groups.keys)):
        rows = groups.members(group)
        values, present = groups.values[rows], groups.present[rows]
        ranks = _ranks(op, values, present)
        kept[groups.order[rows]] = present & (ranks < np.trunc(param))
    chosen = Vector(vector.series, vector.values, kept, vector.drops)
    return chosen if op == "limitk" else _order(chosen, groups.places, falling=op == "topk")


def _ranks(op: str, values: Values, present: Mask) -> Values:
    """Each sample's place in its group, step by step; NaN comes last, then what is absent."""
    if op == "limitk":
        keys = np.zeros(values.shape)
    else:
        keys = np.where(np.isnan(values), 0.0, -values if op == "topk" else values)
    behind = np.where(present, np.isnan(values) & (op != "limitk"), 2)
    order = np.lexsort((keys, behind), axis=0)
    ranks = np.empty(values.shape)
    np.put_along_axis(
        ranks, order, np.broadcast_to(np.arange(len(values), dtype=float)[:, None], values.shape), axis=0
    )
    return ranks


def _order(chosen: Vector, places: Places | None, *, falling: bool = False) -> Vector:
    """At one instant the answer is in order: by group, then by value."""
    alive: Mask = np.asarray(chosen.present.any(axis=1))
    if chosen.values.shape[1] != 1 or places is None:
        return chosen.rows(alive)
    values = np.where(np.isnan(chosen.values[:, 0]), -np.inf if falling else np.inf, chosen.values[:, 0])
    order = np.lexsort((-values if falling else values, places))
    ordered = chosen.rows(order[alive[order]])
    ordered.ordered = True
    return ordered


def _sampled(vector: Vector, ratio: Values) -> Mask:
    """Whether each row's hash lies in the first ``ratio`` of all, or the last for a negative one."""
    share = np.array([_hash(labels) for labels in vector.series])[:, None]
    return np.where(ratio >= 0, share < ratio, share >= 1.0 + ratio)


def _hash(labels: Labels) -> float:
    text = "\xff".join(part for pair in labels for part in pair)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def _count_values(vector: Vector, label: str, is_without: bool, labels: tuple[str, ...]) -> Vector:
    left = grouping(labels, is_without)
    steps = vector.values.shape[1]
    counts: dict[Labels, np.ndarray] = {}
    for row, series in enumerate(vector.series):
        base = left(series)
        present = vector.present[row]
        for value in np.unique(vector.values[row, present]).tolist():
            key = with_label(base, label, number(value))
            same = np.isnan(vector.values[row]) if value != value else vector.values[row] == value
            counts.setdefault(key, np.zeros(steps))[:] += same & present
    if not counts:
        return empty(steps)
    values = np.array(list(counts.values()))
    return Vector(list(counts), values, values > 0)
