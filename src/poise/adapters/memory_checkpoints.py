"""A checkpoint in memory: for the simulation and for tests. Same contract as on disk."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from poise.ports.checkpoints import Head, Row


class MemoryCheckpoints:
    """It outlives the control process, as the disk does."""

    def __init__(self) -> None:
        self._head = Head()
        self._rows: dict[tuple[int, int], Row] = {}

    async def head(self) -> Head:
        """See the port."""
        return self._head

    async def rows(self, tier: int, first: int, last: int) -> list[Row]:
        """See the port."""
        found = (self._rows.get((tier, number)) for number in range(first, last + 1))
        return [one for one in found if one is not None]

    async def write(self, found: int, data: bytes, rows: Sequence[Row], oldest: Sequence[int]) -> int | None:
        """See the port."""
        if found != self._head.version:
            return None
        self._head = Head(version=found + 1, data=data)
        for one in rows:
            self._rows[one.tier, one.number] = structs.replace(one, version=found + 1)
        gone = [key for key in self._rows if key[0] < len(oldest) and key[1] < oldest[key[0]]]
        for key in gone:
            del self._rows[key]
        return found + 1
