"""OpenSLO v1alpha: SLO documents; a document of several targets is as many objectives.

Source: OpenSLO/go-sdk ae145da, pkg/openslo/v1alpha; the numbering of objectives is Sloth's.
"""

from __future__ import annotations

from typing import Any, Final

from poise.spec.document import Node
from poise.spec.foreign.checking import Check, check_query, placed_at
from poise.spec.foreign.slo import Calendar, Events, Indicator, Slicing, Slo, Threshold
from poise.spec.problems import CONTRADICTION, MISSING_KEY, UNSUPPORTED, Report, shown
from poise.spec.read import plain, read_record
from poise.spec.shape import Anything, Choice, Field, Flag, Integer, ListOf, Number, Record, Text

V1ALPHA: Final = "openslo/v1alpha"
PROMETHEUS: Final = frozenset({"prometheus", "Prometheus", "sloth"})
UNITS_S: Final = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86_400.0,
    "week": 7 * 86_400.0,
    "month": 30 * 86_400.0,
    "quarter": 90 * 86_400.0,
    "year": 365 * 86_400.0,
}
_UNITS: Final = tuple(word for unit in UNITS_S for word in (unit.capitalize(), unit))
_METRIC: Final = Record(
    fields=(
        Field("source", Text(), "source", "Whose language the query is in.", required=True),
        Field("queryType", Text(), "", "The kind of query."),
        Field("query", Text(), "query", "The query.", required=True),
        Field("metadata", Anything(), "", "Notes; no effect."),
    )
)
_RATIO: Final = Record(
    fields=(
        Field("incremental", Flag(), "", "Whether the counters only grow."),
        Field("good", _METRIC, "good", "Good events.", required=True),
        Field("total", _METRIC, "total", "All events.", required=True),
    )
)
_TARGET: Final = Record(
    fields=(
        Field("displayName", Text(any_scalar=True), "display", "A name for people."),
        Field("target", Number(low=0, high=1), "target", "The ratio of good events."),
        Field("ratioMetrics", _RATIO, "ratio", "What is counted."),
        Field("op", Choice(words=("lt", "lte", "gt", "gte")), "op", "How a value is compared."),
        Field("value", Number(low=-1e300, high=1e300), "value", "What it is compared with."),
        Field("timeSliceTarget", Number(low=0, high=1), "slice", "From which ratio a slice is good."),
    )
)
_CALENDAR: Final = Record(
    fields=(
        Field("startTime", Text(any_scalar=True), "starts", "When the first window starts.", required=True),
        Field("timeZone", Text(), "zone", "An IANA zone.", required=True),
    )
)
_WINDOWS: Final = Record(
    fields=(
        Field("unit", Choice(words=_UNITS), "unit", "What the count is of.", required=True),
        Field("count", Integer(low=1, high=10_000), "count", "How many units.", required=True),
        Field("isRolling", Flag(), "rolling", "Whether it moves with time."),
        Field("calendar", _CALENDAR, "calendar", "Where calendar windows start."),
    )
)
_SPEC: Final = Record(
    fields=(
        Field("description", Text(any_scalar=True), "description", "A note for people."),
        Field("service", Text(any_scalar=True), "service", "The service.", required=True),
        Field("indicator", Record(fields=(Field("thresholdMetric", _METRIC, "metric", "A value."),)),
              "indicator", "What all targets compare."),
        Field("timeWindows", ListOf(item=_WINDOWS, low=0, high=1), "windows", "The period."),
        Field("budgetingMethod", Choice(words=("Occurrences", "Timeslices")), "method", "What is counted."),
        Field("objectives", ListOf(item=_TARGET, low=1, high=100), "objectives", "Targets.", required=True),
    )
)  # fmt: skip
_OBJECT: Final = Record(
    fields=(
        Field("apiVersion", Choice(words=(V1ALPHA,)), "", "The format.", required=True),
        Field("kind", Choice(words=("SLO",)), "", "The kind.", required=True),
        Field("metadata", Record(fields=(
            Field("name", Text(any_scalar=True), "name", "The name.", required=True),
            Field("displayName", Text(any_scalar=True), "display", "A name for people."),
        )), "metadata", "Its name.", required=True),
        Field("spec", _SPEC, "spec", "The objectives.", required=True),
    )
)  # fmt: skip


def v1alpha(node: Node, report: Report, check: Check) -> list[Slo]:
    """The objectives of an SLO document."""
    before = len(report)
    found = read_record(_OBJECT, node, "the document", report)
    if found is None or len(report) > before:
        return []
    values: Any = plain(found)
    spec, at = values["spec"], placed_at(node, "spec")
    made = []
    for place, target in enumerate(spec["objectives"]):
        here = placed_at(at, "objectives", place)
        indicator = _indicator(spec, target, at, here, report, check)
        if target.get("target") is None:
            report.add(MISSING_KEY, here, "the objective has no 'target'", mend="Write e.g. 'target: 0.999'.")
        elif indicator is not None:
            made.append(_slo(values["metadata"], spec, target, indicator, place, here))
    return made


def _slo(metadata: Any, spec: Any, target: Any, indicator: Indicator, place: int, here: Node) -> Slo:
    window = (spec.get("windows") or [{"unit": "day", "count": 30, "rolling": True}])[0]
    calendar = None
    if not window.get("rolling", True) and "calendar" in window:
        calendar = Calendar(starts=window["calendar"]["starts"], zone=window["calendar"]["zone"])
    slicing = None
    if spec.get("method") == "Timeslices":
        slicing = Slicing(method="Timeslices", target_ratio=target.get("slice"))
    return Slo(
        service=spec["service"],
        name=f"{metadata['name']}-{place}",
        percent=target["target"] * 100,  # in floats, as Sloth has it
        indicator=indicator,
        window_s=UNITS_S[window["unit"].lower()] * window["count"],
        calendar=calendar,
        slicing=slicing,
        description=spec.get("description", ""),
        display=target.get("display") or metadata.get("display", ""),
        spec=V1ALPHA,
        line=here.line,
        column=here.column,
    )


def _indicator(
    spec: Any, target: Any, at: Node, here: Node, report: Report, check: Check
) -> Indicator | None:
    metric = spec.get("indicator", {}).get("metric")
    if (metric is None) == ("ratio" not in target):
        what = "an objective has 'ratioMetrics', or the document has 'indicator.thresholdMetric'"
        report.add(CONTRADICTION, here, what, mend="Write one of the two.")
        return None
    before = len(report)
    if metric is not None:
        _check(metric, placed_at(at, "indicator", "thresholdMetric"), report, check)
        if target.get("op") is None or target.get("value") is None:
            report.add(MISSING_KEY, here, "a threshold needs 'op' and 'value'", mend="Write both.")
        if len(report) > before:
            return None
        return Threshold(query=metric["query"], op=target["op"], value=float(target["value"]))
    ratio = target["ratio"]
    for side in ("good", "total"):
        _check(ratio[side], placed_at(here, "ratioMetrics", side), report, check)
    if len(report) > before:
        return None
    return Events(good=ratio["good"]["query"], total=ratio["total"]["query"])


def _check(metric: Any, place: Node, report: Report, check: Check) -> None:
    if metric["source"] not in PROMETHEUS:
        what = f"queries of {shown(metric['source'])} are not read"
        report.add(UNSUPPORTED, placed_at(place, "source"), what, mend="Write the query in PromQL.")
        return
    check_query(metric["query"], placed_at(place, "query"), report, check)
