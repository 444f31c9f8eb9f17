"""Walks an expression's tree over a grid of steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from poise.adapters.promql import aggregate, binary, calls
from poise.adapters.promql.errors import QueryInvalid, QueryTimedOut, QueryTooLarge
from poise.adapters.promql.evaluation import Value
from poise.adapters.promql.functions import pattern
from poise.adapters.promql.parser import (
    COMPARISONS,
    SET_OPERATORS,
    Aggregate,
    At,
    Binary,
    Call,
    Expr,
    Negate,
    Number,
    Paren,
    Range,
    Select,
    Subquery,
    Text,
    kind_of,
    parse,
)
from poise.adapters.promql.vectors import Vector, empty, joined, one_row, settled
from poise.adapters.promql.windows import Windows, chunks, instant, of_vector
from poise.model.samples import (
    STALE_BITS,
    AnswerKind,
    Block,
    Frame,
    Instants,
    Limits,
    Matcher,
    MatchOp,
    Stats,
    Values,
)
from poise.ports.signals import Selector

LOOKBACK_MS = 300_000
DEFAULT_STEP_MS = 60_000  # of a subquery that names none


class Engine:
    """Evaluates PromQL over a ``Selector`` within limits; nothing is kept between two queries."""

    def __init__(
        self,
        selector: Selector,
        limits: Limits | None = None,
        *,
        lookback_ms: int = LOOKBACK_MS,
        subquery_step_ms: int = DEFAULT_STEP_MS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._selector = selector
        self._limits = limits or Limits()
        self._lookback_ms = lookback_ms
        self._subquery_step_ms = subquery_step_ms
        self._monotonic = monotonic

    def instant(self, expression: str, at_ms: int) -> Frame:
        """The answer at one instant.

        Raises ``QueryInvalid``, ``Unsupported``, ``QueryTooLarge`` and ``QueryTimedOut``.
        """
        tree = parse(expression)
        query = self._query(at_ms, at_ms, 0)
        if isinstance(tree, Range):
            return query.ragged(tree)
        if isinstance(tree, Text):
            return _frame(AnswerKind.STRING, query, empty(1), text=tree.value)
        return query.frame(tree, is_range=False)

    def range(self, expression: str, start_ms: int, end_ms: int, step_ms: int) -> Frame:
        """The answer at ``start``, ``start + step``, ... up to ``end``; raises as ``instant`` does."""
        if step_ms <= 0 or end_ms < start_ms:
            raise QueryInvalid(
                "a range needs a step above zero and an end not before its start",
                mend="Add step=15s.",
                parsed=False,
            )
        points = (end_ms - start_ms) // step_ms + 1
        if points > self._limits.points:
            raise QueryTooLarge(
                f"the query has {points:,} steps; at most {self._limits.points:,} are answered",
                "Ask for a larger step or a shorter range.",
            )
        tree = parse(expression)
        if kind_of(tree) in ("matrix", "string"):
            raise QueryInvalid(
                f"a range query needs a scalar or an instant vector, this is a {kind_of(tree)}",
                mend="Wrap it, such as in rate(...), or ask at one instant.",
                parsed=False,
            )
        return self._query(start_ms, end_ms, step_ms).frame(tree, is_range=True)

    def _query(self, start_ms: int, end_ms: int, step_ms: int) -> Query:
        deadline = self._monotonic() + self._limits.seconds
        return Query(
            self._selector,
            self._limits,
            self._lookback_ms,
            (start_ms, end_ms, step_ms),
            self._monotonic,
            deadline,
            self._subquery_step_ms,
        )


class Query:
    """One evaluation: the grid, what it has cost, what there is to say beside the answer."""

    def __init__(
        self,
        selector: Selector,
        limits: Limits,
        lookback_ms: int,
        grid: tuple[int, int, int],
        monotonic: Callable[[], float],
        deadline: float,
        subquery_step_ms: int = DEFAULT_STEP_MS,
    ) -> None:
        self.start_ms, self.end_ms, self.step_ms = grid
        self._selector, self._limits, self._lookback_ms = selector, limits, lookback_ms
        self._monotonic, self._deadline = monotonic, deadline
        self._subquery_step_ms = subquery_step_ms
        self._began = monotonic()
        self.samples = self.series = 0
        self.warnings: dict[str, None] = {}
        self.infos: dict[str, None] = {}

    # -- answers ----------------------------------------------------------------------------------

    def frame(self, tree: Expr, *, is_range: bool) -> Frame:
        """The whole answer."""
        step = self.step_ms if is_range else 1
        at_ms = np.arange(self.start_ms, self.end_ms + 1, step, dtype=np.int64)
        value = self.evaluate(tree, at_ms)
        if isinstance(value, str):
            return _frame(AnswerKind.STRING, self, empty(1), text=value)
        if isinstance(value, np.ndarray):
            kind = AnswerKind.MATRIX if is_range else AnswerKind.SCALAR
            return _frame(kind, self, one_row(value), at_ms)
        return _frame(AnswerKind.MATRIX if is_range else AnswerKind.VECTOR, self, settled(value), at_ms)

    def ragged(self, node: Range) -> Frame:
        """A range selector at one instant: the samples themselves."""
        at_ms = np.array([self.end_ms], np.int64)
        times = self.times(node.selector, at_ms)
        end = int(times[0])
        blocks = [self.select(one, end - node.range_ms, end) for one in node.selector.alternatives]
        series, stamps, parts = [], [], []
        for block in blocks:
            for first, instants, values in block.groups():
                for row, labels in enumerate(block.series[first : first + len(values)]):
                    keep = (
                        (values[row].view(np.uint64) != STALE_BITS)
                        & (instants > end - node.range_ms)
                        & (instants <= end)
                    )
                    if keep.any():
                        series.append(labels)
                        stamps.append(instants[keep])
                        parts.append(values[row, keep])
        lengths = [len(one) for one in parts]
        found = Block(
            series=tuple(series),
            owner=np.arange(len(series), dtype=np.intp),
            at_ms=tuple(stamps),
            start=np.cumsum([0, *lengths], dtype=np.intp)[:-1],
            flat=np.concatenate(parts) if parts else np.empty(0),
        )
        return _frame(AnswerKind.MATRIX, self, empty(1), at_ms, ragged=found)

    def stats(self) -> Stats:
        """What it cost so far."""
        return Stats(
            samples=self.samples,
            peak_samples=self.samples,
            series=self.series,
            seconds=self._monotonic() - self._began,
        )

    # -- the tree ---------------------------------------------------------------------------------

    def evaluate(self, node: Expr, at_ms: Instants) -> Value:
        """A scalar ``[T]``, a vector over the steps, or a string."""
        if self._monotonic() > self._deadline:
            raise QueryTimedOut(self._limits.seconds)
        match node:
            case Number(value):
                return np.full(len(at_ms), value)
            case Text(text):
                return text
            case Paren(inner):
                return self.evaluate(inner, at_ms)
            case Negate(inner):
                return self._negated(inner, at_ms)
            case Select():
                return self.instants(node, at_ms)[0]
            case Aggregate():
                return self._aggregated(node, at_ms)
            case Binary():
                return self._combined(node, at_ms)
            case Call():
                return calls.call(self, node, at_ms)
        raise QueryInvalid("a range is only an argument of a function", mend="Wrap it, such as in rate(...).")

    def vector(self, node: Expr, at_ms: Instants) -> Vector:
        """The same, where it must be a vector."""
        value = self.evaluate(node, at_ms)
        if not isinstance(value, Vector):
            raise QueryInvalid(
                "expected an instant vector", mend="Use vector(...) around a scalar.", parsed=False
            )
        return value

    def scalar(self, node: Expr, at_ms: Instants) -> Values:
        """The same, where it must be a scalar."""
        value = self.evaluate(node, at_ms)
        if not isinstance(value, np.ndarray):
            raise QueryInvalid("expected a scalar", mend="Use scalar(...) around a vector.", parsed=False)
        return value

    def text(self, node: Expr) -> str:
        """The same, where it must be a string literal."""
        while isinstance(node, Paren):
            node = node.expr
        if not isinstance(node, Text):
            raise QueryInvalid("expected a string", mend='Put it in quotes: "...".', parsed=False)
        return node.value

    def _negated(self, inner: Expr, at_ms: Instants) -> Value:
        value = self.evaluate(inner, at_ms)
        if isinstance(value, Vector):
            return value.with_values(-value.values)
        if isinstance(value, str):
            raise QueryInvalid("a string has no negative", parsed=False)
        return -value

    def _aggregated(self, node: Aggregate, at_ms: Instants) -> Vector:
        param: Values | str | None = None
        if node.op == "count_values" and node.param is not None:
            param = self.text(node.param)
        elif node.param is not None:
            param = self.scalar(node.param, at_ms)
        if node.op == "quantile" and isinstance(param, np.ndarray):
            calls.check_quantile(self, param)
        if node.op == "limit_ratio" and isinstance(param, np.ndarray) and (np.abs(param) > 1).any():
            self.warnings[f"ratio value should be between -1 and 1, got {param[np.abs(param) > 1][0]:g}"] = (
                None
            )
        return aggregate.aggregate(node.op, self.vector(node.expr, at_ms), param, node.without, node.labels)

    def _combined(self, node: Binary, at_ms: Instants) -> Value:
        left, right = self.evaluate(node.left, at_ms), self.evaluate(node.right, at_ms)
        if isinstance(left, str) or isinstance(right, str):
            raise QueryInvalid("a string is no operand", parsed=False)
        if isinstance(left, Vector) and isinstance(right, Vector):
            return (
                binary.sets(node, left, right)
                if node.op in SET_OPERATORS
                else binary.vectors(node, left, right)
            )
        if isinstance(left, Vector):
            assert isinstance(right, np.ndarray)
            return binary.with_scalar(node, left, right, scalar_left=False)
        if isinstance(right, Vector):
            return binary.with_scalar(node, right, left, scalar_left=True)
        if node.op in COMPARISONS and not node.bool_:
            raise QueryInvalid(
                "comparisons between scalars must use bool", mend=f"Write {node.op} bool.", parsed=False
            )
        return binary.scalars(node.op, left, right)

    # -- what is selected -------------------------------------------------------------------------

    def times(self, node: Select | Subquery, at_ms: Instants) -> Instants:
        """The instants a selector looks at for each step: moved by ``@`` and ``offset``."""
        fixed = self._fixed(node.at)
        base = at_ms if fixed is None else np.full(len(at_ms), fixed, np.int64)
        return base - node.offset_ms

    def _fixed(self, at: At) -> int | None:
        if at == "start":
            return self.start_ms
        return self.end_ms if at == "end" else at

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Block:
        """Samples in (start, end], counted against the limits."""
        if not any(_excludes_empty(one) for one in matchers):
            raise QueryInvalid(
                "vector selector must contain at least one non-empty matcher",
                mend='Name a metric: up{job="shop"}.',
                parsed=False,
            )
        block = self._selector.select(matchers, start_ms, end_ms)
        self.samples += len(block.flat)
        self.series += len(block.series)
        if self.samples > self._limits.samples:
            raise QueryTooLarge(
                f"the query reads over {self._limits.samples:,} samples",
                "Ask for a shorter range or fewer series.",
            )
        if self.series > self._limits.series:
            raise QueryTooLarge(
                f"the query selects over {self._limits.series:,} series",
                "Add label matchers that select fewer.",
            )
        return block

    def instants(self, node: Select, at_ms: Instants) -> tuple[Vector, Instants]:
        """The newest samples within the lookback, and when each was taken ``[n, T]``."""
        times = self.times(node, at_ms)
        low, high = int(times.min()) - self._lookback_ms, int(times.max())
        found = [instant(self.select(one, low, high), times, self._lookback_ms) for one in node.alternatives]
        if len(found) == 1:
            return found[0]
        vector = joined([one for one, _ in found], len(at_ms))
        when = np.concatenate([stamps for _, stamps in found])
        first = {labels: place for place, labels in reversed(list(enumerate(vector.series)))}
        places = np.array(sorted(first.values()), np.intp)
        return vector.rows(places), when[places]

    def windows(self, node: Expr, at_ms: Instants) -> list[Windows]:
        """A range selector's or a subquery's windows."""
        while isinstance(node, Paren):
            node = node.expr
        if isinstance(node, Range):
            times = self.times(node.selector, at_ms)
            begins = times - node.range_ms
            made: list[Windows] = []
            for one in node.selector.alternatives:
                made += chunks(self.select(one, int(begins.min()), int(times.max())), begins, times)
            return made
        if not isinstance(node, Subquery):
            raise QueryInvalid("expected a range vector", mend="Add a range, such as [5m].", parsed=False)
        times = self.times(node, at_ms)
        step = node.step_ms or self._subquery_step_ms
        begins = times - node.range_ms
        first = int(begins.min()) // step * step + step
        inner = np.arange(first, int(times.max()) + 1, step, dtype=np.int64)
        if not len(inner):
            return []
        if len(inner) > self._limits.points * 10:
            raise QueryTooLarge(f"a subquery has {len(inner):,} steps", "Give it a larger step: [1d:5m].")
        value = self.evaluate(node.expr, inner)
        if isinstance(value, np.ndarray):
            value = one_row(value)
        if isinstance(value, str):
            raise QueryInvalid("a subquery needs numbers", parsed=False)
        return list(of_vector(value, inner, begins, times))


def _excludes_empty(one: Matcher) -> bool:
    if one.op is MatchOp.EQUAL:
        return one.value != ""
    if one.op is MatchOp.NOT_EQUAL:
        return one.value == ""
    matches = pattern(one.value).search("") is not None
    return matches is (one.op is MatchOp.NOT_MATCHES)


def _frame(
    kind: AnswerKind,
    query: Query,
    vector: Vector,
    at_ms: Instants | None = None,
    text: str = "",
    ragged: Block | None = None,
) -> Frame:
    return Frame(
        kind=kind,
        at_ms=np.array([query.end_ms], np.int64) if at_ms is None else at_ms,
        series=tuple(vector.series),
        values=vector.values,
        present=vector.present,
        ragged=ragged,
        text=text,
        warnings=tuple(f"PromQL warning: {said}" for said in query.warnings),
        infos=tuple(f"PromQL info: {said}" for said in query.infos),
        stats=query.stats(),
    )
