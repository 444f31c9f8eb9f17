"""What tells one process from another: this boot, and the tick it started at."""

from __future__ import annotations

from poise.keeper.proc import boot_id, start_time

__all__ = ["boot_id", "start_ticks"]


def start_ticks(pid: int) -> int | None:
    """Return a process' start in clock ticks since boot, None when there is no such process."""
    return start_time(pid)
