"""Receivers of pages in memory: every delivery by its id, and everything a real one may do wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from random import Random
from typing import Final

from poise.engine.controller import Performer
from poise.model.errors import TimedOut, Unreachable
from poise.model.oncall import Contact, ContactKind
from poise.ports.notifier import Message, Notifier
from poise.simulation.faults import Crash, Trouble
from poise.simulation.invariants import Watch

REFUSED: Final = 0.1
HANGS: Final = 0.16
UNHEARD: Final = 0.22
CRASHED: Final = 0.25
LATE: Final = 0.35
LATE_MOST_S: Final = 120.0

Told = Callable[[Message, float], None]  # what was told, and after how many seconds it is heard


class Phones:
    """Everybody's receivers, whoever sends. ``heard`` is told of each delivery, late or not."""

    def __init__(self, trouble: Trouble, watch: Watch, rng: Random) -> None:
        self.trouble, self.watch, self.rng = trouble, watch, rng
        self.deliveries: dict[str, int] = {}
        self.heard: Told = lambda message, after_s: None

    def deliver(self, message: Message, life: str, after_s: float = 0.0, *, excused: bool = False) -> None:
        """It arrives: from here on it is a duplicate if it comes again."""
        self.deliveries[message.id] = self.deliveries.get(message.id, 0) + 1
        self.watch.response.delivered(message.id, life, excused)
        self.heard(message, after_s)


class SimulatedNotifier:
    """One control process' way to tell people."""

    def __init__(self, kind: ContactKind, phones: Phones, life: str) -> None:
        self.kind, self._phones, self._life = kind, phones, life

    async def send(self, contact: Contact, message: Message) -> str:
        """See ``ports.notifier``."""
        phones, trouble = self._phones, self._phones.trouble
        draw = phones.rng.random() if trouble.is_on else 1.0
        if draw < REFUSED:
            trouble.happened("page refused")
            raise Unreachable("POISE-N503", "the receiver refuses")
        if draw < HANGS:
            trouble.happened("receiver hung")
            raise TimedOut("POISE-N504", "the receiver hangs")
        if draw < UNHEARD:
            trouble.happened("page unheard")
            phones.deliver(message, self._life, excused=True)
            raise TimedOut("POISE-N504", "the receiver took it and did not say so")
        late_s = phones.rng.uniform(5.0, LATE_MOST_S) if CRASHED <= draw < LATE else 0.0
        phones.deliver(message, self._life, late_s)
        if draw < CRASHED:
            trouble.happened("crash after a page")
            raise Crash
        if late_s:
            trouble.happened("page late")
        return f"taken by {contact.address}"


class WitnessedPerformer:
    """A performer whose deeds are only noted: what goes wrong with pages is the receivers' part."""

    def __init__(self, inner: Performer, watch: Watch) -> None:
        self._inner, self._watch = inner, watch

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """See ``Performer``."""
        self._watch.performed.add(intent_key)
        return await self._inner.perform(act, intent_key, fence, now)


def notifiers(phones: Phones, life: str) -> Mapping[ContactKind, Notifier]:
    """Every kind of contact, for one life of the control process."""
    return {kind: SimulatedNotifier(kind, phones, life) for kind in ContactKind}
