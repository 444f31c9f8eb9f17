"""The keys of ``kind: Objective``: Poise's own short form, with what OpenSLO cannot say."""

from __future__ import annotations

from typing import Final

from poise.model.objective import Method, Treatment, WhenDelayed
from poise.model.policy import Urgency
from poise.spec import limits
from poise.spec.keys_policy import BURN_TIER
from poise.spec.keys_text import NAME
from poise.spec.shape import Choice, Duration, Field, Integer, ListOf, Number, Ratio, Record, Short, Text
from poise.spec.window import NAMED

LABEL: Final = Text(
    pattern=r"[a-zA-Z_][a-zA-Z0-9_]*",
    hint="A label's name has letters, digits and underscores.",
    max_chars=100,
)
OTHER: Final = Text(
    pattern=r"([a-z]([a-z0-9-]*[a-z0-9])?/)?[a-z]([a-z0-9-]*[a-z0-9])?",
    hint="Write 'objective', or 'service/objective' for that of another service.",
    max_chars=90,
)
_ANY: Final = Number(low=-1e15, high=1e15)
COMPONENT: Final = Record(
    fields=(
        Field("objective", OTHER, "objective", "An objective of the same environment.", required=True),
        Field(
            "weight", Number(low=0, high=1e6, open_ends=True), "weight", "How much it matters; 1 unless told."
        ),
    )
)
_COMPONENTS: Final = ListOf(item=Short(scalar=OTHER, into=("objective",), record=COMPONENT), low=2, high=50)
ALERTING: Final = Record(
    fields=(
        Field(
            "tiers",
            ListOf(
                item=Record(
                    fields=(
                        *BURN_TIER.fields,
                        Field("severity", Choice(words=tuple(Urgency)), "severity", "page, or ticket."),
                        Field("for", Duration(high_s=86_400), "hold_s", "How long both must burn first; 0s."),
                    )
                ),
                low=1,
                high=limits.ALERT_TIERS,
            ),
            "tiers",
            "Both windows over the factor.",
            required=True,
        ),
        Field("minFailures", Integer(low=1, high=1_000_000), "failures_min", "Fewer bad events are no burn."),
    )
)
OBJECTIVE: Final = Record(
    fields=(
        Field("service", NAME, "service", "A service of this file.", required=True),
        Field(
            "target", Ratio(open_ends=True), "target", "The ratio of good wanted, as 99.9%.", required=True
        ),
        Field("title", Text(max_chars=200), "title", "A name for people."),
        Field(
            "window",
            ListOf(item=NAMED, low=1, high=10, alone=True, unique=True),
            "windows",
            "Rolling as '28d', or of the calendar: month, week, 1Q. More than one: the gate knows the first.",
        ),
        Field(
            "zone", Text(max_chars=60), "zone", "The IANA zone of windows of the calendar; UTC unless told."
        ),
        Field(
            "starts", Text(max_chars=30), "starts", "A wall time at which a window of the calendar begins."
        ),
        Field("method", Choice(words=tuple(Method)), "method", "What is counted: events, or slices of time."),
        Field("slice", Duration(low_s=1), "slice_s", "The length of a slice; 1m unless told."),
        Field("sliceTarget", Ratio(), "slice_target", "The ratio from which a slice is good."),
        Field("source", NAME, "ref", "A document of kind DataSource; the embedded store unless told."),
        Field("good", Text(), "good", "A selector of counters: good events."),
        Field("bad", Text(), "bad", "A selector of counters: bad events."),
        Field("total", Text(), "total", "A selector of counters: all events."),
        Field("ratio", Text(), "ratio", "PromQL of a ratio that is measured already."),
        Field("failureRatio", Text(), "failure_ratio", "PromQL of a ratio of failures."),
        Field(
            "requests",
            Choice(words=("availability", "latency")),
            "requests",
            "The service's own requests, as Envoy counts them: without a 5xx, or answered 'within'.",
        ),
        Field("within", Duration(low_s=0.001, unit_s=0.001), "within_ms", "With 'requests: latency'."),
        Field(
            "threshold", Text(), "threshold", "PromQL of a gauge, and one of below, atMost, above, atLeast."
        ),
        Field("below", _ANY, "lt", "A value below is good."),
        Field("atMost", _ANY, "lte", "A value of at most so much is good."),
        Field("above", _ANY, "gt", "A value above is good."),
        Field("atLeast", _ANY, "gte", "A value of at least so much is good."),
        Field("boolean", Text(), "boolean", "PromQL of a gauge that is 1 when good."),
        Field("histogram", Text(), "histogram", "A selector of a histogram's _bucket series, and 'atMost'."),
        Field("probe", NAME, "probe", "A document of kind Probe."),
        Field("allOf", _COMPONENTS, "all_of", "A journey: every one of these objectives must be good."),
        Field("anyOf", _COMPONENTS, "any_of", "Alternatives: one of these objectives is enough."),
        Field("weighted", _COMPONENTS, "weighted", "The weighted mean of these objectives."),
        Field("maxDelay", Duration(high_s=86_400), "max_delay_s", "How long a slice waits for a late part."),
        Field("whenDelayed", Choice(words=tuple(WhenDelayed)), "when_delayed", "What a late part counts as."),
        Field("every", Duration(low_s=1, high_s=3600), "every_s", "How often an expression is evaluated."),
        Field(
            "groupBy",
            ListOf(item=LABEL, low=1, high=5, alone=True, unique=True),
            "group_by",
            "Labels whose values have a budget each; the worst is the objective's.",
        ),
        Field("groupsMax", Integer(low=1, high=500), "groups_max", "The most groups; more is a problem."),
        Field(
            "requires", ListOf(item=OTHER, high=20, alone=True), "requires", "What it cannot do better than."
        ),
        Field("alerts", ALERTING, "alerts", "Burn-rate tiers of its own, instead of the policy's."),
        Field("excludedMax", Ratio(), "excluded_max_ratio", "The share of a window that may be excluded."),
        Field(
            "firstSample",
            Choice(words=tuple(Treatment)),
            "first_sample",
            "What a series that is new among known ones stands at: counted, or where it begins.",
        ),
        Field(
            "onReset",
            Choice(words=tuple(Treatment)),
            "on_reset",
            "What a counter that fell stands at: counted, or where it goes on.",
        ),
    )
)
SUBJECT: Final = Text(
    pattern=r"[a-z]([a-z0-9-]*[a-z0-9])?(/[a-z]([a-z0-9-]*[a-z0-9])?)?",
    hint="Write 'service', or 'service/objective'.",
    max_chars=90,
)
WHEN: Final = (  # something happens by the calendar, and why
    Field("reason", Text(pattern=r"[\s\S]*\S[\s\S]*", max_chars=500), "reason", "Why.", required=True),
    Field(
        "firstEventStart",
        Text(max_chars=40),
        "starts",
        "When the first begins: wall time in 'zone', or an instant with its offset.",
        required=True,
    ),
    Field("zone", Text(max_chars=60), "zone", "The IANA time zone; UTC unless told."),
    Field(
        "duration",
        Duration(low_s=1, high_s=31 * 86_400),
        "duration_s",
        "How long each lasts.",
        required=True,
    ),
    Field("rrule", Text(max_chars=500), "rrule", "How it repeats (RFC 5545), as FREQ=WEEKLY;BYDAY=MO."),
)
EXCLUSION: Final = Record(
    fields=(
        *WHEN,
        Field(
            "slos",
            ListOf(item=SUBJECT, low=1, high=100, alone=True),
            "slos",
            "For which; all, when left out.",
        ),
        Field(
            "environments",
            ListOf(item=NAME, low=1, high=10, alone=True, unique=True),
            "environments",
            "Where; everywhere, when left out.",
        ),
    )
)
