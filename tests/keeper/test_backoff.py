"""When a dead workload may start again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poise.keeper.backoff import Backoff, after_death

DEFAULT = Backoff()


def delays(count: int, served_s: float | None) -> list[float]:
    level, out = 0, []
    for _ in range(count):
        level, delay_s = after_death(DEFAULT, level, 0.0, served_s, 1.0)
        out.append(delay_s)
    return out


def test_one_that_never_served_waits_longer_each_time_up_to_the_cap() -> None:
    """The first restart is immediate, and it never gives up."""
    assert delays(5, None) == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert delays(50, None)[-1] == DEFAULT.cap_s


def test_one_that_served_briefly_has_a_burst_free() -> None:
    """Five kills in a row are an outsider's; more look like a crash loop."""
    assert delays(7, 0.2) == [0.0] * 5 + [0.1, 0.2]


def test_one_that_served_long_is_restarted_at_once_however_often() -> None:
    """Killing a healthy replica a hundred times costs its start-up time, no more."""
    assert delays(100, 2.0) == [0.0] * 100


@given(st.integers(0, 10_000), st.floats(0, 1e6), st.none() | st.floats(0, 1e6), st.floats(0, 1))
def test_the_delay_is_bounded_and_quiet_forgives(
    level: int, quiet_s: float, served_s: float | None, jitter_ratio: float
) -> None:
    """Old failures must be forgotten, or a week-old crash delays today's restart."""
    after, delay_s = after_death(DEFAULT, level, quiet_s, served_s, jitter_ratio)
    assert 0.0 <= delay_s <= DEFAULT.cap_s
    if quiet_s >= DEFAULT.forget_s:
        assert after <= 1
        assert delay_s == 0.0
