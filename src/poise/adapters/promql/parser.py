"""From text to our own tree. The only module that knows promql-parser, which lags behind Prometheus 3.x."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, Literal

import promql_parser
from msgspec import Struct

from poise.adapters.promql.errors import QueryInvalid
from poise.model.samples import NAME, Matcher, MatchOp

At = Literal["start", "end"] | int | None  # ms since the epoch
SET_OPERATORS: Final = frozenset({"and", "or", "unless"})
COMPARISONS: Final = frozenset({"==", "!=", ">", "<", ">=", "<="})


class Number(Struct, frozen=True):
    """A scalar literal."""

    value: float


class Text(Struct, frozen=True):
    """A string literal."""

    value: str


class Select(Struct, frozen=True):
    """An instant selector. ``alternatives`` are matcher lists of which one must hold (one without ``or``)."""

    alternatives: tuple[tuple[Matcher, ...], ...]
    offset_ms: int = 0
    at: At = None


class Range(Struct, frozen=True):
    """A range selector."""

    selector: Select
    range_ms: int


class Subquery(Struct, frozen=True):
    """An expression over its own grid, as a range. ``step_ms`` 0 means the default step."""

    expr: Expr
    range_ms: int
    step_ms: int
    offset_ms: int = 0
    at: At = None


class Call(Struct, frozen=True):
    """A function of arguments."""

    name: str
    args: tuple[Expr, ...]


class Aggregate(Struct, frozen=True):
    """An aggregation by ``labels``, or over all labels without them."""

    op: str
    expr: Expr
    param: Expr | None
    without: bool
    labels: tuple[str, ...]


class Matching(Struct, frozen=True):
    """How two vectors are joined. ``many`` is the side with group_left/group_right, if any."""

    on: bool = False
    labels: tuple[str, ...] = ()
    many: Literal["left", "right"] | None = None
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


class Binary(Struct, frozen=True):
    """An operator between two expressions."""

    op: str
    left: Expr
    right: Expr
    matching: Matching
    bool_: bool


class Negate(Struct, frozen=True):
    """Unary minus."""

    expr: Expr


class Paren(Struct, frozen=True):
    """Parentheses; they matter to ``timestamp`` and to nothing else."""

    expr: Expr


Expr = Number | Text | Select | Range | Subquery | Call | Aggregate | Binary | Negate | Paren

_AGGREGATIONS: Final = frozenset(
    [
        "sum",
        "avg",
        "min",
        "max",
        "count",
        "group",
        "stddev",
        "stdvar",
        "topk",
        "bottomk",
        "quantile",
        "count_values",
        "limitk",
        "limit_ratio",
    ]
)
_SCALARS: Final = frozenset(["time", "pi", "scalar", "start", "end", "range", "step", "min_of", "max_of"])
_OPS: Final = (
    (promql_parser.MatchOp.Equal, MatchOp.EQUAL),
    (promql_parser.MatchOp.NotEqual, MatchOp.NOT_EQUAL),
    (promql_parser.MatchOp.Re, MatchOp.MATCHES),
    (promql_parser.MatchOp.NotRe, MatchOp.NOT_MATCHES),
)
_NEGATIVE_AT: Final = re.compile(r"@\s*-\s*[0-9]")
_AT_NUMBER: Final = re.compile(
    r"""@\s*(-?\s*[0-9][0-9_.eE+-]*|start|end)|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`"""
)
TEXT_LIMIT: Final = 65_536


@lru_cache(maxsize=1024)
def parse(expression: str) -> Expr:
    """The tree of an expression. Raises ``QueryInvalid`` where it is none."""
    if len(expression) > TEXT_LIMIT:
        raise QueryInvalid(f"an expression has at most {TEXT_LIMIT:,} characters", parsed=False)
    try:
        tree = promql_parser.parse(expression)
    except (ValueError, RecursionError, OverflowError) as error:
        raise QueryInvalid(
            f"cannot parse the expression: {error}",
            where=_place(expression),
            mend="See https://prometheus.io/docs/prometheus/latest/querying/basics/",
            parsed=False,
        ) from None
    instants = _instants(expression) if _NEGATIVE_AT.search(expression) else None
    return _Reader(instants).read(tree)


def kind_of(expr: Expr) -> Literal["scalar", "string", "vector", "matrix"]:
    """What an expression evaluates to."""
    match expr:
        case Number():
            return "scalar"
        case Text():
            return "string"
        case Range() | Subquery():
            return "matrix"
        case Paren(inner) | Negate(inner):
            return kind_of(inner)
        case Call(name):
            return "scalar" if name in _SCALARS else "vector"
        case Binary(_, left, right):
            return "scalar" if kind_of(left) == kind_of(right) == "scalar" else "vector"
    return "vector"


def name_of(selector: Select) -> str:
    """The metric name that the selector asks for; empty when it names none."""
    for one in selector.alternatives[0]:
        if one.label == NAME and one.op is MatchOp.EQUAL:
            return one.value
    return ""


class _Reader:
    """Walks promql-parser's tree in source order."""

    def __init__(self, instants: Iterator[int | None] | None) -> None:
        self._instants = instants

    def read(self, node: Any) -> Expr:
        match type(node).__name__:
            case "NumberLiteral":
                return Number(node.val)
            case "StringLiteral":
                return Text(node.val)
            case "VectorSelector":
                return self._select(node)
            case "MatrixSelector":
                return Range(self._select(node.vector_selector), _ms(node.range))
            case "SubqueryExpr":
                inner = self.read(node.expr)
                at = self._at(node.at)
                return Subquery(inner, _ms(node.range), _ms(node.step), _ms(node.offset), at)
            case "Call":
                return Call(node.func.name, tuple(self.read(one) for one in node.args))
            case "AggregateExpr":
                return self._aggregate(node)
            case "BinaryExpr":
                return self._binary(node)
            case "UnaryExpr":
                return Negate(self.read(node.expr))
            case "ParenExpr":
                return Paren(self.read(node.expr))
        raise QueryInvalid(f"{type(node).__name__} is not known", parsed=False)

    def _select(self, node: Any) -> Select:
        groups = node.matchers.or_matchers or [node.matchers.matchers]
        name = (Matcher(NAME, MatchOp.EQUAL, node.name),) if node.name else ()
        alternatives = tuple(name + tuple(map(_matcher, group)) for group in groups)
        return Select(alternatives, _ms(node.offset), self._at(node.at))

    def _at(self, node: Any) -> At:
        if node is None:
            return None
        exact = next(self._instants, None) if self._instants is not None else None
        if node.type == promql_parser.AtModifierType.Start:
            return "start"
        if node.type == promql_parser.AtModifierType.End:
            return "end"
        return exact if exact is not None else round(node.at.timestamp() * 1000)

    def _aggregate(self, node: Any) -> Aggregate:
        modifier = node.modifier
        without = modifier is not None and modifier.type == promql_parser.AggModifierType.Without
        labels = tuple(modifier.labels) if modifier is not None else ()
        param = self.read(node.param) if node.param is not None else None
        return Aggregate(str(node.op), self.read(node.expr), param, without, labels)

    def _binary(self, node: Any) -> Binary:
        left, right, modifier = self.read(node.lhs), self.read(node.rhs), node.modifier
        if modifier is None:
            return Binary(str(node.op), left, right, Matching(), False)
        card, matching, fill = modifier.card, modifier.matching, modifier.fill_values
        cards = promql_parser.VectorMatchCardinality
        many: Literal["left", "right"] | None = None
        if card == cards.ManyToOne:
            many = "left"
        elif card == cards.OneToMany:
            many = "right"
        joined = Matching(
            on=matching is not None and matching.type == promql_parser.LabelModifierType.Include,
            labels=tuple(matching.labels) if matching is not None else (),
            many=many,
            include=tuple(modifier.group_labels or ()),
            fill_left=fill.lhs if fill else None,
            fill_right=fill.rhs if fill else None,
        )
        return Binary(str(node.op), left, right, joined, modifier.return_bool)


def _matcher(found: Any) -> Matcher:
    op = next(ours for theirs, ours in _OPS if theirs == found.op)
    return Matcher(found.name, op, found.value)


def _ms(span: timedelta | None) -> int:
    return 0 if span is None else round(span / timedelta(milliseconds=1))


def _instants(expression: str) -> Iterator[int | None]:
    """The instants after ``@`` in source order; promql-parser has none before 1970."""
    for found in _AT_NUMBER.finditer(expression):
        if (text := found.group(1)) is not None:
            yield None if text in ("start", "end") else round(float(text.replace(" ", "")) * 1000)


def _place(expression: str) -> str:
    """Where the text stops being the beginning of an expression, as far as brackets and quotes tell."""
    pairs, opened = {")": "(", "]": "[", "}": "{"}, []
    for at, sign in enumerate(expression, 1):
        if sign in "([{":
            opened.append((sign, at))
        elif sign in pairs:
            if not opened or opened[-1][0] != pairs[sign]:
                return f"character {at}"
            opened.pop()
    return f"character {opened[-1][1]}" if opened else ""
