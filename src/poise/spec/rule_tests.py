"""Unit tests of rules, in promtool's own format.

Source: prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from poise.spec import limits
from poise.spec.document import Items, Mapping, Node, Place, Scalar, compose
from poise.spec.durations import parse_span
from poise.spec.keys_rules import SPAN, WORDS
from poise.spec.problems import BAD_VALUE, MISSING_KEY, TOO_LARGE, WRONG_TYPE, Report, shown
from poise.spec.read import Found, read_record
from poise.spec.shape import Field, Flag, ListOf, MapOf, Record, Text

INTERVAL_S: Final = 60.0
_MANY: Final = 10_000
_ANY: Final = Text(any_scalar=True, max_chars=limits.SCRIPT_CHARS)
_NAMES: Final = MapOf(name=_ANY, value=WORDS, high=1000)
_NO_HISTOGRAM: Final = {"histogram": "Native histograms are not evaluated. Use classic ones (_bucket)."}
_SERIES: Final = Record(
    fields=(
        Field("series", WORDS, "series", "Its labels: name{label=\"value\"}.", required=True),
        Field("values", Text(any_scalar=True, max_chars=limits.TEXT_BYTES), "values", "1+2x3 _ stale"),
    )
)  # fmt: skip
_EXPECTED: Final = Record(
    fields=(
        Field("exp_labels", _NAMES, "labels", "Labels of the alert but its name."),
        Field("exp_annotations", _NAMES, "annotations", "Annotations, templates filled."),
    )
)
_ALERT: Final = Record(
    fields=(
        Field("eval_time", SPAN, "eval_time", "When it is looked at."),
        Field("alertname", _ANY, "alertname", "The alert.", required=True),
        Field("exp_alerts", ListOf(item=_EXPECTED, high=_MANY), "expected", "Those that fire."),
    )
)
_SAMPLE: Final = Record(
    fields=(
        Field("labels", WORDS, "labels", "The series, as in PromQL."),
        Field("value", _ANY, "value", "Its value."),
    ),
    refused=_NO_HISTOGRAM,
)
_EXPRESSION: Final = Record(
    fields=(
        Field("expr", WORDS, "expr", "PromQL.", required=True),
        Field("eval_time", SPAN, "eval_time", "When it is asked."),
        Field("exp_samples", ListOf(item=_SAMPLE, high=_MANY), "samples", "Its answer."),
    )
)
_TEST: Final = Record(
    fields=(
        Field("interval", SPAN, "interval", "Between two values of a series."),
        Field("name", _ANY, "name", "What it is about."),
        Field("input_series", ListOf(item=_SERIES, high=_MANY), "series", "What there is."),
        Field("alert_rule_test", ListOf(item=_ALERT, high=_MANY), "alerts", "Which alerts fire."),
        Field("promql_expr_test", ListOf(item=_EXPRESSION, high=_MANY), "expressions", "Answers."),
        Field("external_labels", _NAMES, "external_labels", "For $externalLabels."),
        Field("external_url", _ANY, "external_url", "For $externalURL."),
    ),
    refused={"start_timestamp": "Series start at 0."},
)
_FILE: Final = Record(
    fields=(
        Field("rule_files", ListOf(item=_ANY, high=limits.RULE_FILES), "rule_files", "Beside it."),
        Field("evaluation_interval", SPAN, "evaluation_interval", "Of every group; 1m unless told."),
        Field("group_eval_order", ListOf(item=_ANY, high=_MANY), "order", "Groups by name, in order."),
        Field("fuzzy_compare", Flag(), "fuzzy", "Values are always compared within 1e-12."),
        Field("tests", ListOf(item=_TEST, high=_MANY), "tests", "The tests."),
    )
)
_FIELDS: Final = frozenset({"eval_time", "interval", "evaluation_interval"})


class Series(Struct, frozen=True, kw_only=True):
    """One input series as it is written."""

    text: str
    values: str
    place: Place


class ExpectedAlert(Struct, frozen=True, kw_only=True):
    """An alert that fires; its name is the test's."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class AlertTest(Struct, frozen=True, kw_only=True):
    """Which alerts of one name fire at one time."""

    alertname: str
    eval_s: float
    expected: tuple[ExpectedAlert, ...]
    place: Place


class ExpressionTest(Struct, frozen=True, kw_only=True):
    """What an expression gives at one time: (labels as written, value)."""

    expr: str
    eval_s: float
    samples: tuple[tuple[str, float], ...]
    place: Place


class RuleTest(Struct, frozen=True, kw_only=True):
    """Series, and what rules make of them."""

    name: str = ""
    interval_s: float
    series: tuple[Series, ...] = ()
    alerts: tuple[AlertTest, ...] = ()
    expressions: tuple[ExpressionTest, ...] = ()
    external_labels: dict[str, str] = {}
    external_url: str = ""
    place: Place


