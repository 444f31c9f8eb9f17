"""The owner itself: it alone has the file open, and answers its parent and who comes by the path socket.

One thread per asker reads frames; a few threads work. Writes take turns at the file's lock, reads each have a
connection, and a read that takes too long is interrupted and dies alone. It ends with its parent.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec

from poise.adapters.lifeline import be_humble, die_with
from poise.adapters.telemetry import limits, wire
from poise.adapters.telemetry.faults import Lost, told
from poise.adapters.telemetry.file import TelemetryFile
from poise.adapters.telemetry.jobs import JOBS, Job
from poise.adapters.telemetry.limits import Retention
from poise.adapters.worker.wire import Fault, fault_of
from poise.model.errors import PoiseError

WORKERS: Final = 4
AGAIN_S: Final = 0.05
SOCKET_MODE: Final = 0o600


class Asker:
    """A connection: frames in, and answers out in whatever order they are ready."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def ask(self) -> tuple[int, wire.Ask] | None:
        """The next one; None once it is gone."""
        head = self._exactly(wire.HEAD.size)
        if head is None:
            return None
        size, number, _ = wire.HEAD.unpack(head)
        body = self._exactly(size) if size <= wire.FRAME_BYTES_MAX else None
        return None if body is None else (number, msgspec.msgpack.decode(body, type=wire.Ask))

    def send(self, framed: bytes) -> None:
        """An answer; one that nobody waits for any more is nothing to us."""
        with self._sending, suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(framed)

    def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            try:
                got = self._connection.recv(min(1 << 20, size - len(parts)))
            except ConnectionResetError:
                return None
            if not got:
                return None
            parts += got
        return bytes(parts)


class Owner:
    """Works for its askers until the parent is gone."""

    def __init__(self, file: TelemetryFile) -> None:
        self._file = file
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="job")
        self._tending = threading.Event()

    def serve(self, asker: Asker) -> None:
        """Until it is gone."""
        while (asked := asker.ask()) is not None:
            number, ask = asked
            self._threads.submit(self._answer, asker, number, ask)

    def listen(self, path: Path) -> None:
        """Let others in by a path that only this user can reach."""
        path.parent.mkdir(exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        os.chdir(path.parent)  # such an address is short; a data folder's path may not be
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path.name)
        path.chmod(SOCKET_MODE)
        listener.listen(4)

        def accept() -> None:
            while True:
                connection, _ = listener.accept()
                _thread(self.serve, Asker(connection))

        _thread(accept)

    def tend(self) -> None:
        """Forget what is past the retention, on a beat."""
        while not self._tending.wait(limits.TEND_S):
            self._tend_once()

    def _tend_once(self) -> None:
        try:
            self._file.tend()
        except Exception as error:
            sys.stderr.write(f"telemetry: tending failed: {type(error).__name__}: {error}\n")

    def close(self) -> None:
        """Let running jobs end, then the file."""
        self._tending.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._file.close()

    def _answer(self, asker: Asker, number: int, ask: wire.Ask) -> None:
        try:
            body = msgspec.msgpack.encode(self.done(ask))
        except Lost as error:
            asker.send(wire.fault_frame(number, fault_of(error)))
            os._exit(1)  # a new process opens the file anew; nothing acknowledged is lost
        except PoiseError as error:
            asker.send(wire.fault_frame(number, fault_of(error)))
        except (msgspec.DecodeError, KeyError) as error:
            asker.send(
                wire.fault_frame(number, _mistake("the job is not known or its argument broken", error))
            )
        except Exception as error:
            asker.send(
                wire.fault_frame(number, _mistake("the owner of the telemetry file made a mistake", error))
            )
        else:
            asker.send(wire.frame(number, wire.ANSWER, body))
        if self._file.wants_tending:
            self._tend_once()

    def done(self, ask: wire.Ask) -> Any:
        """A job's answer. Raises what the job raises, and ``TimedOut`` for a read past its time."""
        job = JOBS[ask.job]
        argument = msgspec.msgpack.decode(ask.argument, type=job.argument)
        if job.write is not None:
            return job.write(self._file, argument)
        return self._read(job, argument, ask.seconds)

    def _read(self, job: Job, argument: Any, seconds: float) -> Any:
        assert job.read is not None, "a job reads or writes"
        with self._file.reader() as reader:
            over = threading.Event()
            _thread(_interrupt, reader.connection, over, seconds)
            try:
                return job.read(reader, argument)
            except PoiseError:
                raise
            except Exception as error:
                raise told(error, seconds) from error
            finally:
                over.set()


def _interrupt(connection: duckdb.DuckDBPyConnection, over: threading.Event, seconds: float) -> None:
    """Once its time is up, again and again: an interrupt between two statements is lost."""
    wait_s = max(0.001, seconds)
    while not over.wait(wait_s):
        connection.interrupt()
        wait_s = AGAIN_S


def _mistake(what: str, error: Exception) -> Fault:
    return Fault(
        kind="PoiseError", code="POISE-U500", what=what, why=f"{type(error).__name__}: {str(error)[:200]}"
    )


def _thread(work: Any, *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


def main(arguments: list[str]) -> int:
    """``DATA_FOLDER DAYS BYTES TEMPLATES PARENT_PID``; standard input is the socket to the parent."""
    folder, days, size, templates, parent = arguments
    die_with(int(parent))
    be_humble(limits.PROCESS_BYTES)
    os.umask(0o077)
    data = Path(folder)
    asker = Asker(socket.socket(fileno=os.dup(0)))
    retention = Retention(days=float(days), bytes=int(size), templates=int(templates))
    try:
        owner = Owner(TelemetryFile(data / limits.FILE, retention))
    except PoiseError as error:
        asker.send(wire.fault_frame(wire.READY, fault_of(error)))
        return 1
    owner.listen(data / limits.SOCKET)
    _thread(owner.tend)
    asker.send(wire.frame(wire.READY, wire.ANSWER, b""))
    owner.serve(asker)
    owner.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
