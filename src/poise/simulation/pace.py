"""How fast one may go, worked out apart from the policy's rooms: a level's dwell, and second persons."""

from __future__ import annotations

from msgspec import Struct

from poise.model.balance import Override, Verdict, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.policy import BudgetPolicy, Level, PolicyState
from poise.simulation.book import Book


class PaceLaws:
    """Holds levels to their dwell, the gate to the level, and overrides to a second person."""

    def __init__(self, book: Book, policy: BudgetPolicy) -> None:
        self._book, self._policy = book, policy

    def state(self, key: str, before: Struct | None) -> None:
        """A level was written; ``before`` is what it was."""
        after = self._book.one(PolicyState, key)
        if after is None or not isinstance(before, PolicyState) or before.policy != after.policy:
            return
        held_s = (after.at - before.since).total_seconds()
        if after.level.rank < before.level.rank and held_s < self._policy.dwell_s:
            said = f"{key} went from {before.level.value} to {after.level.value} after {held_s:.0f} s"
            self._book.breach("a-level-lasts-its-dwell", said)

    def verdict(self, key: str, verdict: Verdict) -> None:
        """The gate answered."""
        if verdict.kind is VerdictKind.HOLD:
            return
        if verdict.override is not None:
            self._overridden(key, verdict, verdict.override)
            return
        state = self._book.one(PolicyState, verdict.service)
        is_first = any(reason.rule == "bootstrap" for reason in verdict.reasons)
        if state is None or is_first or verdict.change_class is not ChangeClass.FEATURE:
            return
        frozen_s = (verdict.at - state.since).total_seconds()
        if state.level is Level.FREEZE and frozen_s < self._policy.dwell_s:
            said = f"{key} says {verdict.kind.value} {frozen_s:.0f} s after a freeze"
            self._book.breach("a-freeze-lasts-its-dwell", said)

    def _overridden(self, key: str, verdict: Verdict, n: int) -> None:
        """Both operators of this world may approve what the other asked for, and nobody their own."""
        override = self._book.one(Override, f"{verdict.service}/{n:06d}")
        if override is None or override.approved_by in ("", override.by):
            self._book.breach("a-second-person-approves", f"{key} goes by override {n} without another")
