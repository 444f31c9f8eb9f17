"""Metrics that others push: remote-write 1.0, OTLP/HTTP, and exposition text.

What is good of a request is kept; what is not is counted and named in the answer, which is then a 400:
senders never try a 4xx again (OTLP says it as a partial success). 5xx is trouble of ours, and is tried again.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from litestar import Request, Response, post

from poise.api.intakes import BODY_BYTES
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.model.errors import Invalid
from poise.model.intake import Intake
from poise.model.samples import Appended, Labels, Round

log = structlog.get_logger()

SHOWN: Final = 10  # faults in an answer
VERSION_2: Final = "io.prometheus.write.v2.request"
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

Asked = Request[Any, Any, Any]


class Unread(Invalid):
    """A protocol that is not spoken here."""

    http_status = 415


class NotKept(Invalid):
    """A request of which some, or everything, was not kept."""

    http_status = 400

    def __init__(
        self,
        code: str,
        what: str,
        *,
        where: str = "",
        why: str = "",
        mend: str = "",
        problems: tuple[Invalid, ...] = (),
        count: int = 0,
    ) -> None:
        super().__init__(code, what, where=where, why=why, mend=mend)
        self.problems = problems
        self.count = count


@post("/api/v1/write", opt={"permission": "developer"}, status_code=204, request_max_body_size=BODY_BYTES)
async def remote_write(request: Asked) -> None:
    """Prometheus' remote-write 1.0. 204: everything is kept. 400: what is named is not, the rest is."""
    content_type = request.headers.get("content-type", "").lower()
    if VERSION_2 in content_type.replace('"', ""):
        raise Unread(
            "POISE-M204", "remote-write 2.0 is not read",
            mend="Send 1.0: protobuf_message: prometheus.WriteRequest (Prometheus' default).",
        )  # fmt: skip
    parts = parts_of(request)
    try:
        intake = await parts.intakes.remote_write(await request.body())
    except Invalid as error:
        parts.intakes.count("remote-write", "unreadable", 1)
        raise _bad(error) from None
    await _kept(parts, "remote-write", intake)


@post(
    "/api/v1/import/prometheus",
    opt={"permission": "developer"},
    status_code=204,
    request_max_body_size=BODY_BYTES,
)
async def import_text(request: Asked) -> None:
    """Prometheus or OpenMetrics text, gzip or plain; ``extra_label=name=value`` is put on every series."""
    parts = parts_of(request)
    extra: dict[str, str] = {}
    for pair in request.query_params.getall("extra_label", []):
        name, _, value = pair.partition("=")
        extra[name] = value

    def transform(labels: Labels) -> Labels:
        merged = {**dict(labels), **extra} if extra else {}
        return tuple(sorted((name, value) for name, value in merged.items() if value)) if extra else labels

    target = f"push/{extra.get('job', request.scope['user'].name)}/{extra.get('instance', '')}"[:300]
    try:
        _check_names(extra)
        intake = await parts.intakes.page(
            await request.body(),
            request.headers.get("content-type", ""),
            request.headers.get("content-encoding", "").strip().lower(),
            target,
            int(parts.clock.now().timestamp() * 1000),
            transform,
        )
    except Invalid as error:
        parts.intakes.count("import", "unreadable", 1)
        raise _bad(error) from None
    await _kept(parts, "import", intake)


@post(
    ["/v1/metrics", "/otlp/v1/metrics"],
    opt={"permission": "developer"},
    status_code=200,
    request_max_body_size=BODY_BYTES,
)
async def otlp_metrics(request: Asked) -> Response[bytes]:
    """OTLP/HTTP metrics, protobuf or JSON. What was not kept is a partial success that names it."""
    parts = parts_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (PROTOBUF, JSON):
        raise Unread(
            "POISE-M402", f"OTLP as {kind[:60] or 'nothing named'} is not read",
            mend=f"Send {PROTOBUF} or {JSON} over HTTP.",
        )  # fmt: skip
    encoding = request.headers.get("content-encoding", "").strip().lower()
    now_ms = int(parts.clock.now().timestamp() * 1000)
    try:
        intake = await parts.intakes.otlp(await request.body(), encoding, now_ms, json=kind == JSON)
    except Invalid as error:
        parts.intakes.count("otlp", "unreadable", 1)
        raise _bad(error) from None
    rejected, message = 0, ""
    try:
        await _kept(parts, "otlp", intake)
    except NotKept as error:
        first = "; ".join(one.what for one in error.problems[:3])
        rejected, message = error.count, f"{error.what}: {first}. {error.why}"
    from poise.adapters.otlp import answered

    return Response(answered(rejected, message, json=kind == JSON), media_type=kind)


def _check_names(extra: dict[str, str]) -> None:
    for name, value in extra.items():
        if not name.isidentifier() or not name.isascii() or name == "__name__" or len(value) > 200:
            raise Invalid(
                "POISE-M304", f"{name[:40]!r} cannot be put on a series", mend="extra_label=job=web"
            )


async def _kept(parts: Parts, source: str, intake: Intake) -> None:
    """Append what is good, count the rest, and say so."""
    appended = Appended(kept=0)
    if intake.readings or intake.metadata:
        appended = await parts.metrics.append(Round(readings=intake.readings, metadata=intake.metadata))
    refused = dict(intake.counts)
    for one in appended.refused:
        refused[one.reason] = refused.get(one.reason, 0) + one.count
    parts.intakes.count(source, "taken", appended.kept)
    for kind, count in refused.items():
        parts.intakes.count(source, kind, count)
    if not refused:
        return
    named = [Invalid("POISE-M305", str(one)[:300]) for one in intake.faults[:SHOWN]]
    named += [
        Invalid("POISE-M306", f"{one.reason}: {one.count}", where=f"{one.target} {_shown(one.example)}")
        for one in appended.refused[:SHOWN]
    ]
    told = ", ".join(f"{kind}: {count}" for kind, count in sorted(refused.items()))
    log.warning("samples were not kept", source=source, refused=refused, kept=appended.kept)
    raise NotKept(
        "POISE-M307",
        f"{sum(refused.values())} were not kept ({told})",
        why=f"The other {appended.kept} samples are kept.",
        mend="Do not send the request again as it is.",
        problems=tuple(named),
        count=sum(refused.values()),
    )


def _shown(labels: Labels) -> str:
    return ",".join(f"{name}={value[:60]}" for name, value in labels[:12])[:300]


def _bad(error: Invalid) -> NotKept:
    return NotKept(error.code, error.what, where=error.where, why=error.why, mend=error.mend)


ROUTES = [remote_write, import_text, otlp_metrics]
