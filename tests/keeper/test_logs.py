"""Logs go straight to a file, and the file stays under its limit without losing a line but the oldest."""

from __future__ import annotations

import os
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from poise.keeper import limits
from poise.keeper import logs as keeper_logs
from poise.keeper.logs import Logs, rotate

NOISY = "import os\nwhile True: os.write(1, b'a line that nobody reads' * 40 + b'\\n')\n"
COUNTS = "import os\nn = 0\nwhile True: os.write(1, b'%012d\\n' % n * 1); n += 1\n"
BEATS = "import itertools, time\nfor n in itertools.count(): print(n, flush=True); time.sleep(0.01)\n"
LINE = 13  # bytes of a line of COUNTS


def disk_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512


def kept(path: Path) -> bytes:
    """What is there, without the hole at the front."""
    file = os.open(path, os.O_RDONLY)
    try:
        begin = os.lseek(file, 0, os.SEEK_DATA)
        return os.pread(file, os.fstat(file).st_size - begin, begin)
    finally:
        os.close(file)


def records(path: Path) -> list[tuple[int, int]]:
    raw = Path(f"{path}.index").read_bytes()
    return list(struct.iter_unpack("<QQ", raw[: len(raw) // 16 * 16]))


def test_a_noisy_app_runs_on_while_nobody_reads_and_no_keeper_lives(house: Any) -> None:
    """A pipe would fill up, block the app and kill it with the reader."""
    house.spawn("a", BEATS)
    house.until(lambda: house.log("a").count("\n") > 3)
    house.kill()
    lines = house.log("a").count("\n")
    house.until(lambda: house.log("a").count("\n") > lines + 5)
    house.start()
    assert house.process("a")["restarts"] == 0


def test_a_noisy_app_cannot_fill_the_disk(house: Any) -> None:
    """Its oldest blocks are freed under it, so that the app needs no signal and no reader."""
    house.spawn("a", NOISY, log_limit_bytes=1_000_000, rlimits={"cpu": 60})
    log = house.data / "logs" / "a.log"
    house.until(lambda: log.exists() and log.stat().st_size > 200_000_000, within_s=60)
    house.call("stop", key="a", timeout_s=0)
    house.until(lambda: house.process("a")["state"] == "absent")
    assert disk_bytes(log) <= 1_000_000 + 2 * limits.LOG_BLOCK_BYTES, "trimmed at its end too"
    assert len(kept(log)) >= 1_000_000 * 7 // 8
    assert not Path(f"{log}.1").exists(), "nothing was copied"


def test_no_line_is_lost_but_the_oldest_while_keepers_are_killed(house: Any) -> None:
    """kill -9 at any instant, again and again, under an app that never stops writing."""
    house.spawn("a", COUNTS, log_limit_bytes=300_000, rlimits={"cpu": 60})
    log = house.data / "logs" / "a.log"
    for _ in range(6):
        size = log.stat().st_size if log.exists() else 0
        house.until(lambda size=size: log.exists() and log.stat().st_size > size + 400_000)
        house.kill()
        house.start()
    house.call("stop", key="a", timeout_s=0)
    house.until(lambda: house.process("a")["state"] == "absent")
    lines = kept(log).split(b"\n")[1:-1]  # the first may be cut
    first, last = int(lines[0]), int(lines[-1])
    assert [int(line) for line in lines] == list(range(first, last + 1))
    assert (last + 1) * LINE == log.stat().st_size, "the last line is the last that was written"
    assert disk_bytes(log) <= 300_000 + 2 * limits.LOG_BLOCK_BYTES


def test_the_index_tells_when_a_byte_was_written(house: Any) -> None:
    """Raw output has no times: the instants of its starts, ends and looks bound those of its lines."""
    began = int(time.time() * 1000)
    house.spawn("a", "import time\nprint('one', flush=True)\ntime.sleep(1.2)\nprint('two')", restart="never")
    house.ended("a")
    found = records(house.data / "logs" / "a.log")
    assert found[0][1] == 0, "the start, before anything was said"
    assert found[-1][1] == len("one\ntwo\n")
    one = next(at for at, size in found if size >= 4)
    two = next(at for at, size in found if size >= 8)
    assert began <= found[0][0] <= one
    assert two - one >= 600, "they were written 1.2 s apart, and a look is at most 0.5 s late"


def test_a_torn_record_is_cut_off(tmp_path: Path) -> None:
    """A machine that lost power in the middle of one must not shift all that follow."""
    path = tmp_path / "log"
    path.write_bytes(b"some")
    Path(f"{path}.index").write_bytes(struct.pack("<QQ", 1, 2) + b"torn")
    Logs().mark(str(path))
    assert [size for _, size in records(path)] == [2, 4]


def test_a_log_without_an_index_is_trimmed_all_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A full disk takes no record; times are wider then, but the log still makes room. It is told once."""
    path, logs = tmp_path / "log", Logs()
    Path(f"{path}.index").mkdir()
    for turn in range(1, 4):
        path.write_bytes(b"x" * 50_000 * turn)
        logs.look(str(path), 20_000)
        logs.mark(str(path))
    assert disk_bytes(path) <= 20_000 + 2 * limits.LOG_BLOCK_BYTES
    assert capfd.readouterr().err.count("\n") == 1


def test_an_index_that_grows_is_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a limit like all else; the newest record and the start of what is kept stay."""
    monkeypatch.setattr(limits, "LOG_INDEX_BYTES", 160)
    monkeypatch.setattr(limits, "LOG_CHECK_S", 0.0)
    path, logs = tmp_path / "log", Logs()
    with path.open("ab", buffering=0) as file:
        for _ in range(200):
            file.write(b"x" * 100)
            logs.look(str(path), 1 << 30)
    found = records(path)
    assert len(found) <= 12
    assert found[-1][1] == 20_000
    assert found == sorted(found)


def test_an_apparent_size_beyond_all_file_systems_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offsets only grow, and ext4 ends at 16 TiB: the hole is taken out while the app writes on."""
    monkeypatch.setattr(limits, "LOG_APPARENT_BYTES", 40_960)
    path, logs, done = tmp_path / "log", Logs(), threading.Event()
    writer = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    written = []

    def write() -> None:
        for n in range(20_000):
            written.append(os.write(writer, b"%012d\n" % n))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        logs.look(str(path), 65_536)
    thread.join()
    logs.look(str(path), 65_536)
    os.close(writer)
    assert path.stat().st_size < sum(written)
    lines = kept(path).split(b"\n")[1:-1]
    assert [int(line) for line in lines] == list(range(int(lines[0]), 20_000))


def test_an_app_that_empties_its_own_log_starts_afresh(tmp_path: Path) -> None:
    """A shell's `> /dev/stderr` does so; what is written after it is looked after as before."""
    path, logs = tmp_path / "log", Logs()
    path.write_bytes(b"x" * 100_000)
    logs.look(str(path), 50_000)
    path.write_bytes(b"y" * 10)
    logs.look(str(path), 50_000)
    assert path.read_bytes() == b"y" * 10


def test_where_no_hole_can_be_punched_the_newest_part_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system without holes still has an end."""

    def cannot(file: int, end: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(keeper_logs, "_punch", cannot)
    path = tmp_path / "log"
    path.write_bytes(b"old" * 10_000 + b"newest")
    Logs().look(str(path), 8_000)
    assert (tmp_path / "log.1").read_bytes().endswith(b"newest")
    assert path.stat().st_size == 0


def test_the_newest_part_is_copied_and_writing_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """What was written last explains the crash."""
    path = tmp_path / "log"
    writer = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(writer, b"old" * 100 + b"newest")
    assert rotate(str(path), 100)
    assert (tmp_path / "log.1").read_bytes().endswith(b"newest")
    assert (tmp_path / "log.1").stat().st_size == 100
    os.write(writer, b"after")
    os.close(writer)
    assert path.read_bytes() == b"after"
    assert not rotate(str(tmp_path / "no such"), 100)
