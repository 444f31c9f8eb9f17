"""Who is told of a dispute that nobody decides, as a pure function of what is; nobody is told twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from poise.model import event_types
from poise.model.acts import SendPage
from poise.model.grant import Grant, GrantKind
from poise.model.incident import Page, Summons
from poise.model.oncall import EscalationPolicy, EscalationStep, OnCallOverride, OnCallSchedule, Person
from poise.model.policy import BudgetPolicy
from poise.model.record import Decision, Event, Intent, Read, Write
from poise.reliability.paging.decide import NOBODY_AGAIN_S, policy_of, reached


class SeenDispute(Struct, frozen=True, kw_only=True):
    """One dispute with what says who is to be told of it; ``pages`` are those about it, ascending."""

    grant: Grant
    policy: BudgetPolicy = BudgetPolicy()
    summons: Summons | None = None
    policies: tuple[EscalationPolicy, ...] = ()
    schedules: tuple[OnCallSchedule, ...] = ()
    overrides: tuple[OnCallOverride, ...] = ()
    pages: tuple[Page, ...] = ()
    reads: tuple[Read, ...] = ()


def decide_dispute(seen: SeenDispute, now: datetime) -> Decision:
    """Page the one who decides, once the dispute has stayed open for as long as the policy bears.

    Nobody is paged twice for one dispute. Only where not one message to a person could be delivered does
    the next one get theirs: whom the policy names first, in order, then the escalation's next levels.
    """
    summons = seen.summons or Summons(dispute=seen.grant.key)
    if not is_summoned(seen.grant, now):
        over = seen.summons is not None and not seen.summons.ended
        return (
            _written(seen, replace(summons, ended=True, due_at=None)) if over else Decision(reads=seen.reads)
        )
    begins_at = seen.grant.at + timedelta(seconds=seen.policy.escalate_after_s)
    if now < begins_at:
        return Decision(reads=seen.reads, wake_at=min(begins_at, seen.grant.expires_at))
    if summons.acknowledged_at is not None or _is_told(summons, seen.pages):
        return Decision(reads=seen.reads, wake_at=seen.grant.expires_at)
    if summons.due_at is not None and now < summons.due_at:
        return Decision(reads=seen.reads, wake_at=summons.due_at)
    skipped = []
    for person, why in _candidates(seen, now):
        if person is None:
            skipped.append(why)
        elif person.name not in summons.told:
            return _paged(seen, summons, person, now)
    return _nobody(seen, summons, skipped or ["everybody who could be told has been tried"], now)


def is_summoned(grant: Grant, now: datetime) -> bool:
    """Whether somebody is still wanted for it: a dispute, neither decided nor expired."""
    return grant.kind is GrantKind.RULING and grant.is_open(now)


def acknowledged(summons: Summons, grant: Grant, by: str, now: datetime) -> tuple[Summons, Event]:
    """Somebody has seen it; what is to be decided is still to be decided."""
    after = replace(summons, acknowledged_by=by, acknowledged_at=now)
    said = f"{by} acknowledged dispute {grant.n} of {_service(grant)}"
    event = Event(
        type=event_types.GRANT_ACKNOWLEDGED, subject=grant.key, actor=by, summary=said, data={"n": grant.n}
    )
    return after, event


def _is_told(summons: Summons, pages: Sequence[Page]) -> bool:
    """Whether a message to the last one is under way or delivered: not all were given up."""
    if not summons.told:
        return False
    mine = [page for page in pages if page.person == summons.told[-1]]
    return not mine or not all(page.problem for page in mine)


def _candidates(seen: SeenDispute, now: datetime) -> Iterator[tuple[Person | None, str]]:
    """In order: whom the policy names, then the next levels of the escalation; never who disputes."""
    named = [EscalationStep(person=name) for name in seen.policy.escalate_to]
    policy = policy_of(seen.grant.service.partition("/")[0], seen.policies, seen.schedules)
    steps = policy.steps if policy is not None else ()
    next_levels = [*steps[1:], *steps[:1]]  # who is on call first is the last to be asked to rule
    if not named and not next_levels:
        yield None, "the policy names nobody (escalateTo) and no escalation is declared"
    for step in (*named, *next_levels):
        person, why = reached(step, seen.schedules, seen.overrides, now)
        if person is not None and person.name == seen.grant.by:
            yield None, f"{person.name} disputes it"
        else:
            yield person, why


def _paged(seen: SeenDispute, summons: Summons, person: Person, now: datetime) -> Decision:
    pages = [
        Page(
            incident="", dispute=seen.grant.key, k=k, person=person.name, contact=contact,
            step=len(summons.told), round=0, asked_at=now,
        )
        for k, contact in enumerate(person.contacts, summons.pages + 1)
    ]  # fmt: skip
    after = replace(
        summons, told=(*summons.told, person.name), pages=summons.pages + len(pages), due_at=None, problem="",
        ended=False,
    )  # fmt: skip
    open_s = (now - seen.grant.at).total_seconds()
    event = Event(
        type=event_types.GRANT_ESCALATED,
        subject=seen.grant.key,
        summary=f"{person.name} is paged for dispute {seen.grant.n} of {_service(seen.grant)}, "
        f"open for {open_s / 60:.0f} min",
        data={"n": seen.grant.n, "person": person.name, "asked_by": seen.grant.by},
    )
    return _written(seen, after, pages, event)


def _nobody(seen: SeenDispute, summons: Summons, why: Sequence[str], now: datetime) -> Decision:
    """Nobody can be paged: said once, looked at again soon."""
    problem, due_at = "; ".join(dict.fromkeys(why)), now + timedelta(seconds=NOBODY_AGAIN_S)
    if seen.summons is not None and seen.summons.problem == problem:
        return Decision(reads=seen.reads, wake_at=due_at)
    event = Event(
        type=event_types.PAGE_NOBODY,
        subject=seen.grant.key,
        summary=f"nobody could be paged for dispute {seen.grant.n} of {_service(seen.grant)}: {problem}",
        data={"mend": "Give whom escalateTo names a contact in an OnCallSchedule and run: poise apply"},
    )
    return _written(seen, replace(summons, problem=problem, due_at=due_at), (), event)


def _written(
    seen: SeenDispute, after: Summons, pages: Sequence[Page] = (), event: Event | None = None
) -> Decision:
    return Decision(
        reads=seen.reads,
        writes=(
            Write(kind="Summons", key=after.dispute, body=after),
            *(Write(kind="Page", key=page.key, body=page) for page in pages),
        ),
        intents=tuple(Intent(key=f"page/{page.key}", act=SendPage(page=page.key)) for page in pages),
        events=() if event is None else (event,),
        wake_at=after.due_at or (None if after.ended else seen.grant.expires_at),
    )


def _service(grant: Grant) -> str:
    return grant.service.rpartition("/")[2]
