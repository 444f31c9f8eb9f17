"""Answers as Prometheus' HTTP API writes them, in pieces.

Source: prometheus.io/docs/prometheus/latest/querying/api; web/api/v1/json_codec.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from poise.adapters.promql.text import number
from poise.adapters.worker.wire import PIECE_BYTES
from poise.model.samples import AnswerKind, Block, Frame, Instants, Labels, Stats, Values

TRUNCATED: Final = "results truncated due to limit"
_OPEN: Final = b'{"status":"success","data":'


def of_frame(frame: Frame, *, series: int = 0, cost: bool = False) -> Iterator[bytes]:
    """A query's answer. Past ``series`` of them it is cut and says so; 0 cuts nothing."""
    yield from gathered(_frame(frame, series, cost))


def of_items(items: Sequence[Any], limit: int) -> Iterator[bytes]:
    """A list; past ``limit`` items it is cut and says so; 0 cuts nothing."""
    shown = items[:limit] if limit else items
    told = (TRUNCATED,) if len(shown) < len(items) else ()
    yield from gathered(_list(shown, told))


def of_series(found: Sequence[Labels], limit: int) -> Iterator[bytes]:
    """Series as label sets."""
    shown = found[:limit] if limit else found
    told = (TRUNCATED,) if len(shown) < len(found) else ()
    yield from gathered(_list([dict(labels) for labels in shown], told))


def of_value(value: Any) -> Iterator[bytes]:
    """Any plain data."""
    yield _OPEN + msgspec.json.encode(value) + b"}"


def gathered(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of about ``PIECE_BYTES``."""
    kept: list[bytes] = []
    size = 0
    for part in parts:
        kept.append(part)
        size += len(part)
        if size >= PIECE_BYTES:
            yield b"".join(kept)
            kept, size = [], 0
    if kept:
        yield b"".join(kept)


def _list(items: Sequence[Any], warnings: tuple[str, ...]) -> Iterator[bytes]:
    yield _OPEN + b"["
    for begin in range(0, len(items), 1000):
        body = msgspec.json.encode(items[begin : begin + 1000])[1:-1]
        yield (b"," if begin else b"") + body
    yield b"]" + _told("warnings", warnings) + b"}"


def _frame(frame: Frame, series: int, cost: bool) -> Iterator[bytes]:
    yield _OPEN + b'{"resultType":"' + frame.kind.value.encode() + b'","result":'
    cut = False
    match frame.kind:
        case AnswerKind.SCALAR:
            yield _stamp(int(frame.at_ms[0])) + number(float(frame.values[0, 0])).encode() + b'"]'
        case AnswerKind.STRING:
            yield _stamp(int(frame.at_ms[0]))[:-1] + msgspec.json.encode(frame.text) + b"]"
        case _:
            count = len(frame.ragged.series) if frame.ragged is not None else len(frame.series)
            cut = 0 < series < count
            yield b"["
            yield from _rows(frame, series if cut else count)
            yield b"]"
    if cost:
        yield b',"stats":' + msgspec.json.encode(_cost(frame.stats))
    warnings = (*frame.warnings, TRUNCATED) if cut else frame.warnings
    yield b"}" + _told("warnings", warnings) + _told("infos", frame.infos) + b"}"


def _told(name: str, sentences: tuple[str, ...]) -> bytes:
    return b',"' + name.encode() + b'":' + msgspec.json.encode(sentences) if sentences else b""


def _cost(stats: Stats) -> dict[str, Any]:
    return {
        "timings": {
            "evalTotalTime": stats.seconds,
            "resultSortTime": 0,
            "queryPreparationTime": 0,
            "innerEvalTime": stats.seconds,
            "execQueueTime": 0,
            "execTotalTime": stats.seconds,
        },
        "samples": {"totalQueryableSamples": stats.samples, "peakSamples": stats.peak_samples},
    }


def _rows(frame: Frame, count: int) -> Iterator[bytes]:
    if frame.ragged is not None:
        yield from _ragged(frame.ragged, count)
    elif frame.kind is AnswerKind.VECTOR:
        yield from _vector(frame, count)
    else:
        yield from _matrix(frame, count)


def _vector(frame: Frame, count: int) -> Iterator[bytes]:
    stamp = b'},"value":' + _stamp(int(frame.at_ms[0]))
    between = b"{"
    for labels, text in zip(frame.series[:count], texts(frame.values[:count, 0]), strict=True):
        yield between + b'"metric":' + _labels(labels)[:-1] + stamp + text + b'"]'
        between = b"},{"
    if count:
        yield b"}"


def _matrix(frame: Frame, count: int) -> Iterator[bytes]:
    """Sorted by labels, as Prometheus does; values that are absent are left out."""
    stamps = _stamps(frame.at_ms)
    order = sorted(range(len(frame.series)), key=frame.series.__getitem__)[:count]
    between = b"{"
    for row in order:
        present = frame.present[row]
        if present.all():
            points = _points(stamps, frame.values[row])
        else:
            places = np.flatnonzero(present)
            if not len(places):
                continue
            points = _points([stamps[i] for i in places.tolist()], frame.values[row, places])
        yield between + b'"metric":' + _labels(frame.series[row]) + b',"values":[' + points + b"]"
        between = b"},{"
    if between != b"{":
        yield b"}"


def _ragged(block: Block, count: int) -> Iterator[bytes]:
    order = sorted(range(len(block.series)), key=block.series.__getitem__)[:count]
    between = b"{"
    for row in order:
        at_ms, begin = block.at_ms[int(block.owner[row])], int(block.start[row])
        points = _points(_stamps(at_ms), block.flat[begin : begin + len(at_ms)])
        yield between + b'"metric":' + _labels(block.series[row]) + b',"values":[' + points + b"]"
        between = b"},{"
    if order:
        yield b"}"


def _points(stamps: Sequence[bytes], values: Values) -> bytes:
    """``[at,"value"],...``; every stamp but the first one closes the point before."""
    both: list[bytes] = [b""] * (2 * len(stamps))
    both[0::2] = stamps
    both[1::2] = texts(values)
    return b"".join(both)[3:] + b'"]'


def _stamps(at_ms: Instants) -> list[bytes]:
    return [b'"],' + _stamp(one) for one in at_ms.tolist()]


def _stamp(at_ms: int) -> bytes:
    """An instant in seconds, with milliseconds where it has any, and the quote before its value."""
    whole, rest = divmod(abs(at_ms), 1000)
    sign = "-" if at_ms < 0 else ""
    return f'[{sign}{whole}.{rest:03d},"'.encode() if rest else f'[{sign}{whole},"'.encode()


def texts(values: Values) -> list[bytes]:
    """Each float64 as ``text.number`` writes it."""
    listed = values.tolist()
    if not listed:
        return []
    raw = msgspec.json.encode(listed)
    if b"e" in raw or b"n" in raw:  # an exponent, or null for what is no finite number
        return [number(value).encode() for value in listed]
    return (raw[1:-1] + b",").replace(b".0,", b",").split(b",")[:-1]


def _labels(labels: Labels) -> bytes:
    return msgspec.json.encode(dict(labels))
