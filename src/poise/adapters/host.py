"""What this machine does, from /proc, under node_exporter's names and with its labels.

File systems over a network are left out: asking one that hangs would hang.

Source: github.com/prometheus/node_exporter; man 5 proc.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import anyio.to_thread
import structlog

from poise.engine.recorder import PERIOD_S, Recorder
from poise.model.errors import PoiseError
from poise.model.signal import Batch, Sample, Series
from poise.ports.clock import Clock
from poise.ports.signals import SignalStore

log = structlog.get_logger()

TARGET: Final = "poise/host"
DISK_FILESYSTEMS: Final = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "vfat")
)
MOUNTS_MAX: Final = 100
_TICK_S: Final = 1.0 / os.sysconf("SC_CLK_TCK")
_MODES: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_COUNTS: Final = {"ctxt": "context_switches", "processes": "forks", "intr": "intr"}
_SECTOR_BYTES: Final = 512
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_DISK: Final = (
    ("reads_completed_total", 1.0), ("reads_merged_total", 1.0), ("read_bytes_total", _SECTOR_BYTES),
    ("read_time_seconds_total", 1e-3), ("writes_completed_total", 1.0), ("writes_merged_total", 1.0),
    ("written_bytes_total", _SECTOR_BYTES), ("write_time_seconds_total", 1e-3), ("io_now", 1.0),
    ("io_time_seconds_total", 1e-3), ("io_time_weighted_seconds_total", 1e-3),
)  # fmt: skip
_NETWORK: Final = ("bytes", "packets", "errs", "drop")
Row = tuple[str, tuple[tuple[str, str], ...], float]


class HostMetrics:
    """Records the machine on the beat of the traffic's metrics."""

    def __init__(
        self, metrics: SignalStore, clock: Clock, root: Path = Path("/proc"), period_s: float = PERIOD_S
    ) -> None:
        self._recorder = Recorder(metrics, clock, target=TARGET)
        self._clock, self._root, self._period_s = clock, root, period_s

    async def run(self) -> None:
        """Record until cancelled."""
        while True:
            try:
                await self.record()
            except (PoiseError, OSError) as error:
                log.warning("the machine could not be measured", error=str(error))
            await self._clock.sleep(self._period_s)

    async def record(self) -> None:
        """One beat."""
        at = self._clock.now()
        rows = await anyio.to_thread.run_sync(lambda: list(measured(self._root, at.timestamp())))
        job = (("instance", os.uname().nodename), ("job", "node"))
        samples = tuple(
            Sample(Series(name, tuple(sorted((*labels, *job)))), value) for name, labels, value in rows
        )
        self._recorder.took(Batch(at=at, epoch="host", samples=samples))
        await self._recorder.record()


def measured(root: Path, now: float) -> Iterator[Row]:
    """(name, labels, value); what the kernel does not tell is left out."""
    yield from _cpu(_text(root / "stat"))
    yield from _memory(_text(root / "meminfo"))
    yield from _load(_text(root / "loadavg"))
    yield from _disks(_text(root / "diskstats"))
    yield from _network(_text(root / "self" / "net" / "dev") or _text(root / "net" / "dev"))
    yield from _filesystems(_text(root / "self" / "mounts"))
    allocated = _text(root / "sys" / "fs" / "file-nr").split()
    if len(allocated) == 3:
        yield "node_filefd_allocated", (), float(allocated[0])
        yield "node_filefd_maximum", (), float(allocated[2])
    yield "node_time_seconds", (), now
    name = os.uname()
    yield (
        "node_uname_info",
        (("machine", name.machine), ("nodename", name.nodename), ("release", name.release)),
        1.0,
    )


def _cpu(text: str) -> Iterator[Row]:
    for line in text.splitlines():
        key, *fields = line.split()
        if key.startswith("cpu") and key != "cpu":
            for mode, ticks in zip(_MODES, fields, strict=False):
                yield "node_cpu_seconds_total", (("cpu", key[3:]), ("mode", mode)), int(ticks) * _TICK_S
        elif key in _COUNTS:
            yield f"node_{_COUNTS[key]}_total", (), float(fields[0])
        elif key == "btime":
            yield "node_boot_time_seconds", (), float(fields[0])
        elif key in ("procs_running", "procs_blocked"):
            yield f"node_{key}", (), float(fields[0])


def _memory(text: str) -> Iterator[Row]:
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        fields = rest.split()
        name = "node_memory_" + key.replace("(", "_").replace(")", "")
        if fields[1:] == ["kB"]:
            yield f"{name}_bytes", (), float(fields[0]) * 1024
        elif fields:
            yield name, (), float(fields[0])


def _load(text: str) -> Iterator[Row]:
    for name, value in zip(("node_load1", "node_load5", "node_load15"), text.split(), strict=False):
        yield name, (), float(value)


def _disks(text: str) -> Iterator[Row]:
    for line in text.splitlines():
        _, _, device, *fields = line.split()
        if device.startswith(("loop", "ram", "zram", "fd")):
            continue
        for (name, factor), value in zip(_DISK, fields, strict=False):
            yield f"node_disk_{name}", (("device", device),), int(value) * factor


def _network(text: str) -> Iterator[Row]:
    for line in text.splitlines()[2:]:
        device, _, rest = line.partition(":")
        fields = rest.split()
        if len(fields) < 16:
            continue
        for way, offset in (("receive", 0), ("transmit", 8)):
            for place, what in enumerate(_NETWORK):
                labels = (("device", device.strip()),)
                yield f"node_network_{way}_{what}_total", labels, float(fields[offset + place])


def _filesystems(text: str) -> Iterator[Row]:
    seen: set[tuple[str, str]] = set()
    for device, mountpoint, kind, flags in _mounts(text.splitlines()):
        if kind not in DISK_FILESYSTEMS or (device, mountpoint) in seen or len(seen) >= MOUNTS_MAX:
            continue
        seen.add((device, mountpoint))
        labels = (("device", device), ("fstype", kind), ("mountpoint", mountpoint))
        try:
            found = os.statvfs(mountpoint)
        except OSError:
            yield "node_filesystem_device_error", labels, 1.0
            continue
        yield "node_filesystem_device_error", labels, 0.0
        yield "node_filesystem_size_bytes", labels, float(found.f_blocks * found.f_frsize)
        yield "node_filesystem_free_bytes", labels, float(found.f_bfree * found.f_frsize)
        yield "node_filesystem_avail_bytes", labels, float(found.f_bavail * found.f_frsize)
        yield "node_filesystem_files", labels, float(found.f_files)
        yield "node_filesystem_files_free", labels, float(found.f_ffree)
        yield "node_filesystem_readonly", labels, float("ro" in flags)


def _mounts(lines: Iterable[str]) -> Iterator[tuple[str, str, str, list[str]]]:
    for line in lines:
        fields = line.split()
        if len(fields) >= 4:
            mountpoint = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[1])  # a space is \040
            yield fields[0], mountpoint, fields[2], fields[3].split(",")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
