"""The socket: takes requests, checks them, answers; and the keeper's own start, upgrade and end."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import sys
import time

from . import limits, wire
from .folders import Folders
from .journal import EVENTS, Journal
from .loop import Loop, say
from .requests import handle
from .state import State
from .supervise import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_USAGE = "usage: keeper --data DIR [--detach]"


class Client:
    """One connection: what it has sent half, what it has not read yet, and what it watches."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self._server, self._connection = server, connection
        self._lines = wire.Lines()
        self._out = bytearray()
        self._writing = False
        self.watching: object = None
        connection.setblocking(False)
        server.loop.on_read(connection.fileno(), self._ready)

    def put(self, line: bytes) -> None:
        """Queue a line; it leaves after this round's records are durable."""
        self._out += line

    def flush(self) -> None:
        """Send what fits; a client that does not read is cut off at the limit."""
        try:
            while self._out:
                del self._out[: self._connection.send(self._out[: 1 << 18])]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if len(self._out) > limits.OUT_BUFFER_BYTES:
            say("a client that does not read is cut off")
            self.close()
        elif bool(self._out) != self._writing:
            self._writing = bool(self._out)
            self._server.loop.want(self._connection.fileno(), self._ready, self._writing)

    def close(self) -> None:
        """Hang up."""
        if self in self._server.clients:
            self._server.clients.remove(self)
            self._server.loop.forget(self._connection.fileno())
            self._connection.close()

    def _ready(self) -> None:
        try:
            data = self._connection.recv(limits.READ_BYTES)
        except BlockingIOError:
            return  # writable only: this round's flush does the rest
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        for line in self._lines.feed(data):
            self._take(line)

    def _take(self, line: bytes | None) -> None:
        number: object = None
        try:
            request = wire.parse(line)
            number = request.get("id")
            self.put(wire.answer(number, handle(self._server, self, request)))
        except wire.Refusal as refusal:
            self.put(wire.refuse(number, refusal))
        except Exception as error:
            say(f"a request failed: {type(error).__name__}: {error}")
            self.put(
                wire.refuse(
                    number,
                    wire.Refusal(
                        "failed",
                        "the keeper could not do a request",
                        f"{type(error).__name__}: {error}"[:300],
                        "see DATA/logs/keeper.log; asking again is safe",
                    ),
                )
            )


class Server:
    """Ties loop, supervisor and clients together."""

    def __init__(self, folders: Folders, listener: socket.socket, lock: int) -> None:
        self.folders, self.listener, self.lock = folders, listener, lock
        self.loop = Loop()
        self.clients: list[Client] = []
        self.upgrade_to: list[str] | None = None
        journal, state = Journal(folders.journal), State()
        for record in journal.replay():
            state.apply(record)
        self.supervisor = Supervisor(self.loop, folders, journal, state)
        self.supervisor.announce = self._announce
        self.loop.commit = self._commit

    def run(self) -> None:
        """Serve until stopped; SIGTERM detaches: workloads go on for the next keeper."""
        waker, woken = socket.socketpair()
        for end in (waker, woken):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self.loop, "over", True))
        self.loop.on_read(woken.fileno(), lambda: woken.recv(64))
        self.loop.on_read(self.listener.fileno(), self._accept)
        self.supervisor.recover()
        self._commit()
        self.loop.run()
        self._commit()

    def _accept(self) -> None:
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.getuid()) or len(self.clients) >= limits.CLIENTS:
            connection.close()
            return
        self.clients.append(Client(self, connection))

    def _commit(self) -> None:
        self.supervisor.commit()
        for client in list(self.clients):
            client.flush()
        if self.upgrade_to:
            self._become(self.upgrade_to)

    def _announce(self, record: Json) -> None:
        if record["kind"] in EVENTS:
            for client in self.clients:
                if client.watching is not None:
                    client.put(wire.event(client.watching, record))

    def _become(self, argv: list[str]) -> None:
        """Replace this image in place: same pid, so children remain children; same lock, same socket."""
        self.upgrade_to = None
        signal.set_wakeup_fd(-1)
        kept = (self.listener.fileno(), self.lock)
        for descriptor in kept:
            os.set_inheritable(descriptor, True)
        say(f"upgrade: {argv[3]}")
        try:
            os.execve(argv[0], [*argv, "--listener", str(kept[0]), "--lock", str(kept[1])], os.environ)  # noqa: S606
        except OSError as error:
            say(f"upgrade failed, going on as before: {error}")


def main(args: list[str]) -> int:
    """Run the keeper; return its exit code (2: usage, 1: cannot serve)."""
    options = dict(zip(args[::2], args[1::2], strict=False))
    if args == ["--check"]:
        return 0
    detach = "--detach" in args
    if detach:
        args = [a for a in args if a != "--detach"]
        options = dict(zip(args[::2], args[1::2], strict=False))
    if "--data" not in options or len(args) % 2 or set(options) - {"--data", "--listener", "--lock"}:
        print(_USAGE, file=sys.stderr)  # noqa: T201 - an entry point's talk
        return 2
    os.umask(0o077)
    try:
        folders = Folders(options["--data"])
        lock = _lock(folders, options.get("--lock"))
        try:
            listener = _listen(folders, options.get("--listener"))
        except OSError:
            folders.leave()
            raise
    except OSError as error:
        print(f"keeper: cannot serve {options['--data']}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if detach and not _detach(folders.own_log):
        return 0
    say(f"serves {folders.socket}")
    Server(folders, listener, lock).run()
    say("ends; what still runs goes on for the next keeper")
    return 0


def _lock(folders: Folders, inherited: str | None) -> int:
    """Hold the one lock of this data folder for life; two keepers would fight over its workloads."""
    if inherited is not None:
        os.set_inheritable(int(inherited), False)
        return int(inherited)
    lock = os.open(folders.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + limits.LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError(11, "another keeper serves this folder") from None
            time.sleep(0.01)


def _listen(folders: Folders, inherited: str | None) -> socket.socket:
    if inherited is not None:
        os.set_inheritable(int(inherited), False)
        return socket.socket(fileno=int(inherited))
    if len(folders.socket.encode()) > 107:
        raise OSError(
            36, f"the socket's path is over 107 bytes, choose a shorter data folder: {folders.socket}"
        )
    if os.path.exists(folders.socket):
        os.unlink(folders.socket)  # the lock is ours, so nobody listens there any more
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(folders.socket)  # 0600 by the umask
    listener.listen(limits.CLIENTS)
    listener.setblocking(False)
    return listener


def _detach(log: str) -> bool:
    """Leave the caller's session, with stdio in a log file; returns False in the parent."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for target, source in ((0, nothing), (1, out), (2, out)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(out)
    return True
