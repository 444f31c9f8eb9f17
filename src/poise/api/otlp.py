"""Traces and log records over OTLP/HTTP: handed on as bytes to the process that decodes and keeps them.

What is good of a request is durable when it is answered; what is not is a partial success that names it. 5xx
and its Retry-After mean that nothing of it was kept, and that it shall be sent again.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from litestar import Request, Response, post

from poise.adapters.telemetry import TelemetryOwner
from poise.adapters.telemetry.wire import Push, Taken
from poise.api.ingest import JSON, PROTOBUF, NotKept, Unread
from poise.api.intakes import BODY_BYTES
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.model.errors import Invalid, NotFound, TooLarge

log = structlog.get_logger()

UNPACKED_BYTES: Final = 67_108_864
KEPT: Final = "taken"
Asked = Request[Any, Any, Any]
INTAKE: Final = {"opt": {"permission": "developer"}, "status_code": 200, "request_max_body_size": BODY_BYTES}


@post(["/v1/traces", "/otlp/v1/traces"], **INTAKE)  # type: ignore[arg-type]
async def otlp_traces(request: Asked) -> Response[bytes]:
    """OTLP/HTTP traces, protobuf or JSON. What was not kept is a partial success that names it."""
    return await _taken(request, "traces")


@post(["/v1/logs", "/otlp/v1/logs"], **INTAKE)  # type: ignore[arg-type]
async def otlp_logs(request: Asked) -> Response[bytes]:
    """OTLP/HTTP log records, protobuf or JSON. What was not kept is a partial success that names it."""
    return await _taken(request, "logs")


def telemetry_of(parts: Parts) -> TelemetryOwner:
    """The house's traces and log records."""
    if parts.telemetry is None:
        raise NotFound("POISE-U404", "this house keeps no traces", mend="Run: poise up")
    return parts.telemetry


async def _taken(request: Asked, signal: str) -> Response[bytes]:
    parts, source = parts_of(request), f"otlp-{signal}"
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (PROTOBUF, JSON):
        raise Unread(
            "POISE-M402", f"OTLP as {kind[:60] or 'nothing named'} is not read",
            mend=f"Send {PROTOBUF} or {JSON} over HTTP.",
        )  # fmt: skip
    push = Push(
        signal=signal,
        body=await request.body(),
        encoding=request.headers.get("content-encoding", "").strip().lower(),
        json=kind == JSON,
        now_ns=int(parts.clock.now().timestamp() * 1_000_000) * 1000,
        body_bytes=UNPACKED_BYTES,
    )
    try:
        taken = await telemetry_of(parts).push(push)
    except (Invalid, TooLarge) as error:
        parts.intakes.count(source, "unreadable", 1)
        if isinstance(error, TooLarge):
            raise
        raise NotKept(error.code, error.what, where=error.where, why=error.why, mend=error.mend) from None
    _count(parts, source, taken)
    return Response(taken.response, media_type=kind)


def _count(parts: Parts, source: str, taken: Taken) -> None:
    parts.intakes.count(source, KEPT, taken.kept)
    if taken.known:
        parts.intakes.count(source, "known", taken.known)
    for counts in (taken.rejected, taken.warned):
        for kind, count in counts.items():
            parts.intakes.count(source, kind, count)
    if taken.rejected:
        named = [one.what for one in taken.faults[:3]]
        log.warning("telemetry was not kept", source=source, refused=taken.rejected, named=named)


ROUTES = [otlp_traces, otlp_logs]
