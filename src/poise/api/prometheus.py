"""Prometheus' HTTP API over the embedded metrics, so that Grafana and promtool work unchanged.

Evaluation and encoding are the worker's; here bytes are passed on, known secrets masked. ``source=NAME`` with
``project=P`` asks a declared data source instead. Whoever may view anything may query the embedded metrics:
series belong to no project.

Source: prometheus.io/docs/prometheus/latest/querying/api.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Final

import anyio
import anyio.to_thread
import msgspec
from litestar import HttpMethod, MediaType, Request, Response, route
from litestar.exceptions import HTTPException
from litestar.params import PathParameter
from litestar.response import Stream
from msgspec import Struct

from poise import __version__
from poise.adapters.worker.wire import PIECE_BYTES, Describe, Find, Query, QueryRange
from poise.api import rules as rule_views
from poise.api.access import check
from poise.api.headers import secured
from poise.api.masked import Pieces, is_masked_already
from poise.api.parts import Parts
from poise.api.prometheus_form import BadData, Form
from poise.api.queries import may_see
from poise.engine.lag import Lag
from poise.engine.ruling import GroupStanding
from poise.model.access import Role
from poise.model.errors import Invalid, NotFound, PoiseError, TimedOut, TooLarge, Unreachable
from poise.model.samples import Limits
from poise.ports.signals import SignalStore

LANGUAGE: Final = "3.14.0"  # of Prometheus, whose PromQL this is
SECONDS_MAX: Final = 60.0
SECONDS: Final = 30.0
JSON: Final = "application/json"
BOTH: Final = [HttpMethod.GET, HttpMethod.POST]
VIEWER: Final = {"permission": "viewer"}
_STATUS: Final = {
    "bad_data": 400, "execution": 422, "timeout": 503, "canceled": 503, "unavailable": 503, "not_found": 404,
    "internal": 500, "unauthorized": 401, "forbidden": 403, "too_large": 413,
}  # fmt: skip
Label = Annotated[str, PathParameter(min_length=1, max_length=1000)]
Asked = Request[Any, Any, Any]


# -- queries --------------------------------------------------------------------------------------


async def query(request: Asked) -> Response[Any]:
    """An expression at one instant."""
    form = await form_of(request)
    asked = Query(
        expression=form.expression(),
        at_ms=form.instant("time", form.now_ms()),
        lookback_ms=form.duration("lookback_delta", 300_000),
        series=form.count("limit"),
        cost=bool(form.text("stats")),
    )
    elsewhere = await _elsewhere(request, form)
    if elsewhere is not None:
        return await _passed_on(request, elsewhere, asked)
    return await _answered(request, "query", asked, _seconds(form))


async def query_range(request: Asked) -> Response[Any]:
    """An expression over a grid of steps."""
    form = await form_of(request)
    asked = QueryRange(
        expression=form.expression(),
        start_ms=form.instant("start"),
        end_ms=form.instant("end"),
        step_ms=form.duration("step"),
        lookback_ms=form.duration("lookback_delta", 300_000),
        series=form.count("limit"),
        cost=bool(form.text("stats")),
    )
    _check_grid(asked)
    elsewhere = await _elsewhere(request, form)
    if elsewhere is not None:
        return await _passed_on(request, elsewhere, asked)
    return await _answered(request, "query_range", asked, _seconds(form))


def _check_grid(asked: QueryRange) -> None:
    if asked.end_ms < asked.start_ms:
        raise BadData("POISE-A480", 'invalid parameter "end": end timestamp must not be before start time')
    if asked.step_ms <= 0:
        what = "zero or negative query resolution step widths are not accepted. Try a positive integer"
        raise BadData("POISE-A480", f'invalid parameter "step": {what}')
    if (asked.end_ms - asked.start_ms) // asked.step_ms + 1 > Limits().points:
        what = "exceeded maximum resolution of 11,000 points per timeseries"
        raise BadData("POISE-A480", what, mend="Try decreasing the query resolution (?step=XX).")


# -- what there is --------------------------------------------------------------------------------


async def series(request: Asked) -> Response[Any]:
    """The series that selectors name."""
    form = await form_of(request)
    if not form.texts("match[]"):
        raise BadData("POISE-A480", "no match[] parameter provided")
    return await _found(request, form, "series")


async def labels(request: Asked) -> Response[Any]:
    """Label names."""
    return await _found(request, await form_of(request), "label_names")


async def label_values(request: Asked, name: Label) -> Response[Any]:
    """One label's values."""
    return await _found(request, await form_of(request), "label_values", name)


