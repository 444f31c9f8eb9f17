"""What is said between an asker and the owner: frames of a length, a number and a body of msgpack."""

from __future__ import annotations

import struct
from typing import Final

import msgspec
from msgspec import Struct

from poise.adapters.worker.wire import Fault
from poise.model.intake import Fault as IntakeFault
from poise.model.telemetry import LogRecord, Span

HEAD: Final = struct.Struct(">IIB")  # bytes of the body, the ask's number, kind
FRAME_BYTES_MAX: Final = 96 << 20
READY: Final = 0  # the number of what the owner says once it has opened the file

ASK: Final = 1
ANSWER: Final = 2
FAULT: Final = 3


class Ask(Struct, frozen=True, array_like=True):
    """A job by its name, its argument as msgpack, and how long it may take."""

    job: str
    argument: msgspec.Raw
    seconds: float


class Spans(Struct, frozen=True, kw_only=True):
    """Spans to append."""

    items: tuple[Span, ...]


class LogRecords(Struct, frozen=True, kw_only=True):
    """Log records to append."""

    items: tuple[LogRecord, ...]


class Push(Struct, frozen=True, kw_only=True):
    """A body as it was sent; ``signal`` is ``traces`` or ``logs``."""

    signal: str
    body: bytes
    encoding: str = ""
    json: bool = False
    now_ns: int
    body_bytes: int  # it may have once it is decompressed


class Taken(Struct, frozen=True, kw_only=True):
    """What became of a body: the OTLP response, rows kept and known, and what was left out, by reason."""

    response: bytes
    kept: int
    known: int = 0
    rejected: dict[str, int] = {}
    warned: dict[str, int] = {}  # kept, but not as it was sent
    faults: tuple[IntakeFault, ...] = ()


class Window(Struct, frozen=True, kw_only=True):
    """Instants [since_ns, until_ns), and perhaps one service."""

    since_ns: int
    until_ns: int
    service: str = ""


class Id(Struct, frozen=True, kw_only=True):
    """One trace."""

    trace_id: str


class Copy(Struct, frozen=True, kw_only=True):
    """Where a copy of the file goes."""

    target: str


class Nothing(Struct, frozen=True, kw_only=True):
    """A job without an argument."""


class State(Struct, frozen=True, kw_only=True):
    """How much the file holds; ``oldest_ns`` is 0 when it holds nothing."""

    spans: int
    records: int
    templates: int
    oldest_ns: int
    used_bytes: int
    file_bytes: int


def frame(number: int, kind: int, body: bytes) -> bytes:
    """A frame as bytes."""
    return HEAD.pack(len(body), number, kind) + body


def fault_frame(number: int, fault: Fault) -> bytes:
    """An error on its way."""
    return frame(number, FAULT, msgspec.msgpack.encode(fault))
