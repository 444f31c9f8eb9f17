"""What is sent: matchers as selectors, durations, and rounds as remote-write 1.0.

**Source:** prometheus.io/docs/specs/prw/remote_write_spec (1.0); protobuf's encoding of prompb.WriteRequest.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Final

import cramjam

from poise.model.samples import Labels, Matcher, Round

WRITE_HEADERS: Final = {
    "content-encoding": "snappy",
    "content-type": "application/x-protobuf",
    "x-prometheus-remote-write-version": "0.1.0",
}
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def selector(matchers: Sequence[Matcher]) -> str:
    """Matchers as PromQL writes them."""
    return "{" + ",".join(f"{_name(one.label)}{one.op.value}{quoted(one.value)}" for one in matchers) + "}"


def quoted(text: str) -> str:
    """A PromQL string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _name(label: str) -> str:
    return label if _NAME.fullmatch(label) else quoted(label)


def seconds(at_ms: int) -> str:
    """An instant in the API's unit, to the millisecond."""
    return f"{at_ms // 1000}.{at_ms % 1000:03d}"


def write_request(round: Round) -> bytes:
    """A round as one snappy-compressed WriteRequest."""
    return bytes(cramjam.snappy.compress_raw(b"".join(_field(1, one) for one in _time_series(round))))


def _time_series(round: Round) -> Iterator[bytes]:
    for reading in round.readings:
        for row, labels in enumerate(reading.series):
            pairs = zip(reading.at_ms.tolist(), reading.values[row].tolist(), strict=True)
            samples = b"".join(_field(2, _sample(value, at_ms)) for at_ms, value in pairs)
            yield _labels(labels) + samples


def _labels(labels: Labels) -> bytes:
    return b"".join(_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels)


def _sample(value: float, at_ms: int) -> bytes:
    return b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at_ms & 0xFFFFFFFFFFFFFFFF)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
