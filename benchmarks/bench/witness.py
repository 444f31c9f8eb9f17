"""What must never happen while the control process dies: watched from outside, all the time."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.house import House

LOOK_S = 0.1
ASK_S = 0.4
NAMES = (b"POISE_BENCH", b"POISE_SERVICE", b"POISE_ROLLOUT", b"POISE_REPLICA")
"""Of a replica's environment; the first is set by the app's own spec and tells two houses apart."""


class Witness:
    """Sees every spawn that the keeper records, every replica in /proc, and gathers acknowledged writes.

    ``doubled``: replica keys seen twice at once, or spawned again without a stop between.
    ``acknowledged``: names of projects whose creation was answered with success.
    """

    def __init__(self, house: House, mark: str, ask_s: float = ASK_S) -> None:
        self._house, self._mark, self._ask_s = house, mark, ask_s
        self._over = threading.Event()
        self.doubled: set[str] = set()
        self.acknowledged: list[str] = []
        self.refused = 0
        self.looks = 0
        self.spawned: Counter[str] = Counter()
        self._alive: set[str] = set()
        self._seq = 0

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._repeat, args=(deed, pause_s), daemon=True)
            for deed, pause_s in ((self._look, LOOK_S), (self._follow, LOOK_S), (self._ask, self._ask_s))
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)

    def _repeat(self, deed: object, pause_s: float) -> None:
        assert callable(deed)
        while not self._over.wait(pause_s):
            with suppress(OSError, ValueError, KeyError):
                deed()

    def _look(self) -> None:
        """Two apps with one replica's name, twice in a row with the same pids, are one too many."""
        first = twins(self._mark)
        if first:
            time.sleep(0.02)  # a fork that has not become its command yet looks like its parent
            again = twins(self._mark)
            self.doubled |= {key for key, pids in first.items() if again.get(key) == pids}
        self.looks += 1

    def _follow(self) -> None:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(2.0)
            asked.connect(str(self._house.data / "run" / "keeper.sock"))
            asked.sendall(json.dumps({"id": 1, "op": "watch", "after": self._seq}).encode() + b"\n")
            for line in asked.makefile("rb"):
                record = json.loads(line).get("event")
                if record is not None:
                    self._told(record)
                if self._over.is_set():
                    return

    def _told(self, record: dict[str, object]) -> None:
        self._seq = max(self._seq, int(str(record.get("seq", 0))))
        key, kind = str(record.get("key", "")), record.get("kind")
        if "/production/" not in key:
            return
        if kind == "spawned":
            self.spawned[key] += 1
            if key in self._alive:
                self.doubled.add(key)
            self._alive.add(key)
        elif kind == "stopped":
            self._alive.discard(key)

    def _ask(self) -> None:
        name = f"p{uuid.uuid4().hex[:12]}"
        self.refused += 1
        self._house.api("/api/v1/projects", {"name": name}, {"idempotency-key": name})
        self.refused -= 1
        self.acknowledged.append(name)


def twins(mark: str) -> dict[str, frozenset[int]]:
    """Replicas that more than one app process claims to be, with those pids."""
    found: dict[str, set[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError, ValueError, KeyError, IndexError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if not command[0].endswith(b"python3") or not command[1].endswith(b".py"):
                continue
            raw = (entry / "environ").read_bytes().split(b"\0")
            names = {item.partition(b"=")[0]: item.partition(b"=")[2].decode() for item in raw}
            where = "/".join(names[name] for name in NAMES)
            found.setdefault(where, set()).add(int(entry.name))
        # a process that ended meanwhile is no twin
    return {
        key: frozenset(pids) for key, pids in found.items() if len(pids) > 1 and key.startswith(f"{mark}/")
    }
