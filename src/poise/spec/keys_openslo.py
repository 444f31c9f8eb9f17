"""The keys of OpenSLO v1 that are read, and those that are valid there but refused here.

Source: OpenSLO/OpenSLO README.md at aa5cb78 (SLO, SLI, DataSource).
"""

from __future__ import annotations

from typing import Final

from poise.model.objective import Comparison, Method
from poise.model.policy import Urgency
from poise.spec import limits
from poise.spec.keys_text import NAME
from poise.spec.shape import (
    Anything,
    Choice,
    Field,
    Flag,
    ListOf,
    Number,
    Record,
    Short,
    Text,
)
from poise.spec.window import SHORTHAND

_LABELS: Final = Field("labels", Anything(), "_labels", "Labels; no effect here.")
_NOTES: Final = Field("annotations", Anything(), "_annotations", "Notes; no effect here.")
_SHOWN: Final = Field("displayName", Text(), "_display", "A name for people.")
OPENSLO_METADATA: Final = Record(
    fields=(
        Field("name", NAME, "name", "The objective's name.", required=True),
        _SHOWN,
        _LABELS,
        _NOTES,
    )
)
_COUNTERS: Final = "Use 'metricSource: {type: poise, spec: {counter: availability}}'."
COUNTER: Final = Record(
    fields=(
        Field(
            "counter",
            Choice(words=("availability", "latency", "requests")),
            "counter",
            "Which of Envoy's counters: availability, latency, or requests as a total.",
        ),
        Field(
            "query",
            Text(),
            "query",
            "Of a ratio a selector of counters, whose series are summed; of a threshold or raw any PromQL.",
        ),
        Field(
            "thresholdMs",
            Number(low=0, high=3_600_000, open_ends=True),
            "threshold_ms",
            "Latency: answered within so many ms is good.",
        ),
    ),
)
METRIC_SOURCE: Final = Record(
    fields=(
        Field(
            "type",
            Choice(
                words=("poise", "Prometheus", "prometheus"),
                refused=dict.fromkeys(("datadog", "Datadog"), _COUNTERS),
            ),
            "type",
            "Where the counter is: poise (Envoy's counters, or a query of the embedded store) or Prometheus.",
        ),
        Field("metricSourceRef", NAME, "ref", "The name of a document of kind DataSource."),
        Field("spec", COUNTER, "spec", "Which counter.", required=True),
    ),
)
METRIC: Final = Record(
    fields=(Field("metricSource", METRIC_SOURCE, "source", "The measurement.", required=True),)
)
RATIO_METRIC: Final = Record(
    fields=(
        Field("counter", Flag(), "counter", "Whether it only grows; false: each value is a measurement."),
        Field("good", METRIC, "good", "Good events."),
        Field("bad", METRIC, "bad", "Bad events; for queries."),
        Field("total", METRIC, "total", "All events; counter requests."),
        Field("rawType", Choice(words=("success", "failure")), "raw_type", "What the raw ratio means."),
        Field("raw", METRIC, "raw", "A ratio that is measured already."),
    ),
)
INDICATOR_SPEC: Final = Record(
    fields=(
        Field("description", Text(), "_about", "A note for people."),
        Field("ratioMetric", RATIO_METRIC, "ratio", "Good over all."),
        Field("thresholdMetric", METRIC, "threshold", "A gauge, compared with the objective's 'value'."),
    ),
)
INDICATOR: Final = Record(
    fields=(
        Field("metadata", OPENSLO_METADATA, "metadata", "Its name."),
        Field("spec", INDICATOR_SPEC, "spec", "What it measures.", required=True),
    )
)
CALENDAR: Final = Record(
    fields=(
        Field("startTime", Text(max_chars=30), "starts", "A wall time at which one begins.", required=True),
        Field("timeZone", Text(max_chars=60), "zone", "The IANA time zone.", required=True),
    )
)
TIME_WINDOW: Final = Record(
    fields=(
        Field("duration", SHORTHAND, "duration", "The window's length.", required=True),
        Field("isRolling", Flag(), "rolling", "Whether it moves with time."),
        Field("calendar", CALENDAR, "", "Where windows of the calendar begin."),
    ),
)
TARGET: Final = Record(
    fields=(
        Field("displayName", Text(), "title", "A name for people."),
        Field(
            "target",
            Number(low=0, high=1, open_ends=True),
            "target",
            "The ratio of good events wanted, e.g. 0.999.",
        ),
        Field(
            "targetPercent",
            Number(low=0, high=100, open_ends=True),
            "percent",
            "The same as a percent, e.g. 99.9.",
        ),
        Field("op", Choice(words=tuple(Comparison)), "op", "How a threshold's value is compared."),
        Field("value", Number(low=-1e15, high=1e15), "value", "What a threshold is compared with."),
        Field(
            "timeSliceTarget",
            Number(low=0, high=1),
            "slice_target",
            "Timeslices: the ratio of good events from which a slice is good.",
        ),
        Field(
            "timeSliceWindow",
            Text(
                pattern=r"[1-9][0-9]{0,4}(s|m|h|d|w)?",
                hint="A slice is a number of minutes, or a number with a unit, as in '1m'.",
                max_chars=10,
                any_scalar=True,
            ),
            "slice",
            "The length of a slice; a bare number is minutes.",
        ),
        Field("indicator", INDICATOR, "indicator", "Of a composite: what this part measures."),
        Field("indicatorRef", NAME, "ref", "Of a composite: the SLI of this part."),
        Field(
            "compositeWeight",
            Number(low=0, high=1e6, open_ends=True),
            "weight",
            "Of a composite: how much this part matters; 1 unless told.",
        ),
    ),
)
_ABOVE: Final = "Write 'op: gt': what burns above the threshold alerts."
ALERT_CONDITION: Final = Record(
    fields=(
        Field("description", Text(), "_about", "A note for people."),
        Field("severity", Choice(words=tuple(Urgency)), "severity", "page, or ticket.", required=True),
        Field(
            "condition",
            Record(
                fields=(
                    Field("kind", Choice(words=("burnrate",)), "kind", "A burn rate.", required=True),
                    Field(
                        "op",
                        Choice(words=("gt",), refused=dict.fromkeys(("gte", "lt", "lte"), _ABOVE)),
                        "op",
                        "How it is compared: above.",
                        required=True,
                    ),
                    Field(
                        "threshold",
                        Number(low=0, high=100_000, open_ends=True),
                        "threshold",
                        "The burn rate above which both windows must be.",
                        required=True,
                    ),
                    Field(
                        "lookbackWindow",
                        Text(pattern=r"[1-9][0-9]{0,4}[mhdw]", hint="Write minutes to weeks, such as 1h."),
                        "lookback",
                        "The long window; the short one is a twelfth of it.",
                        required=True,
                    ),
                    Field(
                        "alertAfter",
                        Text(pattern=r"[0-9]{1,4}[mh]", hint="Write minutes or hours, such as 5m."),
                        "after",
                        "How long both must burn first.",
                    ),
                )
            ),
            "condition",
            "When it alerts.",
            required=True,
        ),
    )
)


