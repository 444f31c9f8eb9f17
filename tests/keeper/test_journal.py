"""The journal: durable, numbered, replayable, bounded."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.keeper import limits
from poise.keeper.journal import Journal
from poise.keeper.state import State


def spawned(key: str, incarnation: int) -> dict[str, Any]:
    fields = {"key": key, "incarnation": incarnation, "boot_id": "b", "outer": 5, "outer_start": 6}
    return {**fields, "pid": 5, "start_time": 6, "port": 20_001}


def fill(journal: Journal, state: State, count: int) -> None:
    state.apply(journal.append("token", {"token": 7}))
    accepted: dict[str, Any] = {"key": "a", "spec_id": "s", "spec_hash": "h", "cluster": None}
    state.apply(journal.append("accepted", accepted))
    for n in range(count):
        state.apply(journal.append("spawned" if n == 0 else "restarted", spawned("a", n + 1)))
    journal.sync()


def replayed(path: Path) -> tuple[Journal, State]:
    journal, state = Journal(str(path)), State()
    for record in journal.replay():
        state.apply(record)
    return journal, state


@given(cut=st.integers(1, 400))
def test_a_torn_end_costs_only_the_torn_record(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """kill -9 may fall into the middle of a write."""
    path = tmp_path_factory.mktemp("j") / "journal"
    fill(Journal(str(path)), State(), 3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    kept = whole[:-cut].count(b"\n")
    journal, _ = replayed(path)
    assert journal.seq == kept
    journal.append("token", {"token": 8})
    journal.sync()
    assert [json.loads(line)["seq"] for line in path.read_bytes().splitlines()] == list(range(1, kept + 2))


def test_a_compacted_journal_replays_to_the_same_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compaction must lose neither state nor the newest events nor the numbering."""
    monkeypatch.setattr(limits, "JOURNAL_EVENTS_KEPT", 4)
    path = tmp_path / "journal"
    journal, state = Journal(str(path)), State()
    fill(journal, state, 10)
    journal.compact(state.dump)
    again, same = replayed(path)
    assert same.dump() == state.dump()
    assert same.entries["a"].restarts == 9
    assert again.seq == journal.seq
    assert [event["seq"] for event in again.events(0)] == [9, 10, 11, 12]
    assert not any("old" in event for event in again.events(0))


def test_a_full_disk_delays_durability_and_loses_nothing(tmp_path: Path) -> None:
    """Reflexes go on while the disk is full; what happened is written down once there is room."""
    path = tmp_path / "journal"
    journal = Journal(str(path))
    fill(journal, State(), 2)
    size, before = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        journal.append("token", {"token": 8})
        assert journal.sync() == []
        assert journal.failing
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.stat().st_size == size
    assert [record["token"] for record in journal.sync()] == [8]
    assert journal.failing is None
    assert replayed(path)[1].token == 8


def test_watch_replays_what_was_missed_across_a_kill(house: Any, kill: Any) -> None:
    """A control process that was away sees every exit it slept through."""
    house.spawn("step", "raise SystemExit(4)", restart="never")
    house.ended("step")
    house.kill()
    house.start()
    seen = [json.loads(line) for line in (house.data / "run" / "keeper.journal").read_bytes().splitlines()]
    kinds = [(record["kind"], record.get("exit", {}).get("code")) for record in seen if "key" in record]
    assert ("exited", 4) in kinds
    assert [record["seq"] for record in seen] == sorted(record["seq"] for record in seen)
