"""The keys of every kind of OpenSLO v1.

Source: OpenSLO/OpenSLO README.md at aa5cb78; where it is silent, OpenSLO/go-sdk at ae145da.
"""

from __future__ import annotations

from typing import Final

from poise.spec.shape import Anything, Choice, Field, Flag, ListOf, Number, Record, Shape, Short, Text

OPERATORS: Final = ("lte", "gte", "lt", "gt")
METHODS: Final = ("Occurrences", "Timeslices", "RatioTimeslices")
SHORTHAND: Final = Text(
    pattern=r"[1-9][0-9]{0,8}[mhdwMQY]", hint="A number and one of m, h, d, w, M, Q, Y, such as 4w or 1M."
)
ALERT_AFTER: Final = Text(pattern=r"[0-9]{1,9}[mhdwMQY]", hint="A number and a unit, such as 5m.")
_DESCRIPTION: Final = Field(
    "description", Text(max_chars=1050, any_scalar=True), "", "A note, 1050 characters."
)
_NAME: Final = Text(
    pattern=r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?",
    hint="Letters and digits; '-', '_' and '.' in between.",
    any_scalar=True,
)
_UNCAPPED: Final = 1e308


def _field(key: str, shape: Shape, about: str, *, required: bool = False) -> Field:
    return Field(key, shape, key, about, required)


METADATA: Final = Record(
    fields=(
        _field("name", _NAME, "The object's name.", required=True),
        _field("displayName", Text(any_scalar=True), "A name for people."),
        _field("labels", Anything(), "Labels: a text or a list of texts each."),
        _field("annotations", Anything(), "Notes of implementations: a text each."),
    )
)
_METRIC_SOURCE: Final = Record(
    fields=(
        _field("metricSourceRef", _NAME, "The name of a DataSource."),
        _field("type", Text(), "The kind of source."),
        _field("spec", Anything(), "Whatever the source wants.", required=True),
    )
)
_METRIC: Final = Record(fields=(_field("metricSource", _METRIC_SOURCE, "The measurement.", required=True),))
_RATIO: Final = Record(
    fields=(
        _field("counter", Flag(), "Whether the metric only grows."),
        _field("good", _METRIC, "Good events."),
        _field("bad", _METRIC, "Bad events."),
        _field("total", _METRIC, "All events."),
        _field("rawType", Choice(words=("success", "failure")), "What the raw ratio is of."),
        _field("raw", _METRIC, "The ratio itself."),
    )
)
SLI: Final = Record(
    fields=(
        _DESCRIPTION,
        _field("thresholdMetric", _METRIC, "A value that objectives compare."),
        _field("ratioMetric", _RATIO, "Good or bad over all."),
    )
)
_INDICATOR: Final = Record(
    fields=(
        _field("metadata", METADATA, "Its name.", required=True),
        _field("spec", SLI, "What it measures.", required=True),
    )
)
_STARTS: Final = Text(
    pattern=r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", hint="Such as 2022-01-01 12:00:00.", any_scalar=True
)
_CALENDAR: Final = Record(
    fields=(
        _field("startTime", _STARTS, "When a window starts.", required=True),
        _field("timeZone", Text(), "An IANA zone.", required=True),
    )
)
_WINDOW: Final = Record(
    fields=(
        _field("duration", SHORTHAND, "The window's length.", required=True),
        _field("isRolling", Flag(), "Whether it moves with time."),
        _field("calendar", _CALENDAR, "Where windows of the calendar start."),
    )
)
_SLICE: Final = Short(scalar=Text(any_scalar=True), into=("timeSliceWindow",), record=Record(fields=()))
_OBJECTIVE: Final = Record(
    fields=(
        _field("displayName", Text(any_scalar=True), "A name for people."),
        _field("op", Choice(words=OPERATORS), "How the value is compared."),
        _field("value", Number(low=-_UNCAPPED, high=_UNCAPPED), "What it is compared with."),
        _field("target", Number(low=0, high=1), "The ratio wanted, below 1."),
        _field("targetPercent", Number(low=0, high=100), "The percent wanted, below 100."),
        _field("timeSliceTarget", Number(low=0, high=1), "From which ratio a slice is good."),
        _field("timeSliceWindow", _SLICE, "The slice's length; a bare number is minutes."),
        _field("indicator", _INDICATOR, "What is measured; of a composite."),
        _field("indicatorRef", _NAME, "The name of an SLI; of a composite."),
        _field("compositeWeight", Number(low=0, high=_UNCAPPED), "Its weight in a composite."),
    )
)
_CONDITION: Final = Record(
    fields=(
        _field("kind", Choice(words=("burnrate",)), "What is compared."),
        _field("op", Choice(words=OPERATORS), "How.", required=True),
        _field("threshold", Number(low=-_UNCAPPED, high=_UNCAPPED), "With what.", required=True),
        _field("lookbackWindow", SHORTHAND, "Over which time.", required=True),
        _field("alertAfter", ALERT_AFTER, "For how long."),
    )
)
ALERT_CONDITION: Final = Record(
    fields=(
        _DESCRIPTION,
        _field("severity", Text(any_scalar=True), "How bad it is.", required=True),
        _field("condition", _CONDITION, "When it alerts.", required=True),
    )
)
ALERT_NOTIFICATION_TARGET: Final = Record(
    fields=(
        _DESCRIPTION,
        _field("target", Text(any_scalar=True), "How it is told: email, slack ...", required=True),
    )
)


