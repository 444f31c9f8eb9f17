"""slo-generator's ``ServiceLevelObjective`` (sre.google.com/v2), where its backend is Prometheus.

Source: google/slo-generator 967f124, samples/prometheus and backends/prometheus.py.
"""

from __future__ import annotations

import re
from typing import Any, Final

from poise.spec.document import Node, Scalar
from poise.spec.foreign.checking import Check, check_query, placed_at
from poise.spec.foreign.slo import WINDOW, Counters, Indicator, RawRatio, Slo
from poise.spec.problems import CONTRADICTION, MISSING_KEY, UNSUPPORTED, Report, shown
from poise.spec.read import plain, read_record
from poise.spec.shape import Anything, Choice, Field, ListOf, MapOf, Number, Record, Text

V2: Final = "sre.google.com/v2"
WINDOW_S: Final = 28 * 86_400.0  # of its own example of a policy
_ANY: Final = Text(any_scalar=True)
_RANGE: Final = re.compile(r"\[window\]")
_METHODS: Final = {
    "query_slo": "Write a method that measures, such as good_bad_ratio.",
    "threshold": "Write a method that counts, such as good_bad_ratio.",
}
_INDICATOR: Final = Record(
    fields=(
        Field("filter_good", Text(), "good", "Good events."),
        Field("filter_bad", Text(), "bad", "Bad events."),
        Field("filter_valid", Text(), "total", "All events."),
        Field("expression", Text(), "expression", "A histogram's buckets, or a query with [window]."),
        Field("threshold_bucket", _ANY, "bucket", "The bucket (le) that is still good."),
        Field("operators", ListOf(item=Text()), "operators", "What is done with a filter."),
    )
)
_SPEC: Final = Record(
    fields=(
        Field("description", _ANY, "description", "A note for people."),
        Field("backend", _ANY, "backend", "Whose counters.", required=True),
        Field("method", Choice(words=("good_bad_ratio", "distribution_cut", "query_sli"), refused=_METHODS),
              "method", "How it is measured.", required=True),
        Field("exporters", Anything(), "", "Where results go; no effect here."),
        Field("service_level_indicator", _INDICATOR, "sli", "What is measured.", required=True),
        Field("goal", Number(low=0, high=1), "goal", "The ratio of good events.", required=True),
        Field("frequency", Anything(), "", "When it ran; no effect here."),
        Field("error_budget_policy", Anything(), "", "Its policy; no effect here."),
    )
)  # fmt: skip
_OBJECT: Final = Record(
    fields=(
        Field("apiVersion", Choice(words=(V2,)), "", "The format.", required=True),
        Field("kind", Choice(words=("ServiceLevelObjective",)), "", "The kind.", required=True),
        Field("metadata", Record(fields=(
            Field("name", _ANY, "name", "The name.", required=True),
            Field("labels", MapOf(name=_ANY, value=_ANY, high=100), "labels", "Labels."),
            Field("annotations", Anything(), "", "Notes; no effect."),
        )), "metadata", "Its name.", required=True),
        Field("spec", _SPEC, "spec", "The objective.", required=True),
    )
)  # fmt: skip


def v2(node: Node, report: Report, check: Check) -> list[Slo]:
    """The objective of a document."""
    before = len(report)
    backend = placed_at(node, "spec", "backend")
    if isinstance(backend, Scalar) and backend.text.split("/")[0] != "prometheus":
        what = f"the backend {shown(backend.text)} is not read"
        report.add(UNSUPPORTED, backend, what, mend="Count the same in Prometheus.")
        return []
    found = read_record(_OBJECT, node, "the document", report)
    if found is None or len(report) > before:
        return []
    values: Any = plain(found)
    spec, metadata, at = values["spec"], values["metadata"], placed_at(node, "spec")
    if not 0 < spec["goal"] <= 1:
        report.add(CONTRADICTION, placed_at(at, "goal"), "a goal of 0 promises nothing",
                   mend="Write e.g. 'goal: 0.999'.")  # fmt: skip
    place = placed_at(at, "service_level_indicator")
    indicator = _indicator(spec["method"], spec["sli"], place, report, check)
    if indicator is None or len(report) > before:
        return []
    labels = metadata.get("labels", {})
    return [
        Slo(
            service=labels.get("service_name") or metadata["name"],
            name=_name(metadata["name"], labels),
            percent=spec["goal"] * 100,
            indicator=indicator,
            window_s=WINDOW_S,
            description=spec.get("description", ""),
            labels=labels,
            spec=V2,
            line=node.line,
            column=node.column,
        )
    ]