async def metadata(request: Asked) -> Response[Any]:
    """What metric families say of themselves."""
    form = await form_of(request)
    asked = Describe(name=form.text("metric"), items=form.count("limit"))
    return await _answered(request, "metadata", asked, SECONDS)


async def exemplars(request: Asked) -> Response[Any]:
    """None: exemplars are read past when they come, so that a dashboard that asks for them draws the rest."""
    form = await form_of(request)
    if not form.expression():
        raise BadData("POISE-A480", 'invalid parameter "query": no expression found in input')
    start_ms, end_ms = form.instant("start", 0), form.instant("end", form.now_ms())
    if end_ms < start_ms:
        raise BadData("POISE-A480", 'invalid parameter "end": end timestamp must not be before start time')
    return told([])


async def _found(request: Asked, form: Form, job: str, label: str = "") -> Response[Any]:
    asked = Find(
        selectors=form.texts("match[]"),
        start_ms=form.instant("start", -(2**52)),
        end_ms=form.instant("end", 2**52),
        label=label,
        items=form.count("limit"),
    )
    return await _answered(request, job, asked, SECONDS)


# -- rules and status -----------------------------------------------------------------------------


async def rules(request: Asked) -> Response[Any]:
    """Rule groups; ``type``, ``rule_name[]``, ``rule_group[]`` and ``file[]`` show some of them."""
    form = await form_of(request)
    kind = form.text("type")
    if kind not in ("", "alert", "record"):
        raise BadData("POISE-A480", f'invalid parameter "type": not supported value "{kind}"')
    if form.texts("match[]"):
        raise BadData("POISE-A480", 'invalid parameter "match[]": not supported', mend="Use rule_name[].")
    wanted = {"alert": "alerting", "record": "recording"}.get(kind)
    return told({"groups": rule_views.only(rule_views.groups(_standings(request)), form, wanted)})


async def alerts(request: Asked) -> Response[Any]:
    """Alerts that are pending or firing."""
    return told({"alerts": rule_views.alerts(_standings(request))})


def _standings(request: Asked) -> list[GroupStanding]:
    """Groups of the projects that the asker may see."""
    return [one for one in _parts(request).rules() if may_see(request.user, one.project)]


async def buildinfo(request: Asked) -> Response[Any]:
    """Whose language is spoken here, and who speaks it."""
    return told(
        {
            "version": LANGUAGE,
            "revision": f"poise-{__version__}",
            "branch": "poise",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }
    )


async def runtimeinfo(request: Asked) -> Response[Any]:
    """How promptly the control process answers: the lag of its scheduler."""
    lag = _parts(request).loop_lag
    return told({"loopLag": lag() if lag else Lag()})


# -- asking and answering -------------------------------------------------------------------------


async def _answered(request: Asked, job: str, asked: Struct, seconds: float) -> Response[Any]:
    """The worker's answer, passed on. The query is given up when its asker goes away."""
    worker = _parts(request).queries
    if worker is None:
        raise Unreachable("POISE-A481", "there are no metrics here", mend="Run: poise up")
    pieces = worker.ask(job, asked, seconds)
    first = await _first(request, pieces)
    if len(first) < PIECE_BYTES:  # then it is the last one as well
        await pieces.aclose()
        return Response(first, media_type=JSON, status_code=200)
    is_masked_already(request.scope)
    return Stream(_masked(Pieces(_parts(request).masker), first, pieces), media_type=JSON, status_code=200)


async def _first(request: Asked, pieces: AsyncGenerator[bytes, None]) -> bytes:
    """The first piece, unless the asker goes away before there is any."""
    found = b""
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            found = await anext(pieces)
        except PoiseError as error:
            failed: PoiseError | None = error
        else:
            failed = None
        group.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return found