class RuleTestFile(Struct, frozen=True, kw_only=True):
    """One file of tests; ``rule_files`` are globs beside it."""

    path: str
    rule_files: tuple[str, ...] = ()
    evaluation_interval_s: float = INTERVAL_S
    order: tuple[str, ...] = ()
    tests: tuple[RuleTest, ...] = ()


def parse_rule_tests(text: str, *, path: str) -> RuleTestFile:
    """The tests of a file. Raises ``Problems`` (an ``Invalid``) with every problem."""
    report = Report(path)
    documents = compose(text, path)
    if len(documents) != 1:
        place = documents[1] if documents else Place()
        what = "a test file is one document" if documents else "the file is empty"
        report.add(TOO_LARGE if documents else MISSING_KEY, place, what, mend="Write 'tests:'.")
        report.raise_if_any()
    found = read_record(_FILE, documents[0], "the file", report)
    _check(documents[0], report)
    report.raise_if_any()
    assert found is not None  # whatever could not be read was a problem
    values = found.values
    return RuleTestFile(
        path=path,
        rule_files=_words(values.get("rule_files")),
        evaluation_interval_s=_seconds(values, "evaluation_interval") or INTERVAL_S,
        order=_words(values.get("order")),
        tests=tuple(_test(one, values) for one in _records(values.get("tests"))),
    )


def _check(node: Node, report: Report) -> None:
    """Durations and values, wherever they stand."""
    if isinstance(node, Items):
        for item in node.items:
            _check(item, report)
    for key, value in node.entries if isinstance(node, Mapping) else ():
        if key.text in _FIELDS and isinstance(value, Scalar) and parse_span(value.text) is None:
            what = f"'{key.text}': {shown(value.text)} is not a duration"
            report.add(WRONG_TYPE, value, what, mend="Use e.g. '30s', '5m', '1h30m'.")
        elif key.text == "value" and isinstance(value, Scalar) and _number(value.text) is None:
            report.add(
                BAD_VALUE, value, f"{shown(value.text)} is no number", mend="Write e.g. 1, NaN or +Inf."
            )
        _check(value, report)


def _test(found: Found, file: dict[str, object]) -> RuleTest:
    values = found.values
    interval_s = _seconds(values, "interval") or _seconds(file, "evaluation_interval") or INTERVAL_S
    return RuleTest(
        name=str(values.get("name", "")),
        interval_s=interval_s,
        series=tuple(
            Series(text=_text(one, "series"), values=_text(one, "values"), place=_place(one))
            for one in _records(values.get("series"))
        ),
        alerts=tuple(_alert(one) for one in _records(values.get("alerts"))),
        expressions=tuple(_expression(one) for one in _records(values.get("expressions"))),
        external_labels=_mapping(values.get("external_labels")),
        external_url=str(values.get("external_url", "")),
        place=_place(found),
    )


def _alert(found: Found) -> AlertTest:
    expected = tuple(
        ExpectedAlert(
            labels=_mapping(one.values.get("labels")), annotations=_mapping(one.values.get("annotations"))
        )
        for one in _records(found.values.get("expected"))
    )
    return AlertTest(
        alertname=_text(found, "alertname"),
        eval_s=_seconds(found.values, "eval_time"),
        expected=expected,
        place=_place(found),
    )


def _expression(found: Found) -> ExpressionTest:
    samples = tuple(
        (_text(one, "labels"), _number(_text(one, "value") or "0") or 0.0)
        for one in _records(found.values.get("samples"))
    )
    return ExpressionTest(
        expr=_text(found, "expr"),
        eval_s=_seconds(found.values, "eval_time"),
        samples=samples,
        place=_place(found),
    )


def _records(value: object) -> list[Found]:
    return [one for one in value if isinstance(one, Found)] if isinstance(value, list) else []


def _words(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


def _mapping(value: object) -> dict[str, str]:
    return {str(key): str(one) for key, one in value.items()} if isinstance(value, dict) else {}


def _text(found: Found, target: str) -> str:
    return found.text(target) or ""


def _place(found: Found) -> Place:
    return Place(found.node.line, found.node.column)


def _seconds(values: dict[str, Any] | dict[str, object], key: str) -> float:
    return parse_span(str(values.get(key, ""))) or 0.0


def _number(text: str) -> float | None:
    try:
        return float(text.replace(".Inf", "inf").replace(".inf", "inf").replace(".nan", "nan")
                     .replace(".NaN", "nan"))  # fmt: skip
    except ValueError:
        return None
