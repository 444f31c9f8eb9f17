"""The line protocol: one JSON object per line, in and out.

Refusal                 a request that cannot be done: code, what, where, why, mend
"""

from __future__ import annotations

import json

from .limits import LINE_BYTES


class Refusal(Exception):
    """Why a request was not done, in the four parts every error of Poise has."""

    def __init__(self, code: str, what: str, why: str, mend: str, where: str = "keeper") -> None:
        super().__init__(f"{code}: {what}. {why}. {mend}")
        self.code, self.what, self.why, self.mend, self.where = code, what, why, mend, where


class Lines:
    """Cuts a byte stream into lines; a line over the limit comes out once as None and is skipped."""

    __slots__ = ("_buffer", "_limit", "_skipping")

    def __init__(self, limit_bytes: int = LINE_BYTES) -> None:
        self._buffer = bytearray()
        self._limit = limit_bytes
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the lines completed by `data`, without their newline; empty lines are dropped."""
        out: list[bytes | None] = []
        self._buffer += data
        *complete, rest = self._buffer.split(b"\n")
        for line in complete:
            if self._skipping:
                self._skipping = False
            elif len(line) > self._limit:
                out.append(None)
            elif line.strip():
                out.append(bytes(line))
        if self._skipping:
            rest = bytearray()
        elif len(rest) > self._limit:
            self._skipping = True
            out.append(None)
            rest = bytearray()
        self._buffer = bytearray(rest)
        return out


def parse(line: bytes | None) -> dict[str, object]:
    """Return the request in a line; raises Refusal for anything that is not a JSON object."""
    if line is None:
        raise Refusal(
            "line_too_long",
            "a request line is over its limit",
            f"the limit is {LINE_BYTES} bytes",
            "send less in one request, e.g. fewer environment variables",
        )
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refusal(
            "bad_line", "a request is not JSON", str(error)[:200], 'send e.g. {"id": 1, "op": "list"}'
        ) from None
    if not isinstance(request, dict):
        raise Refusal(
            "bad_line",
            "a request is not an object",
            "each line holds one",
            'send e.g. {"id": 1, "op": "list"}',
        )
    return request


def answer(number: object, result: object) -> bytes:
    """Return the line that answers request `number` with a result."""
    return json.dumps({"id": number, "ok": True, "result": result}).encode() + b"\n"


def refuse(number: object, refusal: Refusal) -> bytes:
    """Return the line that answers request `number` with an error."""
    error = {part: getattr(refusal, part) for part in ("code", "what", "where", "why", "mend")}
    return json.dumps({"id": number, "ok": False, "error": error}).encode() + b"\n"


def event(number: object, record: object) -> bytes:
    """Return the line that carries one record to watcher `number`."""
    return json.dumps({"id": number, "event": record}).encode() + b"\n"
