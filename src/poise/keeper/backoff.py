"""When a dead workload may start again: a pure rule.

Never gives up, is immediate at first, doubles up to a cap, is jittered so that replicas do not march in
lockstep, and forgets after a quiet time.
"""

from __future__ import annotations

from . import limits


class Backoff:
    """Settings of one workload's back-off; all in seconds."""

    __slots__ = ("burst", "cap_s", "forget_s", "initial_s", "served_s")

    def __init__(
        self,
        initial_s: float = limits.BACKOFF_INITIAL_S,
        cap_s: float = limits.BACKOFF_CAP_S,
        forget_s: float = limits.BACKOFF_FORGET_S,
        burst: int = limits.BACKOFF_BURST,
        served_s: float = limits.SERVED_S,
    ) -> None:
        self.initial_s, self.cap_s, self.forget_s = initial_s, cap_s, forget_s
        self.burst, self.served_s = burst, served_s


def after_death(
    backoff: Backoff, level: int, quiet_s: float, served_s: float | None, jitter_ratio: float
) -> tuple[int, float]:
    """Return the new level (deaths counted) and the delay in seconds before the next start.

    `quiet_s`: since the last counted death; `served_s`: how long it served, None if it never did;
    `jitter_ratio`: random in 0..1. A death after serving long enough is not counted: an outsider's kill
    of a healthy replica is answered at once, however often.
    """
    if quiet_s >= backoff.forget_s:
        level = 0
    if served_s is not None and served_s >= backoff.served_s:
        return level, 0.0
    level += 1
    free = 1 if served_s is None else max(1, backoff.burst)
    if level <= free:
        return level, 0.0
    doubled = backoff.initial_s * 2.0 ** min(level - free - 1, 60)
    return level, min(backoff.cap_s, doubled) * (0.5 + 0.5 * jitter_ratio)
