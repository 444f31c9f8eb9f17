"""Log files as lines: escapes stripped, secrets masked, bounded, never the whole file in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import anyio

from poise.adapters.masking import Flow, Masker
from poise.adapters.output.text import clean
from poise.api.views import LogLine
from poise.model.delivery import Run

LINE_LIMIT = 4000


def run_lines(data: Path, run: Run, after: int, limit: int, masker: Masker) -> list[LogLine]:
    """Lines ``after`` .. ``after + limit`` of a run, over all its steps in order. O(lines before).

    A line that a step has not finished is left for later: it would be told by halves.
    """
    return list(islice(_all_lines(data, run, masker), after, after + limit))


async def lines_of(data: Path, run: Run, after: int, limit: int, masker: Masker) -> list[LogLine]:
    """As ``run_lines``, in a thread: a log of megabytes must not hold the loop."""
    return await anyio.to_thread.run_sync(run_lines, data, run, after, limit, masker)


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
                text = flow.feed(clean(raw.decode(errors="replace")).rstrip("\n"))
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
