"""How the alerts of one rule go on from one evaluation to the next. Pure.

Source: prometheus/rules/alerting.go (AlertingRule.Eval), at 3.x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.model.rules import Rule, RuleAlert, RuleAlertState
from poise.model.samples import NAME, Labels

RETENTION_S: Final = 900.0  # an alert that fired and ended is told of for so long
OUTAGE_TOLERANCE_S: Final = 3600.0  # after a longer one nobody knows how long a pending alert held
_PENDING, _FIRING, _INACTIVE = RuleAlertState.PENDING, RuleAlertState.FIRING, RuleAlertState.INACTIVE


class Told(Struct, frozen=True, kw_only=True):
    """One result of the expression, its templates filled."""

    annotations: dict[str, str]
    value: str


def advanced(
    rule: Rule, id: str, known: Sequence[RuleAlert], fresh: Mapping[Labels, Told], at: datetime
) -> tuple[RuleAlert, ...]:
    """The alerts after an evaluation at ``at`` that gave ``fresh`` by labels (``alertname`` included).

    What is not among ``fresh`` is over, unless ``keep_firing_for`` holds it: an expression that gives
    nothing says that all is well, as in Prometheus. An evaluation that fails gives no ``fresh`` at all and
    must not come here.
    """
    before = {alert.labels: alert for alert in known}
    found = [_held(rule, id, before.get(labels), labels, told, at) for labels, told in fresh.items()]
    gone = (_missed(rule, alert, at) for labels, alert in before.items() if labels not in fresh)
    return (*found, *(alert for alert in gone if alert is not None))


def resumed(
    alerts: Sequence[RuleAlert], evaluated_at: datetime, at: datetime, interval_s: float
) -> tuple[RuleAlert, ...]:
    """The alerts when evaluation goes on at ``at`` after nobody looked since ``evaluated_at``.

    The time past one interval that nobody looked counts neither for ``for`` nor for ``keep_firing_for``. A
    firing alert fires on until an evaluation says otherwise.
    """
    gap_s = (at - evaluated_at).total_seconds()
    unseen = timedelta(seconds=max(0.0, gap_s - interval_s))
    found = []
    for alert in alerts:
        if alert.state is _PENDING and gap_s > OUTAGE_TOLERANCE_S:
            continue
        if alert.state is _PENDING:
            found.append(replace(alert, active_at=alert.active_at + unseen))
        elif alert.keep_firing_since is not None:
            found.append(replace(alert, keep_firing_since=alert.keep_firing_since + unseen))
        else:
            found.append(alert)
    return tuple(found)


def samples(rule: Rule, alerts: Sequence[RuleAlert]) -> list[tuple[Labels, float]]:
    """``ALERTS`` and ``ALERTS_FOR_STATE`` of what is pending or fires."""
    made: list[tuple[Labels, float]] = []
    for alert in alerts:
        if alert.state is _INACTIVE:
            continue
        labels = dict(alert.labels)
        state = {**labels, NAME: "ALERTS", "alertname": rule.alert, "alertstate": alert.state.value}
        since = {**labels, NAME: "ALERTS_FOR_STATE", "alertname": rule.alert}
        made.append((tuple(sorted(state.items())), 1.0))
        made.append((tuple(sorted(since.items())), float(int(alert.active_at.timestamp()))))
    return made


def _held(
    rule: Rule, id: str, before: RuleAlert | None, labels: Labels, told: Told, at: datetime
) -> RuleAlert:
    """The alert of a result: a new one, or the one there was with what is said now."""
    if before is None or before.state is _INACTIVE:
        alert = RuleAlert(
            rule=id, labels=labels, annotations=told.annotations, value=told.value, active_at=at
        )
    else:
        alert = replace(before, annotations=told.annotations, value=told.value, keep_firing_since=None)
    if alert.state is _PENDING and (at - alert.active_at).total_seconds() >= rule.for_s:
        return replace(alert, state=_FIRING, fired_at=at)
    return alert


def _missed(rule: Rule, alert: RuleAlert, at: datetime) -> RuleAlert | None:
    """The alert without a result; None once it is no more."""
    match alert.state:
        case RuleAlertState.PENDING:
            return None
        case RuleAlertState.INACTIVE:
            ended_s = (at - (alert.resolved_at or at)).total_seconds()
            return None if ended_s > RETENTION_S else alert
    since = alert.keep_firing_since or at
    if rule.keep_firing_for_s > 0 and (at - since).total_seconds() < rule.keep_firing_for_s:
        return replace(alert, keep_firing_since=since)
    return replace(alert, state=_INACTIVE, resolved_at=at)
