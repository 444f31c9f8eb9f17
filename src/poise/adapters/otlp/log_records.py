"""One ExportLogsServiceRequest, protobuf or JSON, as log records."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from poise.adapters.otlp.attributes import Found, body_of, service_of, walked
from poise.adapters.otlp.spans import believed
from poise.adapters.otlp.wire import parsed
from poise.model.telemetry import Attributes, LogRecord


def read_records(body: bytes, found: Found, *, json: bool) -> list[LogRecord]:
    """The records that can be kept; the rest are faults of ``found``. ``Invalid`` when it is no request."""
    request = parsed(ExportLogsServiceRequest(), body, json=json)
    return walked(request.resource_logs, "scope_logs", "log_records", found, _record)


def answered(rejected: int, message: str) -> Any:
    """The response: empty, or a partial success; a message without a rejection is a warning."""
    made = ExportLogsServiceResponse()
    if rejected or message:
        made.partial_success.rejected_log_records = rejected
        made.partial_success.error_message = message
    return made


def _record(one: Any, resource: Attributes, scope: str, found: Found) -> LogRecord:
    service, environment = service_of(resource)
    at_ns = one.time_unix_nano or one.observed_time_unix_nano or found.now_ns
    return LogRecord(
        at_ns=believed(at_ns, found, "log record"),
        service=service,
        environment=environment,
        severity=one.severity_number if 0 <= one.severity_number <= 24 else 0,
        body=body_of(one.body, found),
        trace_id=_id_or_none(one.trace_id, 16, found),
        span_id=_id_or_none(one.span_id, 8, found),
        scope=scope,
        resource=resource,
        attributes=found.attributes(one.attributes),
    )


def _id_or_none(raw: bytes, size: int, found: Found) -> str:
    """A record with a broken id is one without: what it says is worth more than where it belongs.

    **Source:** OTLP, LogRecord.trace_id: an invalid id means that the record belongs to no trace.
    """
    if not raw.strip(b"\0"):
        return ""
    if len(raw) != size:
        found.warned["id-left-out"] += 1
        return ""
    return raw.hex()
