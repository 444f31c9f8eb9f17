"""The asking side: a few workers, a bounded queue, and the hand that ends what does not end by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from poise.adapters.worker.wire import (
    FRAME_BYTES_MAX,
    HEAD,
    OUT_OF_MEMORY,
    Ask,
    Fault,
    FaultTimedOut,
    FaultTooLarge,
    FaultUnreachable,
    Kind,
    error_of,
    frame,
)

WORKERS: Final = 2
QUEUE: Final = 512  # that wait for a worker; sixteen dashboards of a dozen charts fit
MEMORY_BYTES: Final = 2 << 30
GRACE_S: Final = 2.0  # past its time, for a query to end by itself
SETTLE_S: Final = 1.0  # for a query that was given up
EASE_S: Final = 0.5  # at most so long in one go do queries stand still for a workload that starts
EASE_SHARE: Final = 0.2  # of the time at most: a workload that crashes all the time ends no dashboard
AHEAD_BYTES: Final = 8 << 20  # read before the asker has taken any, so that a slow one holds no worker
READER: Final = "poise.adapters.blocks:BlockReader"


class QueryWorker:
    """Worker processes over one metrics database. Made lazily; each query's failure is its own."""

    def __init__(
        self,
        path: Path,
        *,
        workers: int = WORKERS,
        queue: int = QUEUE,
        memory_bytes: int = MEMORY_BYTES,
        reader: str = READER,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [
            sys.executable, "-P", "-m", "poise.adapters.worker", str(path), reader, str(memory_bytes),
        ]  # fmt: skip
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
        self._environment = {**kept, "OPENBLAS_NUM_THREADS": "1", **(environment or {})}
        self._places = asyncio.Semaphore(workers)
        self._queue = queue
        self._waiting = 0
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._easing: asyncio.TimerHandle | None = None
        self._eased_at, self._ease_from = 0.0, 0.0

    async def ask(self, job: str, argument: Struct, seconds: float = 30.0) -> AsyncGenerator[bytes, None]:
        """The answer in pieces, which are only to be passed on. Close the generator to give the query up.

        Raises ``TimedOut`` past ``seconds``, ``TooLarge`` past a limit, ``Unreachable`` when the queue is
        full, and the job's own errors; before the first piece, unless the answer is over ``AHEAD_BYTES``.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        await self._place(seconds)
        process: _Process | None = None
        ended = False
        try:
            left = max(0.05, deadline - clock())
            sent = frame(Kind.ASK, msgspec.msgpack.encode(Ask(job, _raw(argument), left)))
            process = await self._begun(sent)
            ahead: list[bytes] = []
            size = 0
            async for piece in process.pieces(deadline + GRACE_S):
                ahead.append(piece)
                size += len(piece)
                if size > AHEAD_BYTES:
                    for one in ahead:
                        yield one
                    ahead = []
            ended = True
        except TimeoutError:
            raise _late(seconds) from None
        finally:
            if process is None or ended or process.told:
                self._back(process)
            else:
                self._settle(process)
        for one in ahead:
            yield one

    async def close(self) -> None:
        """End every worker."""
        for process in list(self._all):
            self._end(process)
        await asyncio.gather(*self._settling, return_exceptions=True)

    def stand_aside(self, aside: bool) -> None:
        """Queries stand still, until they may go on or ``EASE_S`` is over: what starts has the machine.

        A low priority is not enough where there are as many workers as processors: what starts is moved
        between them, and waits at each. Nothing where they stood still lately, for ``EASE_SHARE``'s sake.
        """
        loop = asyncio.get_running_loop()
        if not aside:
            self._go_on()
            return
        if self._easing is not None or loop.time() < self._ease_from:
            return
        self._eased_at = loop.time()
        self._easing = loop.call_later(EASE_S, self._go_on)
        for process in self._all:
            process.signal(signal.SIGSTOP)

    def _go_on(self) -> None:
        if self._easing is None:
            return
        self._easing.cancel()
        self._easing = None
        now = asyncio.get_running_loop().time()
        self._ease_from = now + (now - self._eased_at) * (1.0 / EASE_SHARE - 1.0)
        for process in self._all:
            process.signal(signal.SIGCONT)

    @property
    def pids(self) -> list[int]:
        """The processes there are, for whoever measures them."""
        return [one.pid for one in self._all]

    async def _place(self, seconds: float) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        if self._waiting >= self._queue:
            raise FaultUnreachable("POISE-W110", f"{self._queue} queries already wait",
                                   mend="Ask again later, or less often.")  # fmt: skip
        self._waiting += 1
        try:
            await asyncio.wait_for(self._places.acquire(), seconds)
        except TimeoutError:
            raise FaultTimedOut("POISE-W111", f"the query waited {seconds:g} s for others",
                                mend="Ask again later, or less often.") from None  # fmt: skip
        finally:
            self._waiting -= 1

    async def _begun(self, sent: bytes) -> _Process:
        """A worker that has the question. An idle one may have just ended by itself."""
        while True:
            fresh = not self._idle
            process = self._idle.pop() if self._idle else None
            process = process or await _Process.start(self._command, self._environment)
            self._all.add(process)
            has_it = False
            try:
                has_it = process.alive and await process.send(sent)
            finally:
                if not has_it:
                    self._end(process)
            if has_it:
                return process
            if fresh:
                raise FaultUnreachable("POISE-W113", "no worker starts", mend="Run: poise doctor")

    def _back(self, process: _Process | None) -> None:
        if process is not None:
            if process.alive and process in self._all:
                self._idle.append(process)
            else:
                self._end(process)
        self._places.release()

    def _settle(self, process: _Process) -> None:
        """Ask the worker to drop its job; kill it when it does not."""

        async def settle() -> None:
            done = False
            try:
                process.signal(signal.SIGUSR1)
                done = await process.drained(SETTLE_S)
            finally:
                if not done:
                    self._end(process)
                self._back(process if done else None)

        self._later(settle())

    def _end(self, process: _Process) -> None:
        self._all.discard(process)
        self._later(process.end())

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)


class _Process:
    """One worker and the socket to it."""

    def __init__(
        self, made: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._made, self._reader, self._writer = made, reader, writer
        self.told = False  # the last job's end was heard, good or bad
        self._spent = False
        self.pid = made.pid

    @classmethod
    async def start(cls, command: list[str], environment: Mapping[str, str]) -> _Process:
        """Spawn it; from this thread, since it is to die with the thread that made it."""
        ours, theirs = socket.socketpair()
        with theirs:
            made = subprocess.Popen(  # noqa: ASYNC220  spawning takes a millisecond or two
                [*command, str(os.getpid())], stdin=theirs.fileno(), stdout=subprocess.DEVNULL,
                env=environment, cwd="/", start_new_session=True,  # a terminal's interrupt is ours to act on
            )  # fmt: skip
        ours.setblocking(False)
        try:
            reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
        except BaseException:
            ours.close()
            made.kill()
            made.wait()
            raise
        return cls(made, reader, writer)

    @property
    def alive(self) -> bool:
        """Whether it runs and its socket is open."""
        return not self._spent and self._made.poll() is None and not self._reader.at_eof()

    async def send(self, sent: bytes) -> bool:
        """Hand a question over; false when it is gone."""
        self.told = False
        try:
            self._writer.write(sent)
            await self._writer.drain()
        except OSError:
            return False
        return True

    async def pieces(self, deadline: float) -> AsyncGenerator[bytes, None]:
        """The answer until its end. Raises what the worker tells, ``TimeoutError`` past ``deadline``."""
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    kind, body = await self._frame()
            except (asyncio.IncompleteReadError, ConnectionError):
                raise await self._died() from None
            if kind is Kind.PIECE:
                yield body
                continue
            self.told = True
            if kind is Kind.FAULT:
                fault = msgspec.msgpack.decode(body, type=Fault)
                self._spent = fault.code == OUT_OF_MEMORY
                raise error_of(fault)
            if body:
                yield body
            return

    async def drained(self, seconds: float) -> bool:
        """Whether what it still says of its job ends in time."""
        try:
            async with asyncio.timeout(seconds):
                while (await self._frame())[0] is Kind.PIECE:
                    pass
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return False
        return True

    async def _frame(self) -> tuple[Kind, bytes]:
        size, kind = HEAD.unpack(await self._reader.readexactly(HEAD.size))
        assert size <= FRAME_BYTES_MAX, "a worker writes small pieces"
        return Kind(kind), await self._reader.readexactly(size)

    async def _died(self) -> FaultTooLarge:
        code = await asyncio.get_running_loop().run_in_executor(None, self._made.wait)
        why = f"It was ended by signal {-code}." if code < 0 else f"It ended with {code}."
        return FaultTooLarge("POISE-W112", "the process that worked on the query died", why=why,
                             mend="Ask for a shorter range or fewer series; see logs/poise.log.")  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it is still there."""
        self._made.send_signal(number)

    async def end(self) -> None:
        """Kill it, and let nothing of it stay."""
        self._made.kill()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
        await asyncio.get_running_loop().run_in_executor(None, self._made.wait)


def _raw(argument: Struct) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(argument))


def _late(seconds: float) -> FaultTimedOut:
    return FaultTimedOut("POISE-W103", f"the query took longer than {seconds:g} s and was ended",
                         mend="Ask for a shorter range, a larger step or fewer series.")  # fmt: skip
