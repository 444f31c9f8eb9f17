"""Numbers of templates: stable, bounded, and taken back with what was not written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from poise.adapters.telemetry import limits
from poise.adapters.telemetry.file import TelemetryFile
from poise.adapters.telemetry.limits import FILE, Retention
from poise.adapters.telemetry.templates import OTHER_ID, Templates
from poise.model.errors import Unreachable
from poise.model.telemetry import SECOND_NS, LogRecord

NOW = 1_800_000_000 * SECOND_NS


def test_equal_statements_have_one_number() -> None:
    """Within a batch and from batch to batch."""
    known = Templates((), 10)
    first, made = known.numbers(["a 1", "b", "a 22"])
    again, more = known.numbers(["b", "a 333", "c"])
    assert (first.tolist(), again.tolist()) == ([1, 2, 1], [2, 1, 3])
    assert [row[0] for row in made + more] == [1, 2, 3]
    assert known.of(1)[1] == "a <num>"
    assert known.number_of(known.of(3)[0]) == 3


def test_the_last_number_is_followed_by_none() -> None:
    """What comes after goes under one name, and a number is not used again after it was taken back."""
    known = Templates([(7, "x" * 16, "old")], 2)
    numbers, made = known.numbers(["a", "b", "c"])
    assert (numbers.tolist(), len(known)) == ([8, 0, 0], 2)
    assert known.number_of(OTHER_ID) == 0
    known.take_back(made)
    assert known.numbers(["b"])[0].tolist() == [9]
    assert known.of(8)[0] == OTHER_ID


def test_a_template_of_a_batch_that_was_not_kept_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its records would have a number that stands for nothing once the file is opened anew."""
    file = TelemetryFile(tmp_path / FILE)
    one = LogRecord(at_ns=NOW, body="statement one")

    def full(*_: Any) -> int:
        raise duckdb.IOException("no space")

    monkeypatch.setattr(TelemetryFile, "_insert", staticmethod(full))
    with pytest.raises(Unreachable):
        file.append_records([one])
    monkeypatch.undo()
    file.append_records([one])
    file.close()
    again = TelemetryFile(tmp_path / FILE)
    with again.reader() as reader:
        rows = reader.connection.execute("SELECT template FROM record").fetchall()
        assert [reader.templates.of(row[0])[1] for row in rows] == ["statement one"]
    again.close()


def test_templates_that_nothing_has_any_more_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deploy that logs differently finds place for its statements."""
    now = [NOW]
    file = TelemetryFile(tmp_path / FILE, Retention(days=1.0, templates=2), now_ns=lambda: now[0])
    file.append_records([LogRecord(at_ns=NOW, body="old a"), LogRecord(at_ns=NOW, body="old b")])
    now[0] += 2 * 86_400 * SECOND_NS
    file.append_records([LogRecord(at_ns=now[0], body="new c")])
    monkeypatch.setattr(limits, "TEND_ROWS", 1)
    assert file.wants_tending
    assert file.tend() == 2
    file.append_records([LogRecord(at_ns=now[0], body="new d")])
    with file.reader() as reader:
        rows = reader.connection.execute("SELECT template FROM record ORDER BY n").fetchall()
        assert [reader.templates.of(row[0])[1] for row in rows] == ["<other>", "new d"]
    file.close()
