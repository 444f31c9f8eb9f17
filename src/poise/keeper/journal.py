"""Numbered, fsynced records: what survives kill -9 of the keeper, and what `watch` replays."""

from __future__ import annotations

import json
import os
import time

from . import limits
from .loop import say

EVENTS = ("spawned", "exited", "restarted", "connected", "stopped")
"""The kinds of record that `watch` gives out."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Record = dict[str, object]


class Journal:
    """An append-only file of JSON lines. `append` buffers, `sync` makes durable: one fsync per round."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seq = 0
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._good_bytes = 0
        self._unsynced: list[tuple[Record, bytes]] = []
        self.failing: str | None = None
        """Why the last sync failed (a full disk), None when all is durable."""

    def replay(self) -> Iterator[Record]:
        """Yield every whole record, and cut off a torn last line (a crash while writing)."""
        with open(self.path, "rb") as file:
            for line in file:
                record = _whole(line)
                if record is None:
                    say(f"journal: cut at byte {self._good_bytes}: a torn line")
                    break
                self._good_bytes += len(line)
                self.seq = int(str(record["seq"]))
                yield record
        os.ftruncate(self._file, self._good_bytes)

    def append(self, kind: str, fields: Record) -> Record:
        """Number a record and queue it for the next `sync`."""
        self.seq += 1
        record: Record = {"seq": self.seq, "at": time.time(), "kind": kind, **fields}
        if len(self._unsynced) < limits.UNSYNCED_RECORDS:
            self._unsynced.append((record, json.dumps(record).encode() + b"\n"))
        return record

    def sync(self) -> list[Record]:
        """Write and fsync what is queued; return the records now durable (none while the disk is full)."""
        if not self._unsynced:
            return []
        data = b"".join(line for _, line in self._unsynced)
        try:
            written = os.write(self._file, data)
            if written != len(data):
                raise OSError(28, "no space left on device")
            os.fdatasync(self._file)
        except OSError as error:
            if self.failing is None:
                say(f"journal: not durable: {error}")
            self.failing = str(error)
            os.ftruncate(self._file, self._good_bytes)
            return []
        self.failing = None
        self._good_bytes += len(data)
        done = [record for record, _ in self._unsynced]
        self._unsynced.clear()
        return done

    def too_big(self) -> bool:
        """Tell whether `compact` is due."""
        return self._good_bytes > limits.JOURNAL_BYTES and not self._unsynced

    def compact(self, snapshot: Callable[[], Record]) -> None:
        """Replace the file by a snapshot of the state and the newest events, in one rename."""
        events = list(self.events(0))[-limits.JOURNAL_EVENTS_KEPT :]
        first = int(str(events[0]["seq"])) - 1 if events else self.seq
        head: Record = {"seq": max(0, first), "at": time.time(), "kind": "snapshot", "state": snapshot()}
        # Events are kept as history only: `old` tells the replay that the snapshot already has them.
        lines = [head, *({**record, "old": True} for record in events)]
        lines.append({"seq": self.seq, "at": time.time(), "kind": "compacted"})
        beside = self.path + ".new"
        file = os.open(beside, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        try:
            with open(file, "wb", closefd=False) as out:
                out.write(data)
            os.fsync(file)
            os.rename(beside, self.path)
        except OSError as error:
            say(f"journal: not compacted: {error}")
            os.close(file)
            return
        os.close(self._file)
        self._file, self._good_bytes = file, len(data)

    def events(self, after: int) -> Iterator[Record]:
        """Yield the durable event records numbered above `after`, ascending."""
        with open(self.path, "rb") as file:
            for line in file:
                record = _whole(line)
                if record and record["kind"] in EVENTS and int(str(record["seq"])) > after:
                    record.pop("old", None)
                    yield record


def _whole(line: bytes) -> Record | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "seq" in record and "kind" in record else None
