"""One objective's episodes and forecast, out of its running sums."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from poise.balance.forecast.paths import Burning, History, forecast, returns
from poise.balance.ledger.episodes import Episode, episodes
from poise.model.increments import Sums
from poise.model.objective import Objective
from poise.model.period import period
from poise.model.policy import BudgetPolicy
from poise.model.spend import BurnNow, Foresight, SpendEpisode

Floats = NDArray[np.float64]
MINUTES: Final = 1440  # that episodes are looked for in
HORIZON_HOURS: Final = 24
LIKELY: Final = 0.01  # what may be an onset with less is left out
HOUR_S: Final = 3600.0


class Curved(Protocol):
    """One objective's sums up to each instant."""

    def curve(self, key: str, at_s: Floats) -> Sums: ...


def episodes_of(sums: Curved, objective: Objective, now: datetime) -> tuple[SpendEpisode, ...]:
    """The episodes of the last day of whole minutes; none begins before anything was counted."""
    end_s = now.timestamp() // 60.0 * 60.0
    edges: Floats = end_s - 60.0 * np.arange(MINUTES, -1, -1, dtype=np.float64)
    total, bad = _steps(sums.curve(objective.key, edges))
    if bad.sum() <= 0:
        return ()
    first = int(np.flatnonzero(total > 0)[0])
    found = episodes(total[first:], bad[first:], 1.0 - objective.target_ratio)
    return tuple(_episode(one, float(edges[first])) for one in found)


def _episode(one: Episode, start_s: float) -> SpendEpisode:
    def instant(minute: int) -> datetime:
        return datetime.fromtimestamp(start_s + 60.0 * minute, UTC)

    return SpendEpisode(
        since=instant(one.begin),
        until=None if one.end is None else instant(one.end),
        events=one.total,
        bad=one.bad,
        onsets=tuple(
            (start_s + 60.0 * (one.first + k), round(chance, 4))
            for k, chance in enumerate(one.onset)
            if chance >= LIKELY
        ),
    )


def foresight_of(
    sums: Curved, objective: Objective, policy: BudgetPolicy, now: datetime, burn: BurnNow | None
) -> Foresight | None:
    """The next day, and of a budget that is held the date of its return; None where too little is known."""
    now_s, window = now.timestamp(), period(objective.window, now)
    hours = max(1, round((now - window.start).total_seconds() / HOUR_S))
    resets = round((window.end - now).total_seconds() / HOUR_S) if objective.calendar else None
    edges: Floats = now_s - HOUR_S * np.arange(hours, -1, -1, dtype=np.float64)
    found = sums.curve(objective.key, edges)
    total, bad = _steps(found)
    known = np.clip(np.diff(found.known_s) / HOUR_S, 0.0, 1.0)
    measured = np.flatnonzero(known > 0)
    if not len(measured):
        return None
    history = History(
        total=total[measured[0] :], bad=bad[measured[0] :], known=known[measured[0] :],
        target_ratio=objective.target_ratio, window_hours=round(objective.window_s / HOUR_S),
        resets_in_hours=resets,
    )  # fmt: skip
    burning = None
    if burn is not None and burn.events > 0:
        burning = Burning(ratio=burn.bad / burn.events, age_hours=(now - burn.since).total_seconds() / HOUR_S)
    made = forecast(history, HORIZON_HOURS, burning)
    if made is None:
        return None
    back = returns(history, policy.hold_below_ratio, burning)

    def later(after_hours: float | None) -> datetime | None:
        return None if after_hours is None else now + timedelta(hours=after_hours)

    return Foresight(
        at=now,
        until=now + timedelta(hours=HORIZON_HOURS),
        left_low=made.left_low,
        left_middle=made.left_middle,
        left_high=made.left_high,
        spent_chance=made.spent_chance,
        spent_chance_low=made.spent_chance_low,
        spent_chance_high=made.spent_chance_high,
        days=made.days,
        returns_at=later(back.middle if back else None),
        returns_earliest=later(back.earliest if back else None),
        returns_latest=later(back.latest if back else None),
    )


def _steps(sums: Sums) -> tuple[Floats, Floats]:
    """(total, bad) between each two instants."""
    good, bad = np.maximum(np.diff(sums.good), 0.0), np.maximum(np.diff(sums.bad), 0.0)
    return good + bad, bad
