"""Selectors of counters: the one form of a query that events can be counted from exactly.

Poise adds up what each series grew by, restarts told apart, so it needs the series themselves. A sum or a
rate around a selector is taken off (``sum(rate(x[5m]))`` counts the same events as ``x``); any other
expression has lost its series and is refused, since a restart of one would look like a restart of all.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from msgspec import Struct
from msgspec.structs import replace

from poise.model.objective import IndicatorKind, Method, Objective, Queries

LENGTH_MAX: Final = 4096
_METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`]*`')
_OPERATOR: Final = re.compile(r"=~|!~|!=|=")
_SPACE: Final = re.compile(r"(?:\s|#[^\n]*(?:\n|$))*")
_RANGE: Final = re.compile(r"\[[^\]\n:]*\]")
_GROUPING: Final = re.compile(r"(?:by|without)\b", re.IGNORECASE)
_RATES: Final = frozenset({"rate", "increase", "irate"})
_PLAIN: Final = 'Write the counter\'s selector alone, e.g. http_requests_total{code=~"5.."}.'


class Selector(Struct, frozen=True):
    """A selector as written, its metric's name and its matchers ``(label, operator, quoted value)``."""

    text: str
    metric: str
    matchers: frozenset[tuple[str, str, str]]

    def is_within(self, other: Selector) -> bool:
        """Whether its series are some of the other's, as far as the texts tell."""
        return self.metric == other.metric and self.matchers >= other.matchers


class NotCounted(ValueError):
    """Events cannot be counted from an expression: what stands at ``offset``, and a mend."""

    def __init__(self, offset: int, what: str, mend: str = _PLAIN) -> None:
        super().__init__(what)
        self.offset = offset
        self.what = what
        self.mend = mend


def counter(text: str) -> Selector:
    """The selector of an expression. Raises ``NotCounted`` with the place and a mend.

    >>> counter('sum(rate(shop_total{code=~"5.."}[5m]))').text
    'shop_total{code=~"5.."}'
    """
    if len(text) > LENGTH_MAX:
        raise NotCounted(0, f"the query is longer than {LENGTH_MAX} characters")
    parser = _Parser(text)
    found = parser.expression(0)
    parser.end()
    return found


def counters_of(objective: Objective) -> Objective | None:
    """The objective as a ratio of plain counters whose events are its units; None where it is none.

    Of a classic histogram these are the bucket at the bound and the one of all.
    """
    if objective.method is not Method.OCCURRENCES or objective.group_by:
        return None
    if objective.indicator is IndicatorKind.QUERY:
        return objective
    if objective.indicator is not IndicatorKind.HISTOGRAM or objective.histogram is None:
        return None
    asked = objective.histogram
    queries = Queries(
        source=asked.source, good=_bucket(asked.query, asked.bound), total=_bucket(asked.query, None)
    )
    return replace(objective, indicator=IndicatorKind.QUERY, queries=queries, histogram=None)


def narrowed(query: str, bound: float) -> str:
    """The selector of two of a histogram's buckets alone: the one at ``bound``, and the one of all.

    >>> print(narrowed("lag_bucket{job='a'}", 0.3))
    lag_bucket{job='a',le=~"0\\\\.3(\\\\.0)?|\\\\+Inf"}
    """
    plain = f"{bound:g}".replace(".", "\\\\.").replace("+", "\\\\+")
    return _matched(query, f'le=~"{plain}(\\\\.0)?|\\\\+Inf"')


def _bucket(query: str, bound: float | None) -> str:
    """The counter of one bucket; a bound is written with or without '.0', as the exporter likes."""
    plain = "+Inf" if bound is None else f"{bound:g}"
    matcher = f'le="{plain}"' if bound is None or "." in plain else f'le=~"{plain}(\\\\.0)?"'
    return _matched(query, matcher)


def _matched(query: str, matcher: str) -> str:
    """The selector with one matcher more."""
    base = query.strip()
    if base.endswith("}"):
        inside = base[:-1].rstrip().rstrip(",")
        return f"{inside}{'' if inside.endswith('{') else ','}{matcher}}}"
    return f"{base}{{{matcher}}}"


class _Parser:
    """A cursor over the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def expression(self, depth: int) -> Selector:
        if depth > 20:
            self._fail("it is nested too deep")
        self._skip()
        if self._take("("):
            found = self.expression(depth + 1)
            self._need(")")
            return found
        start = self._at
        word = self._match(_METRIC) or ""
        self._skip()
        if word.lower() == "sum":
            return self._sum(depth)
        if word.lower() in _RATES and self._peek("("):
            return self._rate()
        if self._peek("("):
            self._at = start
            self._fail(f"{word}() is not counted")
        return self._selector(start, word)

    def end(self) -> None:
        """Nothing follows."""
        self._skip()
        if self._at < len(self._text):
            rest = self._text[self._at :].split()[0][:20]
            self._fail(f"{rest!r} after the selector is not counted")

    def _sum(self, depth: int) -> Selector:
        self._grouping()
        self._need("(")
        found = self.expression(depth + 1)
        self._need(")")
        self._skip()
        self._grouping()
        return found

    def _grouping(self) -> None:
        if self._match(_GROUPING) is None:
            return
        self._need("(")
        while not self._take(")"):
            if self._match(_LABEL) is None:
                self._fail("a label's name is missing")
            self._skip()
            self._take(",")
            self._skip()
        self._skip()

    def _rate(self) -> Selector:
        self._need("(")
        self._skip()
        start = self._at
        found = self._selector(start, self._match(_METRIC) or "")
        self._skip()
        if self._match(_RANGE) is None:
            self._fail("a window such as [5m] is missing")
        self._need(")")
        return found

    def _selector(self, start: int, metric: str) -> Selector:
        matchers: set[tuple[str, str, str]] = set()
        end = start + len(metric)
        self._at = end
        self._skip()
        if self._take("{"):
            self._skip()
            while not self._take("}"):
                name, matcher = self._matcher()
                metric = metric or name
                matchers |= {matcher} if matcher else set()
                self._skip()
                if not self._take(",") and not self._peek("}"):
                    self._fail("',' or '}' is missing")
                self._skip()
            end = self._at
        if not metric and not matchers:
            self._at = start
            self._fail("a selector is missing")
        return Selector(self._text[start:end], metric, frozenset(matchers))

    def _matcher(self) -> tuple[str, tuple[str, str, str] | None]:
        """A quoted metric's name, or a matcher."""
        label = self._match(_STRING)
        quoted = label is not None
        label = label if label is not None else self._match(_LABEL)
        if label is None:
            self._fail("a label's name is missing")
        self._skip()
        operator = self._match(_OPERATOR)
        if operator is None:
            if quoted:
                return label[1:-1], None
            self._fail("an operator such as = is missing")
        self._skip()
        value = self._match(_STRING)
        if value is None:
            self._fail("a quoted value is missing")
        if label == "__name__" and operator == "=":
            return value[1:-1], None
        return "", (label.strip("\"'`"), operator, value[1:-1])

    def _skip(self) -> None:
        self._match(_SPACE)

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _peek(self, char: str) -> bool:
        return self._text.startswith(char, self._at)

    def _take(self, char: str) -> bool:
        if not self._peek(char):
            return False
        self._at += 1
        return True

    def _need(self, char: str) -> None:
        self._skip()
        if not self._take(char):
            self._fail(f"{char!r} is missing")

    def _fail(self, what: str) -> NoReturn:
        raise NotCounted(self._at, what)
