"""Logs go straight to a file, and the file stays under its limit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from poise.keeper.logs import rotate

NOISY = "import os\nwhile True: os.write(1, b'a line that nobody reads' * 40 + b'\\n')\n"
BEATS = "import itertools, time\nfor n in itertools.count(): print(n, flush=True); time.sleep(0.01)\n"


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
    """Its log is rotated by copy and truncate, so that the app needs no signal."""
    house.spawn("a", NOISY, log_limit_bytes=100_000, rlimits={"cpu": 60})
    log = house.data / "logs" / "a.log"
    house.until(lambda: Path(f"{log}.3").exists())
    house.call("stop", key="a", timeout_s=0)
    house.until(lambda: house.process("a")["state"] == "absent")
    old = [Path(f"{log}.{n}") for n in (1, 2, 3)]
    assert all(path.stat().st_size <= 100_000 for path in old)
    assert not Path(f"{log}.4").exists()


def test_the_newest_part_is_kept_and_writing_goes_on_in_the_same_file(tmp_path: Path) -> None:
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
    assert not rotate(str(path), 100)
