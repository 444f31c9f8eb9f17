"""Measurements behind one port: append batches, select points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from poise.model.signal import Batch, Epoch, Points, Rows


class Readings(Protocol):
    """What was read, to count from."""

    async def readings(self, start: datetime, end: datetime, *, include_before: bool = True) -> list[Rows]:
        """Everything that was read in (start, end], each epoch's readings ascending.

        ``include_before`` adds each epoch's last reading at or before ``start``, one per set of series.
        One read serves whoever follows many counters.
        """
        ...

    async def epochs(self) -> list[Epoch]:
        """Every epoch of which a reading is still kept, ascending by its first reading."""
        ...


class Totals(Readings, Protocol):
    """Monotone totals per (series, epoch). An appended batch is durable; the same batch twice is one."""

    async def append(self, batch: Batch) -> None: ...

    async def append_rows(self, rows: Sequence[Rows]) -> None:
        """Many sources' readings, durable together; each series is there once.

        Hand the same ``series`` object over while it is the same.
        """
        ...

    async def select(
        self,
        name: str,
        labels: Mapping[str, str],
        start: datetime,
        end: datetime,
        *,
        include_before: bool = True,
    ) -> list[Points]:
        """Series of ``name`` whose labels include ``labels``, points in (start, end].

        ``include_before`` adds each series' last point at or before ``start``, so that a delta over the
        window needs no guess. At most 2 x 86,400 points a series are kept at full step; older points are
        thinned by age.
        """
        ...

    async def latest(self, name: str, labels: Mapping[str, str]) -> list[Points]:
        """Each matching series' newest point, one entry per epoch still known."""
        ...

    async def close(self) -> None: ...
