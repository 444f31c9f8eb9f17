"""Server-sent events: the journal as it is written, and a run's log as it grows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from os.path import commonprefix
from typing import Any

import anyio
import msgspec
from litestar import Request, get
from litestar.response import ServerSentEvent, ServerSentEventMessage

from poise.api.logs import lines_of
from poise.api.params import After, Number, Part, Subject, Subjects
from poise.api.parts import Parts
from poise.api.queries import may_see
from poise.api.read import parts_of
from poise.model.access import Principal
from poise.model.delivery import Run
from poise.model.errors import TooLarge
from poise.model.record import Ref

STREAMS_MAX = 200
HEARTBEAT_S = 15.0
BATCH = 200
LOG_POLL_S = 0.5  # a log file tells nobody that it grew

_open_streams = 0


async def journal_rows(
    parts: Parts, after: int, subjects: Sequence[str], asker: Principal
) -> AsyncIterator[ServerSentEventMessage]:
    """Events under one of ``subjects`` (none: all) that ``asker`` may see, after ``after`` and as they come.

    A comment when all is quiet.
    """
    global _open_streams
    changed = anyio.Event()
    wanted = tuple(subjects) or ("",)
    under = commonprefix(wanted)  # noqa: RUF071 - a subject is a prefix, sign by sign

    def told(_refs: Sequence[Ref], _last: int) -> None:
        changed.set()

    unsubscribe = parts.store.subscribe(told)
    _open_streams += 1
    try:
        while True:
            changed = anyio.Event()
            rows = await parts.store.journal(after=after, limit=BATCH, subject=under)
            for row in rows:
                after, about = row.sequence, row.event.subject
                if not about.startswith(wanted) or not may_see(asker, about.split("/", 1)[0]):
                    continue
                yield ServerSentEventMessage(data=msgspec.json.encode(row).decode(), id=str(after))
            if len(rows) == BATCH:
                continue  # there may be more already
            with anyio.move_on_after(HEARTBEAT_S) as quiet:
                await changed.wait()
            if quiet.cancelled_caught:
                yield ServerSentEventMessage(comment="quiet")
    finally:
        _open_streams -= 1
        unsubscribe()


async def log_rows(parts: Parts, key: str, after: int) -> AsyncIterator[ServerSentEventMessage]:
    """A run's lines after ``after``, until it has ended."""
    global _open_streams
    _open_streams += 1
    try:
        while True:
            run, _ = await parts.store.get(Run, key)
            if run is None:
                return
            lines = await lines_of(parts.data, run, after, BATCH, parts.masker)
            for line in lines:
                after += 1
                yield ServerSentEventMessage(data=msgspec.json.encode(line).decode(), id=str(after))
            if run.state.is_final and not lines:
                yield ServerSentEventMessage(data=run.state.value, event="end")
                return
            if len(lines) < BATCH:
                await parts.clock.sleep(LOG_POLL_S)
    finally:
        _open_streams -= 1


@contextmanager
def admitted() -> Iterator[None]:
    """One of the streams that may be open at the same time; raises ``TooLarge`` over ``STREAMS_MAX``."""
    global _open_streams
    _admit()
    _open_streams += 1
    try:
        yield
    finally:
        _open_streams -= 1


def _admit() -> None:
    if _open_streams >= STREAMS_MAX:
        raise TooLarge("POISE-E429", f"over {STREAMS_MAX} streams are open", mend="Close some pages.")


@get("/api/v1/projects/{project:str}/stream", opt={"permission": "viewer"})
async def stream_journal(
    request: Request[Any, Any, Any],
    project: Part,
    after: After = 0,
    subject: Subject = "",
) -> ServerSentEvent:
    """The project's journal, live; ``Last-Event-ID`` resumes."""
    _admit()
    resumed = request.headers.get("last-event-id", "")
    start = int(resumed) if resumed.isdigit() else after
    under = subject if subject.startswith(f"{project}/") else f"{project}/"
    return ServerSentEvent(journal_rows(parts_of(request), start, (under,), request.scope["user"]))


@get("/api/v1/stream", opt={"permission": "viewer"})
async def stream_all(
    request: Request[Any, Any, Any],
    after: After = 0,
    subject: Subjects = (),
) -> ServerSentEvent:
    """The journal of every project that the asker may see, live; of one or several subjects, or of all."""
    _admit()
    resumed = request.headers.get("last-event-id", "")
    start = int(resumed) if resumed.isdigit() else after
    return ServerSentEvent(journal_rows(parts_of(request), start, subject, request.scope["user"]))


@get("/api/v1/projects/{project:str}/runs/{n:int}/stream", opt={"permission": "viewer"})
async def stream_log(
    request: Request[Any, Any, Any], project: Part, n: Number, after: After = 0
) -> ServerSentEvent:
    """A run's log, live, until it has ended."""
    _admit()
    resumed = request.headers.get("last-event-id", "")
    start = int(resumed) if resumed.isdigit() else after
    return ServerSentEvent(log_rows(parts_of(request), f"{project}/{n:06d}", start))


ROUTES = [stream_all, stream_journal, stream_log]
