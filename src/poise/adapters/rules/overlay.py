"""Samples that a group has just made, laid over the store that does not have them yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from poise.adapters.memory_samples import MemorySamples
from poise.model.samples import Block, Instants, Labels, Matcher, Values
from poise.ports.signals import Selector


class Overlay:
    """A ``Selector``; what is laid over it takes the place of a sample at the same instant."""

    def __init__(self, base: Selector) -> None:
        self._base = base
        self._fresh = MemorySamples()

    def add(self, samples: Iterable[tuple[Labels, float]], at_ms: int) -> None:
        """Lay samples of one instant over."""
        for labels, value in samples:
            self._fresh.add(labels, [(at_ms, value)])

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, before: bool = False
    ) -> Block:
        """See the port."""
        block = self._base.select(matchers, start_ms, end_ms, before=before)
        fresh = self._fresh.select(matchers, start_ms, end_ms)
        if not fresh.series:
            return block
        over = {fresh.series[first]: (at_ms, values[0]) for first, at_ms, values in fresh.groups()}
        parts: list[tuple[list[Labels], Instants, Values]] = []
        for first, at_ms, values in block.groups():
            series = block.series[first : first + len(values)]
            plain = [row for row, labels in enumerate(series) if labels not in over]
            if plain:
                parts.append(([series[row] for row in plain], at_ms, values[plain]))
            for row, labels in enumerate(series):
                if labels in over:
                    parts.append(([labels], *_joined(at_ms, values[row], *over.pop(labels))))
        parts += [([labels], at_ms, values[None, :]) for labels, (at_ms, values) in over.items()]
        return _block(parts)


def _joined(at_ms: Instants, values: Values, later: Instants, more: Values) -> tuple[Instants, Values]:
    keep = ~np.isin(at_ms, later)
    instants = np.concatenate([at_ms[keep], later])
    order = np.argsort(instants, kind="stable")
    return instants[order], np.concatenate([values[keep], more])[order][None, :]


def _block(parts: Sequence[tuple[list[Labels], Instants, Values]]) -> Block:
    starts: list[int] = []
    place = 0
    for series, at_ms, _ in parts:
        starts += [place + row * len(at_ms) for row in range(len(series))]
        place += len(series) * len(at_ms)
    return Block(
        series=tuple(labels for series, _, _ in parts for labels in series),
        owner=np.repeat(np.arange(len(parts)), [len(series) for series, _, _ in parts]).astype(np.intp),
        at_ms=tuple(at_ms for _, at_ms, _ in parts),
        start=np.array(starts, np.intp),
        flat=np.concatenate([values.reshape(-1) for _, _, values in parts]),
    )
