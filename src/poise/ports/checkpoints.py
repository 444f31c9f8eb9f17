"""A durable checkpoint of something large: a head, and rows of bytes beside it, written a few at a time.

Whoever writes says which version he found. When another has written since, nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class Row(Struct, frozen=True, kw_only=True):
    """Some bytes of a ``tier``, by ascending ``number``. ``version`` is of the write that put it there."""

    tier: int
    number: int
    data: bytes
    version: int = 0


class Head(Struct, frozen=True, kw_only=True):
    """What the rows belong to. Empty ``data``: a checkpoint was begun and is not whole, or there is none."""

    version: int = 0
    data: bytes = b""


class Checkpoints(Protocol):
    """One checkpoint. What ``write`` accepted is durable, all of it or nothing."""

    async def head(self) -> Head:
        """The newest head; version 0 where nothing was ever written."""
        ...

    async def rows(self, tier: int, first: int, last: int) -> list[Row]:
        """The rows from ``first`` to ``last``, ascending; those that are there."""
        ...

    async def write(self, found: int, data: bytes, rows: Sequence[Row], oldest: Sequence[int]) -> int | None:
        """Put a head and rows in place; the version that they made, None where ``found`` is not the newest.

        A row that is there already is replaced. Of tier ``n`` all rows below number ``oldest[n]`` go.
        """
        ...
