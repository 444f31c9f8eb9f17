"""Exporters on real sockets that answer well, badly, or not at all."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
TEXT = "text/plain; version=0.0.4"


class Exporter:
    """Answers each path by its own ``Answer``; ``asked`` are the heads of requests.

    With ``keeps`` a connection stays for the next request; ``open`` are those there are.
    """

    def __init__(self) -> None:
        self.paths: dict[str, Answer] = {}
        self.keeps = False
        self.open = self.opened = 0
        self.asked: list[str] = []
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def page(
        self, text: str | bytes, path: str = "/metrics", kind: str = TEXT, *, encoding: str = ""
    ) -> None:
        body = text.encode() if isinstance(text, str) else text
        more = f"Content-Encoding: {encoding}\r\n" if encoding else ""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        self.raw(head.encode() + body, path)

    def raw(self, answer: bytes, path: str = "/metrics") -> None:
        async def send(writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            await writer.drain()

        self.paths[path] = send

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.opened += 1
        try:
            await self._answer(reader, writer)
            while self.keeps:
                await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.asked.append(head)
        answer = self.paths.get(head.split(" ")[1].partition("?")[0])
        if answer is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        else:
            await answer(writer)


@asynccontextmanager
async def exporter() -> AsyncIterator[Exporter]:
    made = Exporter()
    server = await asyncio.start_server(made._serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


async def hang(writer: asyncio.StreamWriter) -> None:
    """Takes the question and never says a word; ends when the asker goes."""
    while not writer.is_closing():
        await asyncio.sleep(0.01)


async def stream_for_ever(writer: asyncio.StreamWriter) -> None:
    """Good lines without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
    line = b"endless_total 1\n" * 4096
    while True:
        writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        await writer.drain()


async def drip_for_ever(writer: asyncio.StreamWriter) -> None:
    """A byte now and then."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\na\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


def gzip_bomb(size: int) -> bytes:
    """That many bytes of one line, a thousandth of it as sent."""
    return gzip.compress(b"a" * size)
