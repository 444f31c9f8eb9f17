"""The last edge before the reader: known secrets are masked in every answer that is text.

An answer in one piece is masked as what it is (JSON, a page, plain text); of a stream of server-sent events
each event is. What is binary (git, files) passes, and so does what was masked piece by piece on its way.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any, Final
from urllib.parse import quote

import msgspec
from litestar import Litestar
from litestar.datastructures import MutableScopeHeaders

from poise.adapters.masking import MASK, Masker

_TEXTS: Final = ("text/", "application/json", "application/problem+json", "application/vnd.oai")
_STREAM: Final = "text/event-stream"
_DONE: Final = "poise.masked"
_BETWEEN_TAGS: Final = re.compile(r">[^<]+<")


class Front(Litestar):
    """The application, whose every answer is masked."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See ASGI."""
        masked = Masked(self.state.parts.masker, send, scope) if scope["type"] == "http" else send
        await super().__call__(scope, receive, masked)


class Masked:
    """``send`` of one answer. Of what is no stream it keeps the head and the pieces until the last one."""

    def __init__(self, masker: Masker, send: Any, scope: Any) -> None:
        self._masker, self._send, self._scope = masker, send, scope
        self._head: Any = None
        self._type = ""
        self._kept = b""

    async def __call__(self, message: Any) -> None:
        """See ASGI."""
        kind = message["type"]
        if kind == "http.response.start":
            self._type = MutableScopeHeaders(message).get("content-type", "").lower()
            if self._scope.get(_DONE):
                self._type = ""
            if self._is_whole_text:
                self._head = message
            else:
                await self._send(message)
        elif kind == "http.response.body" and self._type.startswith(_STREAM):
            await self._send({**message, "body": of_stream(self._masker, message.get("body", b""))})
        elif kind == "http.response.body" and self._is_whole_text:
            await self._piece(message)
        else:
            await self._send(message)

    @property
    def _is_whole_text(self) -> bool:
        return self._type.startswith(_TEXTS) and not self._type.startswith(_STREAM)

    async def _piece(self, message: Any) -> None:
        self._kept += message.get("body", b"")
        if message.get("more_body", False):
            return
        masked = self._masked(self._kept)
        if self._head is not None:
            headers = MutableScopeHeaders(self._head)
            if len(masked) != len(self._kept) and "content-length" in headers:
                headers["content-length"] = str(len(masked))
            await self._send(self._head)
        await self._send({**message, "body": masked})

    def _masked(self, body: bytes) -> bytes:
        if "json" in self._type:
            return self._masker.json(body)
        if self._type.startswith("text/html"):
            return of_page(self._masker, body)
        text = body.decode(errors="surrogateescape")
        return self._masker.text(text).encode(errors="surrogateescape")


class Pieces:
    """JSON that comes in pieces of bytes: a value that could be no name is masked, split or not."""

    def __init__(self, masker: Masker) -> None:
        self._values = [msgspec.json.encode(value)[1:-1] for value in masker.everywhere]
        self._held = max(map(len, self._values), default=1) - 1
        self._kept = b""

    def feed(self, piece: bytes) -> bytes:
        """What may be shown now; the last bytes wait for what follows."""
        if not self._values:
            return piece
        text = self._without(self._kept + piece)
        cut = max(0, len(text) - self._held)
        self._kept = text[cut:]
        return text[:cut]

    def end(self) -> bytes:
        """The rest."""
        return self._without(self._kept)

    def _without(self, text: bytes) -> bytes:
        for value in self._values:
            text = text.replace(value, MASK.encode())
        return text


def is_masked_already(scope: Any) -> None:
    """This answer is masked by who makes it, with ``Pieces``; it is passed on as it comes."""
    scope[_DONE] = True


def of_page(masker: Masker, body: bytes) -> bytes:
    """A page without known values; those that may be names only in its text, so that links lead on."""
    if not masker.free:
        return body
    text = body.decode(errors="surrogateescape")
    for value in masker.everywhere:
        for form in {value, escape(value), escape(value).replace("&#x27;", "&#39;"), quote(value, safe="")}:
            text = text.replace(form, MASK)
    free = [form for value in masker.free for form in (escape(value), value) if form in text]
    if free:

        def without(found: re.Match[str]) -> str:
            shown = found.group()
            for form in free:
                shown = shown.replace(form, MASK)
            return shown

        text = _BETWEEN_TAGS.sub(without, text)
    return text.encode(errors="surrogateescape")


def of_stream(masker: Masker, body: bytes) -> bytes:
    """One or more server-sent events, their data masked as JSON or text."""
    lines = body.split(b"\n")
    return b"\n".join(_of_line(masker, line) for line in lines)


def _of_line(masker: Masker, line: bytes) -> bytes:
    name, colon, data = line.partition(b": ")
    if name != b"data" or not colon:
        return line
    end = b"\r" if data.endswith(b"\r") else b""
    try:
        msgspec.json.decode(data)
    except msgspec.DecodeError:
        return name + colon + masker.text(data.decode(errors="replace")).encode()
    return name + colon + masker.json(data.removesuffix(b"\r")) + end
