"""A backup and the doctor reach the file whether or not its owner runs."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from poise.adapters.backup import back_up, put_back
from poise.adapters.sqlite.store import SqliteStore
from poise.adapters.telemetry import TelemetryOwner, visit
from poise.adapters.telemetry.limits import FILE, SOCKET, Retention, retention_from
from poise.adapters.telemetry.wire import State
from poise.cli import doctor
from poise.model.errors import Invalid
from poise.model.telemetry import SECOND_NS, LogRecord

NOW = 1_800_000_000 * SECOND_NS


def with_owner(data: Path, *, running: bool, work: Callable[[], None]) -> None:
    """A record in the file; then ``work``, in another thread where the owner runs."""

    async def held() -> None:
        owner = TelemetryOwner(data)
        await owner.append_records([LogRecord(at_ns=NOW, body="kept")])
        if running:
            await asyncio.to_thread(work)
        await owner.close()

    asyncio.run(held())
    if not running:
        work()


@pytest.mark.parametrize("running", [True, False])
def test_a_backup_holds_the_file(tmp_path: Path, running: bool) -> None:
    """What is restored has what was acknowledged when the backup was taken."""
    data, again = tmp_path / ("deep" * 30) / "data", tmp_path / "again"  # longer than a socket's address
    data.mkdir(parents=True)
    asyncio.run(SqliteStore(data / "poise.db").close())
    with_owner(data, running=running, work=lambda: str(back_up(data, tmp_path / "b.tar.gz")))
    assert put_back(tmp_path / "b.tar.gz", again, None).ok
    found = visit.state(again)
    assert found is not None
    assert found.records == 1


@pytest.mark.parametrize("running", [True, False])
def test_the_doctor_tells_what_the_file_holds(tmp_path: Path, running: bool) -> None:
    """And that it opens."""
    told: list[doctor.Finding] = []
    with_owner(tmp_path, running=running, work=lambda: told.extend(doctor.examine(tmp_path)))
    (one,) = (finding for finding in told if finding.check == FILE)
    assert (one.result, "1 log records" in one.finding) == ("pass", True)


def test_the_doctor_tells_of_a_broken_file(tmp_path: Path) -> None:
    """With what to do about it."""
    (tmp_path / "run").mkdir()
    (tmp_path / FILE).write_bytes(b"broken" * 1000)
    (one,) = (finding for finding in doctor.examine(tmp_path) if finding.check == FILE)
    assert one.result == "fail"
    assert "mv " in one.mend


def test_a_house_without_telemetry_has_nothing_to_tell(tmp_path: Path) -> None:
    """No file, no finding, nothing started."""
    assert visit.state(tmp_path) is None
    assert visit.copy(tmp_path, tmp_path / "copy") is False


def test_the_owners_socket_is_its_users_alone(tmp_path: Path) -> None:
    """Whoever connects may copy everything."""
    modes: list[int] = []

    def look() -> None:
        modes.append(stat.S_IMODE((tmp_path / SOCKET).stat().st_mode))
        assert isinstance(visit.state(tmp_path), State)

    with_owner(tmp_path, running=True, work=look)
    assert modes == [0o600]


def test_retention_is_set_by_the_environment() -> None:
    """Named, with one default each; what is no number is refused, never ignored."""
    assert retention_from({}) == Retention()
    set_ = retention_from({"POISE_TELEMETRY_DAYS": "1.5", "POISE_TELEMETRY_BYTES": "1e9"})
    assert (set_.days, set_.bytes) == (1.5, 1_000_000_000)
    for wrong in ("0", "-1", "many", "nan", "inf"):
        with pytest.raises(Invalid, match="POISE_TELEMETRY_DAYS"):
            retention_from({"POISE_TELEMETRY_DAYS": wrong})
