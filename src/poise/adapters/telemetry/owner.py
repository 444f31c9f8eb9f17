"""The asking side: starts the file's owner when it is first needed, and again when it has died."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import anyio.to_thread
import msgspec
from msgspec import Struct

from poise.adapters.telemetry.limits import FILE, Retention
from poise.adapters.telemetry.process import OwnerDied, OwnerProcess
from poise.adapters.telemetry.wire import Id, LogRecords, Nothing, Push, Spans, State, Taken, Window
from poise.model.errors import PoiseError, Unreachable
from poise.model.telemetry import (
    Appended,
    Edge,
    ErrorMinute,
    LogRecord,
    RecordQuery,
    Records,
    Span,
    SpanQuery,
    TemplateCount,
    TraceQuery,
    Traces,
)

T = TypeVar("T")
IDLE_S: Final = 300.0  # nobody asks for so long: give the memory back
WRITE_S: Final = 30.0
READ_S: Final = 10.0
QUEUE: Final = 128  # questions that wait at once ...
QUEUED_BYTES_MAX: Final = 96 << 20  # ... and what is pushed in them
LARGE_BYTES: Final = 128 * 1024  # an answer from here on is decoded by a thread
BACK_OFF_S: Final = 1.0  # after a start that failed


class TelemetryOwner:
    """``TraceStore`` and ``RecordStore`` over the file in a data folder. Nothing runs until it is used."""

    def __init__(
        self,
        data: Path,
        retention: Retention | None = None,
        *,
        idle_s: float = IDLE_S,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        kept = retention or Retention()
        self._data = data
        self._command = [
            sys.executable, "-P", "-m", "poise.adapters.telemetry", str(data), str(kept.days),
            str(kept.bytes), str(kept.templates),
        ]  # fmt: skip
        passed = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
        self._environment = {**passed, "OPENBLAS_NUM_THREADS": "1", **(environment or {})}
        self._idle_s = idle_s
        self._starting = asyncio.Lock()
        self._process: OwnerProcess | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._waiting = self._queued_bytes = 0
        self._failed: tuple[float, PoiseError] | None = None

    # -- the ports ----------------------------------------------------------------------------------

    async def append_spans(self, spans: Sequence[Span]) -> Appended:
        """See the port."""
        return await self.ask("append_spans", Spans(items=tuple(spans)), Appended, WRITE_S)

    async def trace(self, trace_id: str) -> tuple[Span, ...]:
        """See the port."""
        return await self._read("trace", Id(trace_id=trace_id), tuple[Span, ...], ())

    async def find_traces(self, asked: TraceQuery) -> Traces:
        """See the port."""
        return await self._read("find_traces", asked, Traces, Traces(items=()))

    async def spans_of(self, asked: SpanQuery) -> tuple[Span, ...]:
        """See the port."""
        return await self._read("spans_of", asked, tuple[Span, ...], ())

    async def edges(self, since_ns: int, until_ns: int) -> tuple[Edge, ...]:
        """See the port."""
        return await self._read("edges", Window(since_ns=since_ns, until_ns=until_ns), tuple[Edge, ...], ())

    async def append_records(self, records: Sequence[LogRecord]) -> Appended:
        """See the port."""
        return await self.ask("append_records", LogRecords(items=tuple(records)), Appended, WRITE_S)

    async def find_records(self, asked: RecordQuery) -> Records:
        """See the port."""
        return await self._read("find_records", asked, Records, Records(items=()))

    async def templates(self, since_ns: int, until_ns: int, service: str = "") -> tuple[TemplateCount, ...]:
        """See the port."""
        asked = Window(since_ns=since_ns, until_ns=until_ns, service=service)
        return await self._read("templates", asked, tuple[TemplateCount, ...], ())

    async def errors_per_minute(
        self, since_ns: int, until_ns: int, service: str = ""
    ) -> tuple[ErrorMinute, ...]:
        """See the port."""
        asked = Window(since_ns=since_ns, until_ns=until_ns, service=service)
        return await self._read("errors_per_minute", asked, tuple[ErrorMinute, ...], ())

    # -- the rest of what can be asked ----------------------------------------------------------------

    async def push(self, asked: Push) -> Taken:
        """A body as it was sent, decoded and kept by the owner. Raises ``Unreachable`` when it is not."""
        if self._queued_bytes + len(asked.body) > QUEUED_BYTES_MAX:
            raise _full(f"{self._queued_bytes >> 20} MiB")
        self._queued_bytes += len(asked.body)
        try:
            return await self.ask("push", asked, Taken, WRITE_S)
        finally:
            self._queued_bytes -= len(asked.body)

    async def state(self) -> State:
        """How much there is."""
        return await self.ask("state", Nothing(), State, READ_S)

    async def ask(self, job: str, argument: Struct, answer: type[T], seconds: float) -> T:
        """One job's answer. Raises what it raises, ``Unreachable``, and ``TimedOut`` past ``seconds``."""
        if self._waiting >= QUEUE:
            raise _full(f"{QUEUE} questions")
        self._waiting += 1
        try:
            process = await self._running()
            body = await process.ask(job, msgspec.msgpack.encode(argument), seconds)
        finally:
            self._waiting -= 1
            self._rest_later()
        decoder = msgspec.msgpack.Decoder(answer)
        if len(body) < LARGE_BYTES:
            return decoder.decode(body)
        return await anyio.to_thread.run_sync(decoder.decode, body)

    async def close(self) -> None:
        """End the owner gently."""
        process, self._process = self._process, None
        if self._idle is not None:
            self._idle.cancel()
        if process is not None:
            await process.end()
        await asyncio.gather(*self._ending, return_exceptions=True)

    @property
    def pid(self) -> int | None:
        """The owner's, for whoever measures it."""
        return self._process.pid if self._process is not None and self._process.alive else None

    async def _read(self, job: str, argument: Struct, answer: type[T], nothing: T) -> T:
        """A house that never took any starts no owner to say so; one that died is asked anew, once."""
        if self._process is None and not (self._data / FILE).exists():
            return nothing
        try:
            return await self.ask(job, argument, answer, READ_S)
        except OwnerDied:
            return await self.ask(job, argument, answer, READ_S)

    # -- the process --------------------------------------------------------------------------------

    async def _running(self) -> OwnerProcess:
        async with self._starting:
            if self._idle is not None:
                self._idle.cancel()
            if self._process is not None and self._process.alive:
                return self._process
            await self._bury()
            now = asyncio.get_running_loop().time()
            if self._failed is not None and now - self._failed[0] < BACK_OFF_S:
                raise self._failed[1]
            try:
                self._process = await OwnerProcess.start(self._command, self._environment)
            except PoiseError as error:
                self._failed = (asyncio.get_running_loop().time(), error)
                raise
            self._failed = None
            return self._process

    async def _bury(self) -> None:
        """What died is reaped, and what ends has ended, before another opens the file."""
        process, self._process = self._process, None
        if process is not None:
            await process.end(patience_s=0.0)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _rest_later(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if not self._waiting:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._rest)

    def _rest(self) -> None:
        process = self._process
        if process is None or self._waiting or self._starting.locked():
            return
        self._process = None
        task = asyncio.get_running_loop().create_task(process.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _full(what: str) -> Unreachable:
    return Unreachable(
        "POISE-U110", f"{what} already wait for the telemetry file", mend="Send it again later, or less."
    )
