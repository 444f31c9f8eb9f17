"""The phone of who is on call: a webhook on loopback that remembers what it was told."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import msgspec
from msgspec import Struct

BODY_LIMIT = 65_536


class Call(Struct, frozen=True, kw_only=True):
    """One message as it came in; ``at_s`` on the event loop's clock."""

    at_s: float
    headers: dict[str, str]
    body: dict[str, Any]


class Phone:
    """Answers every POST with 204. Raises OSError when its port is taken."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.calls: list[Call] = []
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it is told."""
        return f"http://127.0.0.1:{self.port}/page"

    async def listen(self) -> None:
        """Begin to answer."""
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)

    async def hang_up(self) -> None:
        """Stop answering. Harmless when it never began."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def press_acknowledge(self, call: Call) -> int:
        """Open the message's link and press the one button there; the status of the answer."""
        async with httpx2.AsyncClient(timeout=5.0, trust_env=False) as browser:
            opened = await browser.get(call.body["link"])
            opened.raise_for_status()
            return (await browser.post(call.body["link"])).status_code

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = [line.partition(":") for line in head.split("\r\n")[1:] if line]
            headers = {name.strip().lower(): value.strip() for name, _, value in lines}
            length = min(int(headers.get("content-length", "0")), BODY_LIMIT)
            body = msgspec.json.decode(await reader.readexactly(length), type=dict[str, Any])
            at_s = asyncio.get_running_loop().time()
            self.calls.append(Call(at_s=at_s, headers=headers, body=body))
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, msgspec.DecodeError, ValueError, OSError):
            pass  # not a message
        finally:
            writer.close()
