"""The output of a service's replicas and of a run's steps: searched, followed, one place of it shown.

Files are read in threads, searched one search at a time: two would hold the loop for over 20 ms.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated, Any, Final, TypeVar

import anyio
import msgspec
from anyio.lowlevel import RunVar
from litestar import Request, get
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage
from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.output import follow, search
from poise.adapters.output.files import OutputFile, replica_files, step_files
from poise.adapters.output.index import FOREVER_MS
from poise.adapters.output.matcher import PATTERN_CHARS, Matcher
from poise.api import queries
from poise.api.params import COUNT_MAX, Flag, Number, Part
from poise.api.parts import Parts
from poise.api.prometheus_form import duration_ms, instant_ms
from poise.api.read import parts_of
from poise.api.stream import HEARTBEAT_S, admitted
from poise.model.delivery import Run
from poise.model.errors import Invalid, NotFound, TooLarge
from poise.model.output import OutputPage

SEARCHES: Final = 1
WAITING_MAX: Final = 32
"""Searches that wait for their turn; one more is refused."""
FOLLOW_POLL_S: Final = 0.2  # a log file tells nobody that it grew
AROUND: Final = 50
_REPLICA: Final = re.compile(r"\d{1,6}(-\d{1,4})?")
_ADDRESS: Final = re.compile(r"(.{1,200})@(\d{1,16})")
_turns: RunVar[anyio.CapacityLimiter] = RunVar("log searches")
T = TypeVar("T")

Instant = Annotated[str, QueryParameter(max_length=40)]
Pattern = Annotated[str, QueryParameter(max_length=PATTERN_CHARS)]
Context = Annotated[int, QueryParameter(ge=0, le=search.CONTEXT_MAX)]
Tail = Annotated[int, QueryParameter(ge=1, le=search.TAIL_MAX)]
Named = Annotated[str, QueryParameter(max_length=200)]
CursorText = Annotated[str, QueryParameter(max_length=follow.CURSOR_CHARS)]
_SERVICE: Final = "/api/v1/projects/{project:str}/environments/{environment:str}/services/{service:str}"
_RUN: Final = "/api/v1/projects/{project:str}/runs/{n:int}"


class Asked(Struct, frozen=True, kw_only=True):
    """What a person asks of the output, as they wrote it."""

    since: str = ""
    until: str = ""
    grep: str = ""
    ignore_case: bool = False
    context: int = 0
    tail: int = search.TAIL
    address: str = ""
    follow: bool = False


async def in_turn(work: Callable[[], T]) -> T:
    """Do it in a thread, when it is its turn. Raises ``TooLarge`` where too many wait."""
    try:
        turns = _turns.get()
    except LookupError:
        turns = anyio.CapacityLimiter(SEARCHES)
        _turns.set(turns)
    if turns.statistics().tasks_waiting >= WAITING_MAX:
        raise TooLarge("POISE-Y429", f"over {WAITING_MAX} searches wait", mend="Try again in a moment.")
    return await anyio.to_thread.run_sync(work, limiter=turns, abandon_on_cancel=True)


def query_of(asked: Asked, now_ms: int, by_time: bool) -> search.OutputQuery:
    """Raises ``Invalid`` for a time or an expression that is none."""
    return search.OutputQuery(
        matcher=matcher_of(asked),
        since_ms=_instant(asked.since, "since", now_ms) if asked.since else 0,
        until_ms=_instant(asked.until, "until", now_ms) if asked.until else FOREVER_MS,
        tail=asked.tail,
        context=asked.context,
        by_time=by_time,
    )


def matcher_of(asked: Asked) -> Matcher | None:
    """What lines must match; None: all do."""
    return Matcher(asked.grep, asked.ignore_case) if asked.grep else None


def _instant(text: str, name: str, now_ms: int) -> int:
    before = duration_ms(text)
    found = now_ms - before if before is not None else instant_ms(text)
    if found is None:
        raise Invalid(
            "POISE-Y104",
            f"'{text}' is no time",
            where=name,
            why="It is neither a duration nor an instant.",
            mend="Write e.g. 10m, 2h30m or 2026-03-01T12:00:00Z.",
        )
    return max(0, min(found, COUNT_MAX))


async def service_output(parts: Parts, key: str, replica: str, asked: Asked) -> OutputPage:
    """The newest lines of a service's replicas, dead ones too, merged by time."""
    await queries.printing_or_raise(parts, key)
    files = await anyio.to_thread.run_sync(replica_files, parts.data, key, checked(replica))
    return await _page(parts, files, asked, by_time=True)


