"""A crash loop soon after a release, as a pure function: it asks for the way back, once.

The keeper restarts what dies, slower and slower and without end; this says whose doing it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from poise.model import event_types
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.fleet import Replica, RollbackRequest
from poise.model.record import Event, Write

SOON_S: Final = 300.0  # after its start or its promotion a rollout answers for its crashes
DEATHS: Final = 3
_SERVING: Final = (RolloutState.STEPPING, RolloutState.PROMOTING, RolloutState.LIVE)


def request_rollback(
    service: str,
    rollouts: Sequence[Rollout],
    replicas: Sequence[Replica],
    standing: RollbackRequest | None,
    now: datetime,
) -> RollbackRequest | None:
    """The request to write; None where nothing crashes, it was asked for, or there is nothing to go back to.

    A rollback is not rolled back: what it went back from was worse. A rollout that only starts takes no
    traffic, and fails by itself.
    """
    for rollout in reversed(rollouts):
        if rollout.state not in _SERVING or rollout.change_class is ChangeClass.ROLLBACK:
            continue
        if standing is not None and standing.rollout == rollout.n:
            continue
        deaths = sorted(_deaths(rollout, replicas, now))
        if len(deaths) >= DEATHS and _has_before(rollout, rollouts):
            span_s = (now - _answers_from(rollout)).total_seconds()
            since = "promotion" if rollout.state is RolloutState.LIVE else "start"
            reason = f"its replicas crashed {len(deaths)} times in the {span_s:.0f} s since its {since}"
            if last := _last_end(rollout, replicas):
                reason += f"; the last end: {last}"
            return RollbackRequest(service=service, rollout=rollout.n, reason=reason, at=now)
    return None


def told(request: RollbackRequest) -> tuple[Write, Event]:
    """The request as a write, and the event that says so."""
    text = f"rollout {request.rollout} of {request.service} shall be rolled back: {request.reason}"
    event = Event(
        type=event_types.ROLLBACK_REQUESTED,
        subject=request.service,
        summary=text,
        data={"rollout": request.rollout, "rule": "crash-loop", "reason": request.reason},
    )
    return Write(kind="RollbackRequest", key=request.service, body=request), event


def _answers_from(rollout: Rollout) -> datetime:
    promoted = rollout.finished_at if rollout.state is RolloutState.LIVE else None
    return promoted or rollout.started_at or rollout.created_at


def _deaths(rollout: Rollout, replicas: Sequence[Replica], now: datetime) -> Iterator[datetime]:
    """Crashes while the rollout answers for them: of its replicas, soon after, and not long ago."""
    begin = _answers_from(rollout)
    end = begin + timedelta(seconds=SOON_S)
    for replica in replicas:
        if replica.rollout == rollout.n:
            yield from (at for at in replica.crashes if begin <= at <= end and now - at <= end - begin)


def _last_end(rollout: Rollout, replicas: Sequence[Replica]) -> str:
    """How the newest crash went, in words; empty where nobody knows."""
    crashed = [r for r in replicas if r.rollout == rollout.n and r.crashes and r.exited_at == r.crashes[-1]]
    return max(crashed, key=lambda r: r.crashes[-1]).ended if crashed else ""


def _has_before(rollout: Rollout, rollouts: Sequence[Rollout]) -> bool:
    """Whether another one served before: the live one beside a canary, or one that retired for this."""
    if rollout.state is not RolloutState.LIVE:
        return rollout.baseline is not None
    return any(r.n < rollout.n and r.state is RolloutState.RETIRED for r in rollouts)
