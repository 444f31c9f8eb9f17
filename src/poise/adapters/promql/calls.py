"""Functions by name: what each takes and what it does with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from poise.adapters.promql import functions, histograms, over_time, rates
from poise.adapters.promql.errors import Unsupported
from poise.adapters.promql.evaluation import Evaluation, Value
from poise.adapters.promql.joining import info
from poise.adapters.promql.parser import Call, Expr, Paren, Range, Select
from poise.adapters.promql.text import number
from poise.adapters.promql.vectors import Vector, empty, joined, one_row, with_label
from poise.adapters.promql.windows import Windows
from poise.model.samples import NAME, Instants, Labels, MatchOp, Values

_NATIVE = frozenset(
    ["histogram_avg", "histogram_count", "histogram_sum", "histogram_stddev", "histogram_stdvar"]
)
SORT_IN_RANGE = "sort is ineffective for range queries since results are always ordered by labels"
_COUNTER_ENDINGS = ("_total", "_sum", "_count", "_bucket")


def call(query: Evaluation, node: Call, at_ms: Instants) -> Value:
    """The function's value over the steps."""
    name, args = node.name, node.args
    if name in _RANGES:
        return _over_ranges(query, args[0], at_ms, _RANGES[name], name)
    if name in functions.MATHS:
        vector = query.vector(args[0], at_ms)
        with np.errstate(all="ignore"):
            return vector.with_values(np.asarray(functions.MATHS[name](vector.values), float))
    if name in functions.CALENDAR:
        given = query.vector(args[0], at_ms) if args else one_row(at_ms / 1000.0)
        return functions.calendar(name, given)
    if name in _NATIVE:
        query.vector(args[0], at_ms)
        return empty(len(at_ms))  # they pass classic series over, and there are no native ones
    if (special := _SPECIAL.get(name)) is not None:
        return special(query, args, at_ms)
    raise Unsupported(f"calls of {name}()", "Use another function.")


_RANGES: dict[str, Callable[[Windows], Vector]] = {
    "rate": lambda w: rates.extrapolated(w, is_counter=True, is_rate=True),
    "increase": lambda w: rates.extrapolated(w, is_counter=True, is_rate=False),
    "delta": lambda w: rates.extrapolated(w, is_counter=False, is_rate=False),
    "irate": lambda w: rates.instant_difference(w, is_rate=True),
    "idelta": lambda w: rates.instant_difference(w, is_rate=False),
    "changes": lambda w: rates.transitions(w, only_falls=False),
    "resets": lambda w: rates.transitions(w, only_falls=True),
    "sum_over_time": over_time.sum_over_time,
    "avg_over_time": over_time.avg_over_time,
    "max_over_time": lambda w: over_time.extreme_over_time(w, largest=True),
    "min_over_time": lambda w: over_time.extreme_over_time(w, largest=False),
    "ts_of_max_over_time": lambda w: over_time.instant_of_extreme(w, largest=True),
    "ts_of_min_over_time": lambda w: over_time.instant_of_extreme(w, largest=False),
    "count_over_time": over_time.count_over_time,
    "present_over_time": over_time.present_over_time,
    "last_over_time": lambda w: over_time.edge_over_time(w, last=True),
    "first_over_time": lambda w: over_time.edge_over_time(w, last=False),
    "ts_of_last_over_time": lambda w: over_time.instant_of_edge(w, last=True),
    "ts_of_first_over_time": lambda w: over_time.instant_of_edge(w, last=False),
    "stddev_over_time": lambda w: over_time.variance_over_time(w, root=True),
    "stdvar_over_time": lambda w: over_time.variance_over_time(w, root=False),
    "mad_over_time": over_time.mad_over_time,
    "deriv": over_time.deriv,
}


def _over_ranges(
    query: Evaluation, node: Expr, at_ms: Instants, made: Callable[[Windows], Vector], name: str = ""
) -> Vector:
    found = query.windows(node, at_ms)
    vector = joined([made(one) for one in found], len(at_ms))
    if name in ("rate", "increase", "irate", "resets") and isinstance(node, Range):
        for metric in sorted({dict(labels).get(NAME, "") for labels in vector.series}):
            if metric and not metric.endswith(_COUNTER_ENDINGS):
                said = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket"
                query.infos[f'{said}: "{metric}"'] = None
    return vector


