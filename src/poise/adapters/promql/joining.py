"""``info(v, {selector})``: labels of info metrics added to the series they describe.

Source: prometheus/promql/info.go. Series are joined on ``instance`` and ``job``; the default info metric is
``target_info``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from poise.adapters.promql.errors import QueryInvalid
from poise.adapters.promql.evaluation import Evaluation
from poise.adapters.promql.functions import pattern
from poise.adapters.promql.parser import At, Expr, Select, Subquery
from poise.adapters.promql.text import shown
from poise.adapters.promql.vectors import Vector, empty, joined, keyed, without
from poise.model.samples import NAME, Instants, Labels, Matcher, MatchOp

IDENTIFYING = ("instance", "job")
DEFAULT = Matcher(NAME, MatchOp.EQUAL, "target_info")


def info(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    """The base vector with the wanted labels of its info series."""
    base = query.vector(args[0], at_ms)
    asked: tuple[Matcher, ...] = ()
    if len(args) > 1:
        if not isinstance(args[1], Select):
            raise QueryInvalid(
                "the second argument of info() is a label selector", mend='Write {__name__="target_info"}.'
            )
        asked = args[1].alternatives[0]
    names = _names(tuple(one for one in asked if one.label == NAME))
    data = tuple(one for one in asked if one.label != NAME)
    if not len(base):
        return empty(len(at_ms))
    ignored = np.array([_is_info(labels, names) for labels in base.series])
    matchers = _matchers(base, ignored, names, data)
    if matchers is None:
        found, when = empty(len(at_ms)), np.zeros((0, len(at_ms)), np.int64)
    else:
        at, offset_ms = _reference(args[0]) or (None, 0)
        found, when = query.instants(Select((matchers,), offset_ms, at), at_ms)
    return _enriched(base, ignored, _newest(found, when), data)


def _names(asked: tuple[Matcher, ...]) -> tuple[Matcher, ...]:
    if not asked:
        return (DEFAULT,)
    if any(one.op in (MatchOp.EQUAL, MatchOp.MATCHES) for one in asked):
        return asked
    return (Matcher(NAME, MatchOp.MATCHES, ".+_info"), *asked)


def _is_info(labels: Labels, names: Sequence[Matcher]) -> bool:
    name = dict(labels).get(NAME, "")
    return all(_holds(one, name) for one in names)


def _holds(one: Matcher, value: str) -> bool:
    if one.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        return (value == one.value) is (one.op is MatchOp.EQUAL)
    return (pattern(one.value).search(value) is not None) is (one.op is MatchOp.MATCHES)


def _matchers(
    base: Vector, ignored: np.ndarray, names: Sequence[Matcher], data: Sequence[Matcher]
) -> tuple[Matcher, ...] | None:
    """What selects the info series of these rows; None where no row says which they are."""
    found = []
    for label in IDENTIFYING:
        rows = (dict(row) for row, skip in zip(base.series, ignored.tolist(), strict=True) if not skip)
        if values := sorted({row[label] for row in rows if row.get(label)}):
            found.append(Matcher(label, MatchOp.MATCHES, "|".join(_quoted(one) for one in values)))
    return (*names, *found, *data) if found else None


def _quoted(text: str) -> str:
    return "".join(sign if sign.isalnum() or sign == "_" or ord(sign) > 127 else f"\\{sign}" for sign in text)


def _reference(node: object) -> tuple[At, int] | None:
    """``@`` and offset of the first selector; subqueries around it add theirs until an ``@`` anchors it."""
    if isinstance(node, Select):
        return node.at, node.offset_ms
    for field in getattr(node, "__struct_fields__", ()):
        value = getattr(node, field)
        for one in value if isinstance(value, tuple) else (value,):
            if (found := _reference(one)) is None:
                continue
            at, offset_ms = found
            if isinstance(node, Subquery) and at is None:
                return node.at, offset_ms + node.offset_ms
            return at, offset_ms
    return None


def _identity(labels: Labels) -> tuple[str, ...]:
    values = dict(labels)
    return tuple(values.get(one, "") for one in IDENTIFYING)


def _newest(found: Vector, when: Instants) -> Vector:
    """Of info series that describe the same thing, at each step the one that was seen last."""
    if not len(found):
        return found
    present = found.present.copy()
    _, places = keyed(found.series, lambda labels: (dict(labels)[NAME], *_identity(labels)))
    for place in np.unique(places).tolist():
        rows = np.flatnonzero(places == place)
        if len(rows) > 1:
            seen = np.where(present[rows], when[rows], -1)
            latest = seen.max(axis=0)
            if ((seen == latest) & (latest >= 0)).sum(axis=0).max() > 1:
                first, second = (shown(found.series[row]) for row in rows[:2].tolist())
                raise QueryInvalid(
                    f"found duplicate series for info metric: {first} and {second}",
                    mend="Select one of them.",
                )
            present[rows] &= seen == latest
    return Vector(found.series, found.values, present, found.drops)


def _enriched(base: Vector, ignored: np.ndarray, found: Vector, data: Sequence[Matcher]) -> Vector:
    wanted = {one.label for one in data}
    required = [one for one in data if not _holds(one, "")]
    by_identity: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, labels in enumerate(found.series):
        by_identity[_identity(labels)].append(place)
    parts: list[Vector] = []
    for row, labels in enumerate(base.series):
        one = base.rows(np.array([row], np.intp))
        places = by_identity.get(_identity(labels), [])
        if ignored[row]:
            parts.append(one)
            continue
        parts += _joined_row(one, labels, found, places, wanted, bool(required))
    return joined(parts, base.values.shape[1])


def _joined_row(
    one: Vector, labels: Labels, found: Vector, places: Sequence[int], wanted: set[str], required: bool
) -> list[Vector]:
    """One row for every set of info labels that held, by the steps at which it held."""
    steps = one.values.shape[1]
    sets: dict[Labels, np.ndarray] = {}
    for step in range(steps):
        if not one.present[0, step]:
            continue
        extra: dict[str, str] = {}
        seen = False
        for place in places:
            if not found.present[place, step]:
                continue
            seen = True
            for key, value in without(found.series[place], NAME, *IDENTIFYING):
                if (not wanted or key in wanted) and key not in dict(labels):
                    if extra.get(key, value) != value:
                        raise QueryInvalid(f"conflicting label: {key}", mend="Select one info metric.")
                    extra[key] = value
        if required and not seen:
            continue
        made = tuple(sorted([*labels, *extra.items()]))
        sets.setdefault(made, np.zeros(steps, bool))[step] = True
    return [Vector([made], one.values, mask[None, :], one.drops) for made, mask in sets.items()]