async def run_output(parts: Parts, project: str, n: int, job: str, step: str, asked: Asked) -> OutputPage:
    """The newest lines of a run's steps, one step after another."""
    files = step_files(parts.data, await run_or_raise(parts, project, n), job, step)
    if not files and (job or step):
        raise NotFound("POISE-Y404", f"run {n} has no step '{job}/{step}'", mend=f"Run: poise logs run {n}")
    return await _page(parts, files, asked, by_time=False)


async def run_or_raise(parts: Parts, project: str, n: int) -> Run:
    """Raises ``NotFound``."""
    run, _ = await parts.store.get(Run, f"{project}/{n:06d}")
    if run is None:
        raise NotFound("POISE-E404", f"no run {n} of {project}", mend="Run: poise status")
    return run


def checked(replica: str) -> str:
    """An index or ``<rollout>-<index>``; raises ``Invalid`` for what is neither."""
    if replica and not _REPLICA.fullmatch(replica):
        raise Invalid(
            "POISE-Y105", f"'{replica}' names no replica", where="replica", mend="Write e.g. 0, or 12-0."
        )
    return replica


async def _page(parts: Parts, files: list[OutputFile], asked: Asked, by_time: bool) -> OutputPage:
    query = query_of(asked, int(parts.clock.now().timestamp() * 1000), by_time)
    if asked.address:
        return await in_turn(partial(_around, parts, files, asked))
    return await in_turn(partial(_search, parts, files, query, asked.follow))


def _search(parts: Parts, files: list[OutputFile], query: search.OutputQuery, follows: bool) -> OutputPage:
    cursor = follow.now_cursor(files)
    if follows:  # what has not ended comes with the stream, once
        query = replace(query, ends=follow.read(cursor))
    return replace(search.search(files, query, parts.masker), cursor=cursor)


def _around(parts: Parts, files: list[OutputFile], asked: Asked) -> OutputPage:
    address = _ADDRESS.fullmatch(asked.address)
    if address is None:
        raise Invalid("POISE-Y106", f"'{asked.address}' is no line", mend="Take the address of a line.")
    source, offset = address.groups()
    file = next((file for file in files if file.source == source), None)
    found = (
        search.around(file, int(offset), asked.context or AROUND, parts.masker)
        if file
        else OutputPage(items=())
    )
    if found.items:
        return found
    return replace(found, shortened="This line is no longer kept: only the newest output is.")


async def output_news(
    parts: Parts,
    files_of: Callable[[], list[OutputFile]],
    cursor: str,
    matcher: Matcher | None,
    over: Callable[[], Any],
) -> AsyncIterator[ServerSentEventMessage]:
    """Lines as they end: each message is a ``News``, its id the cursor; "end" once nothing can follow."""
    with admitted():
        quiet_s = 0.0
        if not cursor:
            cursor = follow.now_cursor(await anyio.to_thread.run_sync(files_of))
        while True:
            ended = await over()
            files = await anyio.to_thread.run_sync(files_of)
            look = partial(follow.news, files, cursor, matcher, parts.masker, bool(ended))
            told = await anyio.to_thread.run_sync(look)
            cursor, quiet_s = told.cursor, quiet_s + FOLLOW_POLL_S
            if told.items or told.skipped_bytes:
                yield ServerSentEventMessage(data=msgspec.json.encode(told).decode(), id=cursor)
                quiet_s = 0.0
            elif ended:
                yield ServerSentEventMessage(data=ended, event="end")
                return
            elif quiet_s >= HEARTBEAT_S:
                yield ServerSentEventMessage(comment="quiet")
                quiet_s = 0.0
            await parts.clock.sleep(FOLLOW_POLL_S)


