"""The process itself: one job at a time from the socket that is its standard input.

``SIGUSR1`` ends the running job (its asker went away), an alarm ends one that takes too long; the process
lives on with a reader opened anew. What does not stop for either is killed by the parent.
"""

from __future__ import annotations

import importlib
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from poise.adapters.lifeline import be_humble, die_with
from poise.adapters.worker import jobs
from poise.adapters.worker.jobs import Reader
from poise.adapters.worker.wire import HEAD, OUT_OF_MEMORY, Ask, Fault, Kind, fault_of, frame
from poise.model.errors import PoiseError

IDLE_S: Final = 300.0  # nobody asks for so long: give the memory back


class Stopped(BaseException):
    """The running job is to end; no job may catch it as an error."""


class Worker:
    """Answers one asker until it closes the socket."""

    def __init__(self, asker: socket.socket, made: Callable[[], Reader], idle_s: float = IDLE_S) -> None:
        self._asker = asker
        self._made = made
        self._idle_s = idle_s
        self._reader: Reader | None = None
        self._why: str | None = None  # the running job is to stop
        self._running = self._writing = False

    def run(self) -> None:
        """Serve until the asker is gone, nobody asks any more, or memory ran out."""
        signal.signal(signal.SIGUSR1, lambda *_: self._stop("gone"))
        signal.signal(signal.SIGALRM, lambda *_: self._stop("late"))
        while select.select([self._asker], [], [], self._idle_s)[0]:
            head = self._exactly(HEAD.size)
            if head is None:
                return
            size, _ = HEAD.unpack(head)
            body = self._exactly(size)
            if body is None or not self._serve(body):
                return

    def _serve(self, body: bytes) -> bool:
        asked = msgspec.msgpack.decode(body, type=Ask)
        self._why = None
        again, last = True, b""
        try:
            try:
                self._running = True
                signal.setitimer(signal.ITIMER_REAL, asked.seconds)
                last = self._answer(asked)
                fault = None
            finally:
                self._running = False
                signal.setitimer(signal.ITIMER_REAL, 0.0)
        except Stopped:
            self._forget()
            fault = _stopped(self._why or "gone", asked.seconds)
        except MemoryError:
            fault, again = _out_of_memory(), False
        except PoiseError as error:
            fault = fault_of(error)
        except msgspec.DecodeError as error:
            fault = Fault(
                kind="Invalid", code="POISE-W102", what="the job's argument is broken", why=str(error)
            )
        except Exception as error:
            fault = Fault(kind="PoiseError", code="POISE-W500", what="the worker made a mistake",
                          why=f"{type(error).__name__}: {error}", word="internal")  # fmt: skip
            self._forget()
        if fault is None:
            self._send(Kind.END, last)
        else:
            self._send(Kind.FAULT, msgspec.msgpack.encode(fault))
        return again

    def _answer(self, asked: Ask) -> bytes:
        """All pieces but the last one are sent; that one goes with the end, so that the parent wakes once."""
        if self._reader is None:
            self._reader = self._made()
        last = b""
        for piece in jobs.answer(self._reader, asked):
            if last:
                self._send(Kind.PIECE, last)
            last = piece
        return last

    def _send(self, kind: Kind, body: bytes) -> None:
        self._writing = True  # half a frame would spoil all that follow
        try:
            self._asker.sendall(frame(kind, body))
        finally:
            self._writing = False
        if self._running and self._why:
            raise Stopped

    def _stop(self, why: str) -> None:
        self._why = self._why or why
        if self._running and not self._writing:
            raise Stopped

    def _forget(self) -> None:
        """What was stopped halfway may be half remembered."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            got = self._asker.recv(min(1 << 16, size - len(parts)))
            if not got:
                return None
            parts += got
        return bytes(parts)


def _stopped(why: str, seconds: float) -> Fault:
    if why == "late":
        return Fault(
            kind="TimedOut",
            code="POISE-W103",
            what=f"the query took longer than {seconds:g} s",
            mend="Ask for a shorter range, a larger step or fewer series.",
            word="timeout",
        )
    return Fault(kind="PoiseError", code="POISE-W104", what="the query was given up", word="canceled")


def _out_of_memory() -> Fault:
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return Fault(
        kind="TooLarge",
        code=OUT_OF_MEMORY,
        what=f"the query needs over {limit / (1 << 20):,.0f} MiB of memory",
        mend="Ask for a shorter range, a larger step or fewer series.",
    )


def main(arguments: list[str]) -> int:
    """``PATH READER MEMORY_BYTES PARENT_PID``; READER is ``module:callable`` that opens PATH."""
    path, reader, memory_bytes, parent = arguments
    die_with(int(parent))
    module, _, name = reader.partition(":")
    be_humble(int(memory_bytes))
    made = cast("Callable[[Path], Any]", getattr(importlib.import_module(module), name))
    with socket.socket(fileno=os.dup(0)) as asker:
        try:
            Worker(asker, lambda: cast("Reader", made(Path(path)))).run()
        except (BrokenPipeError, ConnectionResetError):
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
