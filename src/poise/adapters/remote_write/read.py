"""One WriteRequest off the wire: snappy, then protobuf's fields, scanned without a generated class.

**Source:** prometheus.io/docs/specs/prw/remote_write_spec (1.0); prompb.WriteRequest; protobuf.dev,
"Encoding"; snappy's format_description.txt (the length comes first).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import cramjam
import numpy as np

from poise.model.errors import Invalid, TooLarge
from poise.model.intake import Faults, Faulty, Intake, IntakeLimits, check_labels
from poise.model.samples import NAME, STALE_BITS, Instants, Labels, Metadata, MetricKind, Reading, Values

REMEMBERED: Final = 200_000  # label sets kept by their bytes
_KINDS: Final = (
    MetricKind.UNKNOWN,
    MetricKind.COUNTER,
    MetricKind.GAUGE,
    MetricKind.HISTOGRAM,
    MetricKind.GAUGE_HISTOGRAM,
    MetricKind.SUMMARY,
    MetricKind.INFO,
    MetricKind.STATESET,
)
_DOUBLE: Final = struct.Struct("<d")
_TIME_SERIES, _METADATA = 0x0A, 0x1A
_LABEL, _SAMPLE, _EXEMPLAR, _HISTOGRAM = 0x0A, 0x12, 0x1A, 0x22
_INSTANT_BYTES: Final = 10  # of a varint

Key = tuple[str, tuple[int, ...]]
Rows = dict[Labels, list[float]]


class RemoteWrite:
    """Reads requests; series that came before are known again by their bytes. Not for two threads at once."""

    def __init__(self, limits: IntakeLimits | None = None) -> None:
        self._limits = limits or IntakeLimits()
        self._known: dict[tuple[bytes, ...], Labels] = {}
        self._series: dict[tuple[Labels, ...], tuple[Labels, ...]] = {}

    def read(self, body: bytes) -> Intake:
        """One request. Raises ``Invalid`` when it is no WriteRequest at all, ``TooLarge`` past a limit."""
        raw = decompressed(body, self._limits.body_bytes)
        faults = Faults()
        grouped: dict[Key, Rows] = {}
        metadata: dict[str, Metadata] = {}
        taken = 0
        try:
            for tag, start, end in _fields(raw, 0, len(raw)):
                if tag == _TIME_SERIES:
                    taken += self._taken(raw, start, end, grouped, faults)
                elif tag == _METADATA:
                    said = _metadata(raw, start, end)
                    metadata.setdefault(said.name, said)
        except (Faulty, UnicodeDecodeError) as fault:
            raise Invalid(
                "POISE-M201", "this is no remote-write request", where="remote-write", why=f"{fault}.",
                mend="Send prometheus.WriteRequest (1.0), compressed by snappy's block format.",
            ) from None  # fmt: skip
        return Intake(
            readings=tuple(self._reading(key, rows) for key, rows in grouped.items()),
            metadata=tuple(metadata.values()),
            faults=tuple(faults.named),
            counts=dict(faults.counts),
            samples=taken,
        )

    def _taken(self, raw: bytes, start: int, end: int, grouped: dict[Key, Rows], faults: Faults) -> int:
        """Put one series where it belongs; how many samples it gave."""
        pieces: list[bytes] = []
        instants: list[int] = []
        values: list[float] = []
        for tag, begin, stop in _fields(raw, start, end):
            if tag == _SAMPLE:
                at_ms, value = _sample(raw, begin, stop)
                instants.append(at_ms)
                values.append(value)
            elif tag == _LABEL:
                pieces.append(raw[begin:stop])
            elif tag == _HISTOGRAM:
                faults.add("native-histogram", "a native histogram is not kept; send classic buckets")
        if not values:
            return 0
        try:
            labels = self._labels(pieces)
            if instants != sorted(set(instants)):
                instants, values = _ordered(instants, values, faults)
        except Faulty as fault:
            faults.add(fault.kind, fault.what, count=len(values))
            return 0
        rows = grouped.setdefault((_target(labels), tuple(instants)), {})
        if labels in rows:
            faults.add("duplicate", "a series is there twice", count=len(values))
            return 0
        rows[labels] = values
        return len(values)

    def _labels(self, pieces: list[bytes]) -> Labels:
        key = tuple(pieces)
        known = self._known.get(key)
        if known is not None:
            return known
        pairs = [_label(piece) for piece in pieces]
        labels = tuple(sorted(pair for pair in pairs if pair[1]))
        if len({name for name, _ in pairs}) != len(pairs):
            raise Faulty("labels", "a label is given twice")
        if not any(name == NAME for name, _ in labels):
            raise Faulty("labels", "a series has no name")
        if any(not name for name, _ in labels):
            raise Faulty("labels", "a label's name is empty")
        check_labels(labels, self._limits)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
            self._series.clear()
        self._known[key] = labels
        return labels

    def _reading(self, key: Key, rows: Rows) -> Reading:
        series = tuple(rows)
        if len(self._series) > 1000:
            self._series.clear()
        return Reading(
            target=key[0],
            series=self._series.setdefault(series, series),
            at_ms=_instants(key[1]),
            values=_matrix(rows),
        )


def decompressed(body: bytes, at_most: int) -> bytes:
    """Snappy's block format. The length it claims is looked at before a byte is made."""
    try:
        length = cramjam.snappy.decompress_raw_len(body)
        if length > at_most:
            raise TooLarge(
                "POISE-M202", f"a request of {length} bytes once decompressed", where="remote-write",
                why=f"At most {at_most} are read.",
                mend="Send less at once: queue_config.max_samples_per_send",
            )  # fmt: skip
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise Invalid(
            "POISE-M203", "the body is not compressed by snappy", where="remote-write", why=f"{error}.",
            mend="Use snappy's block format (not the framed one).",
        ) from None  # fmt: skip


