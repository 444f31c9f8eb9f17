"""What each replica uses of CPU and memory, from /proc, by its exact process: pid and start time.

The process and its descendants count together, as a server with worker processes is one replica.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from poise.model.fleet import Identity, Replica
from poise.model.signal import REPLICA_CPU_TOTAL, REPLICA_MEMORY, Sample, Series
from poise.ports.clock import Clock
from poise.ports.store import Store

PERIOD_S: Final = 5.0
PROCESSES_MAX: Final = 64  # of one replica
_TICK_S: Final = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class UsageSampler:
    """Samples of every replica that runs, measured at most every ``period_s`` and repeated in between.

    Repeated, they keep the set of series of one reading like that of the next, which is what the store of
    signals packs best.
    """

    def __init__(self, store: Store, clock: Clock, period_s: float = PERIOD_S) -> None:
        self._store, self._clock, self._period_s = store, clock, period_s
        self._measured_at: float | None = None
        self._samples: tuple[Sample, ...] = ()

    async def samples(self) -> Sequence[Sample]:
        """CPU seconds and resident bytes by service, rollout and index."""
        now = self._clock.now().timestamp()
        if self._measured_at is None or not 0 <= now - self._measured_at < self._period_s:
            replicas, _ = await self._store.scan(Replica)
            self._samples = tuple(sample for replica in replicas for sample in _of(replica))
            self._measured_at = now
        return self._samples


def _of(replica: Replica) -> Iterator[Sample]:
    used = usage(replica.identity) if replica.identity else None
    if used is not None:
        labels = (
            ("index", str(replica.index)), ("rollout", str(replica.rollout)), ("service", replica.service)
        )  # fmt: skip
        yield Sample(Series(REPLICA_CPU_TOTAL, labels), used[0])
        yield Sample(Series(REPLICA_MEMORY, labels), used[1])


def usage(identity: Identity) -> tuple[float, float] | None:
    """CPU seconds and resident bytes of exactly this process and its descendants; None when it is gone.

    A child that has ended counts once its parent has waited for it. Pages that processes share are counted
    in each of them, since telling them apart (PSS) costs a walk over every mapping.
    """
    found = _stat(identity.pid)
    if found is None or found[1] != identity.start_ticks:
        return None
    cpu_s, memory = 0.0, 0.0
    for pid in _tree(identity.pid):
        each = _stat(pid)
        if each is not None:
            cpu_s, memory = cpu_s + each[0] * _TICK_S, memory + each[2] * _PAGE_BYTES
    return cpu_s, memory


def _tree(pid: int) -> list[int]:
    """The process and its descendants, at most ``PROCESSES_MAX``; a child of a thread is its process' own."""
    found = [pid]
    for one in found:
        for listed in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in _read(listed).split()]
        if len(found) >= PROCESSES_MAX:
            break
    return found[:PROCESSES_MAX]


def _stat(pid: int) -> tuple[int, int, int] | None:
    """CPU ticks (own and waited-for children's), start tick, resident pages.

    Source: proc(5), /proc/pid/stat: fields 14 to 17, 22 and 24; the name in brackets may hold anything.
    """
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    if len(fields) < 22:
        return None
    return sum(int(field) for field in fields[11:15]), int(fields[19]), int(fields[21])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
