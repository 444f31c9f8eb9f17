"""Where secrets of workloads are kept: on tmpfs, for the owner only, and said so where that cannot be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from poise.keeper.folders import Folders


def mode(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no tmpfs here")
def test_a_specification_is_on_tmpfs_and_nobody_elses(tmp_path: Path) -> None:
    """A disk image or a backup of the data folder holds no secret of a workload."""
    folders = Folders(str(tmp_path))
    folders.save_spec("1", {"env": {"TOKEN": "s3cr3t"}})
    try:
        assert folders.specs.startswith("/dev/shm/")
        assert (mode(folders.specs), mode(f"{folders.specs}/1.json")) == (0o700, 0o600)
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
    finally:
        folders.drop_spec("1")
        folders.leave()
    assert not Path(folders.specs).exists()


def test_without_a_tmpfs_the_folder_is_ours_alone_and_the_log_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Somebody else's folder under our name is not trusted; what is left is the disk, and that is told."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    about = run.stat()
    taken = Path(f"/dev/shm/poise-{os.getuid()}-{about.st_dev:x}-{about.st_ino:x}")
    if taken.parent.is_dir():
        taken.mkdir(mode=0o700)
        taken.chmod(0o755)
    try:
        folders = Folders(str(tmp_path))
    finally:
        if taken.exists():
            taken.rmdir()
    folders.save_spec("1", {"env": {"TOKEN": "s3cr3t"}})
    assert folders.specs == f"{run}/specs"
    assert (mode(folders.specs), mode(f"{folders.specs}/1.json")) == (0o700, 0o600)
    assert f"kept on disk, in {run}/specs" in "".join(capfd.readouterr())
