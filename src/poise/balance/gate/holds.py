"""What holds a change besides the budget: each rule says what holds it, until when, and what opens it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.balance.gate.facts import Facts, Need
from poise.balance.gate.levels import reason
from poise.model.balance import Reason
from poise.model.delivery import RolloutState
from poise.model.grant import Grant, GrantKind
from poise.model.lock import places_of
from poise.model.policy import Level
from poise.model.standing import BudgetState, classify, severity


class Stop(Struct, frozen=True, kw_only=True):
    """Why a change waits, at which level the service is by it, and until when (None: nobody knows)."""

    reason: Reason
    level: Level
    until: datetime | None = None


def locked(facts: Facts) -> tuple[Stop, ...]:
    """What is locked waits, whatever it is but a rollback; no override opens a lock, whoever may lifts it."""
    found = []
    for one in facts.holds.locks:
        if one.place in places_of(facts.service) and one.is_in_force(facts.now):
            numbers = {"place": one.place, "by": one.by, "at": one.at.isoformat()}
            text = f"{one.sentence} ({one.mend})"
            found.append(Stop(reason=reason("lock", text, numbers), level=Level.FREEZE, until=one.expires_at))
    return tuple(found)


def stops(facts: Facts) -> tuple[Stop, ...]:
    """Every other rule that holds this change; an override opens them, a rollback passes them."""
    return (*_frozen(facts), *_unapproved(facts), *_unwell(facts))


def _frozen(facts: Facts) -> tuple[Stop, ...]:
    """Features wait in a freeze window; what repairs goes, as in the policy's freeze."""
    if facts.repairs:
        return ()
    found = []
    for one in facts.holds.freezes:
        if not one.since <= facts.now < one.until:
            continue
        text = f"freeze window '{one.name}' until {one.until:%Y-%m-%d %H:%M} UTC: {one.reason}"
        numbers = {"freeze": one.name, "since": one.since.isoformat(), "until": one.until.isoformat()}
        found.append(Stop(reason=reason("freeze-window", text, numbers), level=Level.FREEZE, until=one.until))
    return tuple(found)


def approvals(facts: Facts) -> tuple[Grant, ...]:
    """The approvals of exactly this digest that count, one of each person, in the order they were given.

    They count where the release enters: once it takes traffic it has been let in.
    """
    holds, digest = facts.holds, facts.question.digest
    others = set(holds.approvers.names) - {holds.approvers.author}
    counted = others or set(holds.approvers.names)
    found: dict[str, Grant] = {}
    for grant in facts.grants:
        fits = grant.kind is GrantKind.APPROVAL and grant.service == facts.service.key
        given = bool(digest) and grant.digest == digest and grant.is_in_force(facts.now, digest)
        if fits and given and grant.decided_by in counted:
            found.setdefault(grant.decided_by, grant)
    return tuple(found.values())


def approved(facts: Facts) -> tuple[Reason, ...]:
    """Who let this release in, where somebody has to; of no release in particular, that somebody has to."""
    if not _is_entering(facts):
        return ()
    wanted = facts.service.approvals
    if not facts.question.digest:
        text = f"a release needs {wanted.required} approvals by people of role {wanted.role} to come here"
        return (reason("approvals", text, {"required": wanted.required}),)
    return tuple(
        reason(
            "approved",
            f"{one.decided_by} approved it at {one.decided_at:%Y-%m-%d %H:%M} UTC: {one.reason}",
            {"grant": one.n, "by": one.decided_by, "asked_by": one.by},
        )
        for one in approvals(facts)
    )


def _is_entering(facts: Facts) -> bool:
    return facts.service.approvals.required > 0 and facts.question.from_percent == 0


class Quorum(Struct, frozen=True, kw_only=True):
    """How far the approvals of one release are: ``given`` of ``required``; ``left`` may still give one."""

    required: int
    given: tuple[Grant, ...]
    left: tuple[str, ...]  # sorted
    may: int  # so many may approve at all

    @property
    def is_open(self) -> bool:
        """Whether another approval is wanted and somebody could give it."""
        return len(self.given) < self.required and bool(self.left)


def quorum(facts: Facts) -> Quorum | None:
    """The approvals of the release that is asked about; None where nobody has to approve it, or not now."""
    if not facts.question.digest or not _is_entering(facts):
        return None
    given, approvers = approvals(facts), facts.holds.approvers
    may = [one for one in approvers.names if one != approvers.author] or list(approvers.names)
    left = sorted(set(may) - {one.decided_by for one in given})
    return Quorum(required=facts.service.approvals.required, given=given, left=tuple(left), may=len(may))


def _unapproved(facts: Facts) -> tuple[Stop, ...]:
    found = quorum(facts)
    if found is None or len(found.given) >= found.required:
        return ()
    wanted, digest = facts.service.approvals, facts.question.digest
    names = ", ".join(one.decided_by for one in found.given)
    text = f"{len(found.given)} of {wanted.required} approvals" + (f" ({names})" if names else "")
    if found.may < wanted.required:
        text += f"; only {found.may} may approve: add a principal of role {wanted.role}, or require fewer"
    else:
        left = ", ".join(found.left)
        text += f"; {left} may: poise gate approve {facts.service.name} --digest {digest} --reason '...'"
    numbers = {"required": wanted.required, "given": [one.decided_by for one in found.given],
               "author": facts.holds.approvers.author, "digest": digest}  # fmt: skip
    return (Stop(reason=reason("approvals", text, numbers), level=Level.APPROVAL),)


def _unwell(facts: Facts) -> tuple[Stop, ...]:
    """What it needs is changing, waits to change, or is not well; what repairs does not wait for that."""
    if facts.repairs:
        return ()
    found = [(one, why) for one in facts.holds.needs if (why := _trouble(one, facts))]
    return tuple(
        Stop(
            reason=reason("needs", f"it needs {_short(one.service)}, and {why}", {"service": one.service}),
            level=Level.FREEZE,
        )
        for one, why in found
    )


def _trouble(need: Need, facts: Facts) -> str:
    """Why a needed service is not at rest or not well; empty when it is both."""
    if need.state is not None:
        how = "waits" if need.state is RolloutState.WAITING else f"is under way at {need.weight_percent} %"
        return f"its rollout {need.rollout} {how}"
    stood = [classify(budget, facts.policy, facts.now) for budget in need.budgets]
    worst = max(stood, key=severity, default=None)
    ill = worst is not None and (worst.fast_burn or worst.state in (BudgetState.SPENT, BudgetState.UNKNOWN))
    return worst.text if worst is not None and ill else ""


def _short(key: str) -> str:
    return key.rpartition("/")[2]
