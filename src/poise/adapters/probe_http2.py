"""Probing what speaks HTTP/2 without TLS: a GET, or for gRPC the call that its health protocol asks for.

Source: grpc/grpc doc/health-checking.md (``grpc.health.v1.Health/Check``, SERVING is 1); status codes from
doc/statuscodes.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anyio.abc import ByteStream
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError
from msgspec import Struct

from poise.ports.probe import ProbeResult

STREAM: Final = 1
ANSWER_BYTES: Final = 1 << 16
HEALTH_CALL: Final = "/grpc.health.v1.Health/Check"
NO_FIELDS: Final = b"\0\0\0\0\0"  # not compressed, no bytes: a request about the server as a whole
SERVING: Final = b"\x08\x01"  # field 1, a varint, 1
OK, UNIMPLEMENTED = "0", "12"


class _Answer(Struct):
    """What came so far: fields of the head and of the trailers, and the body."""

    fields: dict[str, str] = {}
    body: bytes = b""
    has_ended: bool = False

    def hear(self, event: Event) -> None:
        if isinstance(event, ResponseReceived | TrailersReceived):
            self.fields |= {_text(name): _text(value) for name, value in event.headers or ()}
        elif isinstance(event, DataReceived):
            self.body += event.data or b""
        elif isinstance(event, StreamEnded | StreamReset):
            self.has_ended = True


async def get(stream: ByteStream, path: str) -> ProbeResult:
    """A GET; any status below 400 is well. Raises ``ValueError`` where HTTP/2 is not spoken."""
    answer = await _exchange(stream, [(":method", "GET"), (":path", path)], None)
    status = answer.fields.get(":status", "")
    return ProbeResult.OK if status.isdigit() and 200 <= int(status) < 400 else ProbeResult.BAD


async def check(stream: ByteStream) -> ProbeResult:
    """The gRPC health call: SERVING is well, and so is a server that answers that it has no such service.

    Raises ``ValueError`` where HTTP/2 is not spoken.
    """
    head = [
        (":method", "POST"),
        (":path", HEALTH_CALL),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    answer = await _exchange(stream, head, NO_FIELDS)
    status = answer.fields.get("grpc-status")
    is_well = status == UNIMPLEMENTED or (status == OK and answer.body[len(NO_FIELDS) :] == SERVING)
    return ProbeResult.OK if is_well else ProbeResult.BAD


async def _exchange(stream: ByteStream, head: Sequence[tuple[str, str]], body: bytes | None) -> _Answer:
    connection = H2Connection(H2Configuration(client_side=True))
    fixed = [(":scheme", "http"), (":authority", "127.0.0.1"), ("user-agent", "poise-probe")]
    pseudo = [one for one in (*head, *fixed) if one[0].startswith(":")]
    answer = _Answer()
    try:
        connection.initiate_connection()
        plain = [one for one in (*fixed, *head) if not one[0].startswith(":")]
        connection.send_headers(STREAM, [*pseudo, *plain], end_stream=body is None)
        if body is not None:
            connection.send_data(STREAM, body, end_stream=True)
        await stream.send(connection.data_to_send())
        while not answer.has_ended and len(answer.body) < ANSWER_BYTES:
            for event in connection.receive_data(await stream.receive()):
                answer.hear(event)
            if out := connection.data_to_send():
                await stream.send(out)
    except ProtocolError as error:
        raise ValueError(f"no HTTP/2: {error}") from error
    return answer


def _text(word: bytes | str) -> str:
    return word if isinstance(word, str) else word.decode(errors="replace")
