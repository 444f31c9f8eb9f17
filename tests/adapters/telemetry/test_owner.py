"""The owner keeps its promises through the faults themselves: kills in the middle of intake, a full disk."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from poise.adapters.telemetry import Retention, TelemetryOwner
from poise.adapters.telemetry.limits import FILE
from poise.adapters.telemetry.wire import Push
from poise.model.errors import Invalid, TimedOut, TooLarge, Unreachable
from poise.model.telemetry import SECOND_NS, LogRecord, RecordQuery, Span

NOW = 1_800_000_000 * SECOND_NS
EVER = {"since_ns": 0, "until_ns": 2 * NOW}
KILLS = 6


def spans(batch: int, count: int = 50) -> list[Span]:
    return [
        Span(trace_id=f"{batch + 1:032x}", span_id=f"{n + 1:016x}", name="op", start_ns=NOW + n, service="s")
        for n in range(count)
    ]


def records(batch: int, count: int = 50) -> list[LogRecord]:
    return [LogRecord(at_ns=NOW + n, body=f"batch {batch} n {n}", service="s") for n in range(count)]


def test_no_acknowledged_batch_is_lost_when_the_owner_is_killed(tmp_path: Path) -> None:
    """kill -9 in the middle of intake, again and again: what was answered for is there, whole, once."""
    dice = random.Random(4)

    async def work() -> None:
        owner = TelemetryOwner(tmp_path)
        kept: list[int] = []
        batch = 0
        for _ in range(KILLS):
            await owner.state()
            pid = owner.pid
            assert pid is not None
            until = batch + dice.randrange(3, 9)
            while True:
                batch += 1
                asks = [owner.append_spans(spans(batch)), owner.append_records(records(batch))]
                tasks = [asyncio.ensure_future(one) for one in asks]
                if batch == until:
                    await asyncio.sleep(0)  # both are on their way
                    os.kill(pid, signal.SIGKILL)
                done = await asyncio.gather(*tasks, return_exceptions=True)
                if any(isinstance(one, BaseException) for one in done):
                    assert all(isinstance(one, Unreachable) or one.kept == 50 for one in done)
                    break
                kept.append(batch)
        for one in kept:
            assert len(await owner.trace(f"{one + 1:032x}")) == 50, one
            page = await owner.find_records(RecordQuery(**EVER, text=f"batch {one} n ", limit=200))
            assert len(page.items) == 50, one
        for one in range(1, batch + 1):  # a batch that was not acknowledged is there whole or not at all
            assert len(await owner.trace(f"{one + 1:032x}")) in (0, 50)
        await owner.close()

    asyncio.run(work())


def test_an_owner_that_nobody_asks_gives_its_memory_back(tmp_path: Path) -> None:
    """And comes back by itself with what it held."""

    async def work() -> None:
        owner = TelemetryOwner(tmp_path, idle_s=0.05)
        assert owner.pid is None
        assert await owner.trace("1" * 32) == ()
        assert owner.pid is None, "a house without traces pays nothing"
        await owner.append_spans(spans(0))
        first = owner.pid
        while owner.pid is not None:
            await asyncio.sleep(0.02)
        assert len(await owner.trace(f"{1:032x}")) == 50
        assert owner.pid != first
        await owner.close()

    asyncio.run(work())


def test_a_disk_that_takes_no_more_is_told_and_nothing_is_pretended(tmp_path: Path) -> None:
    """The write itself fails, in DuckDB: 503 for the sender, and what was there stays readable."""

    async def work() -> None:
        owner = TelemetryOwner(tmp_path)
        await owner.append_spans(spans(0))
        pid = owner.pid
        assert pid is not None
        size = (tmp_path / f"{FILE}.wal").stat().st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 4096, resource.RLIM_INFINITY))
        failed = 0
        for batch in range(1, 6):
            try:
                await owner.append_spans(spans(batch, 500))
            except Unreachable as error:
                assert error.code in ("POISE-U102", "POISE-U109", "POISE-U106"), str(error)
                failed = batch
                break
        assert failed, "the limit was reached"
        if owner.pid == pid:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for batch in range(failed):
            assert len(await owner.trace(f"{batch + 1:032x}")) in (50, 500)
        assert len(await owner.trace(f"{failed + 1:032x}")) == 0, "what was refused is not half there"
        assert (await owner.append_spans(spans(failed, 500))).kept == 500, "and it goes on"
        assert owner.pid is not None
        os.kill(owner.pid, signal.SIGKILL)
        for batch in range(failed + 1):
            assert len(await owner.trace(f"{batch + 1:032x}")) in (50, 500), "also for who opens it anew"
        await owner.close()

    asyncio.run(work())


def test_a_disk_that_is_nearly_full_refuses_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of the disk belongs to the record, not to traces."""
    from poise.adapters.telemetry import limits
    from poise.adapters.telemetry.file import TelemetryFile

    file = TelemetryFile(tmp_path / FILE)
    monkeypatch.setattr(limits, "FREE_BYTES_MIN", 1 << 62)
    with pytest.raises(Unreachable, match="could not be written"):
        file.append_records(records(1))
    monkeypatch.undo()
    assert file.append_records(records(1)).kept == 50
    file.close()


