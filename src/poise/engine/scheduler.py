"""One scheduler for all controllers: a heap of wake-ups and one event. Nothing polls."""

from __future__ import annotations

import heapq
from datetime import datetime

Item = tuple[str, str]  # (controller's name, key)


class Scheduler:
    """When to look at what. The earliest time asked for an item wins; told twice is told once."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Item]] = []
        self._due: dict[Item, datetime] = {}
        self._count = 0

    def wake(self, item: Item, at: datetime) -> None:
        """Look at ``item`` at ``at`` or before."""
        known = self._due.get(item)
        if known is not None and known <= at:
            return
        self._due[item] = at
        self._count += 1  # ties are served first come, first served: same inputs, same order
        heapq.heappush(self._heap, (at, self._count, item))

    def due(self, now: datetime) -> list[Item]:
        """Take every item whose time has come, in order."""
        taken = []
        while self._heap and self._heap[0][0] <= now:
            at, _, item = heapq.heappop(self._heap)
            if self._due.get(item) == at:
                del self._due[item]
                taken.append(item)
        return taken

    def next_at(self) -> datetime | None:
        """When the next item is due."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
