"""Log files as lines: escapes stripped, bounded, never the whole file in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from poise.api.views import LogLine
from poise.model.delivery import Run

TAIL_BYTES = 262_144
LINE_LIMIT = 4000
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f\x7f]")


def run_lines(data: Path, run: Run, after: int, limit: int) -> list[LogLine]:
    """Lines ``after`` .. ``after + limit`` of a run, over all its steps in order. O(lines before)."""
    return list(islice(_all_lines(data, run), after, after + limit))


def _all_lines(data: Path, run: Run) -> Iterator[LogLine]:
    n = 0
    for job in run.jobs:
        for index, step in enumerate(job.steps):
            path = data / "logs" / "runs" / run.key / job.id / f"{index}.log"
            for text in _lines(path):
                n += 1
                yield LogLine(source=f"{job.id} / {step.name}", n=n, text=text)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            while raw := file.readline(LINE_LIMIT):
                yield clean(raw)
    except FileNotFoundError:
        return


def replica_lines(data: Path, service_key: str, limit: int) -> list[LogLine]:
    """The newest lines of each replica of a service."""
    folder = data / "logs" / service_key
    found = []
    for path in sorted(folder.glob("*.log")) if folder.is_dir() else ():
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).splitlines()[-limit:]
        found += [LogLine(source=path.stem, n=n, text=clean(raw)) for n, raw in enumerate(lines, start=1)]
    return found[-limit:]


def clean(raw: bytes) -> str:
    """Text without terminal escapes or control characters."""
    return _ESCAPES.sub("", raw.decode(errors="replace").rstrip("\r\n"))[:LINE_LIMIT]
