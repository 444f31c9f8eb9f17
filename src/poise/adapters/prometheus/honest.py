"""A metrics server whose answers are looked at before they are believed.

For whoever decides by one answer and has no memory to hold it against. What no honest server would say
(another series, samples of another time, a counter that is no number) is an error and never a count.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from poise.model.errors import Invalid, PoiseError
from poise.model.samples import NAME, STALE_BITS, Frame, Instants, Labels, Limits, Values
from poise.ports.signals import SignalStore
from poise.spec.counter import NotCounted, Selector, counter

_RANGE: Final = re.compile(r"(.*)\[(\d+)ms\]", re.DOTALL)


class Honest:
    """The questions of ``QueryPast``; ``counters`` are the selectors whose series may never be negative."""

    def __init__(self, signals: SignalStore, counters: Collection[str]) -> None:
        self._signals, self._counters = signals, frozenset(counters)

    async def query(self, expression: str, at_ms: int, limits: Limits | None = None) -> Frame:
        """As ``SignalStore.query``. Raises ``Invalid`` for an answer to another question."""
        frame = await self._signals.query(expression, at_ms, limits)
        asked = _RANGE.fullmatch(expression)
        if asked is not None:
            self._check(asked[1], frame, at_ms - int(asked[2]), at_ms)
        return frame

    async def query_range(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, limits: Limits | None = None
    ) -> Frame:
        """As ``SignalStore.query_range``."""
        return await self._signals.query_range(expression, start_ms, end_ms, step_ms, limits)

    def _check(self, text: str, frame: Frame, start_ms: int, end_ms: int) -> None:
        if frame.ragged is None:
            if len(frame.series):
                raise strange(text, "it answers a range with something else")
            return
        try:
            selector = counter(text)
        except NotCounted:
            return
        for first, at_ms, rows in frame.ragged.groups():
            for row in range(len(rows)):
                labels = frame.ragged.series[first + row]
                self._check_series(selector, labels, at_ms, rows[row], (start_ms, end_ms))

    def _check_series(
        self, selector: Selector, labels: Labels, at_ms: Instants, values: Values, span: tuple[int, int]
    ) -> None:
        if wrong := mismatch(selector, dict(labels)):
            raise strange(selector.text, f"it answers with another series ({wrong})")
        if len(at_ms) and (at_ms[0] < span[0] or at_ms[-1] > span[1]):
            raise strange(selector.text, "it answers with samples of another time")
        if np.any(np.diff(at_ms) <= 0):
            raise strange(selector.text, "its samples are not in the order of time")
        if selector.text in self._counters:
            wrong_ones = values[
                ~(np.isfinite(values) & (values >= 0)) & (values.view(np.uint64) != STALE_BITS)
            ]
            if len(wrong_ones):
                raise strange(selector.text, f"a counter has the value {wrong_ones[0]:g}")


def strange(text: str, why: str) -> PoiseError:
    """An answer that no honest server gives to this question."""
    return Invalid(
        "POISE-H170", f"{text} cannot be counted", why=f"{why}.",
        mend="Check the query and the server: curl 'URL/api/v1/query?query=...'",
    )  # fmt: skip


def mismatch(selector: Selector, labels: Mapping[str, str]) -> str:
    """Which part of a selector these labels do not satisfy, as far as equality tells; empty when none."""
    if selector.metric and labels.get(NAME) not in (selector.metric, None):
        return str(labels[NAME])
    for label, operator, value in selector.matchers:
        found = labels.get(label, "")
        if "\\" in value:
            continue
        if (operator == "=" and found != value) or (operator == "!=" and found == value):
            return f"{label}={found!r}"
    return ""
