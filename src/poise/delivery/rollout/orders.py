"""What people order, and what healing requests: deploy, back, promote, abort, pause, resume."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from poise.delivery.rollout.facts import Seen, focus
from poise.delivery.rollout.intake import new_rollout, spec_of
from poise.delivery.rollout.moves import created, decision, roll_back, superseded, told
from poise.delivery.rollout.revision import revision_of
from poise.delivery.rollout.settings import changes_of, unstarted, versions_of, wanted
from poise.model import event_types
from poise.model.delivery import ChangeClass, Order, Release, Rollout, RolloutState, Verb
from poise.model.record import Decision, Event

HANDLED: Final = (Verb.DEPLOY, Verb.ROLLBACK, Verb.PROMOTE, Verb.ABORT, Verb.PAUSE, Verb.RESUME)
HEALING: Final = "healing"


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


def take_request(seen: Seen, now: datetime) -> Decision | None:
    """Healing's request to go back, answered once; void unless it is about the newest that runs."""
    request, newest = seen.request, seen.newest
    if request is None or newest is None or (seen.requested_at and request.at <= seen.requested_at):
        return None
    running = seen.active or seen.live
    waits = any(one.back_to is not None for one in seen.waiting)
    if running is None or running.n != request.rollout or waits:
        return _void(seen, now, newest, f"rollout {request.rollout} is not the newest that runs")
    if running.state is RolloutState.ROLLING_BACK:
        return _void(seen, now, newest, f"rollout {running.n} is rolling back already")
    answered = {"requested_at": request.at}
    if running is seen.active:
        marked = replace(running, **answered)
        return roll_back(seen, marked, now, "healing", f"{HEALING}: {request.reason}", HEALING)
    target = next((one for one in reversed(_earlier(seen)) if seen.rejected_by(one.digest) is None), None)
    if target is None:
        return _void(seen, now, newest, "no earlier live release is known")
    return _back(seen, now, target, HEALING, request.reason, answered | {"orders_seen": seen.orders_seen})


def _void(seen: Seen, now: datetime, newest: Rollout, why: str) -> Decision:
    request = seen.request
    assert request is not None, "only a request can be void"
    summary = f"a rollback of {newest.service} rollout {request.rollout} was asked for and refused: {why}"
    event = told(
        event_types.ORDER_REFUSED, newest, summary, "healing", HEALING, verb=Verb.ROLLBACK.value,
        about=request.rollout, reason=request.reason,
    )  # fmt: skip
    return decision(seen, now, replace(newest, requested_at=request.at), events=(event,))


def _deploy(seen: Seen, now: datetime, order: Order) -> Decision | None:
    """A person names a release: it goes through the gate like any, but a rejected digest may return."""
    release = _release(seen, order.release)
    if release is None or seen.service is None:
        return _refuse(seen, now, order, "there is no such release")
    spec = spec_of(seen, release)
    running = seen.active or seen.live
    revision = revision_of(release.digest, spec, *wanted(seen, release.change_class))
    if running is not None and running.revision == revision:
        return _refuse(seen, now, order, f"release {release.n} already runs as rollout {running.n}")
    if not seen.may_enter(release.digest):
        first = seen.environment_before
        mend = f"poise deploy {seen.service.name} --environment {first} --release {release.n} --reason '...'"
        return _refuse(seen, now, order, f"release {release.n} was not live in {first}", mend)
    return created(seen, now, new_rollout(seen, now, release, spec, order), "order", order.by)


def _release(seen: Seen, number: int | None) -> Release | None:
    if number is None:
        return seen.releases[-1] if seen.releases else None
    return next((release for release in seen.releases if release.n == number), None)


def refusal(seen: Seen, order: Order) -> tuple[str, str] | None:
    """Why an order about what runs comes to nothing as things are, and a command that helps; None: it goes.

    Of ``seen`` only the rollouts are looked at.
    """
    match order.verb:
        case Verb.ROLLBACK:
            return _no_way_back(seen, order)
        case Verb.PROMOTE | Verb.ABORT | Verb.PAUSE | Verb.RESUME:
            return _no_steering(seen, order)
        case _:
            return None


def _no_way_back(seen: Seen, order: Order) -> tuple[str, str] | None:
    active, live = seen.active, seen.live
    if active is not None and active.state is not RolloutState.ROLLING_BACK:
        return None
    if active is not None:
        return f"rollout {active.n} is rolling back already", _watch(order)
    if live is None:
        return "nothing of it is live", f"poise why {_name(order)}"
    another = f"poise deploy {_name(order)} --release N --reason '...'"
    return None if _retired(seen, order) else ("no earlier live release is known", another)


