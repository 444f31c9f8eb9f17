"""The escalation of one incident, as a pure function of what is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.model import event_types, roster
from poise.model.acts import SendPage
from poise.model.incident import Escalation, Incident, IncidentState, Page, Severity
from poise.model.oncall import (
    Contact,
    EscalationPolicy,
    EscalationStep,
    OnCallOverride,
    OnCallSchedule,
    Person,
)
from poise.model.record import Decision, Event, Intent, Read, Write

DEFAULT_POLICY: Final = "default"
ALONE_WAIT_S: Final = 300.0  # a schedule without a policy is paged so often
NOBODY_AGAIN_S: Final = 30.0  # nobody can be paged: look again for somebody after so long


class Seen(Struct, frozen=True, kw_only=True):
    """One incident with what says who is to be told of it; ``pages`` are its newest pages, ascending."""

    incident: Incident
    escalation: Escalation | None = None
    policies: tuple[EscalationPolicy, ...] = ()
    schedules: tuple[OnCallSchedule, ...] = ()
    overrides: tuple[OnCallOverride, ...] = ()
    pages: tuple[Page, ...] = ()
    reads: tuple[Read, ...] = ()


class Target(Struct, frozen=True, kw_only=True):
    """A step that reaches somebody, and what was passed over on the way to it."""

    index: int
    person: Person | None = None
    skipped: tuple[str, ...] = ()


def decide(seen: Seen, now: datetime) -> Decision:
    """Begin, go on with, or end the paging of the incident."""
    escalation = seen.escalation
    if not is_paged(seen.incident):
        return _end(seen, now)
    if escalation is None or escalation.ended or _is_worse(seen.incident, escalation):
        pages = escalation.pages if escalation else 0
        fresh = Escalation(
            incident=seen.incident.key, policy="", pages=pages, severity=seen.incident.severity
        )
        return _step(seen, fresh, now)
    due_at = escalation.due_at
    if escalation.problem or due_at is None:
        ripe = due_at is None or due_at <= now
        return _step(seen, escalation, now) if ripe else Decision(reads=seen.reads, wake_at=due_at)
    if due_at > now and not _all_failed(seen, escalation):
        return Decision(reads=seen.reads, wake_at=due_at)
    return _step(seen, _onward(seen, escalation), now)


def is_paged(incident: Incident) -> bool:
    """Whether people are to be paged for it now: open, and bad enough to wake somebody."""
    return incident.state is IncidentState.OPEN and incident.severity.pages


def policy_of(
    project: str, policies: Sequence[EscalationPolicy], schedules: Sequence[OnCallSchedule]
) -> EscalationPolicy | None:
    """``default``, else the only policy, else one made of the first schedule; None when there is nobody."""
    for policy in policies:
        if policy.name == DEFAULT_POLICY or len(policies) == 1:
            return policy
    if policies or not schedules:
        return None
    step = EscalationStep(schedule=schedules[0].name, wait_s=ALONE_WAIT_S)
    return EscalationPolicy(project=project, name="", steps=(step,), rounds=1, remind_s=ALONE_WAIT_S)


# -- going on -----------------------------------------------------------------------------------------


def _is_worse(incident: Incident, escalation: Escalation) -> bool:
    return incident.severity is Severity.SEV1 and escalation.severity is not Severity.SEV1


def _all_failed(seen: Seen, escalation: Escalation) -> bool:
    """Whether every page of the present step was given up: there is nothing to wait for.

    Not while reminding: then the last step would repeat without a pause.
    """
    policy = policy_of(seen.incident.project, seen.policies, seen.schedules)
    if policy is None or escalation.round >= policy.rounds:
        return False
    asked = [page for page in seen.pages if (page.step, page.round) == (escalation.step, escalation.round)]
    last = max((page.asked_at for page in asked), default=None)
    newest = [page for page in asked if page.asked_at == last]
    return bool(newest) and all(page.problem for page in newest)


def _onward(seen: Seen, escalation: Escalation) -> Escalation:
    """The next place: the next step, the first of the next round, or the last again as a reminder."""
    policy = policy_of(seen.incident.project, seen.policies, seen.schedules)
    steps = len(policy.steps) if policy else 1
    if policy and escalation.round >= policy.rounds:
        return escalation
    if escalation.step + 1 < steps:
        return replace(escalation, step=escalation.step + 1)
    return replace(escalation, step=0, round=escalation.round + 1)


def _step(seen: Seen, escalation: Escalation, now: datetime) -> Decision:
    """Take the step that ``escalation`` stands at: page its person, or whoever comes next."""
    incident = seen.incident
    policy = policy_of(incident.project, seen.policies, seen.schedules)
    if policy is None or not policy.steps:
        return _nobody(seen, escalation, now, (_why_no_policy(seen),))
    reminding = escalation.round >= policy.rounds
    order = _order(len(policy.steps), escalation.step, reminding)
    target = _target(seen, policy, order, now)
    if target.person is None:
        return _nobody(seen, replace(escalation, policy=policy.name, step=0), now, target.skipped)
    wait_s = policy.remind_s if reminding else policy.steps[target.index].wait_s
    went_round = not reminding and target.index < escalation.step
    due_at = now + timedelta(seconds=wait_s)
    after = replace(
        escalation,
        policy=policy.name,
        step=target.index,
        round=escalation.round + went_round,
        pages=escalation.pages + len(target.person.contacts),
        due_at=due_at,
        ended=False,
        closed=False,
        problem="",
    )
    pages = [
        _page(after, target.person, contact, k, now)
        for k, contact in enumerate(target.person.contacts, escalation.pages + 1)
    ]
    events = [*(_skipped(incident, why) for why in target.skipped), _stepped(incident, after, target.person)]
    return _written(seen, after, pages, [*events, *map(_asked, pages)], due_at)


def _order(steps: int, at: int, reminding: bool) -> list[int]:
    """In which order steps are tried: from the present one on, all around; reminding begins at the last."""
    start = steps - 1 if reminding else min(at, steps - 1)
    return [(start + offset) % steps for offset in range(steps)]


def _target(seen: Seen, policy: EscalationPolicy, order: Sequence[int], now: datetime) -> Target:
    """The first step that reaches somebody with a contact."""
    skipped: list[str] = []
    for index in order:
        person, why = reached(policy.steps[index], seen.schedules, seen.overrides, now)
        if person is not None:
            return Target(index=index, person=person, skipped=tuple(skipped))
        skipped.append(f"step {index + 1} reaches nobody: {why}")
    return Target(index=0, skipped=tuple(skipped))


def reached(
    step: EscalationStep,
    schedules: Sequence[OnCallSchedule],
    overrides: Sequence[OnCallOverride],
    now: datetime,
) -> tuple[Person | None, str]:
    """Whom a step reaches now, with a contact; else None and why not."""
    name, among = step.person, list(schedules)
    if step.schedule is not None:
        schedule = next((one for one in schedules if one.name == step.schedule), None)
        if schedule is None:
            return None, f"there is no schedule {step.schedule}"
        name = roster.on_call(schedule, overrides, now)
        if name is None:
            return None, f"nobody is on call in {step.schedule} now"
        among = [schedule, *among]
    person = roster.person_of(among, name or "")
    if person is None or not person.contacts:
        return None, f"{name} has no contact"
    return person, ""


# -- nobody, and the end ------------------------------------------------------------------------------


def _why_no_policy(seen: Seen) -> str:
    if seen.policies:
        names = ", ".join(policy.name for policy in seen.policies)
        return f"none of the escalation policies ({names}) is named '{DEFAULT_POLICY}'"
    return "no on-call schedule and no escalation policy is declared"


def _nobody(seen: Seen, escalation: Escalation, now: datetime, why: Sequence[str]) -> Decision:
    """Nobody can be paged: said once, looked at again soon."""
    problem = "; ".join(why)
    due_at = now + timedelta(seconds=NOBODY_AGAIN_S)
    after = replace(escalation, due_at=due_at, ended=False, closed=False, problem=problem)
    event = Event(
        type=event_types.PAGE_NOBODY,
        subject=seen.incident.key,
        summary=f"nobody could be paged for incident {seen.incident.n}: {problem}",
        data={"mend": "Declare an OnCallSchedule in poise.yaml and run: poise apply"},
    )
    told = seen.escalation is not None and not seen.escalation.ended and seen.escalation.problem == problem
    if told and seen.escalation is not None and seen.escalation.severity is escalation.severity:
        return Decision(reads=seen.reads, wake_at=due_at)
    return _written(seen, after, [], [event], due_at)


def _end(seen: Seen, now: datetime) -> Decision:
    """Somebody answered, or it is over; once it is resolved, whoever was paged is told."""
    escalation = seen.escalation
    if escalation is None:
        return Decision(reads=seen.reads)
    resolved = seen.incident.state is IncidentState.RESOLVED
    if escalation.ended and (escalation.closed or not resolved):
        return Decision(reads=seen.reads)
    told = _to_close(seen.pages) if resolved and not escalation.closed else []
    after = replace(
        escalation, ended=True, closed=resolved, due_at=None, problem="", pages=escalation.pages + len(told)
    )
    pages = [
        Page(
            incident=page.incident, k=k, person=page.person, contact=page.contact, step=page.step,
            round=page.round, asked_at=now, closing=True,
        )
        for k, page in enumerate(told, escalation.pages + 1)
    ]  # fmt: skip
    return _written(seen, after, pages, [], None)


def _to_close(pages: Iterable[Page]) -> list[Page]:
    """The newest page of each contact that was told of the incident and not yet of its end."""
    open_ends: dict[tuple[str, Contact], Page] = {}
    for page in pages:
        if page.closing:
            open_ends.pop((page.person, page.contact), None)
        elif page.sent_at is not None or page.attempts:
            open_ends[page.person, page.contact] = page
    return list(open_ends.values())


# -- records ------------------------------------------------------------------------------------------


def _page(escalation: Escalation, person: Person, contact: Contact, k: int, now: datetime) -> Page:
    return Page(
        incident=escalation.incident, k=k, person=person.name, contact=contact, step=escalation.step,
        round=escalation.round, asked_at=now,
    )  # fmt: skip


def _written(
    seen: Seen, escalation: Escalation, pages: Sequence[Page], events: Sequence[Event], wake: datetime | None
) -> Decision:
    return Decision(
        reads=seen.reads,
        writes=(
            Write(kind="Escalation", key=escalation.incident, body=escalation),
            *(Write(kind="Page", key=page.key, body=page) for page in pages),
        ),
        intents=tuple(Intent(key=f"page/{page.key}", act=SendPage(page=page.key)) for page in pages),
        events=tuple(events),
        wake_at=wake,
    )


def _stepped(incident: Incident, after: Escalation, person: Person) -> Event:
    return Event(
        type=event_types.ESCALATED,
        subject=incident.key,
        summary=f"{person.name} is paged for incident {incident.n} ({incident.severity}): step "
        f"{after.step + 1}, round {after.round + 1}",
        data={"person": person.name, "step": after.step, "round": after.round, "policy": after.policy},
    )


def _skipped(incident: Incident, why: str) -> Event:
    return Event(
        type=event_types.PAGE_NOBODY,
        subject=incident.key,
        summary=f"incident {incident.n}: {why}; the next step is taken at once",
    )


def _asked(page: Page) -> Event:
    return Event(
        type=event_types.PAGE_ASKED,
        subject=page.incident,
        summary=f"a page to {page.person} by {page.contact.kind} is asked for",
        data={"page": page.key, "person": page.person, "by": str(page.contact.kind)},
    )
