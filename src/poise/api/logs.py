"""Log files as lines: escapes stripped, secrets masked, bounded, never the whole file in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from poise.adapters.masking import Flow, Masker
from poise.api.views import LogLine
from poise.model.delivery import Run

TAIL_BYTES = 262_144
LINE_LIMIT = 4000
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f\x7f]")


def run_lines(data: Path, run: Run, after: int, limit: int, masker: Masker) -> list[LogLine]:
    """Lines ``after`` .. ``after + limit`` of a run, over all its steps in order. O(lines before).

    A line that a step has not finished is left for later: it would be told by halves.
    """
    return list(islice(_all_lines(data, run, masker), after, after + limit))


def _all_lines(data: Path, run: Run, masker: Masker) -> Iterator[LogLine]:
    n = 0
    for job in run.jobs:
        for index, step in enumerate(job.steps):
            path = data / "logs" / "runs" / run.key / job.id / f"{index}.log"
            for text in _lines(path, masker, over=run.state.is_final or step.state.is_final):
                n += 1
                yield LogLine(source=f"{job.id} / {step.name}", n=n, text=text)


def _lines(path: Path, masker: Masker, over: bool) -> Iterator[str]:
    """Lines of at most ``LINE_LIMIT`` bytes; a longer one is several, masked across its cuts."""
    try:
        with path.open("rb") as file:
            flow = Flow(masker)
            if begin := _begin(file.fileno()):
                file.seek(begin)
                file.readline()  # its beginning is gone
            while raw := file.readline(LINE_LIMIT):
                ends = raw.endswith(b"\n") or (over and len(raw) < LINE_LIMIT)
                if not ends and len(raw) < LINE_LIMIT:
                    return  # more of it will come
                text = flow.feed(clean(raw))
                yield text + flow.end() if ends else text
            if over and (rest := flow.end()):
                yield rest
    except FileNotFoundError:
        return


def _begin(file: int) -> int:
    """The offset of the first byte that is kept: the keeper frees what is before it."""
    try:
        return os.lseek(file, 0, os.SEEK_DATA)
    except OSError:
        return 0  # empty


def replica_lines(data: Path, service_key: str, limit: int, masker: Masker) -> list[LogLine]:
    """The newest lines of each replica of a service."""
    folder = data / "logs" / service_key
    found = []
    for path in sorted(folder.glob("*.log")) if folder.is_dir() else ():
        lines = _tail(path, masker)[-limit:]
        found += [LogLine(source=path.stem, n=n, text=text) for n, text in enumerate(lines, start=1)]
    return found[-limit:]


def _tail(path: Path, masker: Masker) -> list[str]:
    """The last lines of a file; of the first only what cannot be the end of a value that began before."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(_begin(file.fileno()), size - TAIL_BYTES)
        file.seek(start)
        raw = file.read(TAIL_BYTES)
    first, newline, rest = raw.partition(b"\n")
    if start and newline:
        raw = rest
    elif start:
        raw = first[4 * masker.longest :]  # bytes of a character, at most
    lines = raw.splitlines()
    texts = [masker.text(clean(line)) for line in lines]
    if lines and not raw.endswith((b"\n", b"\r")):
        texts[-1] = masker.unfinished(clean(lines[-1]))
    return [text[:LINE_LIMIT] for text in texts]


def clean(raw: bytes) -> str:
    """Text without terminal escapes or control characters."""
    return _ESCAPES.sub("", raw.decode(errors="replace").rstrip("\r\n"))
