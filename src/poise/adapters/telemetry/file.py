"""What is written: spans and log records appended, the old forgotten, the whole copied.

One connection writes, under a lock; each read has a connection of its own. A commit is synced to DuckDB's log
before it returns, so what ``append_*`` returned for outlives a kill of this process at any instant.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from poise.adapters.telemetry import limits
from poise.adapters.telemetry.faults import DiskFull, Lost, opened
from poise.adapters.telemetry.limits import Retention
from poise.adapters.telemetry.reading import Reader
from poise.adapters.telemetry.rows import SCHEMA, Columns, record_columns, span_columns
from poise.adapters.telemetry.templates import Row, Templates
from poise.adapters.telemetry.wire import State
from poise.model.telemetry import SECOND_NS, Appended, LogRecord, Span

DAY_NS = 86_400 * SECOND_NS
OLDEST_SHARE = 0.1  # of the rows go at once when there are too many
_NEW_SPANS = """
INSERT INTO span SELECT batch.* FROM batch ANTI JOIN
  (SELECT trace_hi, trace_lo, span_id FROM span WHERE start_ns BETWEEN ? AND ?) AS kept
  USING (trace_hi, trace_lo, span_id)
"""
_NEW_RECORDS = """
INSERT INTO record SELECT n, at_ns, service, environment, severity, body, template, trace_hi,
  trace_lo, span_id, scope, resource, attributes FROM batch
