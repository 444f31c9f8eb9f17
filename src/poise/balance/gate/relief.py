"""What people may ask for against a verdict, and what each would bring. Pure; asking grants nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from msgspec import Struct

from poise.balance.gate.decide import facts_of, supposing
from poise.balance.gate.facts import Facts
from poise.balance.gate.holds import approvals, quorum
from poise.model.balance import Override, Verdict, VerdictKind
from poise.model.grant import Cause, Grant, GrantKind

OVERRIDE: Final = "override"
_SOMEBODY: Final = "somebody"
_SUPPOSED: Final = timedelta(hours=1)


class Relief(Struct, frozen=True, kw_only=True):
    """A wish (``kind``: override, approval, exemption, ruling); ``verdict`` is what the gate would then say.

    It may last ``most_s`` at most, by the policy.
    """

    kind: str
    verdict: Verdict
    most_s: float


def reliefs(verdict: Verdict) -> tuple[Relief, ...]:
    """What would let go what this verdict holds, the mildest first; of a slow one, what would make it go.

    The rules themselves say so: the verdict is judged again with each wish granted, and one that would
    change nothing (an exemption while an incident is open) is not among them. An approval that a release
    still needs at the door is, also where another is needed besides or something else holds it too.
    """
    if verdict.kind is VerdictKind.GO or not verdict.inputs:
        return ()
    facts = facts_of(verdict.inputs)
    policy = facts.policy
    wishes: tuple[tuple[Override | Grant, str, float], ...] = (
        (_grant(facts, GrantKind.APPROVAL), GrantKind.APPROVAL.value, policy.approval_max_s),
        (_grant(facts, GrantKind.EXEMPTION), GrantKind.EXEMPTION.value, policy.exemption_max_s),
        (_grant(facts, GrantKind.RULING), GrantKind.RULING.value, policy.override_max_s),
        (_override(facts), OVERRIDE, policy.override_max_s),
    )
    found = (
        Relief(kind=kind, verdict=supposing(verdict.inputs, wish), most_s=most_s)
        for wish, kind, most_s in wishes
    )
    door = quorum(facts)
    wanted = {GrantKind.APPROVAL.value} if door is not None and door.is_open else set()
    return tuple(one for one in found if _RANK[one.verdict.kind] < _RANK[verdict.kind] or one.kind in wanted)


_RANK: Final = {VerdictKind.GO: 0, VerdictKind.SLOW: 1, VerdictKind.HOLD: 2}


def if_granted(verdict: Verdict, wish: Override | Grant) -> Verdict:
    """What the gate would say if this wish, which waits for somebody, were granted."""
    facts = facts_of(verdict.inputs)
    if isinstance(wish, Override):
        return supposing(verdict.inputs, _override(facts, wish))
    return supposing(verdict.inputs, _grant(facts, wish.kind, wish))


def _override(facts: Facts, like: Override | None = None) -> Override:
    return Override(
        service=facts.service.key, n=like.n if like else 0, by=like.by if like else _SOMEBODY,
        reason=like.reason if like else "", at=facts.now, expires_at=facts.now + _SUPPOSED, signature="",
        digest=like.digest if like else None, approved_by=_SOMEBODY, approved_at=facts.now,
    )  # fmt: skip


def _grant(facts: Facts, kind: GrantKind, like: Grant | None = None) -> Grant:
    cause = like.cause if like else Cause.OUT_OF_SCOPE if kind is GrantKind.EXEMPTION else None
    return Grant(
        kind=kind, service=facts.service.key, n=like.n if like else 0, by=like.by if like else _SOMEBODY,
        reason=like.reason if like else "", at=facts.now, expires_at=facts.now + _SUPPOSED,
        digest=like.digest if like else facts.question.digest or None, cause=cause,
        decided_by=_another(facts), decided_at=facts.now, allowed=True,
    )  # fmt: skip


def _another(facts: Facts) -> str:
    """Somebody who may approve this and has not, where there is anybody."""
    holds, given = facts.holds.approvers, {one.decided_by for one in approvals(facts)}
    others = [name for name in holds.names if name not in given and name != holds.author]
    return next(iter(others or holds.names), _SOMEBODY)
