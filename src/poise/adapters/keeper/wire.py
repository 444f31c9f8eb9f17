"""One connection to the keeper: JSON lines over a unix socket."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import anyio
import msgspec
from anyio.abc import SocketStream

from poise.model.errors import Unreachable
from poise.ports.runtime import RuntimeEvent

PATIENCE_S = 5.0
"""How long a request tries to reach a keeper that is away (being upgraded, being started again)."""
RETRY_FIRST_S, RETRY_CAP_S = 0.01, 0.5
LINE_BYTES = 32 << 20
"""A longer answer is taken for a broken keeper."""
GONE = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What a connection raises when the keeper is no longer there."""


class Answer(msgspec.Struct):
    """A line from the keeper: an answer (`result` or `error`), or an `event` of a watch."""

    id: int | None = None
    ok: bool = True
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: dict[str, str] | None = None
    event: RuntimeEvent | None = None


_ANSWER = msgspec.json.Decoder(Answer)


class Wire:
    """Sends requests and receives answers; any of `GONE` means the connection is of no more use."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    @classmethod
    async def reach(cls, path: Path, patience_s: float) -> Self:
        """Connect, trying again with back-off for `patience_s`; then `Unreachable`."""
        wait_s, deadline = RETRY_FIRST_S, anyio.current_time() + patience_s
        while True:
            try:
                return cls(await anyio.connect_unix(path))
            except OSError as error:
                if anyio.current_time() + wait_s > deadline:
                    raise unreachable(path, str(error)) from error
            await anyio.sleep(wait_s)
            wait_s = min(RETRY_CAP_S, wait_s * 2)

    async def send(self, request: dict[str, object]) -> None:
        """Send one request."""
        await self._stream.send(msgspec.json.encode(request) + b"\n")

    async def receive(self) -> Answer:
        """Return the next line, whole."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LINE_BYTES:
                raise anyio.BrokenResourceError
            self._buffer += await self._stream.receive()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return _ANSWER.decode(line)

    async def close(self) -> None:
        """Hang up, also when this task is being cancelled."""
        with anyio.CancelScope(shield=True):
            await self._stream.aclose()


def unreachable(path: Path, why: str) -> Unreachable:
    """Return the error for a keeper that does not answer."""
    return Unreachable(
        "POISE-K102",
        "the keeper does not answer",
        where=str(path),
        why=why,
        mend="poise up (workloads go on meanwhile)",
    )
