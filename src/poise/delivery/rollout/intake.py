"""Orders and releases become rollouts, or are refused with a reason."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import replace

from poise.delivery.rollout.facts import Seen, focus
from poise.delivery.rollout.moves import decision, roll_back, superseded, told
from poise.model import event_types
from poise.model.delivery import ChangeClass, Order, Release, Rollout, RolloutState, Verb
from poise.model.record import Decision, Event
from poise.model.service import Service

HANDLED: Final = (Verb.DEPLOY, Verb.ROLLBACK, Verb.PROMOTE, Verb.ABORT, Verb.PAUSE, Verb.RESUME)


def revision_of(digest: str, spec: Service) -> str:
    """Digest plus a hash of what a running process and its route depend on.

    How it is rolled out, how many run and where it was built from are left out: changing those needs no
    rollout.
    """
    running = (
        spec.command,
        spec.port,
        spec.hostname,
        spec.env,
        spec.health,
        spec.depends_on,
        spec.per_try_timeout_s,
        spec.request_timeout_s,
    )
    body = msgspec.json.encode(running, order="sorted")
    return f"{digest}+{hashlib.sha256(body).hexdigest()[:12]}"


def take_release(seen: Seen, now: datetime) -> Decision | None:
    """The newest release as a rollout; None when it already is one, or was looked at before."""
    if seen.service is None or not seen.releases:
        return None
    release = seen.releases[-1]
    known = max((max(r.release, r.considered) for r in seen.rollouts), default=0)
    if release.n <= known:
        return None
    spec = _spec(seen, release)
    revision = revision_of(release.digest, spec)
    running = seen.active or seen.live
    if running is not None and running.revision == revision:
        return _unchanged(seen, now, release, spec, running)
    rejecting = seen.rejected_by(release.digest)
    if rejecting is not None:
        return _rejected(seen, now, release, rejecting)
    rollout = _new(seen, now, release, spec)
    return _created(seen, now, rollout, "release", "poise")


def take_order(seen: Seen, now: datetime) -> Decision | None:
    """The oldest order that was not handled; None when there is none."""
    handled = seen.orders_seen
    for order in seen.orders:
        if order.n > handled and order.verb in HANDLED and (seen.rollouts or order.verb is Verb.DEPLOY):
            break
    else:
        return None
    match order.verb:
        case Verb.DEPLOY:
            return _deploy(seen, now, order)
        case Verb.ROLLBACK:
            return _rollback(seen, now, order)
        case _:
            return _steer(seen, now, order)


# -- releases -----------------------------------------------------------------------------------------


def _spec(seen: Seen, release: Release) -> Service:
    declared = next((spec for spec in release.specs if spec.key == seen.key), seen.service)
    assert declared is not None, "a release is only taken for a declared service"
    return declared


def _new(
    seen: Seen,
    now: datetime,
    release: Release,
    spec: Service,
    order: Order | None = None,
    change_class: ChangeClass | None = None,
) -> Rollout:
    # Orders from before the first rollout were about nothing that exists.
    void = max((o.n for o in seen.orders), default=0) if not seen.rollouts and order is None else 0
    return Rollout(
        project=spec.project,
        environment=spec.environment,
        service=spec.name,
        n=seen.newest.n + 1 if seen.newest else 1,
        release=release.n,
        digest=release.digest,
        revision=revision_of(release.digest, spec),
        commit=release.commit,
        summary=release.summary,
        change_class=change_class or release.change_class,
        spec=spec,
        straight=change_class is ChangeClass.ROLLBACK,
        order=order.n if order else None,
        orders_seen=max(seen.orders_seen, order.n if order else void),
        created_at=now,
    )


def _created(seen: Seen, now: datetime, rollout: Rollout, rule: str, actor: str) -> Decision:
    ended = [superseded(old, now, f"release {rollout.release} is newer") for old in seen.waiting]
    summary = f"{rollout.service} release {rollout.release} is to be rolled out: {rollout.summary}"
    event = told(
        event_types.ROLLOUT_CREATED, rollout, summary, rule, actor, change_class=rollout.change_class.value,
        order=rollout.order, revision=rollout.revision,
    )  # fmt: skip
    events = (*(event for _, event in ended), event)
    return decision(seen, now, *(old for old, _ in ended), rollout, events=events)


def _unchanged(seen: Seen, now: datetime, release: Release, spec: Service, running: Rollout) -> Decision:
    """Nothing to roll out; what needs no rollout (replicas, strategy) is taken over."""
    ended = [superseded(old, now, f"release {release.n} is what runs already") for old in seen.waiting]
    after = replace(running, considered=release.n)
    if running.state is RolloutState.LIVE:
        after = replace(after, spec=spec, replicas=spec.replicas.min)
    summary = f"{running.service} release {release.n} equals rollout {running.n}: nothing to roll out"
    event = told(event_types.RELEASE_UNCHANGED, running, summary, "unchanged", considered=release.n)
    events = (*(event for _, event in ended), event)
    return decision(seen, now, *(old for old, _ in ended), after, events=events)


def _rejected(seen: Seen, now: datetime, release: Release, rejecting: Rollout) -> Decision:
    newest = seen.newest
    assert newest is not None, "a digest is rejected by a rollout"
    summary = f"{rejecting.service} release {release.n} is not rolled out: rollout {rejecting.n} rejected it"
    event = told(
        event_types.RELEASE_REJECTED, rejecting, summary, "rejected_digest", considered=release.n,
        rejected_by=rejecting.n, reason=rejecting.reason,
        mend=f"poise deploy {rejecting.service} --release {release.n} --reason '...'",
    )  # fmt: skip
    return decision(seen, now, replace(newest, considered=release.n), events=(event,))


# -- orders -------------------------------------------------------------------------------------------


def _deploy(seen: Seen, now: datetime, order: Order) -> Decision | None:
    """A person names a release: it goes through the gate like any, but a rejected digest may return."""
    release = _release(seen, order.release)
    if release is None or seen.service is None:
        return _refuse(seen, now, order, "there is no such release")
    spec = _spec(seen, release)
    running = seen.active or seen.live
    if running is not None and running.revision == revision_of(release.digest, spec):
        return _refuse(seen, now, order, f"release {release.n} already runs as rollout {running.n}")
    return _created(seen, now, _new(seen, now, release, spec, order), "order", order.by)


def _release(seen: Seen, number: int | None) -> Release | None:
    if number is None:
        return seen.releases[-1] if seen.releases else None
    return next((release for release in seen.releases if release.n == number), None)


def _rollback(seen: Seen, now: datetime, order: Order) -> Decision | None:
    """Back to what was live before; while a rollout is under way, ending that one is the way back."""
    active, live = seen.active, seen.live
    if active is not None and active.state is not RolloutState.ROLLING_BACK:
        return roll_back(seen, active, now, "order", f"{order.by}: {order.reason}", order.by, order.n)
    if active is not None or live is None:
        return _refuse(seen, now, order, "there is nothing to roll back from")
    retired = [r for r in seen.rollouts if r.state is RolloutState.RETIRED and r.revision != live.revision]
    if order.release is not None:
        retired = [r for r in retired if r.release == order.release]
    if not retired:
        return _refuse(seen, now, order, "no earlier live release is known")
    target = retired[-1]
    assert seen.newest is not None, "what is live is a rollout"
    back = replace(
        target,
        n=seen.newest.n + 1,
        summary=f"back to release {target.release}: {order.reason}",
        change_class=ChangeClass.ROLLBACK,
        **_unstarted(now, order),
    )
    return _created(seen, now, back, "order", order.by)


def _unstarted(now: datetime, order: Order) -> dict[str, object]:
    """The fields of a rollout that has done nothing yet, as a rollback to an earlier one needs them."""
    fresh = {
        field.name: field.default
        for field in msgspec.structs.fields(Rollout)
        if field.default is not msgspec.NODEFAULT
    }
    return fresh | {"straight": True, "order": order.n, "orders_seen": order.n, "created_at": now}


def _steer(seen: Seen, now: datetime, order: Order) -> Decision | None:
    """Promote, abort, pause or resume the rollout under way or waiting."""
    rollout = focus(seen.rollouts)
    if rollout is None or order.rollout not in (None, rollout.n):
        return _refuse(seen, now, order, "that rollout is not under way")
    if rollout.state in (RolloutState.ROLLING_BACK, RolloutState.PROMOTING) and order.verb is not Verb.ABORT:
        return _refuse(seen, now, order, f"rollout {rollout.n} is {rollout.state.value}")
    marked = replace(rollout, orders_seen=order.n)
    match order.verb:
        case Verb.PROMOTE:
            return _taken(seen, now, order, replace(marked, straight=True, paused=False))
        case Verb.PAUSE:
            return _taken(seen, now, order, replace(marked, paused=True))
        case Verb.RESUME:
            return _taken(seen, now, order, replace(marked, paused=False, reason=""))
        case _:
            return _abort(seen, now, order, marked)


def _abort(seen: Seen, now: datetime, order: Order, rollout: Rollout) -> Decision | None:
    why = f"{order.by}: {order.reason}"
    if rollout.state is RolloutState.WAITING:
        after, event = superseded(rollout, now, why)
        return decision(seen, now, after, events=(event,))
    if rollout.state is RolloutState.ROLLING_BACK:
        return _refuse(seen, now, order, f"rollout {rollout.n} is already rolling back")
    return roll_back(seen, rollout, now, "order", why, order.by, order.n)


def _taken(seen: Seen, now: datetime, order: Order, rollout: Rollout) -> Decision:
    summary = f"{order.by} asked to {order.verb.value} {rollout.service} rollout {rollout.n}: {order.reason}"
    event = _about(event_types.ORDER_TAKEN, order, rollout, summary)
    return decision(seen, now, rollout, events=(event,))


def _refuse(seen: Seen, now: datetime, order: Order, why: str) -> Decision | None:
    """Said once in the journal; None while there is no rollout that could remember it."""
    newest = seen.newest
    if newest is None:
        return None
    summary = f"{order.verb.value} of {newest.service} was refused: {why}"
    event = _about(event_types.ORDER_REFUSED, order, newest, summary)
    return decision(seen, now, replace(newest, orders_seen=order.n), events=(event,))


def _about(kind: str, order: Order, rollout: Rollout, summary: str) -> Event:
    return told(
        kind, rollout, summary, "order", order.by, order=order.n, verb=order.verb.value, reason=order.reason
    )