def _no_steering(seen: Seen, order: Order) -> tuple[str, str] | None:
    rollout, live, verb = focus(seen.rollouts), seen.live, order.verb
    if rollout is None or order.rollout not in (None, rollout.n):
        if verb is Verb.ABORT and live is not None and order.rollout in (None, live.n) and rollout is None:
            since = f" since {live.finished_at:%H:%M:%S} UTC" if live.finished_at else ""
            return f"it is too late: rollout {live.n} is live{since}", f"poise rollback {_name(order)}"
        what = "no rollout is" if order.rollout is None else f"rollout {order.rollout} is not"
        return f"{what} under way", _watch(order)
    if rollout.state is RolloutState.ROLLING_BACK:
        return f"rollout {rollout.n} is rolling back already", _watch(order)
    if rollout.state is RolloutState.PROMOTING and verb is not Verb.ABORT:
        return f"rollout {rollout.n} is promoting: all users are changing over", f"poise abort {_name(order)}"
    return None


def _watch(order: Order) -> str:
    return f"poise rollout status {_name(order)}"


def _name(order: Order) -> str:
    return order.service.rpartition("/")[2]


def _rollback(seen: Seen, now: datetime, order: Order) -> Decision | None:
    """Back to what was live before; while a rollout is under way, ending that one is the way back."""
    refused = refusal(seen, order)
    if refused is not None:
        return _refuse(seen, now, order, *refused)
    if seen.active is not None:
        return roll_back(seen, seen.active, now, "order", f"{order.by}: {order.reason}", order.by, order.n)
    fields = {"order": order.n, "orders_seen": order.n}
    return _back(seen, now, _retired(seen, order)[-1], order.by, order.reason, fields)


def _retired(seen: Seen, order: Order) -> list[Rollout]:
    return [r for r in _earlier(seen) if order.release in (None, r.release)]


def _earlier(seen: Seen) -> list[Rollout]:
    """What was live before and differs from what is, oldest first."""
    live = seen.live
    retired = (r for r in seen.rollouts if r.state is RolloutState.RETIRED)
    return [r for r in retired if live is not None and r.revision != live.revision]


def _back(
    seen: Seen, now: datetime, target: Rollout, by: str, reason: str, fields: dict[str, Any]
) -> Decision:
    """Exactly what ``target`` was, its config and secret included, straight to all users."""
    assert seen.newest is not None, "what is live is a rollout"
    runs = versions_of(target)
    settings = "".join(f", {kind} {version}" for kind, version in runs._asdict().items() if version)
    fresh = {
        "n": seen.newest.n + 1,
        "straight": True,
        "created_at": now,
        "back_to": target.n,
        "changes": changes_of(seen.live, target.digest, target.spec, runs),
        "summary": f"back to release {target.release}{settings}: {reason}",
        "change_class": ChangeClass.ROLLBACK,
    }
    back = replace(target, **(unstarted() | fresh | fields))
    return created(seen, now, back, "order" if back.order else "healing", by)


def _steer(seen: Seen, now: datetime, order: Order) -> Decision | None:
    """Promote, abort, pause or resume the rollout under way or waiting."""
    refused, rollout = refusal(seen, order), focus(seen.rollouts)
    if refused is not None or rollout is None:
        return _refuse(seen, now, order, *(refused or ("no rollout is under way",)))
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
        after, event = superseded(replace(rollout, aborted=True), now, why)
        return decision(seen, now, after, events=(event,))
    return roll_back(seen, rollout, now, "order", why, order.by, order.n)


def _taken(seen: Seen, now: datetime, order: Order, rollout: Rollout) -> Decision:
    summary = f"{order.by} asked to {order.verb.value} {rollout.service} rollout {rollout.n}: {order.reason}"
    event = _about(event_types.ORDER_TAKEN, order, rollout, summary)
    return decision(seen, now, rollout, events=(event,))


def _refuse(seen: Seen, now: datetime, order: Order, why: str, mend: str = "") -> Decision | None:
    """Said once in the journal; None while there is no rollout that could remember it."""
    newest = seen.newest
    if newest is None:
        return None
    summary = f"{order.verb.value} of {newest.service} was refused: {why}"
    event = _about(event_types.ORDER_REFUSED, order, newest, summary, mend=mend)
    return decision(seen, now, replace(newest, orders_seen=order.n), events=(event,))


def _about(kind: str, order: Order, rollout: Rollout, summary: str, mend: str = "") -> Event:
    numbers: dict[str, Any] = {"order": order.n, "verb": order.verb.value, "reason": order.reason}
    return told(kind, rollout, summary, "order", order.by, **numbers, **({"mend": mend} if mend else {}))
