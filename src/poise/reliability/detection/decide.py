"""Alerts from conditions, with hysteresis: quick to fire, slow to end, never ended by silence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from poise.model import event_types
from poise.model.incident import Alert, AlertSource, AlertState, Severity
from poise.model.record import Decision, Event, Write
from poise.reliability.detection.conditions import Condition, Holds, Seen, conditions

OWN: Final = (
    AlertSource.BURN,
    AlertSource.PROBE,
    AlertSource.SIGNAL,
    AlertSource.HEALING,
    AlertSource.CERTIFICATE,
    AlertSource.TRAFFIC,
)


def decide(seen: Seen, now: datetime) -> Decision:
    """Which alerts of one service begin, worsen and end."""
    known = {alert.name: alert for alert in seen.alerts if alert.source in OWN}
    found = {one.name: one for one in (conditions(seen, now) if seen.service is not None else ())}
    writes: list[Write] = []
    events: list[Event] = []
    again = [one.at for one in found.values() if one.at is not None and one.at > now]
    for name in sorted({*known, *found}):
        before = known.get(name)
        after = _next(seen, before, found.get(name), now)
        if after is not None and after != before:
            writes.append(Write(kind="Alert", key=after.key, body=after))
            events.extend(_told(before, after))
        standing = after or before
        if standing is not None and standing.clear_since is not None:
            again.append(standing.clear_since + _hold(seen))
    return Decision(
        reads=seen.reads,
        writes=tuple(writes),
        events=tuple(events),
        wake_at=min((at for at in again if at > now), default=None),
    )


def _hold(seen: Seen) -> timedelta:
    return timedelta(seconds=seen.timing.resolve_after_s)


def _next(seen: Seen, before: Alert | None, found: Condition | None, now: datetime) -> Alert | None:
    """The alert as it should be; None where there is none and none is wanted."""
    fires = before is not None and before.state is AlertState.FIRING
    if found is None:  # what it was about is no longer declared
        return _ended(before, now) if before is not None and fires else None
    if found.holds is Holds.YES:
        return _worse(before, found) if before is not None and fires else _fired(seen, before, found, now)
    if before is None or not fires:
        return None
    if found.holds is Holds.UNKNOWN:
        return replace(before, clear_since=None)
    clear_since = before.clear_since or now
    return (
        _ended(before, now) if now - clear_since >= _hold(seen) else replace(before, clear_since=clear_since)
    )


def _fired(seen: Seen, before: Alert | None, found: Condition, now: datetime) -> Alert:
    """A new firing; its onset lies after the end of the one before."""
    earliest = before.ended_at if before is not None else None
    since = min(now, max(found.since or now, earliest or found.since or now))
    return Alert(
        service=seen.key,
        name=found.name,
        source=found.source,
        severity=found.severity,
        summary=found.summary,
        numbers=found.numbers,
        started_at=since,
        seen_at=now,
        count=1 + (before.count if before is not None else 0),
    )


def _worse(before: Alert, found: Condition) -> Alert:
    """It still holds. What was first said stands unless it is worse now."""
    if _rank(found.severity) < _rank(before.severity):
        return replace(
            before, severity=found.severity, summary=found.summary, numbers=found.numbers, clear_since=None
        )
    return replace(before, clear_since=None)


def _ended(before: Alert, now: datetime) -> Alert:
    return replace(before, state=AlertState.RESOLVED, ended_at=now, clear_since=None)


def _rank(severity: Severity) -> int:
    return list(Severity).index(severity)


def _told(before: Alert | None, after: Alert) -> Sequence[Event]:
    """An event where it fires, worsens or ends; none where only its hold began."""
    service = after.service.rsplit("/", 1)[-1]
    data = {"severity": after.severity, "name": after.name, "started_at": after.started_at.isoformat()}
    fired_before = before is not None and before.state is AlertState.FIRING
    if after.state is AlertState.RESOLVED:
        said = f"{service}: {after.name} is over"
        return (Event(type=event_types.ALERT_RESOLVED, subject=after.key, summary=said, data=data),)
    if fired_before and before is not None and before.severity is after.severity:
        return ()
    said = f"{service}: {after.summary} ({after.severity})"
    return (Event(type=event_types.ALERT_FIRING, subject=after.key, summary=said, data=data | after.numbers),)
