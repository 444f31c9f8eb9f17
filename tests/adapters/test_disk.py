"""A release that was edited in place is named: which file, whose, when."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from poise.adapters.artifacts import FolderArtifacts
from poise.adapters.disk import DataDisk, note_written


class Packed:
    """One release in a data folder."""

    def __init__(self, data: Path) -> None:
        work = data / "work"
        (work / "lib").mkdir(parents=True)
        (work / "app.py").write_text("print(1)\n")
        (work / "lib" / "cart.py").write_text("total = 0\n")
        (work / "link").symlink_to("app.py")
        self.digest = FolderArtifacts(data / "releases").pack(work, ".")
        self.folder = FolderArtifacts(data / "releases").open(self.digest)
        self.at = datetime.now(UTC)
        self.disk = DataDisk(data)
        time.sleep(0.02)  # a file system's clock ticks in steps of up to 10 ms

    def look(self) -> list[tuple[str, str | None]]:
        return [(one.path, one.by) for one in self.disk.releases({self.digest: self.at})]


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    return Packed(tmp_path)


def edit(folder: Path) -> None:
    (folder / "lib" / "cart.py").write_text("total = 1\n")


def edit_and_hide(folder: Path) -> None:
    """Same size, and the time of modification set back."""
    path = folder / "lib" / "cart.py"
    before = path.stat()
    path.write_text("total = 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def add(folder: Path) -> None:
    (folder / "lib" / "new.py").write_text("")


def make_runnable(folder: Path) -> None:
    (folder / "app.py").chmod(0o755)


def take_away(folder: Path) -> None:
    (folder / "lib" / "cart.py").unlink()


def test_a_release_as_it_was_packed_is_no_drift(packed: Packed) -> None:
    assert packed.look() == []
    (packed.folder / "app.py").touch()  # another time, the same bytes
    assert packed.look() == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (edit, "lib/cart.py"),
        (edit_and_hide, "lib/cart.py"),
        (add, "lib/new.py"),
        (make_runnable, "app.py"),
        (take_away, "lib"),
    ],
)
def test_a_changed_release_is_named_with_its_owner(
    packed: Packed, change: Callable[[Path], None], path: str
) -> None:
    packed.look()
    change(packed.folder)
    assert packed.look() == [(path, getpass.getuser())]
    (found,) = packed.disk.releases({packed.digest: packed.at})
    assert found.at is not None
    assert abs(found.at - datetime.now(UTC)) < timedelta(minutes=5)


def test_what_is_put_back_is_no_drift_any_more(packed: Packed) -> None:
    edit(packed.folder)
    assert packed.look()
    (packed.folder / "lib" / "cart.py").write_text("total = 0\n")
    assert packed.look() == []


def test_a_release_that_is_gone_is_found(packed: Packed) -> None:
    packed.folder.rename(packed.folder.with_suffix(".away"))
    assert packed.look() == [("", None)]


def test_a_file_of_the_proxy_that_was_edited_is_found(tmp_path: Path) -> None:
    """A crash between noting and writing leaves the file before: no drift either."""
    envoy, disk = tmp_path / "envoy", DataDisk(tmp_path)
    envoy.mkdir()
    note_written(envoy, "rds.json", b"one")
    (envoy / "rds.json").write_bytes(b"one")
    note_written(envoy, "rds.json", b"two")
    assert disk.traffic() == []
    (envoy / "rds.json").write_bytes(b"mine")
    (found,) = disk.traffic()
    assert (found.subject, found.by) == ("envoy/rds.json", getpass.getuser())
