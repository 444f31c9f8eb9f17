"""The pages of logs over HTTP: of a service, of a run."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import urlencode

import anyio
from litestar import MediaType, Response, get
from litestar.params import QueryParameter
from msgspec.structs import replace

from poise.adapters.output.files import replica_files
from poise.adapters.output.search import CONTEXT_MAX
from poise.api import output as api
from poise.api import queries
from poise.api.params import Number, Part
from poise.api.read import parts_of
from poise.model.errors import Invalid
from poise.model.output import OutputPage
from poise.web import forms, links
from poise.web.output import output
from poise.web.output_views import OutputView

TAIL: Final = 500
PAGE: Final[dict[str, Any]] = {
    "media_type": MediaType.HTML,
    "opt": {"permission": "viewer", "page": True},
}
Text = Annotated[str, QueryParameter(max_length=1_000)]
_FOLLOWED: Final[tuple[str, ...]] = ("grep", "replica", "job", "step")


@get("/logs/{project:str}/{environment:str}/{service:str}", **PAGE)
async def service_logs(
    request: forms.Asked, project: Part, environment: Part, service: Part,
    grep: Text = "", i: Text = "", since: Text = "", until: Text = "", replica: Text = "",
    context: Text = "", line: Text = "",
) -> Response[str]:  # fmt: skip
    """What the replicas of a service print."""
    parts, key = parts_of(request), f"{project}/{environment}/{service}"
    fields = _given(grep=grep, i=i, since=since, until=until, replica=replica, context=context, line=line)
    await queries.service_or_raise(parts, key)
    problem: Invalid | None = None
    try:
        page = await api.service_output(parts, key, replica, _asked(fields))
    except Invalid as told:
        page, problem = OutputPage(items=()), told
    everyone = await anyio.to_thread.run_sync(replica_files, parts.data, key)
    around, cookies = await forms.around(request, project)
    view = OutputView(
        chrome=around, name=service, title=key, back=(key, links.service(key)), here=links.logs(key),
        asked=fields, page=page, choices=tuple(reversed([file.source for file in everyone])),
        stream="" if problem else _stream(links.log_stream(key), fields),
    )  # fmt: skip
    return _answer(view, problem, cookies)


@get("/runs/{project:str}/{n:int}/logs", **PAGE)
async def run_logs(
    request: forms.Asked, project: Part, n: Number,
    grep: Text = "", i: Text = "", since: Text = "", until: Text = "", job: Text = "", step: Text = "",
    context: Text = "", line: Text = "",
) -> Response[str]:  # fmt: skip
    """What the steps of a run print."""
    parts = parts_of(request)
    fields = _given(grep=grep, i=i, since=since, until=until, job=job, step=step, context=context, line=line)
    run = await api.run_or_raise(parts, project, n)
    problem: Invalid | None = None
    try:
        page = await api.run_output(parts, project, n, job, step, _asked(fields))
    except Invalid as told:
        page, problem = OutputPage(items=()), told
    around, cookies = await forms.around(request, project)
    view = OutputView(
        chrome=around, name=f"{project} #{n}", title=f"{project} #{n}",
        back=(f"run {n}", links.run(project, n)), here=links.run_logs(project, n),
        asked=fields, page=page, choices=tuple(one.id for one in run.jobs), choice="job",
        stream="" if problem or run.state.is_final
        else _stream(links.run_log_stream(project, n), fields),
    )  # fmt: skip
    return _answer(view, problem, cookies)


def _given(**fields: str) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}


def _asked(fields: dict[str, str]) -> api.Asked:
    context = fields.get("context", "0")
    return api.Asked(
        since=fields.get("since", ""),
        until=fields.get("until", ""),
        grep=fields.get("grep", ""),
        ignore_case="i" in fields,
        context=min(int(context), CONTEXT_MAX) if context.isascii() and context.isdigit() else 0,
        tail=TAIL,
        address=fields.get("line", ""),
        follow=not _stands(fields),
    )


def _stands(fields: dict[str, str]) -> bool:
    """Whether what is asked has an end: nothing follows."""
    return bool(fields.get("until") or fields.get("line"))


def _stream(path: str, fields: dict[str, str]) -> str:
    if _stands(fields):
        return ""
    asked: dict[str, str] = {name: fields[name] for name in _FOLLOWED if name in fields}
    if "i" in fields:
        asked["ignore_case"] = "true"
    return f"{path}?{urlencode(asked)}" if asked else path


def _answer(view: OutputView, problem: Invalid | None, cookies: Any) -> Response[str]:
    if problem is not None:
        where = f" ({problem.where})" if problem.where else ""
        told = f"{problem.code} {problem.what}{where}: {problem.why}"
        view = replace(view, problem=told, mend=problem.mend)
    return Response(output(view), status_code=422 if problem else 200, cookies=cookies)


ROUTES = [service_logs, run_logs]
