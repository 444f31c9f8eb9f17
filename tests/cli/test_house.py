"""Backups that are checked, a doctor that finds, and a command line that starts fast."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
HEAVY = ("httpx2", "rich.console", "litestar", "sqlalchemy", "numpy", "uvicorn", "structlog", "pydantic")


@pytest.fixture
def backup(house: Any, poise: Run, tmp_path: Path) -> tuple[Path, str]:
    """A backup of the house, and the head that was printed with it."""
    target = tmp_path / "backup.tgz"
    done = poise("backup", str(target), "--json")
    assert done.code == 0, done.err
    return target, json.loads(done.out)["head"]


def test_a_backup_is_whole_private_and_comes_back_as_it_was(
    backup: tuple[Path, str], poise: Run, house: Any, tmp_path: Path
) -> None:
    target, head = backup
    assert target.stat().st_mode & 0o777 == 0o600
    checked = poise("restore", "--verify", str(target), "--head", head, "--json")
    assert (checked.code, json.loads(checked.out)["restored"]) == (0, False)
    elsewhere = tmp_path / "elsewhere"
    done = poise("restore", str(target), "--head", head, "--data", str(elsewhere))
    assert done.code == 0, done.err
    assert (elsewhere / "signing.key").read_bytes() == (house.data / "signing.key").read_bytes()
    assert (elsewhere / "poise.db").stat().st_mode & 0o077 == 0
    assert {"poise.db", "signals.db", "metrics.db"} <= {path.name for path in elsewhere.iterdir()}
    again = poise("backup", str(tmp_path / "again.tgz"), "--data", str(elsewhere), "--json")
    assert json.loads(again.out)["head"] == head


def test_the_head_that_backup_prints_is_one_that_restore_takes(
    house: Any, poise: Run, tmp_path: Path
) -> None:
    said = poise("backup", str(tmp_path / "b.tgz")).out
    head = said.split("head ")[1].split(".")[0]
    assert poise("restore", "--verify", str(tmp_path / "b.tgz"), "--head", head).code == 0


def test_a_backup_with_another_head_is_refused(backup: tuple[Path, str], poise: Run, tmp_path: Path) -> None:
    target, head = backup
    other = ("0" if head[0] != "0" else "1") + head[1:]
    done = poise("restore", str(target), "--head", other, "--data", str(tmp_path / "new"))
    assert done.code == 5
    assert "the noted head is not in the journal" in done.err
    assert not (tmp_path / "new" / "poise.db").exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_backup_cut_short_is_refused_and_leaves_nothing(
    backup: tuple[Path, str], poise: Run, tmp_path: Path, share: float
) -> None:
    target, _ = backup
    whole = target.read_bytes()
    target.write_bytes(whole[: int(len(whole) * share)])
    for words in (("--verify",), ("--data", str(tmp_path / "new"))):
        done = poise("restore", str(target), *words)
        assert done.code == 5, done.err
        assert "POISE-E603" in done.err
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())


def test_a_file_that_is_no_backup_is_refused(poise: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.tgz"
    with tarfile.open(other, "w:gz") as archive:
        archive.add(__file__, "readme.txt")
    assert poise("restore", "--verify", str(other)).code == 5
    other.write_text("hello")
    assert poise("restore", "--verify", str(other)).code == 5


def test_a_backup_never_overwrites_and_a_restore_never_replaces(backup: tuple[Path, str], poise: Run) -> None:
    target, _ = backup
    before = target.read_bytes()
    assert poise("backup", str(target)).code == 4
    assert target.read_bytes() == before
    assert poise("restore", str(target)).code == 4


def test_nothing_to_back_up_is_said(poise: Run, tmp_path: Path) -> None:
    done = poise("backup", str(tmp_path / "b.tgz"))
    assert done.code == 3
    assert not list(tmp_path.glob("b.tgz*"))


def test_a_target_that_cannot_be_written_is_said(house: Any, poise: Run, tmp_path: Path) -> None:
    done = poise("backup", str(tmp_path / "no" / "such" / "folder.tgz"))
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "poise doctor" in done.err


def test_the_doctor_finds_what_is_wrong_and_says_what_mends_it(poise: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    assert {one["check"]: one["result"] for one in json.loads(poise("doctor", "--json").out)}[
        "data folder"
    ] == "pass"
    (data / "signing.key").touch(0o644)
    (data / "signals.db").write_bytes(b"not a database, surely" * 100)
    done = poise("doctor", "--json")
    found = {one["check"]: one for one in json.loads(done.out)}
    assert done.code == 1
    assert found["signing.key mode"]["result"] == "fail"
    assert found["signing.key mode"]["mend"].startswith("chmod 600")
    assert found["signals.db"]["finding"] == "file is not a database"
    assert found["server"]["result"] == "warn"
    assert set(found) >= {"python", "libc", "git", "bwrap", "envoy", "disk", "owner"}
    plain = poise("doctor")
    assert plain.code == 1
    assert "chmod 600" in plain.out


def test_the_version_is_told_before_anything_heavy_is_loaded(shell: Run) -> None:
    done = shell("-X", "importtime", "-m", "poise.cli", "--version")
    assert (done.code, done.out.split()[0]) == (0, "poise")
    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert "poise.cli" in loaded
    assert not loaded & {*HEAVY, "cyclopts", "msgspec", "rich", "asyncio"}


def test_status_loads_no_server(shell: Run) -> None:
    code = (
        "import sys; from poise.cli.entry import run; code = run(['status']);"
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert shell("-c", code).out.split(maxsplit=1) == ["7", "[]\n"]


def test_no_colour_when_not_wanted(online: Run, shell: Run, house: Any) -> None:
    for environment in ({"NO_COLOR": "1", "FORCE_COLOR": ""}, {"TERM": "dumb"}):
        done = shell("-m", "poise.cli", "status", POISE_TOKEN=house.credentials["owner"], **environment)
        assert done.code == 0, done.err
        assert "shop/production/web" in done.out
        assert "\x1b[" not in done.out + done.err


def test_quiet_is_quiet(online: Run) -> None:
    for words in (("status",), ("login",)):
        assert online(*words, "--quiet").err == ""


def test_a_credential_helper_answers_git_from_the_token_file(house: Any, poise: Run) -> None:
    (house.data / "token").write_text("poise_id_secret")
    assert poise("git-credential", "get").out == "username=poise\npassword=poise_id_secret\n"
    assert poise("git-credential", "erase").out == ""


def test_down_says_where_it_looked_when_nothing_runs(poise: Run, tmp_path: Path) -> None:
    """Whoever set another folder before would leave a house running without knowing it."""
    done = poise("down", "--data", str(tmp_path / "other"))
    assert done.code == 0 and f"Nothing runs from {tmp_path}/other" in done.err
    assert not (tmp_path / "other").exists()
