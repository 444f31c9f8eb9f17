"""A full disk is said in plain words, loses nothing, and is got over without a restart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from poise.adapters.sqlite.store import SqliteStore
from poise.engine.journal import verify
from poise.model.access import Principal, Role
from poise.model.errors import Unreachable
from poise.model.record import Event, Write
from poise.ports.store import Transaction

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
DISK_KB = 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount the small file system that this test fills")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KB}k", "poise-test", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"this machine lets nobody mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def writing(n: int, size: int = 4000) -> Transaction:
    body = Principal(name=f"p{n}", roles={"x" * size: Role.VIEWER})
    event = Event(type="dev.poise.test", subject=f"p{n}", summary=f"wrote {n}")
    return Transaction(at=T0, writes=[Write(kind="Principal", key=f"p{n:04d}", body=body)], events=[event])


async def fill(store: SqliteStore) -> tuple[int, Unreachable]:
    """Commit until the disk refuses: how many were acknowledged, and the refusal."""
    for n in range(1000):
        try:
            await store.commit(writing(n))
        except Unreachable as error:
            return n, error
    raise AssertionError("the disk took more than it can hold")


def test_a_full_disk_refuses_whole_transactions_and_keeps_what_it_acknowledged(disk: Path) -> None:
    async def work() -> None:
        store = SqliteStore(disk / "poise.db")
        written, error = await fill(store)
        assert written > 0
        assert error.code == "POISE-E507"
        assert "disk is full" in error.what
        assert error.mend
        found, _ = await store.scan(Principal)  # what was acknowledged can still be read
        assert len(found) == written
        report = await verify(store)
        assert (report.ok, report.events) == (True, written)
        await store.close()

    anyio.run(work)


def test_space_that_returns_is_used_without_a_restart(disk: Path) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(DISK_KB * 1024 // 2))

    async def work() -> None:
        store = SqliteStore(disk / "poise.db")
        written, _ = await fill(store)
        for _ in range(3):  # refused again and again, still nothing half-written
            with pytest.raises(Unreachable, match="POISE-E507"):
                await store.commit(writing(written, 60_000))
        ballast.unlink()
        assert await store.commit(writing(written)) == written + 1
        lease = await store.acquire("leader", "me", T0, 15.0)
        assert lease is not None
        report = await verify(store)
        assert (report.ok, report.events) == (True, written + 1)
        await store.close()
        again = SqliteStore(disk / "poise.db")
        assert (await verify(again)).head_hash == report.head_hash
        await again.close()

    anyio.run(work)


def test_listeners_hear_only_of_what_was_kept(disk: Path) -> None:
    async def work() -> None:
        store = SqliteStore(disk / "poise.db")
        heard: list[int] = []
        store.subscribe(lambda _refs, last: heard.append(last))
        written, _ = await fill(store)
        assert heard == list(range(1, written + 1))
        await store.close()

    anyio.run(work)
