"""Indicators out of OpenSLO's metrics: Envoy's counters, counters of a metrics store, and gauges."""

from __future__ import annotations

from collections.abc import Mapping as Map
from collections.abc import Sequence
from typing import Final

from msgspec import Struct, convert

from poise.model.objective import Composite, Gauge, Histogram, IndicatorKind, Queries
from poise.model.service import DataSource
from poise.spec.counter import LENGTH_MAX
from poise.spec.problems import (
    BAD_VALUE,
    CONTRADICTION,
    EXPRESSION,
    MISSING_KEY,
    UNSUPPORTED,
    Report,
)
from poise.spec.query import queries_of, source_of
from poise.spec.read import Found, plain


class Indicator(Struct, frozen=True, kw_only=True):
    """What an objective counts: at most one of the last fields, as ``kind`` has it."""

    kind: IndicatorKind
    threshold_ms: float | None = None
    queries: Queries | None = None
    gauge: Gauge | None = None
    histogram: Histogram | None = None
    composite: Composite | None = None

    @property
    def counts_itself(self) -> bool:
        """Whether a metrics store counts it, so that a service without a port can have it."""
        return self.kind not in (IndicatorKind.AVAILABILITY, IndicatorKind.LATENCY)


class _Counter(Struct, frozen=True):
    counter: str | None = None
    threshold_ms: float | None = None
    query: str | None = None


class _Source(Struct, frozen=True):
    spec: _Counter
    type: str | None = None
    ref: str | None = None


class _Metric(Struct, frozen=True):
    source: _Source


class _Ratio(Struct, frozen=True):
    good: _Metric | None = None
    bad: _Metric | None = None
    total: _Metric | None = None
    raw: _Metric | None = None
    raw_type: str | None = None
    counter: bool = True


class _IndicatorSpec(Struct, frozen=True):
    ratio: _Ratio | None = None
    threshold: _Metric | None = None


Sides = Map[str, _Source]
_BRACKETS: Final = {")": "(", "]": "[", "}": "{"}


def indicator_of(
    values: object, spec: Found, path: str, sources: Sequence[DataSource], report: Report
) -> Indicator | None:
    """The indicator of an SLI's ``spec`` (``values``), which stands at ``path``; None after a problem.

    A threshold's bound is the objective's; it is filled in there.
    """
    below = f"{path}." if path else ""
    read = convert(plain(values), _IndicatorSpec)
    if (read.ratio is None) == (read.threshold is None):
        what = "an indicator needs exactly one of 'ratioMetric' and 'thresholdMetric'"
        place = spec.at(f"{below}thresholdMetric", path) if path else spec.at("thresholdMetric")
        code = MISSING_KEY if read.ratio is None else CONTRADICTION
        report.add(code, place, what, mend="Keep or add one of them.")
        return None
    if read.threshold is not None:
        sides, at = {"threshold": read.threshold.source}, f"{below}thresholdMetric"
        if not _is_plain(sides, spec, {"threshold": f"{at}.metricSource"}, report):
            return None
        return _gauge(read.threshold.source, IndicatorKind.THRESHOLD, spec, f"{at}.metricSource", sources,
                      report)  # fmt: skip
    assert read.ratio is not None
    return _ratio(read.ratio, spec, f"{below}ratioMetric", sources, report)


def check_expression(text: str, place: object, report: Report) -> None:
    """Report an expression that cannot be PromQL whatever it means; the metrics store tells the rest."""
    problem = unreadable(text)
    if problem:
        report.add(EXPRESSION, place, f"this is no expression: {problem}", mend="Check it with: poise query")  # type: ignore[arg-type]


def unreadable(text: str) -> str:
    """Why a text can be no PromQL expression; empty when it may be one.

    >>> unreadable('max(up{job="a)"})'), unreadable("max(up"), unreadable(" ")
    ('', "a '(' is not closed", 'it is empty')
    """
    if not text.strip():
        return "it is empty"
    if len(text) > LENGTH_MAX:
        return f"it is longer than {LENGTH_MAX} characters"
    opened: list[str] = []
    quote, escaped = "", False
    for char in text:
        if quote:
            ended = char == quote and not escaped
            escaped = char == "\\" and not escaped and quote != "`"
            quote = "" if ended else quote
        elif char in "\"'`":
            quote = char
        elif char in _BRACKETS.values():
            opened.append(char)
        elif char in _BRACKETS and (not opened or opened.pop() != _BRACKETS[char]):
            return f"a {char!r} closes nothing"
    return "a quote is not closed" if quote else f"a {opened[-1]!r} is not closed" if opened else ""


