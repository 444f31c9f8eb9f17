"""Opening the file, and what DuckDB says as our errors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import duckdb

from poise.adapters.telemetry import limits
from poise.model.errors import PoiseError, TimedOut, TooLarge, Unreachable

_LOCKED: Final = "lock"


class DiskFull(Unreachable):
    """A batch was not made durable; the sender shall try again later."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "POISE-U102", "nothing of this batch was kept: it could not be written to the disk", why=why,
            mend="Free some space, then it goes on by itself. See: poise doctor",
        )  # fmt: skip


class Lost(Unreachable):
    """The open file cannot be used any more; another process has to open it anew."""

    def __init__(self, why: str) -> None:
        super().__init__("POISE-U109", "the telemetry file has to be opened anew", why=why,
                         mend="Send it again.")  # fmt: skip


def opened(path: Path, patience_s: float = limits.LOCK_PATIENCE_S) -> duckdb.DuckDBPyConnection:
    """The file's connection, for writing. Waits a little for an owner that is just ending."""
    deadline = time.monotonic() + patience_s
    spill = path.with_name(path.name + ".spill")
    while True:
        try:
            return duckdb.connect(
                str(path),
                config={
                    "threads": limits.THREADS,
                    "memory_limit": f"{limits.MEMORY_BYTES >> 20}MiB",
                    "temp_directory": str(spill),
                    "max_temp_directory_size": f"{limits.SPILL_BYTES >> 20}MiB",
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                    "enable_external_access": "true",
                    "preserve_insertion_order": "false",
                    "checkpoint_threshold": "64MiB",
                },
            )
        except duckdb.Error as error:
            if _LOCKED not in str(error).lower() or time.monotonic() > deadline:
                raise _unopened(path, error) from None
            time.sleep(0.05)


def told(error: Exception, seconds: float) -> PoiseError:
    """What a read that failed is to its asker."""
    first = (str(error).splitlines() or [""])[0][:200]
    match error:
        case duckdb.InterruptException():
            return TimedOut(
                "POISE-U103", f"the query took longer than {seconds:g} s", mend="Ask for a shorter time."
            )
        case duckdb.OutOfMemoryException():
            return TooLarge(
                "POISE-U104", f"the query needs over {limits.MEMORY_BYTES >> 20} MiB of memory",
                mend="Ask for a shorter time, or for one service.",
            )  # fmt: skip
        case duckdb.FatalException() | duckdb.InternalException():
            return Lost(f"{first}.")
        case _:
            return Unreachable("POISE-U105", "the telemetry file did not answer", why=f"{first}.",
                               mend="Run: poise doctor")  # fmt: skip


def _unopened(path: Path, error: Exception) -> Unreachable:
    first = (str(error).splitlines() or [""])[0][:300]
    if _LOCKED in first.lower():
        return Unreachable("POISE-U108", "another process has the telemetry file open", where=str(path),
                           why=f"{first}.", mend="End that process.")  # fmt: skip
    return Unreachable(
        "POISE-U101", "the telemetry file cannot be opened", where=str(path), why=f"{first}.",
        mend=f"Put a backup back, or begin anew: mv {path} {path}.broken",
    )  # fmt: skip
