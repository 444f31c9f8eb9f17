"""What holds a change besides the budget, as it is now: read off what is declared and on record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from poise.balance.gate.facts import Approvers, Need, OpenFreeze
from poise.engine.limits import VERDICT_MAX_AGE_S
from poise.model.access import Principal
from poise.model.balance import Budget, Counted
from poise.model.delivery import Change, Release, Rollout, RolloutState
from poise.model.exclusion import merged
from poise.model.lock import Lock, places_of
from poise.model.policy import BudgetPolicy
from poise.model.record import Read
from poise.model.service import FreezeWindow, Service
from poise.model.standing import as_of
from poise.ports.store import Store
from poise.spec.recurrence import stretches

ROLLOUTS_LOOKED: Final = 10  # newest ones of a needed service: what is older has ended
PRINCIPALS_LIMIT: Final = 1000
RELEASES_LOOKED: Final = 200
AHEAD: Final = timedelta(days=93)  # so far ahead is looked for the end of windows that touch
SHORTLY: Final = timedelta(seconds=VERDICT_MAX_AGE_S + 1)  # its end is left out


def open_freezes(freezes: Iterable[FreezeWindow], service: Service, now: datetime) -> tuple[OpenFreeze, ...]:
    """The freeze windows that are open for a service at ``now``, in the order of the file.

    Each says when the last of those that touch it ends, for until then nothing may go.
    """
    known = [(one, stretches(one, now, now + AHEAD)) for one in freezes if one.covers(service)]
    at = now.timestamp()
    end = next((end for start, end in merged(s for _, own in known for s in own) if start <= at < end), at)
    return tuple(
        OpenFreeze(
            name=one.name, reason=one.reason, since=datetime.fromtimestamp(start, UTC),
            until=datetime.fromtimestamp(end, UTC),
        )
        for one, own in known
        for start, own_end in own
        if start <= at < own_end
    )  # fmt: skip


def freezes_at(freezes: Iterable[FreezeWindow], service: Service, now: datetime) -> datetime | None:
    """When the next freeze window opens for a service while a verdict of ``now`` may still be used."""
    at = now.timestamp()
    known = (stretches(one, now, now + SHORTLY) for one in freezes if one.covers(service))
    starts = (start for own in known for start, _ in own if at < start <= at + VERDICT_MAX_AGE_S)
    first = min(starts, default=None)
    return None if first is None else datetime.fromtimestamp(first, UTC)


async def locks_on(store: Store, service: Service) -> tuple[tuple[Lock, ...], tuple[Read, ...]]:
    """What is on record of locks on a service and its environment, those that are over included."""
    found = [await store.get(Lock, place) for place in places_of(service)]
    return tuple(one for one, _ in found if one is not None), tuple(ref for _, ref in found)


async def needs_of(
    store: Store, service: Service, counted: Counted | None, policy: BudgetPolicy
) -> tuple[tuple[Need, ...], tuple[Read, ...]]:
    """How each needed service is: the newest rollout of it that has not ended, and its budgets."""
    needs: list[Need] = []
    refs: list[Read] = []
    for name in service.needs:
        key = f"{service.project}/{service.environment}/{name}"
        rollouts, rollouts_ref = await store.scan(Rollout, f"{key}/", limit=ROLLOUTS_LOOKED, last=True)
        budgets, budgets_ref = await store.scan(Budget, f"{key}/")
        refs += [rollouts_ref, budgets_ref]
        moving = [one for one in rollouts if one.state.is_active or one.state is RolloutState.WAITING]
        last = max(moving, key=lambda one: (one.state.is_active, one.n), default=None)
        needs.append(
            Need(
                service=key,
                rollout=last.n if last else None,
                state=last.state if last else None,
                weight_percent=last.weight_percent if last else 0,
                budgets=tuple(as_of(one, counted, policy) for one in budgets),
            )
        )
    return tuple(needs), tuple(refs)


async def approvers_of(store: Store, service: Service, digest: str) -> tuple[Approvers, tuple[Read, ...]]:
    """Who may approve a release by its digest, where somebody has to; else nobody is asked for."""
    if not service.approvals.required:
        return Approvers(), ()
    people, people_ref = await store.scan(Principal, limit=PRINCIPALS_LIMIT)
    names = [
        one.name
        for one in people
        if (held := one.role_in(service.project)) is not None and held.rank >= service.approvals.role.rank
    ]
    under = f"{service.project}/{service.name}/"
    releases, _ = await store.scan(Release, under, limit=RELEASES_LOOKED, last=True)  # they never change
    commit = next((one.commit for one in reversed(releases) if one.digest == digest), "")
    change, change_ref = await store.get(Change, f"{service.project}/{commit}")
    author = change.pushed_by if change is not None else ""
    return Approvers(names=tuple(names), author=author), (people_ref, change_ref)
