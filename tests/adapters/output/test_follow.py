"""What is followed comes once, whole and in order, whatever happens to the file meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poise.adapters.masking import Masker
from poise.adapters.output import follow
from poise.adapters.output.files import OutputFile
from poise.adapters.output.matcher import Matcher
from poise.adapters.sealing import Sealer
from poise.keeper.logs import _punch
from poise.model.errors import Invalid


@pytest.fixture
def masker() -> Masker:
    return Masker(Sealer(bytes(32)))


def append(path: Path, raw: bytes) -> None:
    with path.open("ab") as file:
        file.write(raw)
    later = path.stat().st_mtime + 3_600
    os.utime(path, (later, later))  # it is being written: an unfinished line waits


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.text(alphabet="ab\n", max_size=9), max_size=20))
def test_lines_come_once_however_they_are_written(pieces: list[str], tmp_path: Path, masker: Masker) -> None:
    """An app flushes in the middle of lines; the pieces are told as the lines that they are."""
    path = tmp_path / "1-0.log"
    path.write_bytes(b"")
    file = OutputFile(source="1-0", path=path)
    cursor, seen = follow.now_cursor([file]), list[str]()
    for piece in pieces:
        append(path, piece.encode())
        told = follow.news([file], cursor, None, masker)
        cursor, seen = told.cursor, seen + [line.text for line in told.items]
        assert told.skipped_bytes == 0
    whole = "".join(pieces)
    assert seen == whole.split("\n")[:-1]
    last = follow.news([file], cursor, None, masker, whole=True)
    assert [line.text for line in last.items] == ([rest] if (rest := whole.rsplit("\n", 1)[-1]) else [])


def test_a_flood_is_passed_over_and_counted(tmp_path: Path, masker: Masker) -> None:
    """A reader who cannot keep up is told how much is missing, and goes on with the newest."""
    path = tmp_path / "1-0.log"
    path.write_bytes(b"")
    file = OutputFile(source="1-0", path=path)
    cursor = follow.now_cursor([file])
    append(path, b"".join(b"%015d\n" % n for n in range(300_000)))
    told = follow.news([file], cursor, None, masker)
    assert len(told.items) == follow.LINES_MAX
    assert int(told.items[-1].text) == 299_999
    assert 4_800_000 - told.skipped_bytes == follow.LINES_MAX * 16
    assert follow.news([file], told.cursor, None, masker).items == ()


def test_what_was_trimmed_away_is_counted(tmp_path: Path, masker: Masker) -> None:
    """The keeper frees the front of a file also while somebody is away with an old cursor."""
    path = tmp_path / "1-0.log"
    path.write_bytes(b"")
    file = OutputFile(source="1-0", path=path)
    cursor = follow.now_cursor([file])
    append(path, b"".join(b"%07d\n" % n for n in range(2_048)))
    descriptor = os.open(path, os.O_RDWR)
    _punch(descriptor, 8_192)
    os.close(descriptor)
    told = follow.news([file], cursor, None, masker)
    assert int(told.items[-1].text) == 2_047
    assert told.skipped_bytes >= 8_192
    assert all(line.text.isdigit() for line in told.items)


def test_a_log_that_its_own_workload_emptied_is_followed_from_its_start(
    tmp_path: Path, masker: Masker
) -> None:
    """A shell's ``> /dev/stderr`` does so."""
    path = tmp_path / "1-0.log"
    path.write_bytes(b"x" * 100 + b"\n")
    file = OutputFile(source="1-0", path=path)
    cursor = follow.now_cursor([file])
    path.write_bytes(b"afresh\n")
    assert [line.text for line in follow.news([file], cursor, None, masker).items] == ["afresh"]


def test_only_what_matches_comes_and_the_cursor_moves_on(tmp_path: Path, masker: Masker) -> None:
    """What does not match is not looked at again."""
    path = tmp_path / "1-0.log"
    path.write_bytes(b"")
    file = OutputFile(source="1-0", path=path)
    first = follow.now_cursor([file])
    append(path, b"no\nyes\nno\n")
    told = follow.news([file], first, Matcher("y"), masker)
    assert [line.text for line in told.items] == ["yes"]
    assert follow.read(told.cursor) == {"1-0": 10}


@pytest.mark.parametrize("cursor", ["!", "e30x", "eyJhIjotMX0", "WzFd", "é"])
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    """It comes from outside."""
    with pytest.raises(Invalid):
        follow.read(cursor)
