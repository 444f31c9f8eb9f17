"""HTTP/1.1 over one kept-alive connection, by hand: a general client costs several times as much."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

HEAD_LIMIT_BYTES = 64 * 1024
BODY_LIMIT_BYTES = 1024 * 1024
REASON_LIMIT_CHARS = 300  # how much of a 5xx body is kept, to tell Envoy's reasons apart


class Answer(Struct, frozen=True, kw_only=True):
    """What the judging needs of a response; `reason` is the start of the body of a 5xx.

    Status 0 means that the connection ended, or carried what is not HTTP/1.1, before the answer was whole;
    `reason` then says how.
    """

    status: int
    server: str = ""
    version: str = ""
    upstream_answered: bool = False
    reason: str = ""


def broken(reason: str) -> Answer:
    return Answer(status=0, reason=reason)


OnAnswer = Callable[[Answer], None]


class Connection(asyncio.Protocol):
    """One request at a time; each `send` ends in one call of its `on_answer`, or in `close`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._on_answer: OnAnswer | None = None
        self.usable = False

    def send(self, request: bytes, on_answer: OnAnswer) -> None:
        assert self.usable and not self._on_answer and self._transport
        self._on_answer = on_answer
        self._transport.write(request)

    def close(self) -> None:
        """Give up the connection; an answer still awaited is never reported."""
        self.usable = False
        self._on_answer = None
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.usable = True

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._on_answer:
            self.close()  # nobody asked
            return
        try:
            parsed = parse(self._received, ended=False)
        except ValueError as error:
            self._answer(broken(str(error)), keep=False)
            return
        if parsed:
            self._answer(*parsed)

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if not self._on_answer:
            return
        try:
            parsed = parse(self._received, ended=True)
        except ValueError as error:
            parsed = broken(str(error)), False
        self._answer(*(parsed or (broken(f"the connection ended: {exc or 'closed by the server'}"), False)))

    def _answer(self, answer: Answer, keep: bool) -> None:
        on_answer, self._on_answer = self._on_answer, None
        self._received.clear()
        if not keep:
            self.close()
        assert on_answer
        on_answer(answer)


def parse(received: bytearray, *, ended: bool) -> tuple[Answer, bool] | None:
    """(answer, whether to keep the connection), or None while bytes are missing. Raises ValueError."""
    while True:
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            if len(received) > HEAD_LIMIT_BYTES:
                raise ValueError("the head of the answer is too long")
            return None
        lines = received[:head_end].decode("latin-1").split("\r\n")
        protocol, _, rest = lines[0].partition(" ")
        if not protocol.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise ValueError("the answer is not HTTP/1.1")
        if rest[0] != "1":
            break
        del received[: head_end + 4]  # 1xx: the real answer follows
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    status = int(rest[:3])
    body = read_body(received, head_end + 4, status, headers, ended)
    if body is None:
        return None
    keep = protocol == "HTTP/1.1" and headers.get("connection", "").lower() != "close" and not ended
    answer = Answer(
        status=status,
        server=headers.get("server", "").lower(),
        version=headers.get("x-app-version", ""),
        upstream_answered="x-envoy-upstream-service-time" in headers,
        reason=body[:REASON_LIMIT_CHARS].decode("utf-8", "replace") if status >= 500 else "",
    )
    return answer, keep


def read_body(
    received: bytearray, start: int, status: int, headers: dict[str, str], ended: bool
) -> bytes | None:
    """The whole body, or None while bytes are missing."""
    if status in (204, 304):
        return b""
    if len(received) - start > BODY_LIMIT_BYTES:
        raise ValueError("the body of the answer is too long")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return read_chunks(received, start)
    if "content-length" not in headers:
        return bytes(received[start:]) if ended else None
    end = start + int(headers["content-length"])
    return bytes(received[start:end]) if len(received) >= end else None


def read_chunks(received: bytearray, start: int) -> bytes | None:
    body = bytearray()
    while (line_end := received.find(b"\r\n", start)) >= 0:
        size = int(received[start:line_end].split(b";")[0], 16)
        start = line_end + 2
        if size == 0:  # trailers, if any, end with an empty line
            whole = received.startswith(b"\r\n", start) or received.find(b"\r\n\r\n", start) >= 0
            return bytes(body) if whole else None
        if len(received) < start + size + 2:
            return None
        body += received[start : start + size]
        start += size + 2
    return None
