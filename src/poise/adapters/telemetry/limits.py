"""Every limit of the telemetry file, with its one default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from poise.model.errors import Invalid

FILE: Final = "telemetry.duckdb"  # in the data folder
WAL: Final = ".wal"  # DuckDB appends it to the file's name
SOCKET: Final = "run/telemetry.sock"  # in the data folder: for whoever backs up or examines

THREADS: Final = 2
MEMORY_BYTES: Final = 512 << 20  # of DuckDB's buffers; a query that needs more dies alone
PROCESS_BYTES: Final = 2 << 30  # of the whole process: what decodes a body needs some more
SPILL_BYTES: Final = 1 << 30  # that a query may put beside the file
FREE_BYTES_MIN: Final = 64 << 20  # on the disk; with less nothing is taken
LOCK_PATIENCE_S: Final = 5.0  # for an owner that is just ending
TEND_S: Final = 60.0  # between two looks at what is too old or too much
TEND_ROWS: Final = 1_000_000  # ... or after so many new rows

SPANS_MAX: Final = 10_000  # of one trace that are shown
TEMPLATES_MAX: Final = 500  # in one answer
MINUTES_MAX: Final = 100_000  # in one answer
EDGES_MAX: Final = 5_000  # in one answer
PAGE_MAX: Final = 1_000  # rows of one page
TRACE_SPAN_NS: Final = 3_600_000_000_000  # around a window, in which the rest of its traces is looked for


class Retention(Struct, frozen=True, kw_only=True):
    """What is forgotten: all that is older than ``days``, and the oldest once there are over ``bytes``."""

    days: float = 7.0
    bytes: int = 4 << 30  # used in the file, its log included
    templates: int = 10_000  # distinct ones; records of any more go under one name


DAYS: Final = "POISE_TELEMETRY_DAYS"
BYTES: Final = "POISE_TELEMETRY_BYTES"


def retention_from(environment: Mapping[str, str]) -> Retention:
    """What the house's environment sets, else the defaults. Raises ``Invalid`` for no number over 0."""
    defaults = Retention()
    return Retention(
        days=_positive(environment, DAYS, defaults.days),
        bytes=int(_positive(environment, BYTES, defaults.bytes)),
    )


def _positive(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = -1.0
    if not 0 < number < 1e18:
        raise Invalid(
            "POISE-U130", f"{name} is {text[:40]!r}, which is no number over 0",
            mend=f"Unset it, or set e.g. {name}={default:g}",
        )  # fmt: skip
    return number
