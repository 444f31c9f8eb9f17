"""Alertmanager's webhook payload, version 4, as alerts of ours.

Source: prometheus/alertmanager docs/configuration.md, "webhook_config".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from poise.model.alerting import VALUE_CHARS, Place, bounded, plain, service_of, severity_of, summary_of
from poise.model.errors import Invalid
from poise.model.incident import Alert, AlertSource, AlertState

_FINGERPRINT: Final = re.compile(r"[0-9a-zA-Z]{1,64}")

Words = Annotated[dict[str, str], Meta(max_length=200)]


class Fired(Struct, frozen=True, kw_only=True, rename="camel"):
    """One alert as Alertmanager tells of it."""

    status: AlertState
    starts_at: datetime
    ends_at: datetime | None = None
    labels: Words = {}
    annotations: Words = {}
    fingerprint: str = ""


class Payload(Struct, frozen=True, kw_only=True, rename="camel"):
    """One notification: a group of alerts, perhaps cut short."""

    version: str
    alerts: list[Fired]
    group_key: str = ""
    truncated_alerts: int = 0
    common_labels: Words = {}


def read(body: bytes) -> Payload:
    """The payload. Raises ``Invalid`` when it is not one of version 4."""
    try:
        said = msgspec.json.decode(body, type=Payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unread(str(error)[:200]) from error
    if said.version != "4":
        raise _unread(f"Its version is {said.version[:20]!r}.")
    return said


def alerts(said: Payload, place: Place, now: datetime) -> list[Alert]:
    """The alerts by key, each once: of two with the same fingerprint the later start counts."""
    found: dict[str, Alert] = {}
    for fired in said.alerts:
        alert = _alert(fired, said, place, now)
        known = found.get(alert.key)
        if known is None or alert.started_at >= known.started_at:
            found[alert.key] = alert
    return list(found.values())


def merged(known: Alert | None, told: Alert) -> Alert | None:
    """What to write when ``told`` arrives; None when it says nothing new.

    The same start again in the same state is a repeat, an earlier start is late news.
    """
    if known is None:
        return told
    if told.started_at < known.started_at or (
        told.started_at == known.started_at and told.state is known.state
    ):
        return None
    again = told.started_at > known.started_at
    return replace(told, count=known.count + again, seen_at=told.seen_at if again else known.seen_at)


def _alert(fired: Fired, said: Payload, place: Place, now: datetime) -> Alert:
    labels = {**said.common_labels, **fired.labels}
    resolved = fired.status is AlertState.RESOLVED
    started_at = _utc(fired.starts_at, now)
    ended_at = _utc(fired.ends_at, now) if resolved and fired.ends_at else None
    return Alert(
        service=service_of(labels, place),
        name=f"alertmanager:{_fingerprint(fired)}",
        source=AlertSource.ALERTMANAGER,
        severity=severity_of(labels),
        state=fired.status,
        summary=summary_of(labels, fired.annotations),
        numbers={"group": plain(said.group_key, VALUE_CHARS)},
        labels=bounded(labels),
        started_at=started_at,
        seen_at=now,
        ended_at=max(started_at, ended_at or now) if resolved else None,
    )


def _fingerprint(fired: Fired) -> str:
    if _FINGERPRINT.fullmatch(fired.fingerprint):
        return fired.fingerprint
    return sha256(msgspec.json.encode(fired.labels, order="sorted")).hexdigest()[:16]


def _utc(at: datetime, now: datetime) -> datetime:
    """In UTC, and never later than now: another machine's clock may be ahead."""
    try:
        return min(at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC), now)
    except OverflowError:
        return now


def _unread(why: str) -> Invalid:
    return Invalid(
        "POISE-E426", "this is no payload of Alertmanager's webhook, version 4", why=why,
        mend="Point a webhook_config of Alertmanager 0.22 or later here.",
    )  # fmt: skip
