"""Alertmanager's webhook payload, version 4, as alerts of ours.

Source: prometheus/alertmanager docs/configuration.md, "webhook_config".
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from poise.model.errors import Invalid
from poise.model.incident import Alert, AlertSource, AlertState, Severity

SUMMARY_CHARS: Final = 300
LABELS: Final = 32
NAME_CHARS: Final = 100
VALUE_CHARS: Final = 200
NO_SERVICE: Final = "-"
_SERVICE_LABELS: Final = ("service", "job", "app")
_ENVIRONMENT_LABELS: Final = ("environment", "env")
_SEVERITY: Final = {
    "critical": Severity.SEV1, "page": Severity.SEV1, "warning": Severity.SEV2, "error": Severity.SEV2,
}  # fmt: skip
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


class Place(Struct, frozen=True, kw_only=True):
    """What a project has: environments in order, and the declared services as ``environment/service``."""

    project: str
    environments: tuple[str, ...]
    services: Collection[str]


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
        service=_service(labels, place),
        name=f"alertmanager:{_fingerprint(fired)}",
        source=AlertSource.ALERTMANAGER,
        severity=_SEVERITY.get(labels.get("severity", "").lower(), Severity.SEV3),
        state=fired.status,
        summary=_summary(fired, labels),
        numbers={"group": _plain(said.group_key, VALUE_CHARS)},
        labels=_bounded(labels),
        started_at=started_at,
        seen_at=now,
        ended_at=max(started_at, ended_at or now) if resolved else None,
    )


def _service(labels: dict[str, str], place: Place) -> str:
    named = next((labels[name] for name in _ENVIRONMENT_LABELS if labels.get(name)), "")
    environment = named if named in place.environments else place.environments[-1]
    for name in _SERVICE_LABELS:
        if f"{environment}/{labels.get(name, '')}" in place.services:
            return f"{place.project}/{environment}/{labels[name]}"
    return f"{place.project}/{environment}/{NO_SERVICE}"


def _fingerprint(fired: Fired) -> str:
    if _FINGERPRINT.fullmatch(fired.fingerprint):
        return fired.fingerprint
    return sha256(msgspec.json.encode(fired.labels, order="sorted")).hexdigest()[:16]


def _summary(fired: Fired, labels: dict[str, str]) -> str:
    for found in (fired.annotations.get("summary"), fired.annotations.get("description")):
        if said := _plain(found or "", SUMMARY_CHARS):
            return said
    return _plain(labels.get("alertname", ""), SUMMARY_CHARS) or "An alert without a name."


def _bounded(labels: dict[str, str]) -> dict[str, str]:
    kept = sorted(labels.items())[:LABELS]
    return {_plain(name, NAME_CHARS): _plain(value, VALUE_CHARS) for name, value in kept}


def _plain(text: Any, most: int) -> str:
    """Text of others: bounded, on one line, without control signs."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)[:most]).split())


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