def test_a_broken_file_is_told_with_a_mend_and_does_not_spin(tmp_path: Path) -> None:
    """Nobody can repair it from here; starting it a thousand times a second would not help."""
    (tmp_path / FILE).write_bytes(b"this is no database" * 1000)

    async def work() -> None:
        owner = TelemetryOwner(tmp_path)
        with pytest.raises(Unreachable, match="cannot be opened") as told:
            await owner.append_spans(spans(0))
        assert "mv " in told.value.mend
        with pytest.raises(Unreachable) as again:
            await owner.trace("1" * 32)
        assert again.value is told.value, "the second is told without another start"
        await owner.close()

    asyncio.run(work())


def test_a_query_past_its_time_dies_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner and what others ask of it go on."""
    from poise.adapters.telemetry.__main__ import Owner
    from poise.adapters.telemetry.file import TelemetryFile
    from poise.adapters.telemetry.jobs import JOBS, Job
    from poise.adapters.telemetry.wire import Ask, Nothing

    def forever(reader: Any, _: Nothing) -> Any:
        return reader.connection.execute(
            "SELECT count(*) FROM range(1000000000000) WHERE range % 7 = 3"
        ).fetchall()

    monkeypatch.setitem(JOBS, "forever", Job(Nothing, read=forever))  # type: ignore[arg-type]
    owner = Owner(TelemetryFile(tmp_path / FILE))
    nothing = msgspec.Raw(msgspec.msgpack.encode(Nothing()))
    with pytest.raises(TimedOut, match=r"longer than 0\.05 s"):
        owner.done(Ask("forever", nothing, 0.05))
    assert owner.done(Ask("state", nothing, 5.0)).spans == 0
    owner.close()


def test_a_bomb_and_half_a_body_are_refused_and_the_owner_goes_on(tmp_path: Path) -> None:
    """Whatever is sent, the next sender is served."""
    import gzip

    bomb = gzip.compress(bytes(50_000_000))

    def push(body: bytes, encoding: str = "") -> Push:
        return Push(signal="logs", body=body, encoding=encoding, now_ns=NOW, body_bytes=1_000_000)

    async def work() -> None:
        owner = TelemetryOwner(tmp_path)
        with pytest.raises(TooLarge, match="too large once decompressed"):
            await owner.push(push(bomb, "gzip"))
        with pytest.raises(Invalid, match="not gzip"):
            await owner.push(push(bomb[:200], "gzip"))
        with pytest.raises(Invalid, match="is not read"):
            await owner.push(push(b"", "zstd"))
        assert (await owner.push(push(b""))).kept == 0
        await owner.close()

    asyncio.run(work())


def test_a_copy_opens_as_the_file_was(tmp_path: Path) -> None:
    """What a backup takes while the house runs."""
    from poise.adapters.telemetry.wire import Copy

    copied = tmp_path / "copy"
    copied.mkdir()

    async def work() -> None:
        owner = TelemetryOwner(tmp_path)
        await owner.append_spans(spans(0))
        await owner.ask("copy", Copy(target=str(copied / FILE)), int, 10.0)
        await owner.append_spans(spans(1))
        await owner.close()
        other = TelemetryOwner(copied)
        assert len(await other.trace(f"{1:032x}")) == 50
        assert await other.trace(f"{2:032x}") == ()
        await other.close()

    asyncio.run(work())


def test_what_is_too_old_is_forgotten_and_what_is_too_much(tmp_path: Path) -> None:
    """The file is bounded by age and by size, the oldest first."""
    from poise.adapters.telemetry.file import TelemetryFile

    day = 86_400 * SECOND_NS
    now = [NOW]
    file = TelemetryFile(tmp_path / FILE, Retention(days=2.0), now_ns=lambda: now[0])
    file.append_records(records(1))
    file.append_spans(spans(1))
    assert file.tend() == 0
    now[0] = NOW + 3 * day
    assert file.tend() == 100
    assert (file.state().spans, file.state().records) == (0, 0)
    file.close()

    small = Retention(days=1e6, bytes=8 << 20)
    file = TelemetryFile(tmp_path / "small.duckdb", small, now_ns=lambda: NOW)
    dice = random.Random(1)
    for batch in range(6):
        rows = [
            LogRecord(at_ns=NOW + batch * day + n, body=f"{dice.getrandbits(400):x}") for n in range(40_000)
        ]
        file.append_records(rows)
    assert file.used_bytes() > small.bytes
    assert file.tend() > 0
    assert file.used_bytes() <= small.bytes
    left = file.state()
    assert left.records > 0
    assert left.oldest_ns > NOW + day
    file.close()
