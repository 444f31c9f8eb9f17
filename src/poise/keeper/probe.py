"""Tells when a port first accepts TCP, by connecting every few milliseconds through the selector."""

from __future__ import annotations

import errno
import os
import socket
import time

from . import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .loop import Loop, Timer


class Probe:
    """Calls `connected` once, when 127.0.0.1:port accepts; `cancel` ends it before."""

    def __init__(self, loop: Loop, port: int, connected: Callable[[], None]) -> None:
        self._loop, self._port, self._connected = loop, port, connected
        self._began = time.monotonic()
        self._socket: socket.socket | None = None
        self._timer: Timer = loop.later(limits.PROBE_FIRST_S, self._try)

    def cancel(self) -> None:
        """Stop; `connected` will not be called."""
        self._timer.cancel()
        self._drop()

    def _try(self) -> None:
        tried = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tried.setblocking(False)
        self._socket = tried
        error = tried.connect_ex(("127.0.0.1", self._port))
        if error == errno.EINPROGRESS:
            self._loop.on_write(tried.fileno(), self._settled)
            self._timer = self._loop.later(limits.PROBE_CONNECT_S, self._again)
        else:
            self._judge(error)

    def _settled(self) -> None:
        assert self._socket is not None
        self._timer.cancel()
        self._loop.forget(self._socket.fileno())
        self._judge(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _judge(self, error: int) -> None:
        tried, self._socket = self._socket, None
        assert tried is not None
        try:
            # A connect to a loopback port in the ephemeral range may meet itself: that is no server.
            good = error == 0 and tried.getsockname() != tried.getpeername()
        except OSError:
            good = False
        tried.close()
        if good:
            self._connected()
        else:
            self._again()

    def _again(self) -> None:
        self._drop()
        share = (time.monotonic() - self._began) * limits.PROBE_SHARE
        wait = min(limits.PROBE_CAP_S, max(limits.PROBE_FIRST_S, share))
        # A little jitter, so that many starting workloads are not all probed in one round.
        self._timer = self._loop.later(wait * (0.9 + os.urandom(1)[0] / 1280), self._try)

    def _drop(self) -> None:
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
