"""Time that never retreats and never stands still, whatever is done to the machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from poise.adapters.clock import CATCHING_UP, SystemClock

BEGIN = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Machine:
    """A clock that can be set, beside one that cannot."""

    def __init__(self) -> None:
        self.utc, self.monotonic = BEGIN, 100.0

    def run(self, seconds: float) -> None:
        self.utc += timedelta(seconds=seconds)
        self.monotonic += seconds


def clock(machine: Machine) -> SystemClock:
    return SystemClock(lambda: machine.utc, lambda: machine.monotonic)


def test_an_hour_back_stops_nothing_and_is_caught_up() -> None:
    """A clock that stood still for an hour would hold every probe, bake and page for as long."""
    machine = Machine()
    ours = clock(machine)
    machine.utc -= timedelta(hours=1)
    machine.run(10)
    assert ours.now() == BEGIN + timedelta(seconds=10 * CATCHING_UP)
    machine.run(2 * 3600 + 60)
    assert ours.now() == machine.utc


def test_a_step_forward_is_taken_at_once() -> None:
    """What nobody saw in between is unknown time; pretending that it is still to come would be a lie."""
    machine = Machine()
    ours = clock(machine)
    machine.utc += timedelta(days=1)
    assert ours.now() == machine.utc


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(-1e5, 1e5))))
def test_it_never_retreats_and_always_goes_on(steps: list[tuple[float, float]]) -> None:
    machine = Machine()
    ours, before = clock(machine), BEGIN
    for elapsed, stepped in steps:
        machine.utc += timedelta(seconds=stepped)
        machine.run(elapsed)
        now = ours.now()
        assert now >= before + timedelta(seconds=elapsed * CATCHING_UP) - timedelta(microseconds=2)
        before = now
