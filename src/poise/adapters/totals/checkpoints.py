"""The checkpoint of what was counted, beside the totals that it was counted from: one file, one backup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
import sqlalchemy as sa

from poise.adapters.totals.store import configure
from poise.model.errors import Unreachable
from poise.ports.checkpoints import Head, Row

_TIER = 2**40  # numbers of one tier

_meta = sa.MetaData()
_head = sa.Table(
    "checkpoint",
    _meta,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
_row = sa.Table(
    "checkpoint_row",
    _meta,
    sa.Column("id", sa.Integer, primary_key=True),  # tier and number in one
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

T = TypeVar("T")


class StoredCheckpoints:
    """Two tables of ``signals.db`` behind the port. Blocking work runs in threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = sa.create_engine(f"sqlite:///{path}")
        sa.event.listen(self._engine, "connect", configure)
        _meta.create_all(self._engine)

    async def head(self) -> Head:
        """See the port."""
        return await self._run(self._read_head)

    async def rows(self, tier: int, first: int, last: int) -> list[Row]:
        """See the port."""
        return await self._run(partial(self._rows, tier, first, last))

    async def write(self, found: int, data: bytes, rows: Sequence[Row], oldest: Sequence[int]) -> int | None:
        """See the port."""
        return await self._run(partial(self._write, found, data, rows, oldest))

    async def close(self) -> None:
        """Give the file up."""
        await self._run(self._engine.dispose)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await anyio.to_thread.run_sync(work)
        except sa.exc.DatabaseError as error:
            raise Unreachable(
                "POISE-S105",
                "what was counted can be neither kept nor read back",
                where=str(self._path),
                why=str(error.orig),
                mend="Free some space, or run: poise doctor",
            ) from error

    def _read_head(self) -> Head:
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(_head.c.version, _head.c.data)).first()
        return Head() if found is None else Head(version=found[0], data=found[1])

    def _rows(self, tier: int, first: int, last: int) -> list[Row]:
        query = sa.select(_row).where(_row.c.id.between(tier * _TIER + first, tier * _TIER + last))
        with self._engine.connect() as connection:
            return [
                Row(tier=tier, number=number - tier * _TIER, version=version, data=data)
                for number, version, data in connection.execute(query.order_by(_row.c.id))
            ]

    def _write(self, found: int, data: bytes, rows: Sequence[Row], oldest: Sequence[int]) -> int | None:
        version = found + 1
        with self._engine.begin() as connection:
            if found == 0:  # whoever is second finds the first one's row
                first = sa.insert(_head).prefix_with("OR IGNORE").values(id=1, version=0, data=b"")
                connection.execute(first)
            mine = sa.update(_head).where(_head.c.version == found)
            if not connection.execute(mine.values(version=version, data=data)).rowcount:
                return None
            if rows:
                connection.execute(
                    sa.insert(_row).prefix_with("OR REPLACE"),
                    [
                        {"id": one.tier * _TIER + one.number, "version": version, "data": one.data}
                        for one in rows
                    ],
                )
            for tier, number in enumerate(oldest):
                gone = _row.c.id.between(tier * _TIER, tier * _TIER + number - 1)
                connection.execute(sa.delete(_row).where(gone))
        return version
