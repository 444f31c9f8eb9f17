"""One owner process and the socket to it: many questions at once, each answered by its number."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from poise.adapters.telemetry import wire
from poise.adapters.worker.wire import Fault, error_of
from poise.model.errors import TimedOut, Unreachable

START_S: Final = 30.0  # to open the file, its log replayed
END_S: Final = 10.0  # to end by itself
GRACE_S: Final = 2.0  # past its time, for a question to be answered


class OwnerDied(Unreachable):
    """It was killed, or ended by itself, with questions unanswered."""

    def __init__(self) -> None:
        super().__init__(
            "POISE-U106", "the owner of the telemetry file ended before it answered",
            why="What it had not acknowledged may be missing.", mend="Send or ask again.",
        )  # fmt: skip


class OwnerProcess:
    """It runs until ``end``, or until somebody kills it."""

    def __init__(
        self, made: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._made, self._reader, self._writer = made, reader, writer
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._number = wire.READY
        self._ready = self._expect(wire.READY)
        self._reading = asyncio.get_running_loop().create_task(self._read())
        self.pid = made.pid

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> OwnerProcess:
        """Spawn it from this thread, with which it is to die, and wait until it has opened the file."""
        ours, theirs = socket.socketpair()
        with theirs:
            made = subprocess.Popen(  # noqa: ASYNC220  spawning takes a millisecond or two
                [*command, str(os.getpid())], stdin=theirs.fileno(), stdout=subprocess.DEVNULL,
                env=environment, cwd="/", start_new_session=True,
            )  # fmt: skip
        ours.setblocking(False)
        try:
            reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
        except BaseException:
            ours.close()
            made.kill()
            made.wait()
            raise
        self = cls(made, reader, writer)
        try:
            async with asyncio.timeout(START_S):
                await self._ready
        except BaseException as error:
            await self.end(patience_s=0.0)
            if isinstance(error, TimeoutError):
                raise Unreachable("POISE-U107", "the owner of the telemetry file does not start",
                                  mend="Run: poise doctor") from None  # fmt: skip
            raise
        return self

    @property
    def alive(self) -> bool:
        """Whether it runs and its socket is open."""
        return self._made.poll() is None and not self._reading.done()

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._asked)

    async def ask(self, job: str, argument: bytes, seconds: float) -> bytes:
        """The answer. Raises what the owner tells; what does not answer in time is killed."""
        self._number = self._number % 0xFFFF_FFFE + 1
        number = self._number
        answer = self._expect(number)
        try:
            asked = msgspec.msgpack.encode(wire.Ask(job, msgspec.Raw(argument), seconds))
            async with asyncio.timeout(seconds + GRACE_S):
                with suppress(ConnectionError):
                    self._writer.write(wire.frame(number, wire.ASK, asked))
                    await self._writer.drain()
                return await answer
        except TimeoutError:
            self._made.kill()
            raise TimedOut("POISE-U103", f"the query took longer than {seconds:g} s and was ended",
                           mend="Ask for a shorter time.") from None  # fmt: skip
        finally:
            self._asked.pop(number, None)

    async def end(self, patience_s: float = END_S) -> None:
        """Let it finish and close the file; kill it when it does not."""
        self._writer.close()
        loop = asyncio.get_running_loop()
        ended = loop.run_in_executor(None, self._made.wait)
        try:
            await asyncio.wait_for(asyncio.shield(ended), patience_s)
        except TimeoutError:
            self._made.kill()
            await ended
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        with suppress(OSError):
            await self._writer.wait_closed()

    def _expect(self, number: int) -> asyncio.Future[bytes]:
        made: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = made
        return made

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(wire.HEAD.size)
                size, number, kind = wire.HEAD.unpack(head)
                body = await self._reader.readexactly(size)
                waiting = self._asked.pop(number, None)
                if waiting is None or waiting.done():
                    continue
                if kind == wire.FAULT:
                    waiting.set_exception(error_of(msgspec.msgpack.decode(body, type=Fault)))
                else:
                    waiting.set_result(body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for waiting in self._asked.values():
                if not waiting.done():
                    waiting.set_exception(OwnerDied())
                    waiting.exception()  # whoever waited may be gone; that is no mistake
