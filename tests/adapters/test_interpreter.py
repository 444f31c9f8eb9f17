"""A loop need not wait long for a thread that computes."""

from __future__ import annotations

import gc
import sys

from poise.adapters import interpreter


def test_threads_give_the_interpreter_back_soon_and_what_is_there_is_not_looked_at_again() -> None:
    """Both are settings of the whole process, so they are put back."""
    before, thresholds = sys.getswitchinterval(), gc.get_threshold()
    try:
        interpreter.share()
        assert sys.getswitchinterval() <= 0.001
        interpreter.settle()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(before)
