"""A house that nobody visits: a release that is dead where it counts goes back before any user met it."""

from __future__ import annotations

import pytest
from tests.e2e.test_strategies import OVER, delivery

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_canary_that_fails_its_probes_goes_back_and_one_that_answers_them_goes_on() -> None:
    """Both are ready by their health check; nobody sends a request but Poise, past Envoy."""
    with delivery("steps: [50], step: 2s, maxBake: 25s, probePath: /cart") as made:
        bad = made.push("two", fail_one_in=1)
        back = made.until(bad, *OVER)
        assert back["state"] == "rolled_back", back["reason"]
        assert "probes of GET /cart failed against 0 of" in back["reason"]
        good = made.push("three")
        assert made.until(good, *OVER)["state"] == "live"
        assert made.rollout(good)["trial"]["canary_requests"] == 0
        assert made.rollout(good)["trial"]["probes"]["canary"] >= 5
