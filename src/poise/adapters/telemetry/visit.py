"""The file looked at or copied by another process of this user, whether or not its owner runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Struct

from poise.adapters.telemetry import wire
from poise.adapters.telemetry.limits import FILE, SOCKET
from poise.adapters.telemetry.wire import Copy, Nothing, State
from poise.adapters.worker.wire import Fault, error_of
from poise.model.errors import Unreachable

if TYPE_CHECKING:
    from poise.adapters.telemetry.file import TelemetryFile

T = TypeVar("T")
PATIENCE_S: Final = 600.0  # for a copy of a large file
_MISSING: Final = (FileNotFoundError, ConnectionRefusedError)


def copy(data: Path, target: Path) -> bool:
    """A copy of the file, as its owner has it at this instant; False when the house has none.

    Raises ``Unreachable`` when it cannot be opened or its owner does not answer.
    """
    if not (data / FILE).exists():
        return False
    try:
        _asked(data, "copy", Copy(target=str(target.absolute())), int)
    except _MISSING:
        file = _opened(data)
        file.copy_to(target)
        file.close()
    return True


def state(data: Path) -> State | None:
    """What the file holds; None when the house has none. Raises ``Unreachable`` as ``copy`` does."""
    if not (data / FILE).exists():
        return None
    try:
        return _asked(data, "state", Nothing(), State)
    except _MISSING:
        file = _opened(data)
        found = file.state()
        file.close()
        return found


def _opened(data: Path) -> TelemetryFile:
    from poise.adapters.telemetry.file import TelemetryFile  # heavy, and mostly the owner runs

    return TelemetryFile(data / FILE)


def _asked(data: Path, job: str, argument: Struct, answer: type[T]) -> T:
    """By the owner's path socket. Raises ``FileNotFoundError`` or ``ConnectionRefusedError`` without one."""
    folder, _, name = SOCKET.rpartition("/")
    asked = wire.Ask(job, msgspec.Raw(msgspec.msgpack.encode(argument)), PATIENCE_S)
    at = os.open(
        data / folder, os.O_PATH | os.O_DIRECTORY
    )  # by it the address is short, however deep it lies
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(f"/proc/self/fd/{at}/{name}")
            connection.sendall(wire.frame(1, wire.ASK, msgspec.msgpack.encode(asked)))
            size, _, kind = wire.HEAD.unpack(_exactly(connection, wire.HEAD.size))
            body = _exactly(connection, size)
    except TimeoutError:
        raise _silent() from None
    finally:
        os.close(at)
    if kind == wire.FAULT:
        raise error_of(msgspec.msgpack.decode(body, type=Fault))
    return msgspec.msgpack.decode(body, type=answer)


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        got = connection.recv(min(1 << 20, size - len(parts)))
        if not got:
            raise _silent()
        parts += got
    return bytes(parts)


def _silent() -> Unreachable:
    return Unreachable("POISE-U112", "the owner of the telemetry file did not answer", mend="Try again.")
