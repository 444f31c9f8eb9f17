"""The table of what can be asked of the owner. A job that writes has its turn among those that write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import Struct

from poise.adapters.telemetry import reading
from poise.adapters.telemetry.file import TelemetryFile
from poise.adapters.telemetry.reading import Reader
from poise.adapters.telemetry.wire import Copy, Id, LogRecords, Nothing, Push, Spans, Taken, Window
from poise.model.telemetry import RecordQuery, SpanQuery, TraceQuery


class Job(NamedTuple):
    """What it takes, and what it does with the file or with a reader of it."""

    argument: type[Struct]
    write: Callable[[TelemetryFile, Any], Any] | None = None
    read: Callable[[Reader, Any], Any] | None = None


def _push(file: TelemetryFile, asked: Push) -> Taken:
    """Decode here, where nobody waits for the interpreter."""
    from poise.adapters.telemetry.push import taken

    return taken(file, asked)


def _copy(file: TelemetryFile, asked: Copy) -> int:
    file.copy_to(Path(asked.target))
    return 0


JOBS: Final[Mapping[str, Job]] = {
    "append_spans": Job(Spans, write=lambda file, asked: file.append_spans(asked.items)),
    "append_records": Job(LogRecords, write=lambda file, asked: file.append_records(asked.items)),
    "push": Job(Push, write=_push),
    "copy": Job(Copy, write=_copy),
    "tend": Job(Nothing, write=lambda file, _: file.tend()),
    "state": Job(Nothing, write=lambda file, _: file.state()),
    "trace": Job(Id, read=lambda reader, asked: reading.trace(reader, asked.trace_id)),
    "find_traces": Job(TraceQuery, read=reading.find_traces),
    "spans_of": Job(SpanQuery, read=reading.spans_of),
    "edges": Job(Window, read=lambda c, asked: reading.edges(c, asked.since_ns, asked.until_ns)),
    "find_records": Job(RecordQuery, read=reading.find_records),
    "templates": Job(
        Window, read=lambda c, asked: reading.templates(c, asked.since_ns, asked.until_ns, asked.service)
    ),
    "errors_per_minute": Job(
        Window,
        read=lambda c, asked: reading.errors_per_minute(c, asked.since_ns, asked.until_ns, asked.service),
    ),
}