async def _masked(mask: Pieces, first: bytes, pieces: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(pieces):
        yield mask.feed(first)
        async for piece in pieces:
            yield mask.feed(piece)
    yield mask.end()


async def _elsewhere(request: Asked, form: Form) -> SignalStore | None:
    """The data source that is asked instead of the embedded metrics, if one is named."""
    name = form.text("source") or request.headers.get("x-poise-source", "")
    if not name:
        return None
    project = form.text("project")
    parts = _parts(request)
    check(request.user, Role.VIEWER, project or "?")
    if parts.sources is None:
        raise NotFound("POISE-A482", f"no data source {name}")
    return await parts.sources(project, name)


async def _passed_on(request: Asked, store: SignalStore, asked: Query | QueryRange) -> Response[Any]:
    from poise.adapters.worker.answers import of_frame

    if isinstance(asked, Query):
        frame = await store.query(asked.expression, asked.at_ms)
    else:
        frame = await store.query_range(asked.expression, asked.start_ms, asked.end_ms, asked.step_ms)
    made = of_frame(frame, series=asked.series, cost=asked.cost)
    body = await anyio.to_thread.run_sync(lambda: b"".join(made))
    return Response(body, media_type=JSON, status_code=200)


async def form_of(request: Asked) -> Form:
    """Its parameters."""
    given: dict[str, list[str]] = {}
    if request.method == "POST" and request.content_type[0] == "application/x-www-form-urlencoded":
        for name, value in (await request.form()).multi_items():
            given.setdefault(name, []).append(str(value))
    for name, value in request.query_params.multi_items():
        given.setdefault(name, []).append(str(value))
    return Form(given, _parts(request).clock.now())


def _seconds(form: Form) -> float:
    asked = form.duration("timeout", round(SECONDS * 1000)) / 1000
    return max(0.001, min(asked, SECONDS_MAX))


def _parts(request: Asked) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def told(value: object) -> Response[Any]:
    """A value as the data of a success."""
    body = msgspec.json.encode({"status": "success", "data": value})
    return Response(body, media_type=JSON, status_code=200)


def _refused(_request: Asked, error: PoiseError) -> Response[Any]:
    """An error as Prometheus tells it, in our words."""
    word = _word(error)
    answer = _error(word, str(error))
    if word == "unauthorized":
        answer.headers["WWW-Authenticate"] = 'Basic realm="poise"'
    return answer


def _refused_by_frame(_request: Asked, error: HTTPException) -> Response[Any]:
    word = {413: "too_large", 404: "not_found"}.get(error.status_code, "bad_data")
    return _error(word, error.detail)


def _error(word: str, what: str) -> Response[Any]:
    told = {"status": "error", "errorType": word, "error": what}
    return secured(Response(msgspec.json.encode(told), media_type=JSON, status_code=_STATUS[word]))


def _word(error: PoiseError) -> str:
    if error.http_status in (401, 403):
        return "unauthorized" if error.http_status == 401 else "forbidden"
    given = getattr(error, "error_type", "")
    if given in _STATUS:
        return str(given)
    match error:
        case TimedOut():
            return "timeout"
        case Unreachable():
            return "unavailable"
        case NotFound():
            return "not_found"
        case Invalid() | TooLarge():
            return "execution"
    return "internal"


def face(path: str, handler: Any, methods: Sequence[HttpMethod] = BOTH) -> Any:
    """A route of Prometheus' API, its errors as Prometheus tells them."""
    return route(
        path,
        http_method=list(methods),
        opt=VIEWER,
        media_type=MediaType.JSON,
        status_code=200,
        include_in_schema=False,  # Prometheus describes it
        exception_handlers={PoiseError: _refused, HTTPException: _refused_by_frame},
    )(handler)


ROUTES = [
    face("/api/v1/query", query),
    face("/api/v1/query_range", query_range),
    face("/api/v1/series", series),
    face("/api/v1/labels", labels),
    face("/api/v1/label/{name:str}/values", label_values, [HttpMethod.GET]),
    face("/api/v1/metadata", metadata, [HttpMethod.GET]),
    face("/api/v1/query_exemplars", exemplars),
    face("/api/v1/rules", rules, [HttpMethod.GET]),
    face("/api/v1/alerts", alerts, [HttpMethod.GET]),
    face("/api/v1/status/buildinfo", buildinfo, [HttpMethod.GET]),
    face("/api/v1/status/runtimeinfo", runtimeinfo, [HttpMethod.GET]),
]
