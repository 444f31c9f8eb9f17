"""A checkpoint in memory: for the simulation and for tests. Same contract as on disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from msgspec import structs

from poise.ports.checkpoints import Head, Row


class MemoryCheckpoints:
    """It outlives the control process, as the disk does."""

    def __init__(self) -> None:
        self._head = Head()
        self._rows: defaultdict[int, dict[int, Row]] = defaultdict(dict)  # by tier and number

    async def head(self) -> Head:
        """See the port."""
        return self._head

    async def rows(self, tier: int, first: int, last: int) -> list[Row]:
        """See the port."""
        mine = self._rows[tier]
        return [mine[number] for number in range(first, last + 1) if number in mine]

    async def write(self, found: int, data: bytes, rows: Sequence[Row], oldest: Sequence[int]) -> int | None:
        """See the port."""
        if found != self._head.version:
            return None
        self._head = Head(version=found + 1, data=data)
        for one in rows:
            self._rows[one.tier][one.number] = structs.replace(one, version=found + 1)
        for tier, number in enumerate(oldest):
            mine = self._rows[tier]
            while mine and (first := next(iter(mine))) < number:  # they came in this order
                del mine[first]
        return found + 1
