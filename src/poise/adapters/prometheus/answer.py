"""Answers of Prometheus' HTTP API as frames and blocks, series by series."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from poise.model.errors import Invalid, TooLarge
from poise.model.samples import (
    AnswerKind,
    Block,
    Frame,
    Instants,
    Labels,
    Limits,
    Metadata,
    MetricKind,
    Stats,
    Values,
)

Point = tuple[float, str]
LABELS_KNOWN: Final = 65_536
_KINDS: Final = {kind.value: kind for kind in AnswerKind}


class _Series(Struct):
    """``histogram`` and ``histograms`` are native histograms, which are not read."""

    metric: msgspec.Raw = msgspec.Raw(b"{}")
    value: Point | None = None
    values: list[Point] = []
    histogram: Any = None
    histograms: Any = None


class _Data(Struct):
    resultType: str
    result: msgspec.Raw


class _Envelope(Struct):
    status: str
    data: msgspec.Raw
    warnings: list[str] = []
    infos: list[str] = []


class _Meta(Struct):
    type: str = "unknown"
    help: str = ""
    unit: str = ""


def frame_of(body: bytes, where: str, grid: Instants, limits: Limits) -> Frame:
    """The answer of ``query`` (a grid of one instant) or ``query_range``.

    Raises ``Invalid`` for what is no such answer (half a JSON, another grid), ``TooLarge`` past a limit.
    """
    envelope = _decoded(body, where, _Envelope)
    data = _decoded(envelope.data, where, _Data)
    kind = _KINDS.get(data.resultType)
    if kind is None:
        raise _strange(where, f"It answers with a {data.resultType[:40]!r}.")
    frame, told = _frame(kind, data.result, where, grid, limits)
    return replace(frame, warnings=(*envelope.warnings, *told), infos=tuple(envelope.infos))


def _frame(
    kind: AnswerKind, result: msgspec.Raw, where: str, grid: Instants, limits: Limits
) -> tuple[Frame, tuple[str, ...]]:
    """The frame, and what must be warned of besides what the server warns of."""
    if kind in (AnswerKind.SCALAR, AnswerKind.STRING):
        at_s, text = _decoded(result, where, Point)
        return _single(kind, at_s, text, where), ()
    items = _decoded(result, where, list[msgspec.Raw])
    if len(items) > limits.series:
        raise TooLarge("POISE-H122", f"the answer has {len(items)} series", where=where,
                       why=f"The limit is {limits.series}.", mend="Match fewer series.")  # fmt: skip
    found = _decoded(result, where, list[_Series])
    native = any(one.histogram is not None or one.histograms for one in found)
    told = ("native histograms are not read and were left out",) if native else ()
    if kind is AnswerKind.MATRIX and len(grid) == 1:
        return _ragged(found, grid, where, limits), told
    return _on_grid(kind, found, grid, where, limits), told


def names_of(body: bytes, where: str) -> list[str]:
    """The answer of ``labels`` and ``label/<name>/values``; sorted."""
    return sorted(_decoded(_decoded(body, where, _Envelope).data, where, list[str]))


def series_of(body: bytes, where: str) -> list[Labels]:
    """The answer of ``series``; sorted."""
    found = _decoded(_decoded(body, where, _Envelope).data, where, list[dict[str, str]])
    return sorted({labels_of(one) for one in found})


def metadata_of(body: bytes, where: str) -> list[Metadata]:
    """The answer of ``metadata``: the first that any target says of each family; sorted."""
    found = _decoded(_decoded(body, where, _Envelope).data, where, dict[str, list[_Meta]])
    return sorted(
        Metadata(name=name, kind=_metric_kind(told[0].type), help=told[0].help, unit=told[0].unit)
        for name, told in found.items()
        if told
    )


def labels_of(metric: dict[str, str]) -> Labels:
    """Sorted; an empty value is no label."""
    return tuple(sorted((name, value) for name, value in metric.items() if value))


def _labels(metric: msgspec.Raw, where: str) -> Labels:
    """A series' labels; the same object for the same bytes, as a server mostly writes them."""
    return _understood(bytes(metric), where)


@lru_cache(maxsize=LABELS_KNOWN)
def _understood(metric: bytes, where: str) -> Labels:
    return labels_of(_decoded(metric, where, dict[str, str]))