def check_quantile(query: Evaluation, q: Values) -> None:
    """Warn of a quantile that is none."""
    wrong = q[(q < 0) | (q > 1) | np.isnan(q)]
    if len(wrong):
        query.warnings[f"quantile value should be between 0 and 1, got {wrong[0]:g}"] = None


def _quantile_over_time(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    q = query.scalar(args[0], at_ms)
    check_quantile(query, q)
    return _over_ranges(query, args[1], at_ms, lambda w: over_time.quantile_over_time(w, q))


def _predict_linear(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    ahead = query.scalar(args[1], at_ms)
    return _over_ranges(query, args[0], at_ms, lambda w: over_time.predict_linear(w, at_ms, ahead))


def _smoothing(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    sf, tf = query.scalar(args[1], at_ms), query.scalar(args[2], at_ms)
    return _over_ranges(query, args[0], at_ms, lambda w: over_time.smoothed(w, sf, tf))


def _absent(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    vector = query.vector(args[0], at_ms)
    return _where_absent(args[0], ~np.asarray(vector.present.any(axis=0)), at_ms)


def _absent_over_time(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    there = np.zeros(len(at_ms), bool)
    for one in query.windows(args[0], at_ms):
        there |= over_time.has_samples(one)
    return _where_absent(args[0], ~there, at_ms)


def _where_absent(node: Expr, absent: np.ndarray, at_ms: Instants) -> Vector:
    return Vector([_expected(node)], np.ones((1, len(at_ms))), absent[None, :])


def _expected(node: Expr) -> Labels:
    """The labels that a selector says its series have: equal matchers that no other one contradicts."""
    while isinstance(node, Paren):
        node = node.expr
    if isinstance(node, Range):
        node = node.selector
    if not isinstance(node, Select) or len(node.alternatives) != 1:
        return ()
    seen: dict[str, str] = {}
    gone: set[str] = set()
    for one in node.alternatives[0]:
        if one.label == NAME:
            continue
        if one.op is MatchOp.EQUAL and one.label not in seen and one.label not in gone:
            seen[one.label] = one.value
        else:
            gone.add(one.label)
    return tuple(sorted((key, value) for key, value in seen.items() if key not in gone and value))


def _timestamp(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    inner = args[0]
    while isinstance(inner, Paren):
        inner = inner.expr
    if isinstance(inner, Select):
        vector, when = query.instants(inner, at_ms)
        return vector.with_values(when / 1000.0)
    vector = query.vector(inner, at_ms)
    return vector.with_values(np.broadcast_to(at_ms / 1000.0, vector.values.shape).copy())


def _scalar(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Values:
    vector = query.vector(args[0], at_ms)
    alone = vector.present.sum(axis=0) == 1
    if not len(vector):
        return np.full(len(at_ms), np.nan)
    return np.where(alone, np.where(vector.present, vector.values, 0.0).sum(axis=0), np.nan)


def _histogram_quantile(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    q, vector = query.scalar(args[0], at_ms), query.vector(args[1], at_ms)
    return histograms.quantile(q, vector, _noting(query.warnings), _noting(query.infos))


def _histogram_quantiles(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    vector, label, parts = query.vector(args[0], at_ms), query.text(args[1]), []
    for one in args[2:]:
        q = query.scalar(one, at_ms)
        made = histograms.quantile(q, vector, _noting(query.warnings), _noting(query.infos))
        series = [with_label(labels, label, _openmetrics(float(q[0]))) for labels in made.series]
        parts.append(Vector(series, made.values, made.present))
    return joined(parts, len(at_ms))


def _openmetrics(value: float) -> str:
    """As an ``le`` or ``quantile`` label has it: 1.0, not 1."""
    return repr(value) if np.isfinite(value) else number(value)


def _histogram_fraction(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    low, high = query.scalar(args[0], at_ms), query.scalar(args[1], at_ms)
    return histograms.fraction(low, high, query.vector(args[2], at_ms), _noting(query.warnings))


def _noting(said: dict[str, None]) -> Callable[[str], None]:
    return lambda text: said.setdefault(text)


def _clamp(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    vector = query.vector(args[0], at_ms)
    return functions.clamped(vector, query.scalar(args[1], at_ms), query.scalar(args[2], at_ms))


def _clamp_one(*, low: bool) -> Callable[[Evaluation, Sequence[Expr], Instants], Vector]:
    def clamp(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
        vector, bound = query.vector(args[0], at_ms), query.scalar(args[1], at_ms)
        return vector.with_values((np.maximum if low else np.minimum)(vector.values, bound))

    return clamp


def _round(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    to = query.scalar(args[1], at_ms) if len(args) > 1 else np.ones(len(at_ms))
    return functions.rounded(query.vector(args[0], at_ms), to)


def _label_replace(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    texts = [query.text(one) for one in args[1:]]
    return functions.label_replace(query.vector(args[0], at_ms), *texts)


def _label_join(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    texts = [query.text(one) for one in args[1:]]
    return functions.label_join(query.vector(args[0], at_ms), texts[0], texts[1], texts[2:])


def _sorted(*, falling: bool) -> Callable[[Evaluation, Sequence[Expr], Instants], Vector]:
    def by_value(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
        _warn_of_sorting(query)
        return functions.by_value(query.vector(args[0], at_ms), falling=falling)

    return by_value


def _sorted_by_label(*, falling: bool) -> Callable[[Evaluation, Sequence[Expr], Instants], Vector]:
    def by_label(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
        _warn_of_sorting(query)
        names = [query.text(one) for one in args[1:]]
        return functions.by_label(query.vector(args[0], at_ms), names, falling=falling)

    return by_label


def _warn_of_sorting(query: Evaluation) -> None:
    """Prometheus 3.x says so wherever it has no effect."""
    if query.start_ms != query.end_ms:
        query.warnings[SORT_IN_RANGE] = None


def _constant(
    value: Callable[[Evaluation], float],
) -> Callable[[Evaluation, Sequence[Expr], Instants], Values]:
    return lambda query, args, at_ms: np.full(len(at_ms), value(query))


def _pairwise(ufunc: np.ufunc) -> Callable[[Evaluation, Sequence[Expr], Instants], Values]:
    return lambda query, args, at_ms: np.asarray(
        ufunc(query.scalar(args[0], at_ms), query.scalar(args[1], at_ms))
    )


def _native_start(query: Evaluation, args: Sequence[Expr], at_ms: Instants) -> Vector:
    raise Unsupported("start timestamps")


_SPECIAL: dict[str, Callable[[Evaluation, Sequence[Expr], Instants], Value]] = {
    "quantile_over_time": _quantile_over_time,
    "predict_linear": _predict_linear,
    "double_exponential_smoothing": _smoothing,
    "holt_winters": _smoothing,
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "timestamp": _timestamp,
    "scalar": _scalar,
    "vector": lambda query, args, at_ms: one_row(query.scalar(args[0], at_ms)),
    "histogram_quantile": _histogram_quantile,
    "histogram_quantiles": _histogram_quantiles,
    "histogram_fraction": _histogram_fraction,
    "clamp": _clamp,
    "clamp_min": _clamp_one(low=True),
    "clamp_max": _clamp_one(low=False),
    "round": _round,
    "label_replace": _label_replace,
    "label_join": _label_join,
    "sort": _sorted(falling=False),
    "sort_desc": _sorted(falling=True),
    "sort_by_label": _sorted_by_label(falling=False),
    "sort_by_label_desc": _sorted_by_label(falling=True),
    "time": lambda query, args, at_ms: at_ms / 1000.0,
    "pi": _constant(lambda query: float(np.pi)),
    "start": _constant(lambda query: query.start_ms / 1000.0),
    "end": _constant(lambda query: query.end_ms / 1000.0),
    "range": _constant(lambda query: (query.end_ms - query.start_ms) / 1000.0),
    "step": _constant(lambda query: query.step_ms / 1000.0),
    "max_of": _pairwise(np.maximum),
    "min_of": _pairwise(np.minimum),
    "info": info,
    "start_timestamp": _native_start,
}
