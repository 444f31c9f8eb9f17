"""Functions of values alone: mathematics, time of day, labels."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import re2  # type: ignore[import-untyped]

from poise.adapters.promql.errors import QueryInvalid
from poise.adapters.promql.vectors import Vector, with_label
from poise.adapters.regex import RegexError, anchored, expanded
from poise.model.samples import NAME, Labels, Values

DAY_S = 86_400


def _sgn(values: Values) -> Values:
    return np.where(np.isnan(values) | (values == 0), values, np.sign(values))


MATHS: dict[str, Callable[[Values], Values]] = {
    "abs": np.abs, "ceil": np.ceil, "floor": np.floor, "exp": np.exp, "sqrt": np.sqrt, "ln": np.log,
    "log2": np.log2, "log10": np.log10, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "sgn": _sgn,
    "deg": lambda values: values * 180 / np.pi, "rad": lambda values: values * np.pi / 180,
}  # fmt: skip


def clamped(vector: Vector, low: Values, high: Values) -> Vector:
    """Values between two bounds ``[T]``; nothing where the lower bound is the higher."""
    with np.errstate(invalid="ignore"):
        values = np.maximum(low, np.minimum(high, vector.values))
        return vector.with_values(values, vector.present & ~(high < low))


def rounded(vector: Vector, to: Values) -> Vector:
    """Values to the nearest multiple of ``to[T]``, ties upwards."""
    with np.errstate(all="ignore"):
        inverse = 1.0 / to
        return vector.with_values(np.floor(vector.values * inverse + 0.5) / inverse)


def _date(values: Values) -> np.ndarray:
    return values.astype(np.int64).astype("datetime64[s]")


def _month(values: Values) -> Values:
    return np.asarray(_date(values).astype("datetime64[M]").astype(np.int64) % 12 + 1, float)


def _year(values: Values) -> Values:
    return np.asarray(_date(values).astype("datetime64[Y]").astype(np.int64) + 1970, float)


def _since(values: Values, unit: str) -> Values:
    days = _date(values).astype("datetime64[D]")
    return np.asarray((days - days.astype(f"datetime64[{unit}]")).astype(np.int64) + 1, float)


def _days_in_month(values: Values) -> Values:
    months = _date(values).astype("datetime64[M]")
    return np.asarray((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]"), float)


CALENDAR: dict[str, Callable[[Values], Values]] = {
    "minute": lambda values: np.floor(values % 3600 / 60),
    "hour": lambda values: np.floor(values % DAY_S / 3600),
    "day_of_week": lambda values: (np.floor(values / DAY_S) + 4) % 7,
    "day_of_month": lambda values: _since(values, "M"),
    "day_of_year": lambda values: _since(values, "Y"),
    "days_in_month": _days_in_month,
    "month": _month,
    "year": _year,
}


def calendar(name: str, vector: Vector) -> Vector:
    """A part of the UTC date; the values are seconds since the epoch."""
    known = np.abs(vector.values) < 2**63  # NaN, infinities and what no clock counts have no date
    seconds = np.trunc(np.where(known, vector.values, 0.0))  # towards zero, as Go has it, before 1970 too
    return vector.with_values(np.where(known, CALENDAR[name](seconds), np.nan))


def is_label(name: str) -> bool:
    """Whether this may name a label (any UTF-8 since Prometheus 3)."""
    return bool(name)


def pattern(text: str) -> re2.Pattern[str]:
    """A user's regular expression, RE2 and anchored at both ends. Raises ``QueryInvalid``."""
    try:
        return anchored(text)
    except RegexError as error:
        raise QueryInvalid(
            f'invalid regular expression "{text}": {error}', mend="See github.com/google/re2/wiki/Syntax"
        ) from None


def label_replace(vector: Vector, target: str, template: str, source: str, regex: str) -> Vector:
    """Set a label from what the regex captures in another one."""
    found = pattern(regex)
    if not is_label(target):
        raise QueryInvalid(
            "invalid destination label name in label_replace(): " + target, mend="Name a label."
        )
    seen: dict[str, str | None] = {}
    series = []
    for labels in vector.series:
        value = dict(labels).get(source, "")
        if value not in seen:
            seen[value] = expanded(found, template, value)
        made = seen[value]
        series.append(labels if made is None else with_label(labels, target, made))
    return _relabelled(vector, series, target)


def label_join(vector: Vector, target: str, separator: str, sources: list[str]) -> Vector:
    """Set a label to others' values, joined."""
    if not is_label(target):
        raise QueryInvalid("invalid destination label name in label_join(): " + target, mend="Name a label.")
    series = []
    for labels in vector.series:
        values = dict(labels)
        series.append(with_label(labels, target, separator.join(values.get(name, "") for name in sources)))
    return _relabelled(vector, series, target)


def _relabelled(vector: Vector, series: list[Labels], target: str) -> Vector:
    drops = vector.drops if target != NAME else np.zeros(len(series), bool)
    return Vector(series, vector.values, vector.present, drops)


def by_value(vector: Vector, *, falling: bool) -> Vector:
    """Rows of an instant by value, NaN last."""
    if vector.values.shape[1] != 1:
        return vector
    column = vector.values[:, 0]
    key = np.where(np.isnan(column), 0.0, -column if falling else column)
    made = vector.rows(np.lexsort((key, np.isnan(column))))
    made.ordered = True
    return made


def by_label(vector: Vector, names: list[str], *, falling: bool) -> Vector:
    """Rows of an instant by their labels' values in natural order, all labels last."""
    if vector.values.shape[1] != 1:
        return vector

    def key(place: int) -> tuple[object, ...]:
        values = dict(vector.series[place])
        return (*(_natural(values.get(name, "")) for name in names), vector.series[place])

    order = sorted(range(len(vector)), key=key, reverse=falling)
    made = vector.rows(np.array(order, np.intp))
    made.ordered = True
    return made


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
