"""How a store lays series out is nobody's business: shared instants or not, the answers are the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from poise.adapters.promql import Engine
from poise.model.samples import STALE, Block, Frame, Labels, Matcher

STEP_MS = 15_000
LENGTH = 240
RANGES = (
    "rate(m[5m])", "increase(m[2m])", "delta(m[5m])", "irate(m[5m])", "idelta(m[1m])", "changes(m[10m])",
    "resets(m[10m])", "sum_over_time(m[30m])", "avg_over_time(m[30m])", "max_over_time(m[5m])",
    "count_over_time(m[5m])", "last_over_time(m[2m])", "ts_of_last_over_time(m[2m])", "deriv(m[5m])",
    "stddev_over_time(m[5m])", "quantile_over_time(0.3, m[5m])", "predict_linear(m[5m], 60)",
    "sum by (t) (rate(m[5m]))", "avg(m)", "m",
)  # fmt: skip


class Laid:
    """Targets with some rows each, as one block; ``apart`` gives each row an owner of its own."""

    def __init__(self, tables: Sequence[tuple[np.ndarray, np.ndarray]], *, apart: bool) -> None:
        self._tables, self._apart = tables, apart

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, before: bool = False
    ) -> Block:
        series: list[Labels] = []
        owner, stamps, starts, parts = [], [], [], []
        size = 0
        for target, (at_ms, values) in enumerate(self._tables):
            low, high = np.searchsorted(at_ms, [start_ms, end_ms], side="right")
            for row, floats in enumerate(values):
                if row == 0 or self._apart:
                    stamps.append(at_ms[low:high])
                series.append((("__name__", "m"), ("r", str(row)), ("t", str(target))))
                owner.append(len(stamps) - 1)
                starts.append(size)
                size += high - low
                parts.append(floats[low:high])
        return Block(
            series=tuple(series),
            owner=np.array(owner, np.intp),
            at_ms=tuple(stamps),
            start=np.array(starts, np.intp),
            flat=np.concatenate(parts),
        )


def tables(seed: int, kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Counters with resets (several in a row), near zero and far from it, in targets of several lengths."""
    random = np.random.default_rng(seed)
    made = []
    for rows in (3, 1, 5):
        length = LENGTH - int(random.integers(0, 60))
        at_ms = STEP_MS * np.arange(length, dtype=np.int64) + int(random.integers(0, STEP_MS))
        values = np.cumsum(random.poisson(5, (rows, length)), axis=1) + 1000.0 * random.integers(
            0, 2, (rows, 1)
        )
        for row in range(rows):
            for at in random.integers(1, length, int(random.integers(0, 4))):
                values[row, at:] -= values[row, at] - int(random.integers(0, 5))
        if kind == "fractions":
            values = values * 0.1 - 7.3
        if kind == "strange":
            places = random.integers(0, length, (rows, 6))
            for row in range(rows):
                values[row, places[row]] = [STALE, math.nan, math.inf, -math.inf, -0.0, 1e300]
        made.append((at_ms, values))
    return made


def answers(
    expression: str, made: list[tuple[np.ndarray, np.ndarray]], *, apart: bool
) -> dict[Labels, tuple[np.ndarray, np.ndarray]]:
    engine = Engine(Laid(made, apart=apart))
    end = STEP_MS * LENGTH
    found: Frame = engine.range(expression, 0, end, 37_000)
    whole = {one: (found.values[i], found.present[i]) for i, one in enumerate(found.series)}
    now = engine.instant(expression, end // 2)
    return whole | {
        (*one, ("at", "once")): (now.values[i], now.present[i]) for i, one in enumerate(now.series)
    }


@pytest.mark.parametrize("kind", ["whole", "fractions", "strange"])
@pytest.mark.parametrize("expression", RANGES)
def test_series_that_share_their_instants_answer_as_if_they_did_not(expression: str, kind: str) -> None:
    for seed in range(3):
        made = tables(seed, kind)
        together, apart = answers(expression, made, apart=False), answers(expression, made, apart=True)
        assert together.keys() == apart.keys()
        for labels, (values, present) in together.items():
            np.testing.assert_array_equal(present, apart[labels][1], err_msg=str(labels))
            np.testing.assert_allclose(
                values[present], apart[labels][0][present], rtol=1e-13, err_msg=str(labels)
            )


@pytest.mark.parametrize("scale", [1.0, 0.1, 1e-9, 1e17])
def test_sums_of_long_windows_are_exact_to_the_last_bit_that_matters(scale: float) -> None:
    """They are differences of running sums, which must not show."""
    random = np.random.default_rng(7)
    at_ms = STEP_MS * np.arange(LENGTH, dtype=np.int64)
    values = random.integers(-50, 100, (4, LENGTH)) * scale
    values[3] = values[3] * np.where(
        np.arange(LENGTH) < 60, 1e12, 1.0
    )  # what left the window leaves no trace
    engine = Engine(Laid([(at_ms, values)], apart=False))
    found = engine.range("sum_over_time(m[30m])", 0, STEP_MS * LENGTH, 60_000)
    for row, step in np.argwhere(found.present).tolist():
        until = int(found.at_ms[step])
        inside = (at_ms > until - 1_800_000) & (at_ms <= until)
        exact = math.fsum(values[row, inside])
        weight = math.fsum(np.abs(values[row, inside]))
        assert abs(found.values[row, step] - exact) <= max(1e-12 * abs(exact), 1e-15 * weight)


def test_a_sum_over_thousands_of_series_is_exact_to_the_last_bit_that_matters() -> None:
    random = np.random.default_rng(3)
    at_ms = STEP_MS * np.arange(3, dtype=np.int64)
    values = random.normal(0.0, 1.0, (20_000, 3)) * 10.0 ** random.integers(-9, 9, (20_000, 1))
    values[-1] = -values[:-1].sum(axis=0)  # all of it cancels out
    engine = Engine(Laid([(at_ms, values)], apart=False))
    for name, parts in (("sum(m)", 1), ("avg(m)", 20_000)):
        found = engine.range(name, 0, 2 * STEP_MS, STEP_MS)
        for step in range(3):
            exact = math.fsum(values[:, step]) / parts
            weight = math.fsum(np.abs(values[:, step])) / parts
            assert abs(found.values[0, step] - exact) <= max(1e-12 * abs(exact), 1e-15 * weight)