def _name(whole: str, labels: Any) -> str:
    parts = [labels.get(key, "") for key in ("feature_name", "slo_name")]
    return "-".join(part for part in parts if part) or whole


def _indicator(method: str, given: Any, place: Node, report: Report, check: Check) -> Indicator | None:
    match method:
        case "good_bad_ratio":
            return _counters(given, place, report, check)
        case "distribution_cut":
            return _cut(given, place, report, check)
        case _:
            return _query(given, place, report, check)


def _counters(given: Any, place: Node, report: Report, check: Check) -> Indicator | None:
    if "good" not in given or ("bad" in given) == ("total" in given):
        what = "a ratio needs 'filter_good', and one of 'filter_bad' and 'filter_valid'"
        report.add(CONTRADICTION, place, what, mend="Write both.")
        return None
    if given.get("operators", ["increase", "sum"]) != ["increase", "sum"]:
        what = "events are counted as sum(increase(...)); other operators are not read"
        report.add(UNSUPPORTED, placed_at(place, "operators"), what, mend="Remove 'operators'.")
        return None
    found = {}
    for key, role in (("filter_good", "good"), ("filter_bad", "bad"), ("filter_valid", "total")):
        if role in given:
            found[role] = _RANGE.sub("", given[role]).strip()
            check_query(found[role], placed_at(place, key), report, check)
    return Counters(good=found["good"], bad=found.get("bad", ""), total=found.get("total", ""))


def _cut(given: Any, place: Node, report: Report, check: Check) -> Indicator | None:
    if "expression" not in given or "bucket" not in given:
        what = "a cut needs 'expression' and 'threshold_bucket'"
        report.add(MISSING_KEY, place, what, mend="Write both.")
        return None
    buckets = _RANGE.sub("", given["expression"]).strip()
    good = _with_bound(buckets, given["bucket"])
    if good is None or "_bucket" not in buckets:
        report.add(UNSUPPORTED, placed_at(place, "expression"), "this names no buckets of a histogram",
                   mend="Write a selector such as http_seconds_bucket{job=\"web\"}.")  # fmt: skip
        return None
    check_query(good, placed_at(place, "expression"), report, check)
    return Counters(good=good, total=buckets.replace("_bucket", "_count", 1))


def _with_bound(selector: str, bound: str) -> str | None:
    """The selector with one matcher more.

    >>> _with_bound('x_bucket{a="b"}', "0.25"), _with_bound("x_bucket", "1")
    ('x_bucket{a="b",le="0.25"}', 'x_bucket{le="1"}')
    """
    found = re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(.*)\})?", selector, re.DOTALL)
    if found is None:
        return None
    matchers = (found[2] or "").strip().rstrip(",")
    return f'{found[1]}{{{matchers}{"," if matchers else ""}le="{bound}"}}'


def _query(given: Any, place: Node, report: Report, check: Check) -> Indicator | None:
    if "expression" not in given:
        report.add(MISSING_KEY, place, "the query has no 'expression'", mend="Write it with [window].")
        return None
    query = given["expression"].strip()
    check_query(query, placed_at(place, "expression"), report, check)
    return RawRatio(bad=f"1 - ({_RANGE.sub(f'[{WINDOW}]', query)})")
