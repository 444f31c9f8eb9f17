"""Which readings stay: all while young, then the last of each minute, of each five, of each hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.model.signal import Series

DAY_S = 86_400.0


class Retention(Struct, frozen=True, kw_only=True):
    """How long which step is kept, in seconds of age. Nothing is older than ``keep_s``."""

    full_s: float = DAY_S
    minute_s: float = 7 * DAY_S
    coarse_s: float = 35 * DAY_S
    keep_s: float = 400 * DAY_S  # a year, and what a window of the calendar may be longer
    minute_step_s: float = 60.0
    coarse_step_s: float = 300.0
    old_step_s: float = 3600.0
    every_s: float = 3600.0

    def bucket(self, at: float, now: float) -> tuple[float, float] | None:
        """The (step, number) in which only the last reading stays; None while every one stays."""
        age_s = now - at
        if age_s <= self.full_s:
            return None
        step_s = self.minute_step_s if age_s <= self.minute_s else self.coarse_step_s
        if age_s > self.coarse_s:
            step_s = self.old_step_s
        return (step_s, at // step_s)


def surplus(readings: Iterable[tuple[float, bool]], now: float, retention: Retention) -> list[float]:
    """The instants to delete of one epoch's readings ``(at, pinned)``, ascending by ``at``.

    The first reading, pinned ones and the last of each bucket stay, unless older than ``keep_s``.
    """
    gone: list[float] = []
    previous: tuple[float, bool] | None = None
    before: tuple[float, float] | None = None
    for index, (at, pinned) in enumerate(readings):
        bucket = retention.bucket(at, now)
        if previous is not None and bucket is not None and bucket == before and not previous[1]:
            gone.append(previous[0])
        if now - at > retention.keep_s:
            gone.append(at)
            previous, before = None, None
            continue
        previous, before = (at, pinned or index == 0), bucket
    return gone


class Last(Struct, frozen=True, eq=False, kw_only=True):
    """An epoch's newest reading."""

    at_s: float
    series: tuple[Series, ...]
    values: NDArray[np.float64]

    def breaks(self, series: tuple[Series, ...], values: NDArray[np.float64]) -> bool:
        """As the function, from this reading to one of ``series``."""
        if series is self.series:
            if not (values < self.values).any():
                return False
            fallen = np.flatnonzero(values < self.values)
            return any(is_counter(series[place]) for place in fallen)
        before = dict(zip(self.series, self.values.tolist(), strict=True))
        return breaks(before, dict(zip(series, values.tolist(), strict=True)))


def breaks(before: Mapping[Series, float], after: Mapping[Series, float]) -> bool:
    """Whether a counter restarted or vanished between two readings, so that both must stay."""
    return any(
        is_counter(series) and after.get(series, float("-inf")) < value for series, value in before.items()
    )


def is_counter(series: Series) -> bool:
    """Whether its name says that it only grows."""
    return series.name.endswith(("_total", "_bucket"))


def matches(series: Series, name: str, labels: Mapping[str, str]) -> bool:
    """Whether ``series`` has the name and includes the labels."""
    return series.name == name and labels.items() <= dict(series.labels).items()
