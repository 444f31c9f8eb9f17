"""Lag is measured where it hurts: inside the loop that everything waits for."""

from __future__ import annotations

import asyncio
import time

from poise.engine.lag import Lag, LoopLag


def test_nothing_measured_is_no_lag() -> None:
    assert LoopLag().seen() == Lag()


def test_the_figures_are_over_the_last_samples_only() -> None:
    lag = LoopLag(kept=100)
    for late_s in [9.0, *[0.001] * 98, 0.5, 0.02]:
        lag.note(late_s)
    seen = lag.seen()
    assert (seen.p50_ms, seen.max_ms, seen.samples) == (1.0, 500.0, 101)
    assert seen.p99_ms == 500.0
    lag.note(-1.0)
    assert min(lag.seen().p50_ms, 1.0) == 1.0


def test_a_task_that_holds_the_loop_is_seen() -> None:
    async def main() -> Lag:
        lag = LoopLag(period_s=0.001)
        task = asyncio.ensure_future(lag.run())
        while not lag.seen().samples:
            await asyncio.sleep(0.001)
        time.sleep(0.05)
        count = lag.seen().samples
        while lag.seen().samples == count:
            await asyncio.sleep(0.001)
        task.cancel()
        return lag.seen()

    assert asyncio.run(main()).max_ms >= 40.0
