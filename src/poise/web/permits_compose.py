"""From overrides, grants and the gate's own rules to what pages tell of them. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from poise.api.parts import Parts
from poise.balance.gate.decide import facts_of
from poise.balance.gate.holds import Quorum, quorum
from poise.balance.gate.permits import who_decides
from poise.balance.gate.relief import OVERRIDE, if_granted, reliefs
from poise.balance.gate.seal import is_genuine
from poise.model.balance import Override, Verdict, VerdictKind
from poise.model.grant import Grant, GrantKind
from poise.model.incident import Summons
from poise.web.permit_views import (
    Approval,
    ApprovalsView,
    OfferView,
    PermitKind,
    PermitRow,
    PermitState,
    PermitsView,
)
from poise.web.views import Chrome
from poise.web.wording import utc

ROWS: Final = 10
_GRANTED: Final = {True: "Granted, this release", False: "Granted, a change of this class"}
Deciders = Mapping[str, tuple[str, ...]]


async def permits(
    parts: Parts,
    verdict: Verdict,
    around: Chrome,
    *,
    digest: str = "",
    rollout: int | None = None,
    entering: bool = True,
) -> PermitsView:
    """Of the service that the verdict is about, as this reader may ask for and decide it.

    ``entering`` False: the release is in already, so that nobody has to approve it any more.
    """
    key, now = verdict.service, parts.clock.now()
    overrides, _ = await parts.store.scan(Override, f"{key}/", limit=ROWS, last=True)
    grants, _ = await parts.store.scan(Grant, f"{key}/", limit=ROWS, last=True)
    deciders = await who_decides(parts.store, key)
    who = around.principal or ""
    known: list[Override | Grant] = [*overrides, *grants]
    rows = [
        _row(one, verdict, deciders, who, now, genuine=is_genuine(one, parts.signing_key)) for one in known
    ]
    rows = [await _with_told(parts, key, row) for row in rows]
    rows.sort(key=lambda row: (row.state is PermitState.WAITS, row.at), reverse=True)
    asked = reliefs(verdict) if around.may_say else ()
    door = quorum(facts_of(verdict.inputs)) if entering and verdict.inputs else None
    if _has_said(grants, door, digest, who, now):
        asked = tuple(one for one in asked if one.kind != GrantKind.APPROVAL.value)
    return PermitsView(
        key=key,
        why=tuple(reason.text for reason in verdict.reasons),
        offers=tuple(
            OfferView(
                kind=PermitKind(one.kind),
                allows=allows(one.verdict, of_release=bool(digest)),
                decides=decides(one.kind, deciders[one.kind], who),
                most_s=one.most_s,
            )
            for one in asked
            if one.kind != OVERRIDE or around.may_act
        ),
        rows=tuple(rows[:ROWS]),
        digest=digest,
        rollout=rollout,
        approvals=None if door is None else _approvals(door),
        once=f"{len(overrides) and overrides[-1].n}.{len(grants) and grants[-1].n}",
    )


def _has_said(grants: Iterable[Grant], door: Quorum | None, digest: str, who: str, now: datetime) -> bool:
    """Whether this reader's approval is given, or waits for somebody: another would add nothing."""
    waits = any(
        one.kind is GrantKind.APPROVAL and one.by == who and one.digest == digest and one.is_open(now)
        for one in grants
    )
    return bool(digest) and (waits or (door is not None and who in {one.decided_by for one in door.given}))


def _approvals(door: Quorum) -> ApprovalsView:
    return ApprovalsView(
        required=door.required,
        given=tuple(
            Approval(by=one.decided_by, at=one.decided_at or one.at, reason=one.reason) for one in door.given
        ),
        left=door.left,
    )


def allows(verdict: Verdict, *, of_release: bool) -> str:
    """What the gate would say once it is granted: ``Granted, ... goes slowly: at most 2 % at first ...``."""
    if verdict.kind is VerdictKind.HOLD:
        return "Granted, it would still be held: " + "; ".join(one.text for one in verdict.reasons) + "."
    steps = ", ".join(f"{step} %" for step in verdict.steps_percent)
    after = f", in steps of {steps}" if steps else ""
    word = "goes slowly" if verdict.kind is VerdictKind.SLOW else "goes"
    bake = f"; each step bakes {verdict.bake_factor:g} times as long" if verdict.bake_factor != 1 else ""
    return (
        f"{_GRANTED[of_release]} {word}: at most {verdict.max_weight_percent} % of the traffic at first"
        f"{after}{bake}. A canary is judged all the same, and when it expires the policy decides again."
    )


def decides(kind: str, deciders: Iterable[str], who: str) -> str:
    """Who has to agree."""
    others = [one for one in deciders if one != who]
    if not others:
        return "Nobody else could decide it, so it is in force at once; the record says so."
    named = ", ".join(others[:5]) + (" or others" if len(others) > 5 else "")
    if kind == GrantKind.APPROVAL.value and who in deciders:
        return f"In force at once where another person pushed the release; else {named} must agree."
    return f"It waits for {named} to agree."


def _row(
    one: Override | Grant, verdict: Verdict, deciders: Deciders, who: str, now: datetime, *, genuine: bool
) -> PermitRow:
    kind = PermitKind.OVERRIDE if isinstance(one, Override) else PermitKind(one.kind.value)
    state = _state(one, now) if genuine else PermitState.UNSIGNED
    waits = state is PermitState.WAITS
    if isinstance(one, Override):
        second, second_at = one.approved_by, one.approved_at
    else:
        second, second_at = one.decided_by, one.decided_at
    return PermitRow(
        kind=kind,
        n=one.n,
        state=state,
        by=one.by,
        reason=one.reason,
        at=one.at,
        expires_at=one.expires_at,
        decided_by=second,
        decided_at=second_at,
        alone=one.alone,
        cause=one.cause.value if isinstance(one, Grant) and one.cause else "",
        of_release=one.digest is not None,
        allows=allows(if_granted(verdict, one), of_release=one.digest is not None) if waits else "",
        may_decide=waits and who in deciders[kind.value] and who != one.by,
    )


async def _with_told(parts: Parts, service: str, row: PermitRow) -> PermitRow:
    """Of a dispute that waits: who was paged for it, and whether they have seen it."""
    if row.kind is not PermitKind.RULING or row.state is not PermitState.WAITS:
        return row
    summons, _ = await parts.store.get(Summons, f"{service}/{row.n:06d}")
    if summons is None:
        return row
    if summons.acknowledged_at is not None:
        told = f"{summons.acknowledged_by} has seen it at {utc(summons.acknowledged_at)} UTC."
    elif summons.told:
        told = f"{summons.told[-1]} was paged for it."
    else:
        told = f"Nobody could be paged for it: {summons.problem}."
    return replace(row, told=told)


def _state(one: Override | Grant, now: datetime) -> PermitState:
    if isinstance(one, Grant) and one.allowed is False:
        return PermitState.REFUSED
    if now >= one.expires_at:
        return PermitState.EXPIRED
    agreed = one.is_approved if isinstance(one, Override) else one.allowed is True
    return PermitState.IN_FORCE if agreed else PermitState.WAITS
