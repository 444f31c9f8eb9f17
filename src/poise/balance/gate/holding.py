"""What holds a change besides the budget, as it is now: read off what is declared and on record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from poise.balance.gate.facts import OpenFreeze
from poise.model.exclusion import merged
from poise.model.lock import Lock, places_of
from poise.model.record import Read
from poise.model.service import FreezeWindow, Service
from poise.ports.store import Store
from poise.spec.recurrence import stretches

AHEAD: Final = timedelta(days=93)  # so far ahead is looked for the end of windows that touch


def open_freezes(freezes: Iterable[FreezeWindow], service: Service, now: datetime) -> tuple[OpenFreeze, ...]:
    """The freeze windows that are open for a service at ``now``, in the order of the file.

    Each says when the last of those that touch it ends, for until then nothing may go.
    """
    known = [(one, stretches(one, now, now + AHEAD)) for one in freezes if one.covers(service)]
    at = now.timestamp()
    end = next((end for start, end in merged(s for _, own in known for s in own) if start <= at < end), at)
    return tuple(
        OpenFreeze(
            name=one.name, reason=one.reason, since=datetime.fromtimestamp(start, UTC),
            until=datetime.fromtimestamp(end, UTC),
        )
        for one, own in known
        for start, own_end in own
        if start <= at < own_end
    )  # fmt: skip


async def locks_on(store: Store, service: Service) -> tuple[tuple[Lock, ...], tuple[Read, ...]]:
    """What is on record of locks on a service and its environment, those that are over included."""
    found = [await store.get(Lock, place) for place in places_of(service)]
    return tuple(one for one, _ in found if one is not None), tuple(ref for _, ref in found)
