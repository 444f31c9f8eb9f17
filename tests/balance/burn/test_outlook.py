"""Episodes of one objective, out of its running sums."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from poise.balance.burn.outlook import Floats, episodes_of
from poise.model.increments import Sums
from poise.model.objective import IndicatorKind, Objective

NOW = datetime(2026, 11, 28, 9, 40, tzinfo=UTC)
OBJECTIVE = Objective(
    service="acme/production/shop", name="latency", indicator=IndicatorKind.LATENCY, target_ratio=0.99
)


class Young:
    """Counted for three minutes, half of it bad from the first event on."""

    since = NOW - timedelta(minutes=3)

    def curve(self, key: str, at_s: Floats) -> Sums:
        events = 600.0 * np.maximum(at_s - self.since.timestamp(), 0.0)
        half, none = events / 2, np.zeros_like(events)
        return Sums(good=half, bad=half, known_s=events / 600.0, start_s=at_s, excess=none)


def test_no_episode_begins_before_anything_was_counted() -> None:
    """An hour of failures of a service that is three minutes old is believed by nobody."""
    (episode,) = episodes_of(Young(), OBJECTIVE, NOW)
    assert episode.since >= Young.since - timedelta(minutes=1)
    assert all(at_s >= Young.since.timestamp() - 60.0 for at_s, _ in episode.onsets)
