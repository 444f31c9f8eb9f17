"""The workbook's tiers over a history, beside adding up."""

from __future__ import annotations

import numpy as np
import pytest

from poise.balance.burn.tiers import PAGES, TICKETS, burning
from poise.model.policy import BurnTier


@pytest.mark.parametrize("tiers", [PAGES, TICKETS])
def test_a_history_fires_where_adding_up_says_so(tiers: tuple[BurnTier, ...]) -> None:
    """The comparison is only fair if the rival is right."""
    random = np.random.default_rng(2)
    total = random.poisson(5.0, (6000, 2)).astype(float)
    bad = random.binomial(total.astype(int), 0.004).astype(float)
    found = burning(total, bad, 0.999, tiers, 60.0)
    assert 0 < found.sum() < found.size
    for minute in (0, 59, 400, 1500, 4400, 5999):
        for column in range(2):
            expected = False
            for tier in tiers:
                hot = []
                for window_s in (tier.long_s, tier.short_s):
                    some = slice(max(0, minute + 1 - round(window_s / 60)), minute + 1)
                    hot.append(
                        bad[some, column].sum() > tier.factor * 0.001 * total[some, column].sum() + 1e-9
                    )
                expected |= all(hot)
            assert found[minute, column] == expected


def test_fewer_failures_than_asked_for_fire_nothing() -> None:
    """At ten requests an hour one failure is a burn of a hundred."""
    total, bad = np.ones((60, 1)), np.zeros((60, 1))
    bad[-1] = 1
    assert burning(total, bad, 0.999, PAGES, 60.0)[-1, 0]
    assert not burning(total, bad, 0.999, PAGES, 60.0, failures_min=2)[-1, 0]
