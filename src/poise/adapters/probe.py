"""The Probe port on loopback, and what /proc says of a process: no library, little memory, many at once."""

from __future__ import annotations

import socket
from collections.abc import Collection
from pathlib import Path
from typing import Final
from zlib import crc32

import anyio

from poise.model.service import Protocol
from poise.ports.probe import ProbeResult

HEAD_BYTES: Final = 1 << 14
FIXED_LOW, FIXED_HIGH = 18_000, 19_999  # below the keeper's fresh ports
_ESTABLISHED: Final = "01"


class LoopbackProbe:
    """A GET on a connection of its own; any status below 400 is well. No path: a TCP connect.

    In HTTP/1.1 or HTTP/2, as ``spoken``; of gRPC the health call, whatever the path.
    """

    async def ask(
        self, port: int, path: str, timeout_s: float, spoken: Protocol = Protocol.HTTP
    ) -> ProbeResult:
        """See the port. Never raises."""
        try:
            with anyio.fail_after(timeout_s):
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    return await _asked(stream, path, spoken)
        except TimeoutError:
            return ProbeResult.SLOW
        except (anyio.BrokenResourceError, anyio.EndOfStream, ConnectionResetError, ValueError):
            return ProbeResult.BAD
        except OSError:
            return ProbeResult.REFUSED


async def _asked(stream: anyio.abc.ByteStream, path: str, spoken: Protocol) -> ProbeResult:
    if not path:
        return ProbeResult.OK
    if spoken is Protocol.HTTP:
        return await _get(stream, path)
    from poise.adapters import probe_http2  # few houses have such a service

    return await (probe_http2.check(stream) if spoken is Protocol.GRPC else probe_http2.get(stream, path))


async def _get(stream: anyio.abc.ByteStream, path: str) -> ProbeResult:
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: poise-probe\r\nConnection: close\r\n\r\n"
    await stream.send(head.encode())
    answer = b""
    while b"\r\n" not in answer and len(answer) < HEAD_BYTES:
        answer += await stream.receive()
    parts = answer.split(b" ", 2)
    status = int(parts[1][:3]) if len(parts) > 1 else 0
    return ProbeResult.OK if 200 <= status < 400 else ProbeResult.BAD


def stopped(pid: int) -> bool:
    """Whether a process is stopped or traced (state T or t in /proc/<pid>/stat)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(") ")[2][:1] in ("T", "t")


def connections(port: int) -> int:
    """How many connections to 127.0.0.1:``port`` are open, counted at the server's end."""
    wanted = f"0100007F:{port:04X}"
    try:
        rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return 0
    found = 0
    for row in rows:
        fields = row.split()
        found += fields[1] == wanted and fields[3] == _ESTABLISHED
    return found


def fixed_port(name: str, taken: Collection[int]) -> int | None:
    """A loopback port for good, the same for the same name where it can be; None when all are taken."""
    span = FIXED_HIGH - FIXED_LOW + 1
    first = crc32(name.encode()) % span
    for step in range(span):
        port = FIXED_LOW + (first + step) % span
        if port not in taken and _free(port):
            return port
    return None


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
