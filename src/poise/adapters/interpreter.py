"""The interpreter of a process whose loop must answer promptly while threads work beside it."""

from __future__ import annotations

import gc
import sys
from typing import Final

SWITCH_S: Final = 0.0005
COLLECT: Final = (5_000, 20, 50)  # objects, and young and middle collections, before the next older one


def share() -> None:
    """Let a loop that has anything to do wait half a millisecond for a thread that computes, not five.

    Each of its system calls gives the interpreter away, and a loop makes a dozen of them for one request.
    Source: docs.python.org, sys.setswitchinterval.
    """
    sys.setswitchinterval(SWITCH_S)


def settle() -> None:
    """What is there now stays, and no collection looks at it again: a full one took 0.3 s of every thread.

    Of what comes later nearly all cycles end young, so full ones are made rare.
    Source: docs.python.org, gc.freeze and gc.set_threshold.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
