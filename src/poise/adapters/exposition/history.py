"""A file of samples with timestamps (OpenMetrics or Prometheus' text), asked in PromQL as any store is.

What ``promtool tsdb create-blocks-from openmetrics`` reads is read here. A line that cannot be read is named:
nothing of such a file is left out silently.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from poise.adapters.exposition.line import instant, number, read_line
from poise.adapters.memory_samples import MemorySamples
from poise.adapters.promql.engine import Engine
from poise.model.errors import Invalid, NotFound, TooLarge
from poise.model.intake import Faulty, IntakeLimits
from poise.model.samples import Frame, Labels, Limits

FILE_BYTES: Final = 2 * 1024**3
SAMPLES: Final = 30_000_000
TOLD_EVERY: Final = 500_000  # lines
_LIMITS: Final = IntakeLimits()
_Column = tuple["array[int]", "array[float]"]


class FileSignals:
    """The samples of one file; ``first_ms`` and ``last_ms`` are the instants of its first and last."""

    def __init__(self, samples: MemorySamples, first_ms: int, last_ms: int) -> None:
        self._samples = samples
        self.first_ms, self.last_ms = first_ms, last_ms

    async def query(self, expression: str, at_ms: int, limits: Limits | None = None) -> Frame:
        """As ``SignalStore.query``."""
        return Engine(self._samples, limits).instant(expression, at_ms)

    async def query_range(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, limits: Limits | None = None
    ) -> Frame:
        """As ``SignalStore.query_range``."""
        return Engine(self._samples, limits).range(expression, start_ms, end_ms, step_ms)

    async def close(self) -> None:
        """There is nothing to give up."""


def read_history(path: Path, told: Callable[[float], None] = lambda share: None) -> FileSignals:
    """The samples of a file; ``told`` of the share that is read.

    Raises ``NotFound``, ``TooLarge``, and ``Invalid`` with line and column for a line that is no sample.
    """
    columns = _Columns(str(path), _is_openmetrics(path))
    size, seen = path.stat().st_size or 1, 0
    with path.open("rb") as file:
        for number_, line in enumerate(file, 1):
            seen += len(line)
            columns.take(number_, line.rstrip(b"\r\n"))
            if number_ % TOLD_EVERY == 0:
                told(seen / size)
    return columns.signals()


class _Columns:
    """The samples of a file under way, series by series."""

    def __init__(self, filename: str, openmetrics: bool) -> None:
        self._filename, self._openmetrics = filename, openmetrics
        self._by_head: dict[bytes, _Column] = {}
        self._by_labels: dict[Labels, _Column] = {}
        self._count = 0
        self._ended_at = 0

    def take(self, line_number: int, line: bytes) -> None:
        """One line."""
        if not line.strip() or line.lstrip(b" \t").startswith(b"#"):
            self._ended_at = self._ended_at or (line_number if line.rstrip() == b"# EOF" else 0)
            return
        head, _, stamp = line.rpartition(b" ")
        head, _, value = head.rpartition(b" ")
        column = self._by_head.get(head)
        try:
            if self._ended_at:
                raise Faulty("eof", "there is more after # EOF")
            if column is None:
                self._anew(line)
            else:
                column[0].append(instant(stamp.decode("latin-1"), self._openmetrics))
                column[1].append(number(value))
        except Faulty as fault:
            raise self._refused(line_number, fault.column or 1, fault.what) from None
        self._count += 1
        if self._count > SAMPLES:
            raise TooLarge(
                "POISE-H180", f"more than {SAMPLES:,} samples", where=self._filename,
                mend="Cut it to what the objectives read, e.g.: grep '^http_requests_total' FILE",
            )  # fmt: skip

    def _anew(self, line: bytes) -> None:
        """A series text that was not met before."""
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise Faulty("text", "it is not UTF-8 text") from None
        read = read_line(text, self._openmetrics, _LIMITS)
        if read.at_ms is None:
            raise Faulty("timestamp", "the sample has no timestamp, so it is of no history", len(text) + 1)
        column = self._by_labels.setdefault(read.labels, (array("q"), array("d")))
        column[0].append(read.at_ms)
        column[1].append(read.value)
        self._by_head[text[: read.ends_at].encode()] = column

    def _refused(self, line_number: int, column: int, what: str) -> Invalid:
        return Invalid(
            "POISE-H181", what, where=f"{self._filename}:{line_number}:{column}",
            mend="Write NAME{LABEL=\"VALUE\"} NUMBER SECONDS, and '# EOF' at the end.",
        )  # fmt: skip

    def signals(self) -> FileSignals:
        """What was read."""
        if not self._by_labels:
            raise Invalid(
                "POISE-H182", "there is no sample", where=self._filename,
                mend="Write samples with timestamps, as promtool tsdb create-blocks-from openmetrics reads.",
            )  # fmt: skip
        samples, first, last = MemorySamples(), [], []
        for labels, (at, values) in self._by_labels.items():
            at_ms, place = np.unique(np.frombuffer(at, np.int64), return_index=True)
            samples.lay(labels, at_ms, np.frombuffer(values, np.float64)[place])
            first.append(int(at_ms[0]))
            last.append(int(at_ms[-1]))
        return FileSignals(samples, min(first), max(last))


def _is_openmetrics(path: Path) -> bool:
    """Whether it ends as OpenMetrics does; then its timestamps are seconds, else milliseconds."""
    try:
        size = path.stat().st_size
        if size > FILE_BYTES:
            raise TooLarge(
                "POISE-H180", f"the file has more than {FILE_BYTES:,} bytes", where=str(path),
                mend="Cut it to what the objectives read, e.g.: grep '^http_requests_total' FILE",
            )  # fmt: skip
        with path.open("rb") as file:
            file.seek(max(0, size - 256))
            return file.read().rstrip().endswith(b"# EOF")
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(
            "POISE-H183", f"no file {path}", mend="Name an OpenMetrics file with timestamps."
        ) from None
