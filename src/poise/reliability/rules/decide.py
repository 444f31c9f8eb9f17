"""Alerts out of where a group's alerts stand. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from poise.model import event_types
from poise.model.alerting import bounded, severity_of, summary_of
from poise.model.incident import Alert, AlertSource, AlertState
from poise.model.record import Decision, Event, Read, Write
from poise.model.rules import RuleAlert, RuleAlertState, RuleState


class Seen(Struct, frozen=True, kw_only=True):
    """One group: where its alerts stand, and the alerts that were made of them, by key."""

    state: RuleState | None
    alerts: dict[str, Alert] = {}
    reads: tuple[Read, ...] = ()


def alert_key(alert: RuleAlert) -> str:
    """The key of the ``Alert`` that is made of it."""
    return f"{alert.service}/rule:{alert.fingerprint}"


def decide(seen: Seen, now: datetime) -> Decision:
    """An alert that fires is one of its service; once it is over there, it has ended here."""
    writes: list[Write] = []
    events: list[Event] = []
    for one in seen.state.alerts if seen.state is not None else ():
        after = _next(seen, one, seen.alerts.get(alert_key(one)), now)
        if after is not None:
            writes.append(Write(kind="Alert", key=after.key, body=after))
            events += _told(after)
    return Decision(reads=seen.reads, writes=tuple(writes), events=tuple(events))


def _next(seen: Seen, one: RuleAlert, known: Alert | None, now: datetime) -> Alert | None:
    """What to write; None where it says nothing new. What is pending is nobody's yet."""
    fires = known is not None and known.state is AlertState.FIRING
    if one.state is RuleAlertState.FIRING:
        return None if fires else _fired(seen, one, known, now)
    if one.state is RuleAlertState.INACTIVE and fires and known is not None:
        ended_at = max(known.started_at, min(one.resolved_at or now, now))
        return replace(known, state=AlertState.RESOLVED, ended_at=ended_at)
    return None


def _fired(seen: Seen, one: RuleAlert, known: Alert | None, now: datetime) -> Alert:
    """A new firing; its onset is when the expression began to hold, after the end of the one before."""
    labels = dict(one.labels)
    assert seen.state is not None
    since = max(one.active_at, known.ended_at) if known is not None and known.ended_at else one.active_at
    return Alert(
        service=one.service,
        name=alert_key(one).rpartition("/")[2],
        source=AlertSource.RULE,
        severity=severity_of(labels),
        summary=summary_of(labels, one.annotations),
        numbers={"value": one.value, "file": seen.state.file, "group": seen.state.group},
        labels=bounded(labels),
        started_at=min(since, now),
        seen_at=now,
        count=1 + (known.count if known is not None else 0),
    )


def _told(alert: Alert) -> Sequence[Event]:
    service = alert.service.rsplit("/", 1)[-1]
    name = alert.labels.get("alertname", alert.name)
    data = {
        "severity": alert.severity, "name": alert.name, "alertname": name,
        "started_at": alert.started_at.isoformat(),
    }  # fmt: skip
    if alert.state is AlertState.RESOLVED:
        said = f"{service}: {name} is over"
        return (Event(type=event_types.ALERT_RESOLVED, subject=alert.key, summary=said, data=data),)
    said = f"{service}: {alert.summary} ({alert.severity})"
    return (Event(type=event_types.ALERT_FIRING, subject=alert.key, summary=said, data=data | alert.numbers),)
