"""The workbook's multiwindow, multi-burn-rate tiers, over whole histories at once."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from poise.model.policy import BurnTier

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
