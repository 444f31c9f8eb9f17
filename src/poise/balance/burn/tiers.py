"""The workbook's multiwindow, multi-burn-rate tiers, over whole histories at once."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from poise.model.increments import Sums
from poise.model.policy import BurnTier
from poise.model.standing import MIN_FAILURES

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
PAGES: Final = (
    BurnTier(long_s=HOUR_S, short_s=HOUR_S / 12, factor=14.4),
    BurnTier(long_s=6 * HOUR_S, short_s=HOUR_S / 2, factor=6.0),
)
TICKETS: Final = (
    BurnTier(long_s=DAY_S, short_s=2 * HOUR_S, factor=3.0),
    BurnTier(long_s=3 * DAY_S, short_s=6 * HOUR_S, factor=1.0),
)


class Summed(Protocol):
    """Sums over any window of every objective at once."""

    def between(self, start_s: float | NDArray[np.float64], end_s: float | None = None) -> Sums: ...


def burning_now(
    sums: Summed,
    places: NDArray[np.intp],
    allowed_ratio: NDArray[np.float64],
    tiers: tuple[BurnTier, ...],
    now_s: float,
    failures_min: float = MIN_FAILURES,
) -> NDArray[np.int64]:
    """By objective: the place of the first tier that burns now, -1 without one. As ``standing.fires``."""
    fired = np.full(len(places), -1, dtype=np.int64)
    for place, tier in reversed(list(enumerate(tiers))):
        hot = np.ones(len(places), dtype=np.bool_)
        for window_s in (tier.long_s, tier.short_s):
            found = sums.between(now_s - window_s)
            bad, total = found.bad[places], (found.good + found.bad)[places]
            hot &= bad > tier.factor * allowed_ratio * total
            hot &= (bad >= failures_min) | (window_s != tier.long_s)
            if not hot.any():
                break
        fired[hot] = place
    return fired


def burning(
    total: NDArray[np.float32 | np.float64],
    bad: NDArray[np.float32 | np.float64],
    target_ratio: float,
    tiers: tuple[BurnTier, ...],
    step_s: float,
    failures_min: float = 0.0,
) -> NDArray[np.bool_]:
    """Whether any tier burns at the end of each step (rows) for each service (columns).

    A window that reaches before the first step is of what is known. No events burn nothing.
    **Source:** SRE workbook, chapter 5, table 5-8; minimum failures after Grafana SLO.
    """
    sums = [np.concatenate([np.zeros((1, total.shape[1])), np.cumsum(one, axis=0, dtype=np.float64)])
            for one in (total, bad)]  # fmt: skip
    until = np.arange(1, len(total) + 1)
    fired = np.zeros(total.shape, dtype=np.bool_)
    for tier in tiers:
        hot = np.ones(total.shape, dtype=np.bool_)
        for window_s in (tier.long_s, tier.short_s):
            since = np.maximum(0, until - round(window_s / step_s))
            events, lost = (one[until] - one[since] for one in sums)
            hot &= lost > tier.factor * (1.0 - target_ratio) * events
            hot &= (lost >= failures_min) | (window_s != tier.long_s)
        fired |= hot
    return fired
