"""Burn-rate tiers that an objective declares, checked: one that can never fire is a problem, no comfort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from poise.model.objective import Window
from poise.spec.document import Node
from poise.spec.durations import format_duration
from poise.spec.problems import CONTRADICTION, Report

SHORT_MIN_S: Final = 10.0  # two looks of Poise at its counters


def check_tier(
    values: Mapping[str, object], long: Node, short: Node, windows: Sequence[Window], report: Report
) -> None:
    """Report a short window that is none, and a long one that outlasts the budget's."""
    long_s, short_s = values.get("long_s"), values.get("short_s")
    if not isinstance(long_s, float) or not isinstance(short_s, float):
        return
    if short_s >= long_s:
        mend = f"Write e.g. 'short: {format_duration(long_s / 12)}'."
        report.add(CONTRADICTION, short, "'short' must be shorter than 'long'", mend=mend)
    elif short_s < SHORT_MIN_S:
        what = f"a short window of {format_duration(short_s)} holds less than two readings"
        mend = f"Make it {format_duration(SHORT_MIN_S)} or more, of a long one of 12 times that."
        report.add(CONTRADICTION, short, what, mend=mend)
    if windows and long_s > windows[0].window_s:
        what = f"a tier over {format_duration(long_s)} outlasts the window of the budget"
        mend = f"Write at most {format_duration(windows[0].window_s)}."
        report.add(CONTRADICTION, long, what, mend=mend)
