"""A Selector in memory: for tests and for rule files that bring their own series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from poise.adapters.regex import anchored
from poise.model.samples import Block, Labels, Matcher, MatchOp


class MemorySamples:
    """Series in lists; what is added replaces what was there at the same instant."""

    def __init__(self) -> None:
        self._series: dict[Labels, dict[int, float]] = {}
        self._sorted: dict[Labels, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, labels: Labels, points: Iterable[tuple[int, float]]) -> None:
        """Samples (ms, value) of one series."""
        self._series.setdefault(labels, {}).update(points)
        self._sorted.pop(labels, None)

    def lay(self, labels: Labels, at_ms: np.ndarray, values: np.ndarray) -> None:
        """All samples of one series, ascending, in place of what was there; nothing is added to it later."""
        self._series[labels] = {}
        self._sorted[labels] = at_ms, values

    def clear(self) -> None:
        """Forget everything."""
        self._series.clear()
        self._sorted.clear()

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, before: bool = False
    ) -> Block:
        """See the port."""
        tests = [_test(one) for one in matchers]
        series, stamps, parts = [], [], []
        for labels in self._series:
            values = dict(labels)
            if not all(test(values.get(one.label, "")) for one, test in zip(matchers, tests, strict=True)):
                continue
            at_ms, floats = self._arrays(labels)
            low = int(np.searchsorted(at_ms, start_ms, side="right"))
            low = max(0, low - 1) if before else low
            high = int(np.searchsorted(at_ms, end_ms, side="right"))
            if low < high:
                series.append(labels)
                stamps.append(at_ms[low:high])
                parts.append(floats[low:high])
        return Block(
            series=tuple(series),
            owner=np.arange(len(series), dtype=np.intp),
            at_ms=tuple(stamps),
            start=np.cumsum([0, *(len(one) for one in parts)], dtype=np.intp)[:-1],
            flat=np.concatenate(parts) if parts else np.empty(0),
        )

    def _arrays(self, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
        if labels not in self._sorted:
            points = sorted(self._series[labels].items())
            at_ms = np.array([at for at, _ in points], np.int64)
            self._sorted[labels] = at_ms, np.array([value for _, value in points])
        return self._sorted[labels]


def _test(one: Matcher) -> Callable[[str], bool]:
    if one.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        return lambda value: (value == one.value) is (one.op is MatchOp.EQUAL)
    found = anchored(one.value)
    return lambda value: (found.search(value) is not None) is (one.op is MatchOp.MATCHES)
