"""The keys of OpenSLO v1 that are read, and those that are valid there but refused here.

Source: OpenSLO/OpenSLO README.md at aa5cb78 (SLO, SLI, DataSource).
"""

from __future__ import annotations

from typing import Final

from poise.spec.keys_text import NAME
from poise.spec.shape import (
    Anything,
    Choice,
    Duration,
    Field,
    Flag,
    ListOf,
    Number,
    Record,
    Text,
)

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
            "A selector of counters of a metrics store; its series are summed.",
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
_ONLY_GOOD: Final = "Write 'good' and 'total', or 'raw' with 'rawType: success'."
RATIO_METRIC: Final = Record(
    fields=(
        Field("counter", Flag(only=True), "counter", "Whether it only grows."),
        Field("good", METRIC, "good", "Good events."),
        Field("bad", METRIC, "bad", "Bad events; for queries."),
        Field("total", METRIC, "total", "All events; counter requests."),
        Field(
            "rawType",
            Choice(words=("success",), refused={"failure": _ONLY_GOOD}),
            "raw_type",
            "What the raw ratio means.",
        ),
        Field("raw", METRIC, "raw", "The ratio of good events."),
    ),
)
INDICATOR_SPEC: Final = Record(
    fields=(
        Field("description", Text(), "_about", "A note for people."),
        Field("ratioMetric", RATIO_METRIC, "ratio", "Good over all.", required=True),
    ),
    refused={"thresholdMetric": "Use 'ratioMetric' with 'counter: latency' and 'thresholdMs'."},
)
INDICATOR: Final = Record(
    fields=(
        Field("metadata", OPENSLO_METADATA, "metadata", "Its name."),
        Field("spec", INDICATOR_SPEC, "spec", "What it measures.", required=True),
    )
)
_ROLLING: Final = "Use '- duration: 28d' with 'isRolling: true'."
TIME_WINDOW: Final = Record(
    fields=(
        Field(
            "duration",
            Duration(low_s=60),
            "duration",
            "The window's length.",
            required=True,
        ),
        Field("isRolling", Flag(only=True), "rolling", "Whether it moves with time."),
    ),
    refused={"calendar": _ROLLING},
)
TARGET: Final = Record(
    fields=(
        _SHOWN,
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
    ),
    refused={
        "op": "Write 'thresholdMs' in the indicator.",
        "value": "Write 'thresholdMs' in the indicator.",
        "timeSliceTarget": "Use 'budgetingMethod: Occurrences'.",
        "timeSliceWindow": "Use 'budgetingMethod: Occurrences'.",
        "indicator": "Write one SLO for each indicator.",
        "indicatorRef": "Write one SLO for each indicator.",
        "compositeWeight": "Write one SLO for each indicator.",
    },
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
            Choice(
                words=("Occurrences",),
                refused={"Timeslices": "Use Occurrences.", "RatioTimeslices": "Use Occurrences."},
            ),
            "_method",
            "How events are counted.",
        ),
        Field("objectives", ListOf(item=TARGET, low=1, high=10), "objectives", "The targets.", required=True),
    ),
    refused={"alertPolicies": "Remove it: the budget policy decides, alerts come later."},
)
