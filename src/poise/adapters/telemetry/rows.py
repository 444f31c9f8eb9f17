"""Spans and log records as columns, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from poise.model.telemetry import (
    Attributes,
    LogRecord,
    Span,
    SpanEvent,
    SpanKind,
    SpanLink,
    SpanStatus,
)

Columns = dict[str, "np.ndarray[Any, Any]"]

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS span (
  trace_hi UBIGINT, trace_lo UBIGINT, span_id UBIGINT, parent_id UBIGINT, service VARCHAR,
  environment VARCHAR, name VARCHAR, kind UTINYINT, status UTINYINT, message VARCHAR, start_ns BIGINT,
  duration_ns BIGINT, scope VARCHAR, resource VARCHAR, attributes VARCHAR, events VARCHAR, links VARCHAR);
CREATE TABLE IF NOT EXISTS record (
  n BIGINT, at_ns BIGINT, service VARCHAR, environment VARCHAR, severity UTINYINT, body VARCHAR,
  template INTEGER, trace_hi UBIGINT, trace_lo UBIGINT, span_id UBIGINT, scope VARCHAR, resource VARCHAR,
  attributes VARCHAR);
CREATE TABLE IF NOT EXISTS template (n INTEGER, id VARCHAR, template VARCHAR);
"""
SPAN: Final = (
    "trace_hi, trace_lo, span_id, parent_id, service, environment, name, kind, status, message, start_ns, "
    "duration_ns, scope, resource, attributes, events, links"
)
RECORD: Final = (
    "at_ns, service, environment, severity, body, trace_hi, trace_lo, span_id, scope, resource, attributes"
)
_KINDS: Final = tuple(SpanKind)
_STATUSES: Final = tuple(SpanStatus)
_KIND: Final = {kind: n for n, kind in enumerate(_KINDS)}
_STATUS: Final = {status: n for n, status in enumerate(_STATUSES)}
ERROR: Final = _STATUS[SpanStatus.ERROR]
_EMPTY: Final = "{}"

_attributes = msgspec.json.Decoder(Attributes)
_events = msgspec.json.Decoder(tuple[SpanEvent, ...])
_links = msgspec.json.Decoder(tuple[SpanLink, ...])
_encode = msgspec.json.Encoder().encode


def span_columns(spans: Sequence[Span]) -> Columns:
    """One array per column of ``span``, in its order."""
    texts = _Texts()
    return {
        "trace_hi": _ids(one.trace_id[:16] for one in spans),
        "trace_lo": _ids(one.trace_id[16:] for one in spans),
        "span_id": _ids(one.span_id for one in spans),
        "parent_id": _ids(one.parent_id for one in spans),
        "service": _text([one.service for one in spans]),
        "environment": _text([one.environment for one in spans]),
        "name": _text([one.name for one in spans]),
        "kind": np.array([_KIND[one.kind] for one in spans], np.uint8),
        "status": np.array([_STATUS[one.status] for one in spans], np.uint8),
        "message": _text([one.message for one in spans]),
        "start_ns": np.array([one.start_ns for one in spans], np.int64),
        "duration_ns": np.array([one.duration_ns for one in spans], np.int64),
        "scope": _text([one.scope for one in spans]),
        "resource": _text([texts.shared(one.resource) for one in spans]),
        "attributes": _text([_json(one.attributes) for one in spans]),
        "events": _text([_encode(one.events).decode() if one.events else "[]" for one in spans]),
        "links": _text([_encode(one.links).decode() if one.links else "[]" for one in spans]),
    }


def record_columns(records: Sequence[LogRecord]) -> Columns:
    """One array per column of ``record`` but its number and template, in its order."""
    texts = _Texts()
    return {
        "at_ns": np.array([one.at_ns for one in records], np.int64),
        "service": _text([one.service for one in records]),
        "environment": _text([one.environment for one in records]),
        "severity": np.array([one.severity for one in records], np.uint8),
        "body": _text([one.body for one in records]),
        "trace_hi": _ids(one.trace_id[:16] for one in records),
        "trace_lo": _ids(one.trace_id[16:] for one in records),
        "span_id": _ids(one.span_id for one in records),
        "scope": _text([one.scope for one in records]),
        "resource": _text([texts.shared(one.resource) for one in records]),
        "attributes": _text([_json(one.attributes) for one in records]),
    }


def span_of(row: Sequence[Any]) -> Span:
    """A row of the columns ``SPAN``."""
    hi, lo, span_id, parent_id, service, environment, name, kind, status, message, start, took, *rest = row
    scope, resource, attributes, events, links = rest
    return Span(
        trace_id=trace_id_of(hi, lo),
        span_id=f"{span_id:016x}",
        parent_id=f"{parent_id:016x}" if parent_id else "",
        service=service,
        environment=environment,
        name=name,
        kind=_KINDS[kind],
        status=_STATUSES[status],
        message=message,
        start_ns=start,
        duration_ns=took,
        scope=scope,
        resource=_attributes.decode(resource),
        attributes=_attributes.decode(attributes),
        events=_events.decode(events),
        links=_links.decode(links),
    )


def record_of(row: Sequence[Any], template_id: str) -> LogRecord:
    """A row of the columns ``RECORD``."""
    at, service, environment, severity, body, hi, lo, span_id, scope, resource, attributes = row
    return LogRecord(
        at_ns=at,
        service=service,
        environment=environment,
        severity=severity,
        body=body,
        trace_id=trace_id_of(hi, lo) if hi or lo else "",
        span_id=f"{span_id:016x}" if span_id else "",
        scope=scope,
        resource=_attributes.decode(resource),
        attributes=_attributes.decode(attributes),
        template_id=template_id,
    )


def trace_id_of(hi: int, lo: int) -> str:
    """Two halves as 32 hex digits."""
    return f"{hi:016x}{lo:016x}"


def halves(trace_id: str) -> tuple[int, int]:
    """32 hex digits as two halves. Raises ``ValueError`` when they are none."""
    if len(trace_id) != 32:
        raise ValueError(trace_id)
    return int(trace_id[:16], 16), int(trace_id[16:], 16)


class _Texts:
    """One text for an object that many rows share, such as a resource."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def shared(self, attributes: Attributes) -> str:
        """As JSON; the rows hold the object, so its identity stands as long as this does."""
        found = self._known.get(id(attributes))
        if found is None:
            found = self._known[id(attributes)] = _json(attributes)
        return found


def _json(attributes: Attributes) -> str:
    return _encode(attributes).decode() if attributes else _EMPTY


def _ids(digits: Iterable[str]) -> np.ndarray[Any, Any]:
    return np.array([int(one, 16) if one else 0 for one in digits], np.uint64)


def _text(values: list[str]) -> np.ndarray[Any, Any]:
    made = np.empty(len(values), object)
    made[:] = values
    return made