def _instants(at_ms: tuple[int, ...]) -> Instants:
    return np.array(at_ms, np.int64)


def _matrix(rows: Rows) -> Values:
    return np.array(list(rows.values()), np.float64)


def _target(labels: Labels) -> str:
    found = dict(labels)
    return f"push/{found.get('job', '')}/{found.get('instance', '')}"[:300]


def _ordered(instants: list[int], values: list[float], faults: Faults) -> tuple[list[int], list[float]]:
    """Ascending, the first of two at one instant."""
    first: dict[int, float] = {}
    for at_ms, value in zip(instants, values, strict=True):
        first.setdefault(at_ms, value)
    if len(first) < len(values):
        faults.add("duplicate", "a series has two samples at one instant", count=len(values) - len(first))
    ascending = sorted(first)
    return ascending, [first[at_ms] for at_ms in ascending]


def _label(piece: bytes) -> tuple[str, str]:
    name, value = "", ""
    try:
        for tag, start, end in _fields(piece, 0, len(piece)):
            if tag == 0x0A:
                name = piece[start:end].decode()
            elif tag == 0x12:
                value = piece[start:end].decode()
    except UnicodeDecodeError:
        raise Faulty("encoding", "a label is not UTF-8") from None
    return name, value


def _sample(raw: bytes, start: int, end: int) -> tuple[int, float]:
    """(ms, value). Only the stale marker's bits are kept of all NaNs."""
    value, at_ms = 0.0, 0
    if end - start > 9 and raw[start] == 0x09 and raw[start + 9] == 0x10:  # as every sender writes it
        (value,) = _DOUBLE.unpack_from(raw, start + 1)
        at_ms, at = _varint(raw, start + 10, end)
        if at == end:
            return _signed(at_ms), _plain(value)
    value, at_ms = 0.0, 0
    at = start
    while at < end:
        tag, at = _varint(raw, at, end)
        if tag == 0x09 and at + 8 <= end:
            (value,) = _DOUBLE.unpack_from(raw, at)
            at += 8
        elif tag == 0x10:
            at_ms, at = _varint(raw, at, end)
        else:
            _, at = _skipped(raw, tag, at, end)
    return _signed(at_ms), _plain(value)


def _plain(value: float) -> float:
    if value == value or struct.unpack("<Q", _DOUBLE.pack(value))[0] == STALE_BITS:
        return value
    return float("nan")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _metadata(raw: bytes, start: int, end: int) -> Metadata:
    kind, name, said, unit = 0, "", "", ""
    for tag, begin, stop in _fields(raw, start, end):
        if tag == 0x08:
            kind = begin
        elif tag == 0x12:
            name = raw[begin:stop].decode()
        elif tag == 0x22:
            said = raw[begin:stop].decode()
        elif tag == 0x2A:
            unit = raw[begin:stop].decode()
    known = _KINDS[kind] if kind < len(_KINDS) else MetricKind.UNKNOWN
    return Metadata(name=name[:256], kind=known, help=said[:4096], unit=unit[:256])


def _fields(raw: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(tag, start, end) of every field; of a varint (value, where it ends)."""
    while at < end:
        tag = raw[at]
        if tag < 0x80:
            at += 1
        else:
            tag, at = _varint(raw, at, end)
        if tag & 7 == 2:
            length = raw[at] if at < end else 0x80
            if length < 0x80:
                at += 1
            else:
                length, at = _varint(raw, at, end)
            if at + length > end:
                raise Faulty("protobuf", f"byte {at}: a field is longer than what holds it")
            yield tag, at, at + length
            at += length
        elif tag & 7 == 0:
            value, at = _varint(raw, at, end)
            yield tag, value, at
        else:
            _, at = _skipped(raw, tag, at, end)


def _skipped(raw: bytes, tag: int, at: int, end: int) -> tuple[int, int]:
    """Pass over one field of a wire type; ``Faulty`` for what is none."""
    kind = tag & 7
    if tag < 8 or kind in (3, 4, 6, 7):
        raise Faulty("protobuf", f"byte {at}: {tag} is no field")
    if kind == 0:
        return _varint(raw, at, end)
    if kind == 2:
        length, at = _varint(raw, at, end)
    else:
        length = 8 if kind == 1 else 4
    if at + length > end:
        raise Faulty("protobuf", f"byte {at}: a field is longer than what holds it")
    return 0, at + length


def _varint(raw: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(at, min(end, at + _INSTANT_BYTES)):
        byte = raw[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place + 1
        shift += 7
    raise Faulty("protobuf", f"byte {at}: a number without an end")