def _metric_kind(word: str) -> MetricKind:
    try:
        return MetricKind(word)
    except ValueError:
        return MetricKind.UNKNOWN


def _single(kind: AnswerKind, at_s: float, text: str, where: str) -> Frame:
    at_ms = np.array([round(at_s * 1000)], dtype=np.int64)
    if kind is AnswerKind.STRING:
        nothing = np.empty((0, 1))
        return Frame(kind=kind, at_ms=at_ms, values=nothing, present=nothing.astype(bool), text=text)
    values = _numbers([text], where).reshape(1, 1)
    return Frame(kind=kind, at_ms=at_ms, series=((),), values=values, present=np.ones((1, 1), bool))


def _on_grid(
    kind: AnswerKind,
    found: list[_Series],
    grid: Instants,
    where: str,
    limits: Limits,
) -> Frame:
    kept = [one for one in found if one.value is not None or one.values]
    values = np.full((len(kept), len(grid)), np.nan)
    present = np.zeros((len(kept), len(grid)), dtype=bool)
    step_ms = int(grid[1] - grid[0]) if len(grid) > 1 else 1
    samples = 0
    for row, one in enumerate(kept):
        points = [one.value] if one.value is not None else one.values
        samples += len(points)
        _check_samples(samples, where, limits)
        at_ms = np.rint(np.array([at for at, _ in points]) * 1000).astype(np.int64)
        place, rest = np.divmod(at_ms - grid[0], step_ms)
        if rest.any() or place.min() < 0 or place.max() >= len(grid):
            raise _strange(where, "It answers at other instants than it was asked for.")
        values[row, place] = _numbers([text for _, text in points], where)
        present[row, place] = True
    return Frame(
        kind=kind,
        at_ms=grid,
        series=tuple(_labels(one.metric, where) for one in kept),
        values=values,
        present=present,
        stats=Stats(samples=samples, peak_samples=samples, series=len(kept)),
    )


def _ragged(found: list[_Series], grid: Instants, where: str, limits: Limits) -> Frame:
    kept = [one for one in found if one.values]
    samples = sum(len(one.values) for one in kept)
    _check_samples(samples, where, limits)
    empty = np.empty((0, 1))
    return Frame(
        kind=AnswerKind.MATRIX,
        at_ms=grid,
        values=empty,
        present=empty.astype(bool),
        ragged=_block(kept, where),
        stats=Stats(samples=samples, peak_samples=samples, series=len(kept)),
    )


def _block(found: list[_Series], where: str) -> Block:
    """Each series is an owner of its own: another server tells nothing of targets."""
    lengths = [len(one.values) for one in found]
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1] if found else np.empty(0)
    texts = [text for one in found for _, text in one.values]
    return Block(
        series=tuple(_labels(one.metric, where) for one in found),
        owner=np.arange(len(found), dtype=np.intp),
        at_ms=tuple(_instants(one.values, where) for one in found),
        start=starts.astype(np.intp),
        flat=_numbers(texts, where),
    )


def _instants(points: list[Point], where: str) -> Instants:
    at_ms: Instants = np.rint(np.array([at for at, _ in points]) * 1000).astype(np.int64)
    if (np.diff(at_ms) <= 0).any():
        raise _strange(where, "Its samples do not ascend in time.")
    return at_ms


def _numbers(texts: list[str], where: str) -> Values:
    try:
        return np.array(texts, dtype=np.str_).astype(np.float64) if texts else np.empty(0)
    except ValueError as error:
        raise _strange(where, "A value is no number.") from error


def _check_samples(samples: int, where: str, limits: Limits) -> None:
    if samples > limits.samples:
        raise TooLarge("POISE-H123", f"the answer has more than {limits.samples} samples", where=where,
                       mend="Ask for fewer series, a shorter range or a longer step.")  # fmt: skip


def _decoded(body: bytes | msgspec.Raw, where: str, shape: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _strange(where, str(error)[:200]) from error


def _strange(where: str, why: str) -> Invalid:
    return Invalid("POISE-H124", "the answer is none of Prometheus' HTTP API", where=where, why=why,
                   mend="See whether the source's url is that of a metrics server.")  # fmt: skip