def _whole_or_named(kind: str, ref: str, spec: Record) -> Record:
    return Record(
        fields=(
            Field(ref, NAME, "ref", f"The name of a document of kind {kind}."),
            Field("kind", Choice(words=(kind,)), "kind", "The kind."),
            Field("metadata", OPENSLO_METADATA, "metadata", "Its name."),
            Field("spec", spec, "spec", "What it is."),
        )
    )


ALERT_POLICY: Final = Record(
    fields=(
        Field("description", Text(), "_about", "A note for people."),
        Field("alertWhenNoData", Flag(), "_no_data", "No effect here: missing data always alerts."),
        Field("alertWhenResolved", Flag(), "_resolved", "No effect here: the end is always told."),
        Field("alertWhenBreaching", Flag(), "breaching", "Must be true: it alerts while both burn."),
        Field(
            "conditions",
            ListOf(item=_whole_or_named("AlertCondition", "conditionRef", ALERT_CONDITION), low=1, high=1),
            "conditions",
            "One condition.",
            required=True,
        ),
        Field(
            "notificationTargets",
            ListOf(item=Anything()),
            "_targets",
            "No effect here: kind EscalationPolicy says who is paged.",
        ),
    )
)
ALERT_TARGET: Final = Record(
    fields=(
        Field("description", Text(), "_about", "A note for people."),
        Field("target", Text(), "_target", "No effect here: kind EscalationPolicy says who is paged."),
    )
)
_POLICIES: Final = Short(
    scalar=NAME, into=("ref",), record=_whole_or_named("AlertPolicy", "alertPolicyRef", ALERT_POLICY)
)
SLO: Final = Record(
    fields=(
        Field("description", Text(), "_about", "A note for people."),
        Field("service", NAME, "service", "A service of this file.", required=True),
        Field("indicator", INDICATOR, "indicator", "What is measured."),
        Field("indicatorRef", NAME, "ref", "The name of a document of kind SLI."),
        Field(
            "timeWindow",
            ListOf(item=TIME_WINDOW, low=1, high=1),
            "window",
            "The period of the budget; default 28d, rolling.",
        ),
        Field(
            "budgetingMethod",
            Choice(words=tuple(Method)),
            "method",
            "How events are counted.",
        ),
        Field("objectives", ListOf(item=TARGET, low=1, high=10), "objectives", "The targets.", required=True),
        Field(
            "alertPolicies",
            ListOf(item=_POLICIES, high=limits.ALERT_TIERS),
            "alert_policies",
            "Burn-rate tiers of its own, instead of the budget policy's.",
        ),
    ),
)
OPENSLO_SERVICE: Final = Record(fields=(Field("description", Text(), "_about", "A note for people."),))