"""


class TelemetryFile:
    """The open file. Threads may share it. Raises ``Unreachable`` when it cannot be opened."""

    def __init__(
        self, path: Path, retention: Retention | None = None, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.path = path
        self.retention = retention or Retention()
        self._now_ns = now_ns
        self._writing = threading.Lock()
        self._writer = opened(path)
        self._writer.execute(SCHEMA)
        self._next = self._one("SELECT coalesce(max(n), 0) + 1 FROM record")
        self._templates = self._read_templates()
        self._untended = 0

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """A connection of its own, with the templates there are now."""
        with closing(self._writer.cursor()) as connection:
            yield Reader(connection, self._templates)

    def append_spans(self, spans: Sequence[Span]) -> Appended:
        """Keep those that are not there yet. Raises ``Unreachable`` when nothing of it is kept."""
        mine = list({(one.trace_id, one.span_id): one for one in reversed(spans)}.values())
        if not mine:
            return Appended(kept=0, known=0)
        columns = span_columns(mine)
        start = columns["start_ns"]
        with self._transaction() as writer:
            kept = self._insert(writer, _NEW_SPANS, columns, [int(start.min()), int(start.max())])
        self._untended += kept
        return Appended(kept=kept, known=len(spans) - kept)

    def append_records(self, records: Sequence[LogRecord]) -> Appended:
        """Keep them all, or raise ``Unreachable``."""
        if not records:
            return Appended(kept=0)
        return self.append_columns(record_columns(records))

    def append_columns(self, columns: Columns) -> Appended:
        """Log records as ``rows.record_columns`` makes them."""
        count = len(columns["at_ns"])
        made: list[Row] = []
        with self._transaction(made) as writer:
            template, made[:] = self._templates.numbers(columns["body"].tolist())
            if made:
                writer.executemany("INSERT INTO template VALUES (?, ?, ?)", made)
            numbers = np.arange(self._next, self._next + count, dtype=np.int64)
            self._next += count  # whether or not it is kept: numbers only have to ascend
            self._insert(writer, _NEW_RECORDS, {**columns, "n": numbers, "template": template}, [])
        self._untended += count
        return Appended(kept=count)

    @staticmethod
    def _insert(writer: duckdb.DuckDBPyConnection, text: str, columns: Columns, arguments: list[Any]) -> int:
        writer.register("batch", columns)
        try:
            row = writer.execute(text, arguments).fetchone()
        finally:
            writer.unregister("batch")
        return int(row[0]) if row else 0

    @contextmanager
    def _transaction(self, made: Sequence[Row] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
        """Committed on leaving; nothing of it is there when it raises, the templates it made neither."""
        if shutil.disk_usage(self.path.parent).free < limits.FREE_BYTES_MIN:
            raise DiskFull(f"Less than {limits.FREE_BYTES_MIN >> 20} MiB are free.")
        with self._writing:
            try:
                self._writer.begin()
                yield self._writer
                self._writer.commit()
            except BaseException as error:
                self._templates.take_back(made)
                self._roll_back()
                first = (str(error).splitlines() or [""])[0][:200]
                if isinstance(error, duckdb.FatalException | duckdb.InternalException):
                    raise Lost(f"{first}.") from None
                if isinstance(error, duckdb.IOException | duckdb.TransactionException | OSError):
                    raise DiskFull(f"{first}.") from None
                raise

    def _roll_back(self) -> None:
        try:
            self._writer.rollback()
        except duckdb.Error:
            return  # it was rolled back by itself, or the whole connection is lost, as the next use tells

    # -- what is too old or too much ----------------------------------------------------------------

    @property
    def wants_tending(self) -> bool:
        """Whether many rows came since the last time."""
        return self._untended >= limits.TEND_ROWS

    def tend(self) -> int:
        """Forget what is past the retention; how many rows went."""
        self._untended = 0
        gone = self._forget(self._now_ns() - int(self.retention.days * DAY_NS))
        for _ in range(int(2 / OLDEST_SHARE)):
            if self.used_bytes() <= self.retention.bytes:
                break
            gone += self._forget(self._cutoff())
        if gone:
            self._forget_templates()
        return gone

    def used_bytes(self) -> int:
        """What holds something in the file, and the log."""
        with self._writing:
            row = self._writer.execute(
                "SELECT block_size * used_blocks FROM pragma_database_size()"
            ).fetchone()
        return int(row[0] if row else 0) + _size(self.path.with_name(self.path.name + limits.WAL))

    def _forget(self, before_ns: int) -> int:
        with self._writing:
            gone = 0
            for text in (
                "DELETE FROM span WHERE start_ns < ?",
                "DELETE FROM record WHERE at_ns < ?",
            ):
                row = self._writer.execute(text, [before_ns]).fetchone()
                gone += int(row[0]) if row else 0
            if gone:
                self._writer.execute("CHECKPOINT")
        return gone

    def _cutoff(self) -> int:
        """The instant before which the oldest share of all rows lies."""
        with self._writing:
            row = self._writer.execute(
                "SELECT quantile_disc(at_ns, ?) FROM "
                "(SELECT start_ns AS at_ns FROM span UNION ALL SELECT at_ns FROM record)",
                [OLDEST_SHARE],
            ).fetchone()
        return int(row[0]) + 1 if row and row[0] is not None else 0

    def _forget_templates(self) -> None:
        """Those that no record has any more; their numbers are not used again while newer ones stand."""
        if len(self._templates) < self.retention.templates // 2:
            return
        with self._writing:
            self._writer.execute("DELETE FROM template WHERE n NOT IN (SELECT template FROM record)")
            self._templates = self._read_templates()

    def _read_templates(self) -> Templates:
        rows = self._writer.execute("SELECT n, id, template FROM template").fetchall()
        return Templates(rows, self.retention.templates)

    # -- the whole ----------------------------------------------------------------------------------

    def state(self) -> State:
        """How much there is."""
        with self._writing:
            spans, first_span = self._row("SELECT count(*), min(start_ns) FROM span")
            records, first_record = self._row("SELECT count(*), min(at_ns) FROM record")
        oldest = min((one for one in (first_span, first_record) if one is not None), default=0)
        return State(
            spans=spans,
            records=records,
            templates=len(self._templates),
            oldest_ns=oldest,
            used_bytes=self.used_bytes(),
            file_bytes=_size(self.path),
        )

    def checkpoint(self) -> None:
        """Write the log into the file."""
        with self._writing:
            self._writer.execute("CHECKPOINT")

    def copy_to(self, target: Path) -> None:
        """A copy that opens as this file does now; appends wait meanwhile. Raises ``OSError``."""
        wal = self.path.with_name(self.path.name + limits.WAL)
        self.checkpoint()
        with self._writing:
            shutil.copyfile(self.path, target)
            if wal.exists():
                shutil.copyfile(wal, target.with_name(target.name + limits.WAL))

    def close(self) -> None:
        """Write the log into the file and let go of it."""
        with self._writing:
            self._writer.close()

    def _one(self, text: str) -> int:
        return int(self._row(text)[0])

    def _row(self, text: str) -> tuple[Any, ...]:
        row = self._writer.execute(text).fetchone()
        assert row is not None, "an aggregate has a row"
        return row


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
