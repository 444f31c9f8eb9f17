"""What readings add to objectives: the one form in which every kind of indicator is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.model.objective import Objective
from poise.model.policy import BudgetPolicy
from poise.model.record import Decision
from poise.model.slices import Contradiction

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

    def only(self, mine: NDArray[np.bool_]) -> Increments:
        """Some of them."""
        return Increments(
            place=self.place[mine],
            at_s=self.at_s[mine],
            good=self.good[mine],
            bad=self.bad[mine],
            known_from_s=self.known_from_s[mine],
        )


class Sums(Struct, frozen=True, eq=False, kw_only=True):
    """Per place: what happened in [``start_s``, ``end_s``). ``start_s`` is the edge that was really used.

    An edge lies on the book's grain, at or before the instant that was asked for. ``excess`` is by how many
    events the source's good or bad ones outnumber all of its events, which cannot be: they are not in
    ``good`` and ``bad``, which are never below 0 and add up to all events.
    """

    good: Numbers
    bad: Numbers
    known_s: Numbers
    start_s: Numbers
    excess: Numbers


class Summed(Protocol):
    """Sums over any window, of every objective at once: the book."""

    @property
    def width(self) -> int:
        """How many places there are, free ones included."""
        ...

    def between(self, start_s: float | Numbers, end_s: float | None = None) -> Sums:
        """Per place, the sums in [start, end), or from ``start_s`` (one, or one per place) on."""
        ...

    def curve(self, key: str, at_s: Numbers) -> Sums:
        """One objective's sums from its beginning up to each instant."""
        ...

    def standing(self, at_s: Numbers) -> Sums:
        """Per place, the sums from the beginning up to each instant: ``[instants, places]``."""
        ...

    def spent_by(self, key: str, start_s: float, most: float) -> float | None:
        """The earliest edge, at or after ``start_s``, since when at most ``most`` events were bad."""
        ...


class Round(Struct, frozen=True, eq=False, kw_only=True):
    """One round of counting: each objective and group with its policy and place, what came in, and all sums.

    By objective, ``allowed`` is how large its budget is, in events as the budget itself is sized, and ``bad``
    how many were counted in its window.
    """

    now: datetime
    objectives: tuple[Objective, ...]
    policies: tuple[BudgetPolicy, ...]
    places: Places
    increments: Increments
    sums: Summed
    allowed: Numbers
    bad: Numbers


class Shaper(Protocol):
    """Turns counted events into the units of a budget (slices, composites). One lives as long as its book."""

    def shaped(self, objectives: dict[int, Objective], counted: Increments, now_s: float) -> Increments:
        """What goes into the book, by place, ascending by instant; most kinds go in as they were counted."""
        ...

    def contradictions(self) -> Mapping[int, Contradiction]:
        """By place: the newest slice of time whose events contradicted one another."""
        ...

    def kept(self) -> bytes:
        """Where it stands, for one that goes on from there."""
        ...

    def resume(self, kept: bytes) -> None:
        """Go on from where another one stood. ``msgspec.MsgspecError`` where that is not understood."""
        ...


class Observer(Protocol):
    """Looks at each round beside the budgets: a detector of burns, for one."""

    def observe(self, round: Round) -> Decision:
        """Writes and events that are recorded together with the budgets."""
        ...


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
