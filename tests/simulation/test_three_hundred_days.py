"""Three hundred worlds, a day each: what CI runs (``poise simulate --seeds 300 --days 1``)."""

from __future__ import annotations

import pytest

from poise.simulation.run import simulate_many


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_three_hundred_seeded_days_of_trouble_break_no_invariant() -> None:
    """Rare orders of events need many tries; a seed that fails here becomes a test of its own."""
    report = simulate_many(range(1, 301), 1.0, jobs=2)
    assert report.failures == ()
    assert report.rollouts_least >= 10 and report.faults_least >= 40
