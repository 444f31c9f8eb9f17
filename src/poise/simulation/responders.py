"""Who is on call in the simulated world, and what they do when told: sometimes much, sometimes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from random import Random
from typing import Final

from msgspec import Struct

from poise.model.errors import PoiseError
from poise.model.incident import IncidentVerb, Severity
from poise.model.oncall import (
    Contact,
    ContactKind,
    EscalationPolicy,
    EscalationStep,
    OnCallSchedule,
    Person,
    Rotation,
    ShiftUnit,
)
from poise.ports.notifier import Message
from poise.ports.store import Store, Transaction
from poise.reliability.incident.controller import give_order
from poise.simulation.clock import SimulatedClock

ANSWERS: Final = 0.3  # of the pages that are heard
RESOLVES: Final = 0.4
RATES: Final = 0.15

After = Callable[[float, Callable[[], Awaitable[None]]], None]


def declared(project: str) -> list[tuple[str, str, Struct]]:
    """The schedule and the escalation policy: (kind, key, body)."""
    people = (
        Person(name="ada", contacts=(Contact(kind=ContactKind.WEBHOOK, address="https://phone/ada"),)),
        Person(name="bob", contacts=(Contact(kind=ContactKind.EMAIL, address="bob@acme.test"),)),
        Person(name="eve", contacts=(Contact(kind=ContactKind.EMAIL, address="eve@acme.test"),)),
    )
    rotation = Rotation(people=("ada", "bob"), unit=ShiftUnit.HOURLY, every=6, starts=date(2026, 1, 1))
    schedule = OnCallSchedule(
        project=project, name="first", zone="Europe/Berlin", people=people, rotations=(rotation,)
    )
    steps = (EscalationStep(schedule="first", wait_s=120.0), EscalationStep(person="bob", wait_s=180.0))
    policy = EscalationPolicy(project=project, name="default", steps=steps, rounds=2, remind_s=400.0)
    return [("OnCallSchedule", schedule.key, schedule), ("EscalationPolicy", policy.key, policy)]


class Responders:
    """People with a phone. ``heard`` is what they get to know of a page."""

    def __init__(self, store: Store, clock: SimulatedClock, rng: Random, after: After) -> None:
        self._store, self._clock, self._rng, self._after = store, clock, rng, after

    def heard(self, message: Message, after_s: float) -> None:
        """Somebody reads the message, and may do something."""
        rng, key = self._rng, message.incident
        if message.kind != "page" or rng.random() > ANSWERS:
            return
        at_s = after_s + rng.uniform(20.0, 400.0)
        self._say(at_s, key, IncidentVerb.ACKNOWLEDGE)
        if rng.random() < RATES:
            self._say(at_s + 30.0, key, IncidentVerb.SEVERITY, rng.choice(list(Severity)))
        if rng.random() < RESOLVES:
            self._say(at_s + rng.uniform(60.0, 900.0), key, IncidentVerb.MITIGATE)
            self._say(at_s + rng.uniform(900.0, 3000.0), key, IncidentVerb.RESOLVE)

    def _say(self, after_s: float, key: str, verb: IncidentVerb, text: str = "") -> None:
        async def say() -> None:
            now = self._clock.now()
            try:
                said = await give_order(self._store, key=key, verb=verb, by="ada", text=text, now=now)
            except PoiseError:  # somebody was quicker
                return
            await self._store.commit(Transaction(at=now, reads=said.reads, writes=said.writes))

        self._after(after_s, say)
