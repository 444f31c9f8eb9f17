"""What the readings of a service say of its load, and where they cannot be trusted. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

RATE_WINDOW_S: Final = 5.0  # a rate is the mean over at least this long
ZERO_DOUBT_S: Final = 900.0  # a busy service that fell silent is believed after this long
SILENT_REQUESTS: Final = 20.0  # so many requests expected and none seen: chance is e^-20


class Reading(Struct, frozen=True, kw_only=True):
    """One reading: monotone ``total`` requests of ``epoch`` and the gauge ``in_flight``; None: not read.

    ``at`` is UTC epoch seconds.
    """

    at: float
    epoch: str
    total: float | None
    in_flight: float | None


class Load(Struct, frozen=True, kw_only=True):
    """The load up to ``at``: requests per second, and mean requests in flight; None: cannot be told."""

    at: float
    rate_per_s: float | None
    in_flight: float | None


def unbroken(readings: Sequence[Reading], gap_s: float) -> Sequence[Reading]:
    """The newest run of readings of one epoch without a gap over ``gap_s`` or a total that falls."""
    first = len(readings) - 1
    while first > 0 and _follows(readings[first - 1], readings[first], gap_s):
        first -= 1
    return readings[max(0, first) :]


def _follows(before: Reading, after: Reading, gap_s: float) -> bool:
    if before.epoch != after.epoch or after.at - before.at > gap_s:
        return False
    return before.total is None or after.total is None or after.total >= before.total


def loads(run: Sequence[Reading]) -> Iterator[Load]:
    """The load at each reading of an unbroken run, over ``RATE_WINDOW_S`` or from the reading before."""
    back = 0
    for index, reading in enumerate(run):
        while back + 1 < index and run[back + 1].at <= reading.at - RATE_WINDOW_S:
            back += 1
        yield _load(run[back : index + 1])


def newest_load(run: Sequence[Reading]) -> Load:
    """The last of ``loads``, without working out the others. O(readings within ``RATE_WINDOW_S``)."""
    at, back = run[-1].at, max(0, len(run) - 2)
    while back > 0 and run[back].at > at - RATE_WINDOW_S:
        back -= 1
    return _load(run[back:])


def _load(window: Sequence[Reading]) -> Load:
    first, last = window[0], window[-1]
    rate = None
    if first.total is not None and last.total is not None and last.at > first.at:
        rate = (last.total - first.total) / (last.at - first.at)
    flights = [one.in_flight for one in window if one.in_flight is not None]
    known = last.in_flight is not None
    return Load(at=last.at, rate_per_s=rate, in_flight=sum(flights) / len(flights) if known else None)


def implausible_zero(run: Sequence[Reading]) -> str:
    """Why a rate of zero is not believed; "" when it is not zero, or may well be."""
    last = run[-1]
    moved = next((i for i in range(len(run) - 1, 0, -1) if _rises(run[i - 1], run[i])), None)
    silent_s = last.at - run[moved or 0].at
    if moved is None:
        return "" if silent_s >= ZERO_DOUBT_S else "no request was counted since it was first read"
    if moved == len(run) - 1:
        return ""
    if (last.in_flight or 0.0) > 0.0 and silent_s >= RATE_WINDOW_S:
        return "requests are in flight but none is counted"
    before = newest_load(run[: moved + 1]).rate_per_s or 0.0
    if before * silent_s >= SILENT_REQUESTS and silent_s < ZERO_DOUBT_S:
        return f"it fell from {before:.4g} requests/s to none at once"
    return ""


def _rises(before: Reading, after: Reading) -> bool:
    return before.total is not None and after.total is not None and after.total > before.total