def _ratio(
    ratio: _Ratio, spec: Found, path: str, sources: Sequence[DataSource], report: Report
) -> Indicator | None:
    metrics = {"good": ratio.good, "bad": ratio.bad, "total": ratio.total, "raw": ratio.raw}
    sides = {role: metric.source for role, metric in metrics.items() if metric is not None}
    paths = {role: f"{path}.{role}.metricSource" for role in sides}
    if not _is_whole(ratio, set(sides), spec, path, report) or not _is_plain(sides, spec, paths, report):
        return None
    if len({one.spec.query is None for one in sides.values()}) > 1:
        what = "one side is a counter of Envoy's, another a query"
        report.add(CONTRADICTION, spec.at(path), what, mend="Write both as queries or both as counters.")
        return None
    if next(iter(sides.values())).spec.query is None:
        return _of_envoy(ratio, spec, path, report)
    if ratio.raw is not None:
        made = _gauge(ratio.raw.source, IndicatorKind.RAW_RATIO, spec, paths["raw"], sources, report)
        return made and _failing(made, ratio.raw_type == "failure")
    if not ratio.counter:
        return _of_gauges(sides, spec, paths, sources, report)
    asked = {role: (one.spec.query or "", one.type, one.ref) for role, one in sides.items()}
    queries = queries_of(asked, spec, path, sources, report)
    return Indicator(kind=IndicatorKind.QUERY, queries=queries) if queries is not None else None


def _is_whole(ratio: _Ratio, given: set[str], spec: Found, path: str, report: Report) -> bool:
    """Whether the sides make one ratio, and not two."""
    if given == {"good", "bad", "total"}:
        what = "'good', 'bad' and 'total' are one too many: two of them say the third"
        report.add(CONTRADICTION, spec.at(f"{path}.bad"), what, mend="Remove one of the three.")
        return False
    if "raw" in given and len(given) > 1:
        what = "'raw' is a ratio already, so nothing else stands beside it"
        report.add(CONTRADICTION, spec.at(f"{path}.raw"), what, mend="Remove 'raw' or the others.")
        return False
    if ("raw" in given) != (ratio.raw_type is not None):
        what = "'rawType' belongs to 'raw', and to it alone"
        mend = "Write 'rawType: success' or 'rawType: failure' beside 'raw'."
        code = CONTRADICTION if ratio.raw_type is not None else MISSING_KEY
        report.add(code, spec.at(f"{path}.rawType", path), what, mend=mend)
        return False
    return True


def _is_plain(sides: Sides, spec: Found, paths: Map[str, str], report: Report) -> bool:
    """Whether each side names one thing."""
    before = len(report)
    for role, one in sides.items():
        below = paths[role]
        elsewhere = one.ref is not None or one.type in ("Prometheus", "prometheus")
        if (one.spec.counter is None) == (one.spec.query is None):
            what = "a counter needs exactly one of 'counter' and 'query'"
            place = spec.at(f"{below}.spec.query", f"{below}.spec", below)
            report.add(CONTRADICTION, place, what, mend="Write e.g. 'counter: availability'.")
        elif one.ref is not None and one.type == "poise":
            what, mend = "'type: poise' is no data source", "Remove the type or the reference."
            report.add(CONTRADICTION, spec.at(f"{below}.type"), what, mend=mend)
        elif one.ref is None and one.type is None:
            what = "a metricSource needs 'type' or 'metricSourceRef'"
            report.add(MISSING_KEY, spec.at(below), what, mend="Write 'type: poise'.")
        elif elsewhere and one.spec.counter is not None:
            what = "a data source is asked by 'query'"
            mend = "Write 'query: http_requests_total', or 'type: poise'."
            report.add(CONTRADICTION, spec.at(f"{below}.spec.counter"), what, mend=mend)
        elif role == "threshold" and one.spec.query is None:
            what = "a threshold is compared with the values of a 'query'"
            mend = "Write 'query: ...', or use 'ratioMetric' for Envoy's counters."
            report.add(CONTRADICTION, spec.at(f"{below}.spec.counter"), what, mend=mend)
    return len(report) == before


