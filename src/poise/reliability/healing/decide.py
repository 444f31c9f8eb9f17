"""The heal budget, as a pure function: no heal may make it worse.

Source of the rule of half: the node-zone brake of Kubernetes (ComputeZoneState), applied to replicas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from math import ceil, floor
from typing import Final
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from poise.model import event_types
from poise.model.delivery import Order, Rollout
from poise.model.fleet import HealOrder, Replica, RollbackRequest
from poise.model.record import Decision, Event, Read, Write
from poise.model.service import Heal
from poise.reliability.healing.crash_loop import request_rollback, told

BACKOFF_CAP_S: Final = 300.0
FORGET_S: Final = 600.0
JITTER_RATIO: Final = 0.25
FAILED_HEALS: Final = 3  # in a row of one replica: somebody should look
SETTLE_S: Final = 60.0  # a healed replica that is not ready after this long no longer holds up the others
LOOK_AGAIN_S: Final = 1.0


class Seen(Struct, frozen=True, kw_only=True):
    """One service: its replicas, the orders standing, and the newest restart that a person asked for.

    ``failures`` is how many failed probes in a row make a replica a hanging one; ``rollouts`` are the newest,
    ascending; ``request`` is the rollback asked for last.
    """

    service: str
    failures: int
    heal: Heal = Heal()
    replicas: tuple[Replica, ...] = ()
    orders: tuple[HealOrder, ...] = ()
    restart: Order | None = None
    rollouts: tuple[Rollout, ...] = ()
    request: RollbackRequest | None = None
    reads: tuple[Read, ...] = ()


def decide(seen: Seen, now: datetime) -> Decision:
    """Heal orders to write and to forget, and a rollback to ask for."""
    decision = _heal(seen, now)
    written = {write.key for write in decision.writes}
    checks = [(write, events) for write, events in _checks(seen, now) if write.key not in written]
    decision = replace(
        decision,
        writes=(*decision.writes, *(write for write, _ in checks)),
        events=(*decision.events, *(event for _, events in checks for event in events)),
    )
    request = request_rollback(seen.service, seen.rollouts, seen.replicas, seen.request, now)
    if request is None:
        return decision
    write, event = told(request)
    return replace(decision, writes=(*decision.writes, write), events=(*decision.events, event))


def _heal(seen: Seen, now: datetime) -> Decision:
    standing = {order.replica: order for order in seen.orders}
    running = [r for r in seen.replicas if r.identity is not None and not r.draining]
    failing = [r for r in running if r.failures >= seen.failures]
    waiting = [r for r in failing if not _is_ordered(standing.get(r.key), r, now)]
    writes, events = _forget(seen, standing, now)
    again = now + timedelta(seconds=LOOK_AGAIN_S) if failing or _under_way(seen, standing, now) else None
    if is_mass_failure(len(failing), len(running), seen.heal):
        held_writes, held_events = _withhold(seen, failing, len(running), standing, now)
        return _decision(seen, [*writes, *held_writes], [*events, *held_events], again)
    room = budget(len(running), seen.heal) - len(_under_way(seen, standing, now))
    ready_at = {r.key: _not_before(standing.get(r.key), seen.heal) for r in waiting}
    waiting.sort(key=lambda r: (r.failing_since or now, r.key))
    for replica in [r for r in waiting if (at := ready_at[r.key]) is None or at <= now][: max(0, room)]:
        order = _order(replica, standing.get(replica.key), now)
        writes.append(Write(kind="HealOrder", key=replica.key, body=order))
        events.append(_told(order))
        if order.failed == FAILED_HEALS and not _is_failed(standing.get(replica.key)):
            events.append(_told_failed(order))
    if not failing and not writes:
        rolled = _roll(seen, running, standing, now)
        if rolled is not None:
            writes.append(Write(kind="HealOrder", key=rolled.replica, body=rolled))
            events.append(_told(rolled))
        if _to_restart(seen, running):
            again = now + timedelta(seconds=LOOK_AGAIN_S)
    return _decision(seen, writes, events, again)


def budget(replicas: int, heal: Heal) -> int:
    """How many replicas of a service may be under repair at once: max(1, floor(share x replicas))."""
    return max(1, floor(heal.share_ratio * replicas))


def is_mass_failure(failing: int, replicas: int, heal: Heal) -> bool:
    """Whether so many fail together that the cause is elsewhere: at least 2, and at least the mass ratio."""
    return failing >= max(2, ceil(heal.mass_failure_ratio * replicas))


def _decision(
    seen: Seen, writes: Sequence[Write], events: Sequence[Event], again: datetime | None
) -> Decision:
    return Decision(reads=seen.reads, writes=tuple(writes), events=tuple(events), wake_at=again)


def _is_ordered(order: HealOrder | None, replica: Replica, now: datetime) -> bool:
    """Whether a recent order for exactly this process stands (a withheld one does not count).

    A process that outlives its order by so long was not replaced: what was to be done is lost.
    """
    if order is None or order.mass or order.identity != replica.identity:
        return False
    return (now - order.at).total_seconds() < SETTLE_S


def _under_way(seen: Seen, standing: dict[str, HealOrder], now: datetime) -> list[Replica]:
    """Replicas that are being replaced, or were and are not ready yet."""
    return [
        r
        for r in seen.replicas
        if not r.draining
        and (order := standing.get(r.key)) is not None
        and not order.mass
        and (order.identity == r.identity or (not r.ready and r.failures < seen.failures))
        and (now - order.at).total_seconds() < SETTLE_S
    ]


def _not_before(order: HealOrder | None, heal: Heal) -> datetime | None:
    """When a replica healed before may be healed again: doubled each time, jittered, capped."""
    if order is None or order.mass:
        return None
    pause_s = min(BACKOFF_CAP_S, heal.cooldown_s * 2 ** (min(order.count, 20) - 1))
    share = crc32(f"{order.replica}/{order.count}".encode()) / 2**32
    return order.at + timedelta(seconds=pause_s * (1 + JITTER_RATIO * share))


def _order(replica: Replica, before: HealOrder | None, now: datetime) -> HealOrder:
    assert replica.identity is not None
    quiet = before is None or (now - before.at).total_seconds() > FORGET_S
    return HealOrder(
        replica=replica.key,
        identity=replica.identity,
        reason=f"it runs but failed {replica.failures} probes in a row",
        at=now,
        count=1 if quiet or before is None else before.count + (not before.mass),
        failed=0 if before is None else before.failed + (before.checked_at is None and not before.mass),
    )


def _is_failed(order: HealOrder | None) -> bool:
    return order is not None and order.failed >= FAILED_HEALS


def _checks(seen: Seen, now: datetime) -> Iterator[tuple[Write, tuple[Event, ...]]]:
    """Whether each heal helped: ready within ``SETTLE_S`` as another process, or it failed."""
    standing = {order.replica: order for order in seen.orders}
    for replica in seen.replicas:
        order = standing.get(replica.key)
        if order is None or order.mass or order.checked_at is not None or replica.draining:
            continue
        if replica.ready and replica.identity != order.identity:
            checked = replace(order, checked_at=now, failed=0)
        elif (now - order.at).total_seconds() >= SETTLE_S:
            checked = replace(order, checked_at=now, failed=order.failed + 1)
        else:
            continue
        events = (_told_failed(checked),) if checked.failed == FAILED_HEALS else ()
        yield Write(kind="HealOrder", key=replica.key, body=checked), events


def _told_failed(order: HealOrder) -> Event:
    text = f"{order.replica} was healed {order.failed} times in a row and is not ready: healing does not help"
    return Event(
        type=event_types.HEAL_FAILED, subject=order.replica, summary=text, data={"failed": order.failed}
    )


def _told(order: HealOrder) -> Event:
    return Event(
        type=event_types.HEAL_ORDERED,
        subject=order.replica,
        summary=f"process {order.identity.pid} of {order.replica} is replaced: {order.reason}",
        data={"count": order.count, "gentle": order.gentle},
    )


def _withhold(
    seen: Seen, failing: Sequence[Replica], total: int, standing: dict[str, HealOrder], now: datetime
) -> tuple[list[Write], list[Event]]:
    """Say once that nothing is killed; each failing process gets a withheld order as the record of it."""
    fresh = [r for r in failing if not ((o := standing.get(r.key)) and o.mass and o.identity == r.identity)]
    writes = [
        Write(
            kind="HealOrder",
            key=r.key,
            body=HealOrder(
                replica=r.key,
                identity=r.identity,
                reason=f"{len(failing)} of {total} replicas fail together",
                at=now,
                mass=True,
                count=standing[r.key].count if r.key in standing else 1,
                failed=standing[r.key].failed if r.key in standing else 0,
            ),
        )
        for r in fresh
        if r.identity is not None
    ]
    if not writes or any(order.mass for order in standing.values()):
        return writes, []
    text = (
        f"{len(failing)} of {total} replicas of {seen.service} fail together: the cause is not in one of "
        "them, so none is killed"
    )
    return writes, [Event(type=event_types.HEAL_WITHHELD, subject=seen.service, summary=text)]


def _forget(seen: Seen, standing: dict[str, HealOrder], now: datetime) -> tuple[list[Write], list[Event]]:
    """Drop orders that are over: withheld ones whose replica is well, old ones, and those of no replica."""
    replicas = {replica.key: replica for replica in seen.replicas}
    writes = []
    for key, order in standing.items():
        replica = replicas.get(key)
        well = replica is not None and replica.ready and replica.failures == 0
        old = (now - order.at).total_seconds() > FORGET_S and well
        if replica is None or (order.mass and well) or old:
            writes.append(Write(kind="HealOrder", key=key, body=None))
    return writes, []


# -- a person's restart ---------------------------------------------------------------------------


def _to_restart(seen: Seen, running: Sequence[Replica]) -> list[Replica]:
    """Replicas whose process is older than the restart that was asked for."""
    asked = seen.restart
    return [] if asked is None else [r for r in running if r.started_at is None or r.started_at <= asked.at]


def _roll(
    seen: Seen, running: Sequence[Replica], standing: dict[str, HealOrder], now: datetime
) -> HealOrder | None:
    """The next replica to replace, gently: one at a time, and only while all the others are ready."""
    pending = _to_restart(seen, running)
    if not pending or seen.restart is None or _under_way(seen, standing, now):
        return None
    if any(not replica.ready for replica in running):
        return None
    replica = min(pending, key=lambda r: r.key)
    assert replica.identity is not None
    reason = f"{seen.restart.by} asked for a restart: {seen.restart.reason}"
    return HealOrder(replica=replica.key, identity=replica.identity, reason=reason, at=now, gentle=True)
