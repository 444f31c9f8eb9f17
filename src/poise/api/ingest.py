"""Metrics that others push: remote-write 1.0, and exposition text.

What is good of a request is kept; what is not is counted and named in the answer, which is then a 400:
senders never try a 4xx again. 5xx is trouble of ours, and is tried again.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from litestar import MediaType, Request, Response, post

from poise.api.errors import Problem, problem_of
from poise.api.intakes import BODY_BYTES
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.model.errors import Invalid
from poise.model.intake import Intake
from poise.model.samples import Appended, Labels, Round

log = structlog.get_logger()

SHOWN: Final = 10  # faults in an answer
VERSION_2: Final = "io.prometheus.write.v2.request"

Asked = Request[Any, Any, Any]


@post("/api/v1/write", opt={"permission": "developer"}, status_code=200, request_max_body_size=BODY_BYTES)
async def remote_write(request: Asked) -> Response[Problem | None]:
    """Prometheus' remote-write 1.0. 204: everything is kept. 400: what is named is not, the rest is."""
    content_type = request.headers.get("content-type", "").lower()
    if VERSION_2 in content_type.replace('"', ""):
        problem = Problem(
            code="POISE-M204",
            what="remote-write 2.0 is not read",
            mend="Send 1.0: protobuf_message: prometheus.WriteRequest (Prometheus' default).",
        )
        return Response(problem, status_code=415, media_type=MediaType.JSON)
    parts = parts_of(request)
    try:
        intake = await parts.intakes.remote_write(await request.body())
    except Invalid as error:
        parts.intakes.count("remote-write", "unreadable", 1)
        return _bad(problem_of(error))
    return await _kept(parts, "remote-write", intake)


@post(
    "/api/v1/import/prometheus",
    opt={"permission": "developer"},
    status_code=200,
    request_max_body_size=BODY_BYTES,
)
async def import_text(request: Asked) -> Response[Problem | None]:
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
        return _bad(problem_of(error))
    return await _kept(parts, "import", intake)


def _check_names(extra: dict[str, str]) -> None:
    for name, value in extra.items():
        if not name.isidentifier() or not name.isascii() or name == "__name__" or len(value) > 200:
            raise Invalid(
                "POISE-M304", f"{name[:40]!r} cannot be put on a series", mend="extra_label=job=web"
            )


async def _kept(parts: Parts, source: str, intake: Intake) -> Response[Problem | None]:
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
        return Response(None, status_code=204)
    named = [Problem(code="POISE-M305", what=str(one)[:300]) for one in intake.faults[:SHOWN]]
    named += [
        Problem(
            code="POISE-M306", what=f"{one.reason}: {one.count}", where=f"{one.target} {_shown(one.example)}"
        )
        for one in appended.refused[:SHOWN]
    ]
    told = ", ".join(f"{kind}: {count}" for kind, count in sorted(refused.items()))
    log.warning("samples were not kept", source=source, refused=refused, kept=appended.kept)
    problem = Problem(
        code="POISE-M307",
        what=f"{sum(refused.values())} were not kept ({told})",
        why=f"The other {appended.kept} samples are kept.",
        mend="Do not send the request again as it is.",
        problems=tuple(named),
    )
    return _bad(problem)


def _shown(labels: Labels) -> str:
    return ",".join(f"{name}={value[:60]}" for name, value in labels[:12])[:300]


def _bad(problem: Problem) -> Response[Problem | None]:
    return Response(problem, status_code=400, media_type=MediaType.JSON)


ROUTES = [remote_write, import_text]
