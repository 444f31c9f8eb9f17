"""What holds rollouts besides the budget, worked out apart from the gate that says so."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from poise.model.balance import Verdict, VerdictKind
from poise.model.delivery import Change, ChangeClass, Rollout
from poise.model.grant import Grant, GrantKind
from poise.model.lock import Lock
from poise.model.service import Approvals, FreezeWindow, Project
from poise.simulation.book import Book

FREEZE_FROM_HOUR, FREEZE_HOURS = 2, 2
FREEZE: Final = FreezeWindow(
    name="night", reason="nobody is in", starts=f"2026-01-01T{FREEZE_FROM_HOUR:02}:00:00",
    duration_s=FREEZE_HOURS * 3600.0, rrule="FREQ=DAILY",
)  # fmt: skip
AUTHOR: Final = "ada"


def freezes_in(seed: int) -> bool:
    """Whether this world has a freeze window every night."""
    return seed % 5 == 0


def locks_in(seed: int) -> bool:
    """Whether people lock and unlock in this world."""
    return seed % 5 == 1


def approvals_in(seed: int) -> Approvals:
    """How many must approve in this world, in production."""
    return Approvals(required=1 if seed % 5 == 4 else 0)


class HoldLaws:
    """Holds the gate to freeze windows, locks, approvals and needs."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def verdict(self, key: str, verdict: Verdict) -> None:
        """The gate answered."""
        if verdict.kind is VerdictKind.HOLD or verdict.change_class is ChangeClass.ROLLBACK:
            return
        rollout = self._book.one(Rollout, key.rpartition("/ask/")[0])
        self._unlocked(key, verdict)
        if verdict.override is not None or rollout is None:
            return
        if verdict.change_class is ChangeClass.FEATURE:
            self._thawed(key, verdict)
            self._at_rest(key, rollout)
        self._let_in(key, rollout, verdict)

    def _unlocked(self, key: str, verdict: Verdict) -> None:
        for place in (verdict.service.rpartition("/")[0], verdict.service):
            lock = self._book.one(Lock, place)
            if lock is not None and lock.lifted_at is None and lock.at <= verdict.at < lock.expires_at:
                self._book.breach("what-is-locked-waits", f"{key} says {verdict.kind.value}: {lock}")

    def _thawed(self, key: str, verdict: Verdict) -> None:
        project = self._book.one(Project, verdict.service.split("/")[0])
        hour = _hour(verdict.at)
        if project is not None and project.freezes and 0 <= hour - FREEZE_FROM_HOUR < FREEZE_HOURS:
            said = f"{key} says {verdict.kind.value} to a feature at {verdict.at:%H:%M}"
            self._book.breach("in-a-freeze-no-feature-goes", said)

    def _at_rest(self, key: str, rollout: Rollout) -> None:
        for name in rollout.spec.needs:
            under = f"{rollout.project}/{rollout.environment}/{name}/"
            moving = [one.key for one in self._book.all(Rollout, under) if one.state.is_active]
            if moving:
                self._book.breach("what-is-needed-rests", f"{key} goes while {moving} is under way")

    def _let_in(self, key: str, rollout: Rollout, verdict: Verdict) -> None:
        """Both operators of this world may approve, but for the one who pushed the change."""
        if not rollout.spec.approvals.required or rollout.weight_percent:
            return
        change = self._book.one(Change, f"{rollout.project}/{rollout.commit}")
        author = change.pushed_by if change else ""
        for grant in self._book.all(Grant, f"{verdict.service}/"):
            fits = grant.kind is GrantKind.APPROVAL and grant.digest == rollout.digest and grant.allowed
            if fits and grant.decided_by != author and grant.at <= verdict.at < grant.expires_at:
                return
        self._book.breach("nobody-lets-in-their-own", f"{key} enters, and nobody but {author} approved it")


def _hour(at: datetime) -> float:
    return at.hour + at.minute / 60 + at.second / 3600
