"""How usual a service was: asked of recorded metrics, told as stretches."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from poise.adapters.memory_samples import MemorySamples
from poise.adapters.worker.usual import how_usual
from poise.adapters.worker.wire import HowUsual
from poise.model.anomaly import GoldenSignal, Usual
from poise.model.samples import NAME

END_MS = 1_800_000_000_000
STEP_MS = 15_000
HOUR = 240  # samples


def recorded(
    hours: float, failing: tuple[int, int] = (0, 0), slow: tuple[int, int] = (0, 0)
) -> MemorySamples:
    """A service with about ten requests a second; in minutes ``failing`` before the end a third fail."""
    chance = np.random.default_rng(4)
    count = round(hours * HOUR)
    at_ms = END_MS - STEP_MS * np.arange(count)[::-1]
    minutes = (END_MS - at_ms) / 60_000
    asked = chance.poisson(150, count)
    bad = chance.binomial(asked, np.where((minutes < failing[0]) & (minutes >= failing[1]), 0.3, 0.01))
    late = chance.binomial(asked, np.where((minutes < slow[0]) & (minutes >= slow[1]), 0.5, 0.02))
    samples = MemorySamples()
    rows = {
        ("poise_requests_total", ()): asked,
        ("poise_errors_total", ()): bad,
        ("poise_latency_ms_bucket", (("le", "100"),)): asked - late,
        ("poise_latency_ms_bucket", (("le", "1000"),)): asked,
        ("poise_latency_ms_bucket", (("le", "+Inf"),)): asked,
    }
    for (name, more), grown in rows.items():
        labels = tuple(sorted([(NAME, name), ("service", "a/b/c"), *more]))
        samples.add(labels, zip(at_ms.tolist(), np.cumsum(grown).astype(float).tolist(), strict=True))
    return samples


def asked(samples: MemorySamples, service: str = "a/b/c", hours: float = 1.0) -> Usual:
    since = END_MS - round(hours * 3_600_000)
    answer = how_usual(samples, HowUsual(service=service, since_ms=since, until_ms=END_MS), 10.0)
    return msgspec.msgpack.decode(b"".join(answer), type=Usual)


def test_an_ordinary_hour_has_no_unusual_stretch_of_errors_or_latency() -> None:
    found = asked(recorded(6))
    assert set(found.known) == set(GoldenSignal)
    assert [one for one in found.stretches if one.signal is not GoldenSignal.RATE] == []


@pytest.mark.parametrize(
    ("samples", "signal"),
    [
        (recorded(6, failing=(20, 10)), GoldenSignal.ERRORS),
        (recorded(6, slow=(20, 10)), GoldenSignal.LATENCY),
    ],
)
def test_ten_bad_minutes_are_one_stretch_of_the_right_signal(
    samples: MemorySamples, signal: GoldenSignal
) -> None:
    (one,) = [found for found in asked(samples).stretches if found.signal is not GoldenSignal.RATE]
    assert one.signal is signal and one.score > 0.99
    ago = [(END_MS / 1000 - at.timestamp()) / 60 for at in (one.since, one.until)]
    assert 17 <= ago[0] <= 21 and 8 <= ago[1] <= 11


def test_two_hours_of_history_say_nothing() -> None:
    assert asked(recorded(2, failing=(20, 10))) == Usual()


def test_another_service_and_a_name_with_quotes_are_not_known() -> None:
    assert asked(recorded(6), service='a"}/b') == Usual()
