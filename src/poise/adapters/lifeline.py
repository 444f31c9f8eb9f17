"""A process that ends with the one that made it, and takes less than its share on a full machine."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

NICE: Final = 10
AUTOGROUP: Final = Path("/proc/self/autogroup")
OOM_SCORE_ADJ: Final = 700  # on a machine out of memory this goes before any workload
_PR_SET_PDEATHSIG: Final = 1


def die_with(parent: int) -> None:
    """The kernel ends this process when its parent's thread that made it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


def be_humble(memory_bytes: int) -> None:
    """Whatever happens, not at the cost of the rest of the machine.

    Where the kernel groups by session (sched(7), autogroup) a nice value counts only within the session, so
    this one of its own says it for the whole of it: a workload that starts beside queries goes first.
    """
    os.nice(NICE)
    with suppress(FileNotFoundError):
        AUTOGROUP.write_text(str(NICE))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJ))
