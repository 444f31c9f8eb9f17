"""What Envoy's statistics mean, from written ones: who counts as slow."""

from __future__ import annotations

import pytest

from poise.adapters.envoy.config import ANY_MS
from poise.adapters.envoy.counters import Stats, samples
from poise.model import signal

PREFIX = "vhost.acme/production/shop.route.acme/production/shop."


def buckets(completed: int, timed: int, given_up: int, *, top: float = ANY_MS) -> dict[str, float]:
    """By bound, where 90 were answered within 250 ms."""
    numbers = {
        f"{PREFIX}upstream_rq_completed": float(completed),
        f"{PREFIX}upstream_rq_504": float(given_up),
    }
    histograms = {f"{PREFIX}upstream_rq_time": [(250.0, 90.0), (top, float(timed))]}
    found = samples(Stats(numbers, {}, histograms))[PREFIX]
    return {
        dict(one.series.labels)["le"]: one.value
        for one in found
        if one.series.name == signal.LATENCY_BUCKET
    }  # fmt: skip


@pytest.mark.parametrize(
    ("completed", "timed", "given_up", "total"),
    [
        (100, 100, 0, 100),
        (120, 100, 0, 100),  # twenty users left before the end, or the histogram is a second behind
        (120, 100, 15, 115),  # of the twenty fifteen timed out: slow
        (120, 100, 60, 120),  # the app's own 504s are timed as any answer
        (99, 100, 0, 100),  # read in between
    ],
)
def test_who_left_before_the_end_is_neither_quick_nor_slow_and_who_timed_out_is_slow(
    completed: int, timed: int, given_up: int, total: int
) -> None:
    """Else a busy service's latency would pay for every closed tab, and for each second of a flush."""
    assert buckets(completed, timed, given_up) == {"250": 90.0, "+Inf": float(total)}


def test_an_envoy_of_an_older_poise_goes_on_as_it_was() -> None:
    """A total that falls would look like a restart, and count everything anew."""
    assert buckets(120, 100, 0, top=5000.0) == {"250": 90.0, "5000": 100.0, "+Inf": 120.0}
