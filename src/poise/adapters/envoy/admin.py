"""Asking Envoy's admin socket: one small HTTP/1.1 request over a unix socket, nothing kept open."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import SocketAttribute

ANSWER_BYTES: Final = 64 << 20
ASK_TIMEOUT_S: Final = 2.0


class Silent(ConnectionError):
    """The admin socket did not answer."""


async def ask(path: Path, target: str) -> tuple[bytes, str]:
    """GET ``target``: the body, and the epoch of the Envoy that answered (``pid-start_ticks``).

    Raises ``Silent``.
    """
    try:
        with anyio.fail_after(ASK_TIMEOUT_S):
            stream = await anyio.connect_unix(str(path))
            async with stream:
                epoch = _epoch(stream.extra(SocketAttribute.raw_socket))  # noqa: S610 - not Django's
                head = f"GET {target} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n"
                await stream.send(head.encode())
                return _body(await _all(stream)), epoch
    except (OSError, TimeoutError, ValueError, anyio.BrokenResourceError) as error:
        raise Silent(f"{path}: {error or type(error).__name__}") from error


async def _all(stream: anyio.abc.ByteReceiveStream) -> bytes:
    parts, size = [], 0
    try:
        while size <= ANSWER_BYTES:
            part = await stream.receive()
            size += len(part)
            parts.append(part)
    except anyio.EndOfStream:
        return b"".join(parts)
    raise ValueError(f"the answer is over {ANSWER_BYTES} bytes")


def _body(answer: bytes) -> bytes:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found or b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
        raise ValueError(f"answered {answer[:80]!r}")
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    whole: list[bytes] = []
    while True:
        size, found, rest = body.partition(b"\r\n")
        if not found:
            raise ValueError("the answer was cut off")
        count = int(size.split(b";")[0], 16)
        if count == 0:
            return b"".join(whole)
        whole.append(rest[:count])
        body = rest[count + 2 :]


def _epoch(peer: socket.socket) -> str:
    """Which process listens: the kernel remembers it, so this can name no other than the one that answers."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = int(struct.unpack("3i", raw)[0])
    stat = Path(f"/proc/{pid}/stat").read_text()
    return f"{pid}-{stat.rpartition(')')[2].split()[19]}"
