"""Which files hold the output of a service or a run, and which of their bytes are still there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from poise.model.delivery import Run

FILES_MAX: Final = 200
"""Files of one service that are read: those written last."""
_REPLICA: Final = re.compile(r"(\d+)-(\d+)\.log(?:\.(\d))?")


class OutputFile(Struct, frozen=True, kw_only=True):
    """One file; ``over``: nobody writes it any more, so its last line is whole."""

    source: str
    path: Path
    over: bool = False


def replica_files(data: Path, service_key: str, replica: str = "") -> list[OutputFile]:
    """Every replica's file that is kept, ended ones too, the one written last at the end.

    ``replica``: an index (``0``: of every rollout) or ``<rollout>-<index>``. The source of a file is
    ``<rollout>-<index>``; what an older version rotated away has ``.1`` and so on after it.
    """
    folder, found = data / "logs" / service_key, list[tuple[float, str, OutputFile]]()
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            name = _REPLICA.fullmatch(entry.name)
            if name is None or not entry.is_file(follow_symlinks=False):
                continue
            rollout, index, old = name.groups()
            if replica in ("", index, f"{rollout}-{index}"):
                source = f"{rollout}-{index}" + (f".{old}" if old else "")
                file = OutputFile(source=source, path=folder / entry.name, over=bool(old))
                found.append((entry.stat().st_mtime, source, file))
    return [file for _, _, file in sorted(found, key=lambda one: one[:2])[-FILES_MAX:]]


def step_files(data: Path, run: Run, job: str = "", step: str = "") -> list[OutputFile]:
    """The files of a run's steps in their order; ``step``: its name or its number from 0."""
    return [
        OutputFile(
            source=f"{one.id} / {each.name}",
            path=data / "logs" / "runs" / run.key / one.id / f"{index}.log",
            over=run.state.is_final or each.state.is_final,
        )
        for one in run.jobs
        if job in ("", one.id)
        for index, each in enumerate(one.steps)
        if step in ("", each.name, str(index))
    ]


class Kept(Struct, frozen=True):
    """The bytes of a file that are there: ``begin`` is behind the hole, ``end`` its size."""

    begin: int
    end: int
    written_at_ms: int


@contextmanager
def opened(file: OutputFile) -> Iterator[int | None]:
    """A descriptor to read by offset; None when the file is gone or is no plain file."""
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield None  # trimmed away or never written: no output is no error
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def kept(descriptor: int) -> Kept:
    """What of an open file is there now."""
    about = os.fstat(descriptor)
    try:
        begin = os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError:
        begin = about.st_size  # nothing but a hole
    return Kept(min(begin, about.st_size), about.st_size, about.st_mtime_ns // 1_000_000)
