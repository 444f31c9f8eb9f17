"""What readings add to objectives: the one form in which every kind of indicator is counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Places = NDArray[np.intp]
Numbers = NDArray[np.float64]


class Increments(Struct, frozen=True, eq=False, kw_only=True):
    """``good[k]`` and ``bad[k]`` events of objective ``place[k]`` up to ``at_s[k]`` (UTC epoch seconds).

    The time (``known_from_s[k]``, ``at_s[k]``] was measured; equal instants where none was. Time that nobody
    says anything about is unknown. Indicators that judge slices say 1 good or bad event per slice.
    """

    place: Places
    at_s: Numbers
    good: Numbers
    bad: Numbers
    known_from_s: Numbers

    def __len__(self) -> int:
        return len(self.place)


class Sums(Struct, frozen=True, eq=False, kw_only=True):
    """Per place: what happened in [``start_s``, ``end_s``). ``start_s`` is the edge that was really used.

    An edge lies on the book's grain, at or before the instant that was asked for.
    """

    good: Numbers
    bad: Numbers
    known_s: Numbers
    start_s: Numbers


def joined(parts: Sequence[Increments]) -> Increments:
    """All of them as one, ascending by instant."""
    if not parts:
        return Increments(
            place=np.empty(0, np.intp),
            at_s=np.empty(0),
            good=np.empty(0),
            bad=np.empty(0),
            known_from_s=np.empty(0),
        )
    at_s = np.concatenate([one.at_s for one in parts])
    order = np.argsort(at_s, kind="stable")
    return Increments(
        place=np.concatenate([one.place for one in parts])[order],
        at_s=at_s[order],
        good=np.concatenate([one.good for one in parts])[order],
        bad=np.concatenate([one.bad for one in parts])[order],
        known_from_s=np.concatenate([one.known_from_s for one in parts])[order],
    )
