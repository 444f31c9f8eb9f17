"""The reads that every controller makes at every look, built once: to build one costs more than to run it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Select, bindparam, func, select

from poise.adapters.sqlite.schema import OBJECT

HIGH: Final = "\U0010ffff"  # sorts after every character of a key

_KIND: Final = OBJECT.c.kind == bindparam("kind")
_UNDER: Final = (_KIND, OBJECT.c.key >= bindparam("low"), OBJECT.c.key < bindparam("high"))

GET: Final = select(OBJECT.c.generation, OBJECT.c.body).where(_KIND, OBJECT.c.key == bindparam("key"))
LAST_SEQUENCE: Final = select(func.max(OBJECT.c.sequence)).where(*_UNDER)
LAST_SEQUENCE_OF_ALL: Final = select(func.max(OBJECT.c.sequence)).where(_KIND)


def _scan(*under: Any, last: bool) -> Select[Any]:
    return (
        select(OBJECT.c.body)
        .where(*under, OBJECT.c.key > bindparam("after"), OBJECT.c.body.is_not(None))
        .order_by(OBJECT.c.key.desc() if last else OBJECT.c.key)
        .limit(bindparam("limit"))
    )


SCAN: Final = {last: _scan(*_UNDER, last=last) for last in (False, True)}
SCAN_ALL: Final = {last: _scan(_KIND, last=last) for last in (False, True)}


def under(kind: str, prefix: str) -> dict[str, str]:
    """The parameters of ``kind`` and, where there is one, of ``prefix``."""
    return {"kind": kind, "low": prefix, "high": prefix + HIGH} if prefix else {"kind": kind}
