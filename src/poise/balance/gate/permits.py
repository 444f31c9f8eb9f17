"""Overrides, approvals, exemptions and rulings: one person asks, another decides where there is one.

The gate's room is their one writer; each is signed by the installation's key, has a reason, and expires.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct, structs

from poise.balance.gate.seal import is_genuine, sign
from poise.model.access import Principal, Role
from poise.model.balance import Override
from poise.model.delivery import Change, Rollout
from poise.model.errors import Conflict, Forbidden, Invalid, NotFound, PoiseError
from poise.model.event_types import GRANT_ASKED, GRANT_DECIDED, OVERRIDE_APPROVED, OVERRIDE_CREATED
from poise.model.grant import Cause, Grant, GrantKind
from poise.model.policy import BudgetPolicy
from poise.model.record import Decision, Event, Read, Write
from poise.model.service import Project, Service
from poise.ports.store import Store

REASON_LIMIT = 1000
PRINCIPALS_LIMIT = 1000
ROLLOUTS_LOOKED = 50


class _Place(Struct, frozen=True, kw_only=True):
    """The service that something is granted to, its policy, and who may decide."""

    service: Service
    policy: BudgetPolicy
    operators: tuple[str, ...]
    admins: tuple[str, ...]
    reads: tuple[Read, ...]


async def make_override(
    store: Store,
    *,
    signing_key: bytes,
    service_key: str,
    by: str,
    reason: str,
    for_s: float,
    now: datetime,
    digest: str | None = None,
) -> Decision:
    """A signed override of the gate for one service, as a decision to commit.

    It counts once another operator approves it; at once where the project has no other. ``Invalid`` without a
    reason or for longer than the policy allows; ``NotFound`` for an unknown service.
    """
    place = await _place(store, service_key)
    _check_reason(service_key, reason)
    limit_s = place.policy.override_max_s
    if not 0 < for_s <= limit_s:
        raise Invalid(
            "POISE-B403",
            f"an override of {for_s:g} s is not allowed",
            where=service_key,
            why=f"The policy's overrideMax is {limit_s:g} s.",
            mend=f"Run: poise gate override {service_key} --hours {limit_s / 3600:g} --reason '...'",
        )
    existing, prefix_ref = await store.scan(Override, f"{service_key}/", limit=1, last=True)
    alone = _is_alone(place.operators, by)
    override = sign(
        Override(
            service=service_key,
            n=existing[-1].n + 1 if existing else 1,
            by=by,
            reason=reason.strip(),
            at=now,
            expires_at=now + timedelta(seconds=for_s),
            signature="",
            digest=digest,
            alone=alone,
        ),
        signing_key,
    )
    until = f"until {override.expires_at:%H:%M} UTC: {override.reason}"
    said = f"{by} overrides the gate of {place.service.name} {until}"
    if not alone:
        said = (
            f"{by} asks to override the gate of {place.service.name} {until} (another operator must approve)"
        )
    data = {"n": override.n, "expires_at": override.expires_at.isoformat(), "digest": digest, "alone": alone}
    event = Event(type=OVERRIDE_CREATED, subject=override.key, actor=by, summary=said, data=data)
    return Decision(
        reads=(*place.reads, prefix_ref),
        writes=(Write(kind="Override", key=override.key, body=override),),
        events=(event,),
    )


async def approve_override(
    store: Store, *, signing_key: bytes, service_key: str, n: int, by: str, now: datetime, reason: str = ""
) -> Decision:
    """The second person's agreement. ``Forbidden`` for who asked, ``Conflict`` when it is too late.

    Their ``reason``, where they give one, is added to the first person's.
    """
    override, ref = await store.get(Override, f"{service_key}/{n:06d}")
    if override is None or not is_genuine(override, signing_key):
        raise _unknown("override", service_key, n)
    if override.is_approved or now >= override.expires_at:
        what = "is in force already" if override.is_approved else "has expired"
        raise Conflict("POISE-B405", f"override {n} {what}", where=service_key, mend="Run: poise why SERVICE")
    if by == override.by:
        raise _not_alone("override", service_key, n)
    both = _both(override.reason, by, reason) if reason.strip() else override.reason
    after = sign(structs.replace(override, approved_by=by, approved_at=now, reason=both), signing_key)
    said = f"{by} approved override {n} of {override.by} on {service_key} until {after.expires_at:%H:%M} UTC"
    data = {"n": n, "asked_by": override.by, "expires_at": after.expires_at.isoformat()}
    event = Event(type=OVERRIDE_APPROVED, subject=after.key, actor=by, summary=said, data=data)
    return Decision(
        reads=(ref,), writes=(Write(kind="Override", key=after.key, body=after),), events=(event,)
    )


async def ask_grant(
    store: Store,
    *,
    signing_key: bytes,
    service_key: str,
    kind: GrantKind,
    by: str,
    reason: str,
    for_s: float,
    now: datetime,
    digest: str | None = None,
    cause: Cause | None = None,
) -> Decision:
    """A wish for an approval, an exemption or a ruling, as a decision to commit.

    An approval of what another person pushed is in force at once: the push was the first person's word. Else
    it waits for another operator (a ruling for those whom the policy names), unless there is none.
    """
    place = await _place(store, service_key)
    _check_reason(service_key, reason)
    _check_grant(place, kind, for_s, cause)
    existing, prefix_ref = await store.scan(Grant, f"{service_key}/", limit=1, last=True)
    deciders = _deciders(place, kind)
    alone = _is_alone(deciders, by) and (by in deciders or not deciders)
    seconds = kind is GrantKind.APPROVAL and by in deciders
    at_once = alone or (seconds and await _is_anothers(store, place, digest, by))
    wish = Grant(
        kind=kind, service=service_key, n=existing[-1].n + 1 if existing else 1, by=by,
        reason=reason.strip(), at=now, expires_at=now + timedelta(seconds=for_s), digest=digest,
        cause=cause, alone=alone,
    )  # fmt: skip
    if at_once:
        wish = structs.replace(wish, decided_by=by, decided_at=now, allowed=True)
    event = Event(
        type=GRANT_DECIDED if at_once else GRANT_ASKED,
        subject=wish.key,
        actor=by,
        summary=f"{by} {'gives' if at_once else 'asks for'} {_named(kind)} for {place.service.name} "
        f"until {wish.expires_at:%Y-%m-%d %H:%M} UTC: {wish.reason}",
        data={"n": wish.n, "kind": kind.value, "allowed": wish.allowed, "alone": alone},
    )
    return Decision(
        reads=(*place.reads, prefix_ref),
        writes=(Write(kind="Grant", key=wish.key, body=sign(wish, signing_key)),),
        events=(event,),
    )


async def decide_grant(
    store: Store,
    *,
    signing_key: bytes,
    service_key: str,
    n: int,
    by: str,
    allowed: bool,
    reason: str,
    now: datetime,
) -> Decision:
    """What a second person makes of a wish; only those whom the policy names rule over a disagreement."""
    place = await _place(store, service_key)
    _check_reason(service_key, reason)
    wish, ref = await store.get(Grant, f"{service_key}/{n:06d}")
    if wish is None or not is_genuine(wish, signing_key):
        raise _unknown("grant", service_key, n)
    if not wish.is_open(now):
        what = "has expired" if wish.allowed is None else "is decided already"
        raise Conflict("POISE-B405", f"grant {n} {what}", where=service_key, mend="Run: poise gate grants")
    if by == wish.by and allowed:
        raise _not_alone(wish.kind.value, service_key, n)
    deciders = _deciders(place, wish.kind)
    if by not in deciders:
        raise Forbidden(
            "POISE-B406", f"{by} may not decide {wish.kind.value} {n}", where=service_key,
            why=f"Those who may: {', '.join(deciders) or 'nobody'}.", mend="Ask one of them.",
        )  # fmt: skip
    seconds = allowed and wish.kind is GrantKind.APPROVAL and not _is_alone(deciders, by)
    if seconds and by == await _author(store, place, wish.digest):
        raise Forbidden(
            "POISE-B408", f"whoever pushed a change cannot approve it: {by} did", where=service_key,
            why="A second person decides where there is one.", mend="Ask another operator of the project.",
        )  # fmt: skip
    both = _both(wish.reason, by, reason)
    after = sign(
        structs.replace(wish, allowed=allowed, decided_by=by, decided_at=now, reason=both), signing_key
    )
    event = Event(
        type=GRANT_DECIDED, subject=after.key, actor=by,
        summary=f"{by} {'allowed' if allowed else 'refused'} {wish.kind.value} {n} of {wish.by} "
        f"on {place.service.name}: {reason.strip()}",
        data={"n": n, "kind": wish.kind.value, "allowed": allowed, "asked_by": wish.by},
    )  # fmt: skip
    return Decision(
        reads=(*place.reads, ref), writes=(Write(kind="Grant", key=after.key, body=after),), events=(event,)
    )


async def who_decides(store: Store, service_key: str) -> dict[str, tuple[str, ...]]:
    """By kind of wish (override, approval, exemption, ruling): the people who may grant it."""
    place = await _place(store, service_key)
    return {"override": place.operators} | {kind.value: _deciders(place, kind) for kind in GrantKind}


async def _place(store: Store, service_key: str) -> _Place:
    service, service_ref = await store.get(Service, service_key)
    if service is None:
        raise NotFound(
            "POISE-B401", f"there is no service '{service_key}'", where=service_key, mend="Run: poise status"
        )
    project, project_ref = await store.get(Project, service.project)
    people, people_ref = await store.scan(Principal, limit=PRINCIPALS_LIMIT)
    return _Place(
        service=service,
        policy=(project or Project(name=service.project)).policy,
        operators=_at_least(people, service.project, Role.OPERATOR),
        admins=_at_least(people, service.project, Role.ADMIN),
        reads=(service_ref, project_ref, people_ref),
    )


def _at_least(people: list[Principal], project: str, role: Role) -> tuple[str, ...]:
    return tuple(
        one.name for one in people if (held := one.role_in(project)) is not None and held.rank >= role.rank
    )


def _deciders(place: _Place, kind: GrantKind) -> tuple[str, ...]:
    if kind is not GrantKind.RULING:
        return place.operators
    return place.policy.escalate_to or place.admins


def _is_alone(deciders: tuple[str, ...], by: str) -> bool:
    """Whether nobody but the asker could decide."""
    return not set(deciders) - {by}


async def _is_anothers(store: Store, place: _Place, digest: str | None, by: str) -> bool:
    """Whether somebody else pushed what has this digest; false where nobody knows."""
    return await _author(store, place, digest) not in ("", by)


async def _author(store: Store, place: _Place, digest: str | None) -> str:
    """Who pushed what has this digest; empty where nobody knows."""
    if digest is None:
        return ""
    rollouts, _ = await store.scan(Rollout, f"{place.service.key}/", limit=ROLLOUTS_LOOKED, last=True)
    commit = next((one.commit for one in reversed(rollouts) if one.digest == digest), None)
    change = (await store.get(Change, f"{place.service.project}/{commit}"))[0] if commit else None
    return change.pushed_by if change is not None else ""


def _both(first: str, by: str, second: str) -> str:
    """Why it was asked for, and why it was decided."""
    return f"{first}; {by}: {second.strip()}"[: 2 * REASON_LIMIT]


def _check_reason(where: str, reason: str) -> None:
    if not reason.strip() or len(reason) > REASON_LIMIT:
        raise Invalid(
            "POISE-B402",
            "a decision against the policy needs a reason",
            where=where,
            why=f"It is read in the review; 1 to {REASON_LIMIT} characters.",
            mend="Run it again with: --reason '...'",
        )


def _check_grant(place: _Place, kind: GrantKind, for_s: float, cause: Cause | None) -> None:
    policy, where = place.policy, place.service.key
    limits_s = {
        GrantKind.APPROVAL: ("approvalMax", policy.approval_max_s),
        GrantKind.EXEMPTION: ("exemptionMax", policy.exemption_max_s),
        GrantKind.RULING: ("overrideMax", policy.override_max_s),
    }
    key, limit_s = limits_s[kind]
    if not 0 < for_s <= limit_s:
        raise Invalid(
            "POISE-B403", f"{_named(kind)} of {for_s:g} s is not allowed", where=where,
            why=f"The policy's {key} is {limit_s:g} s.", mend=f"Ask for at most {limit_s / 3600:g} hours.",
        )  # fmt: skip
    if (kind is GrantKind.EXEMPTION) != (cause is not None):
        raise Invalid(
            "POISE-B404", "an exemption, and it alone, names its cause", where=where,
            why=f"Causes: {', '.join(Cause)}.", mend="Run: poise gate exempt SERVICE --cause network",
        )  # fmt: skip


def _named(kind: GrantKind) -> str:
    return f"a{'' if kind is GrantKind.RULING else 'n'} {kind.value}"


def _unknown(what: str, service_key: str, n: int) -> PoiseError:
    return NotFound(
        "POISE-B407", f"there is no {what} {n}, or not with our signature", where=service_key,
        mend="Run: poise gate grants SERVICE",
    )  # fmt: skip


def _not_alone(what: str, service_key: str, n: int) -> PoiseError:
    return Forbidden(
        "POISE-B408", f"whoever asked for {what} {n} cannot approve it", where=service_key,
        why="A second person decides where there is one.", mend="Ask another operator of the project.",
    )  # fmt: skip
