"""What must hold of scale targets, worked out apart from scaling."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Final

from msgspec import Struct

from poise.model.fleet import ScaleTarget
from poise.model.policy import DAY_S
from poise.model.service import Service
from poise.model.signal import REQUESTS_TOTAL, Batch
from poise.simulation.book import Book

FUTURE_S: Final = 5.0


class Capacity:
    """Holds scaling to its bounds, to its flap budget, and to holding still where it cannot see."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._read: dict[str, list[tuple[float, str]]] = {}  # service -> (when, epoch), ascending
        self._turns: dict[str, list[tuple[float, int]]] = {}  # service -> (when, direction)

    def read(self, batch: Batch) -> None:
        """A reading is durable."""
        at = batch.at.timestamp()
        for sample in batch.samples:
            if sample.series.name == REQUESTS_TOTAL:
                known = self._read.setdefault(sample.series.labels[0][1], [])
                if not known or known[-1] != (at, batch.epoch):
                    known.append((at, batch.epoch))

    def target(self, key: str, before: Struct | None) -> None:
        """A scale target was written."""
        target, service = self._book.one(ScaleTarget, key), self._book.one(Service, key)
        assert target is not None and service is not None
        least, most = service.replicas.min, service.replicas.max
        if not least <= target.replicas <= most:
            self._book.breach("scale-within-bounds", f"{key} wants {target.replicas} of {least} to {most}")
        if not isinstance(before, ScaleTarget) or before.replicas == target.replicas:
            return
        move = 1 if target.replicas > before.replicas else -1
        if move < 0:
            self._in(service)
        self._turned(service, move)

    def _in(self, service: Service) -> None:
        """Fewer replicas: only with fresh readings of one epoch throughout the time looked back upon."""
        key, scaling, now = service.key, service.scaling, self._book.now().timestamp()
        known = self._read.get(key, [])
        age_s = now - known[-1][0] if known else float("inf")
        if not -FUTURE_S <= age_s <= scaling.stale_after_s:
            self._book.breach("no-scale-in-blind", f"{key} goes in, the newest reading is {age_s:.0f} s old")
            return
        since = now - scaling.scale_in_after_s
        first = next((i for i, (at, _) in enumerate(known) if at > since), len(known))
        run = known[max(0, first - 1) :]
        gap_s = max((b[0] - a[0] for a, b in pairwise(run)), default=0.0)
        if len({epoch for _, epoch in run}) > 1 or gap_s > scaling.stale_after_s or run[0][0] > since:
            self._book.breach("no-scale-in-blind", f"{key} goes in though it was not measured throughout")

    def _turned(self, service: Service, move: int) -> None:
        turns = self._turns.setdefault(service.key, [])
        if turns and turns[-1][1] == move:
            return
        now = self._book.now()
        since = (now - timedelta(seconds=DAY_S)).timestamp()
        turns.append((now.timestamp(), move))
        reversals = sum(at > since for at, _ in turns[1:])
        if reversals > service.scaling.reversals_per_day:
            self._book.breach("flap-budget", f"{service.key} turned {reversals} times within a day")