def _gauge(
    source: _Source,
    kind: IndicatorKind,
    spec: Found,
    path: str,
    sources: Sequence[DataSource],
    report: Report,
) -> Indicator | None:
    """A gauge of one query."""
    before, query = len(report), source.spec.query
    if query is None:
        return None
    check_expression(query, spec.at(f"{path}.spec.query"), report)
    place = spec.at(f"{path}.metricSourceRef", f"{path}.type", path)
    name = source_of(source.type, source.ref, place, sources, report)
    if len(report) > before:
        return None
    return Indicator(kind=kind, gauge=Gauge(query=query.strip(), source=name))


def _of_gauges(
    sides: Sides, spec: Found, paths: Map[str, str], sources: Sequence[DataSource], report: Report
) -> Indicator | None:
    """``counter: false``: at each look the two numbers make a ratio, which is one event."""
    before = len(report)
    names = {
        role: source_of(
            one.type, one.ref, spec.at(f"{paths[role]}.metricSourceRef", paths[role]), sources, report
        )
        for role, one in sides.items()
    }
    for role, one in sides.items():
        check_expression(one.spec.query or "", spec.at(f"{paths[role]}.spec.query"), report)
    if len(report) == before and (len(sides) != 2 or len(set(names.values())) > 1):
        what = "a ratio of gauges needs two of 'good', 'bad' and 'total' of one source"
        report.add(CONTRADICTION, spec.at(next(iter(paths.values()))), what, mend="Write 'good' and 'total'.")
    if len(report) > before:
        return None
    text = {role: f"sum({(one.spec.query or '').strip()})" for role, one in sides.items()}
    top = "good" if "good" in text else "bad"
    under = text["total"] if "total" in text else f"({text['good']} + {text['bad']})"
    made = Gauge(query=f"{text[top]} / {under}", source=next(iter(names.values())), failure=top == "bad")
    return Indicator(kind=IndicatorKind.RAW_RATIO, gauge=made)


def _failing(made: Indicator, failure: bool) -> Indicator:
    assert made.gauge is not None
    gauge = Gauge(query=made.gauge.query, source=made.gauge.source, failure=failure)
    return Indicator(kind=made.kind, gauge=gauge)


def _of_envoy(ratio: _Ratio, spec: Found, path: str, report: Report) -> Indicator | None:
    if ratio.bad is not None:
        mend = "Write 'good' and 'total', or 'raw' with 'rawType: success'."
        what = "'bad' is not supported for Envoy's counters"
        report.add(UNSUPPORTED, spec.at(f"{path}.bad"), what, mend=mend)
        return None
    if not ratio.counter and ratio.raw is None:
        mend = "Remove 'counter', or write 'counter: true'."
        report.add(CONTRADICTION, spec.at(f"{path}.counter"), "Envoy's counters only grow", mend=mend)
        return None
    if ratio.raw_type == "failure":
        mend = "Write 'rawType: success': Envoy's counters tell of what was good."
        report.add(UNSUPPORTED, spec.at(f"{path}.rawType"), "Envoy has no ratio of failures", mend=mend)
        return None
    pair = ratio.good is not None and ratio.total is not None
    if not (pair or ratio.raw is not None):
        what = "a ratio needs 'good' and 'total', or 'raw' with 'rawType: success'"
        report.add(CONTRADICTION, spec.at(path), what, mend="Write one of the two.")
        return None
    metric, side = (ratio.good, "good") if ratio.good is not None else (ratio.raw, "raw")
    assert metric is not None
    counter = metric.source.spec
    below = f"{path}.{side}.metricSource.spec"
    if counter.counter == "requests" or counter.counter is None:
        mend = "Use 'availability' or 'latency'."
        report.add(BAD_VALUE, spec.at(f"{below}.counter"), "'requests' counts all, not good ones", mend=mend)
        return None
    if (counter.counter == "latency") != (counter.threshold_ms is not None):
        what = "'thresholdMs' belongs to 'counter: latency', and to it alone"
        place = spec.at(f"{below}.thresholdMs", f"{below}.counter")
        report.add(CONTRADICTION, place, what, mend="Write e.g. {counter: latency, thresholdMs: 250}.")
        return None
    if ratio.total is not None and ratio.total.source.spec not in (counter, _Counter("requests")):
        place = spec.at(f"{path}.total.metricSource.spec.counter")
        report.add(CONTRADICTION, place, "'total' counts something else", mend="Write 'counter: requests'.")
        return None
    return Indicator(kind=IndicatorKind(counter.counter), threshold_ms=counter.threshold_ms)