async def _never() -> str:
    return ""


@get(_SERVICE + "/log", opt={"permission": "viewer"})
async def get_service_log(
    request: Request[Any, Any, Any], project: Part, environment: Part, service: Part,
    since: Instant = "", until: Instant = "", grep: Pattern = "", ignore_case: Flag = False,
    context: Context = 0, tail: Tail = search.TAIL, replica: Named = "", line: Named = "",
    follow: Flag = False,
) -> OutputPage:  # fmt: skip
    """The newest lines of all replicas that match; with ``line`` (``source@offset``) those around it."""
    asked = Asked(
        since=since, until=until, grep=grep, ignore_case=ignore_case, context=context, tail=tail,
        address=line, follow=follow,
    )  # fmt: skip
    return await service_output(parts_of(request), f"{project}/{environment}/{service}", replica, asked)


@get(_SERVICE + "/log/stream", opt={"permission": "viewer"})
async def stream_service_log(
    request: Request[Any, Any, Any], project: Part, environment: Part, service: Part,
    cursor: CursorText = "", grep: Pattern = "", ignore_case: Flag = False, replica: Named = "",
) -> ServerSentEvent:  # fmt: skip
    """What replicas print, as they print it, new replicas too; ``Last-Event-ID`` resumes."""
    parts, key = parts_of(request), f"{project}/{environment}/{service}"
    await queries.printing_or_raise(parts, key)
    matcher = matcher_of(Asked(grep=grep, ignore_case=ignore_case))
    place = request.headers.get("last-event-id", "") or cursor
    follow.read(place) if place else None
    files_of = partial(replica_files, parts.data, key, checked(replica))
    return ServerSentEvent(output_news(parts, files_of, place, matcher, _never))


@get(_RUN + "/log/search", opt={"permission": "viewer"})
async def search_run_log(
    request: Request[Any, Any, Any], project: Part, n: Number, job: Named = "", step: Named = "",
    since: Instant = "", until: Instant = "", grep: Pattern = "", ignore_case: Flag = False,
    context: Context = 0, tail: Tail = search.TAIL, follow: Flag = False,
) -> OutputPage:  # fmt: skip
    """The newest lines of a run's steps that match."""
    asked = Asked(
        since=since,
        until=until,
        grep=grep,
        ignore_case=ignore_case,
        context=context,
        tail=tail,
        follow=follow,
    )
    return await run_output(parts_of(request), project, n, job, step, asked)


@get(_RUN + "/log/stream", opt={"permission": "viewer"})
async def stream_run_log(
    request: Request[Any, Any, Any], project: Part, n: Number, job: Named = "", step: Named = "",
    cursor: CursorText = "", grep: Pattern = "", ignore_case: Flag = False,
) -> ServerSentEvent:  # fmt: skip
    """What a run's steps print, as they print it, until the run has ended."""
    parts = parts_of(request)
    run = await run_or_raise(parts, project, n)
    matcher = matcher_of(Asked(grep=grep, ignore_case=ignore_case))
    place = request.headers.get("last-event-id", "") or cursor
    follow.read(place) if place else None

    async def over() -> str:
        now = await run_or_raise(parts, project, n)
        return now.state.value if now.state.is_final else ""

    return ServerSentEvent(
        output_news(parts, partial(step_files, parts.data, run, job, step), place, matcher, over)
    )


ROUTES = [get_service_log, stream_service_log, search_run_log, stream_run_log]
