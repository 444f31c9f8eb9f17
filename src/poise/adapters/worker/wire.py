"""What is said between the control process and a worker: frames of a length, a kind and a body."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from poise.model import errors
from poise.model.errors import Invalid, PoiseError, TimedOut, TooLarge, Unreachable
from poise.model.rules import RuleResult
from poise.model.samples import Labels, Limits

HEAD: Final = struct.Struct(">IB")  # bytes of the body, kind
FRAME_BYTES_MAX: Final = 16 << 20
PIECE_BYTES: Final = 128 * 1024  # of every piece but the last, at least
SERIES_AT_ONCE: Final = 500  # of one rule, about half a millisecond to read
LOOKBACK_MS: Final = 300_000
OUT_OF_MEMORY: Final = "POISE-W105"  # the worker ends after it has told so


class Kind(IntEnum):
    """What a frame is."""

    ASK = 1
    PIECE = 2  # bytes of the answer, in order
    END = 3  # the last bytes of the answer
    FAULT = 4  # there is no answer, or no more of it


class Ask(Struct, frozen=True, array_like=True):
    """A job by its name, its argument as msgpack, and how long it may take."""

    job: str
    argument: msgspec.Raw
    seconds: float


class Query(Struct, frozen=True, kw_only=True):
    """One expression at one instant. ``series`` 0 answers all of them; ``cost`` adds what it cost."""

    expression: str
    at_ms: int
    lookback_ms: int = LOOKBACK_MS
    limits: Limits = Limits()
    series: int = 0
    cost: bool = False


class QueryRange(Struct, frozen=True, kw_only=True):
    """One expression over a grid."""

    expression: str
    start_ms: int
    end_ms: int
    step_ms: int
    lookback_ms: int = LOOKBACK_MS
    limits: Limits = Limits()
    series: int = 0
    cost: bool = False


class Find(Struct, frozen=True, kw_only=True):
    """Series, label names or a ``label``'s values. ``selectors`` are PromQL; at most ``items``, 0 is all."""

    selectors: tuple[str, ...] = ()
    start_ms: int
    end_ms: int
    label: str = ""
    items: int = 0


class Describe(Struct, frozen=True, kw_only=True):
    """What one metric family says of itself, or all of them; at most ``items``, 0 is all."""

    name: str = ""
    items: int = 0


class HowUsual(Struct, frozen=True, kw_only=True):
    """A service's signals from ``since_ms`` up to ``until_ms``, against what was before."""

    service: str
    since_ms: int
    until_ms: int


class RulePart(Struct, frozen=True, array_like=True):
    """A part of what one rule gave, so small that reading it holds nobody up."""

    series: tuple[Labels, ...]
    values: tuple[float, ...]
    gone: tuple[Labels, ...]


def parted(result: RuleResult) -> tuple[msgspec.Raw, list[msgspec.Raw]]:
    """One rule's result without its series and values, and these in parts."""
    count = max(len(result.values), len(result.gone))
    places = [slice(first, first + SERIES_AT_ONCE) for first in range(0, count, SERIES_AT_ONCE)]
    parts = [RulePart(result.series[one], result.values[one], result.gone[one]) for one in places]
    return _raw(replace(result, series=(), values=(), gone=())), [_raw(one) for one in parts]


def _raw(one: Struct) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(one))


class Fault(Struct, frozen=True, kw_only=True):
    """An error on its way: its class in ``poise.model.errors``, its parts, Prometheus' word for it."""

    kind: str
    code: str
    what: str
    where: str = ""
    why: str = ""
    mend: str = ""
    word: str = "execution"


class FaultInvalid(Invalid):
    """What was asked cannot be answered; ``error_type`` is Prometheus' word."""

    error_type = "bad_data"


class FaultTooLarge(TooLarge):
    """It needs more memory, samples, series or steps than one query may."""

    error_type = "execution"


class FaultTimedOut(TimedOut):
    """It took longer than one query may."""

    error_type = "timeout"


class FaultUnreachable(Unreachable):
    """There is no metrics database, no worker, or no place in the queue."""

    error_type = "unavailable"


def frame(kind: Kind, body: bytes = b"") -> bytes:
    """A frame as bytes."""
    return HEAD.pack(len(body), kind) + body


def fault_of(error: PoiseError) -> Fault:
    """The error as it travels."""
    kind = next(
        (
            one.__name__
            for one in (Invalid, TooLarge, TimedOut, Unreachable, errors.NotFound)
            if isinstance(error, one)
        ),
        "PoiseError",
    )
    word = getattr(error, "error_type", {"TimedOut": "timeout", "Unreachable": "unavailable"}.get(kind, ""))
    return Fault(
        kind=kind,
        code=error.code,
        what=error.what,
        where=error.where,
        why=error.why,
        mend=error.mend,
        word=word or "execution",
    )


def error_of(fault: Fault) -> PoiseError:
    """The error as it is raised on the asking side."""
    cls: type[PoiseError] = {
        "Invalid": FaultInvalid,
        "TooLarge": FaultTooLarge,
        "TimedOut": FaultTimedOut,
        "Unreachable": FaultUnreachable,
        "NotFound": errors.NotFound,
    }.get(fault.kind, PoiseError)
    made = cls(fault.code, fault.what, where=fault.where, why=fault.why, mend=fault.mend)
    if isinstance(made, FaultInvalid):
        made.error_type = fault.word
    return made