def _named(kind: str, ref: str, spec: Record) -> Record:
    """A whole object inline, or the name of one."""
    return Record(
        fields=(
            _field(ref, _NAME, f"The name of a {kind}."),
            _field("kind", Choice(words=(kind,)), "The kind."),
            _field("metadata", METADATA, "Its name."),
            _field("spec", spec, "What it is."),
        )
    )


_CONDITIONS: Final = _named("AlertCondition", "conditionRef", ALERT_CONDITION)
_TARGETS: Final = _named("AlertNotificationTarget", "targetRef", ALERT_NOTIFICATION_TARGET)
ALERT_POLICY: Final = Record(
    fields=(
        _DESCRIPTION,
        _field("alertWhenNoData", Flag(), "Whether no data alerts."),
        _field("alertWhenResolved", Flag(), "Whether the end is told."),
        _field("alertWhenBreaching", Flag(), "Whether a breach alerts."),
        _field("conditions", ListOf(item=_CONDITIONS, low=1, high=1), "One condition.", required=True),
        _field("notificationTargets", ListOf(item=_TARGETS, low=1), "Who is told.", required=True),
    )
)
_POLICIES: Final = Short(  # go-sdk wants a mapping; files that name them by a text alone are about
    scalar=_NAME, into=("alertPolicyRef",), record=_named("AlertPolicy", "alertPolicyRef", ALERT_POLICY)
)
SLO: Final = Record(
    fields=(
        _DESCRIPTION,
        _field("service", _NAME, "The service.", required=True),
        _field("indicator", _INDICATOR, "What is measured."),
        _field("indicatorRef", _NAME, "The name of an SLI."),
        _field("timeWindow", ListOf(item=_WINDOW, low=1, high=1), "The budget's period."),
        _field("budgetingMethod", Choice(words=METHODS), "What the budget is of.", required=True),
        _field("objectives", ListOf(item=_OBJECTIVE, low=1, high=100), "The targets.", required=True),
        _field("alertPolicies", ListOf(item=_POLICIES), "Alerts."),
    )
)
DATA_SOURCE: Final = Record(
    fields=(
        _DESCRIPTION,
        _field("type", Text(), "The kind of source.", required=True),
        _field("connectionDetails", Anything(), "How it is reached.", required=True),
    )
)
SERVICE: Final = Record(fields=(_DESCRIPTION,))
KINDS: Final = {
    "DataSource": DATA_SOURCE,
    "SLO": SLO,
    "SLI": SLI,
    "AlertPolicy": ALERT_POLICY,
    "AlertCondition": ALERT_CONDITION,
    "AlertNotificationTarget": ALERT_NOTIFICATION_TARGET,
    "Service": SERVICE,
}
