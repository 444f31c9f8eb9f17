"""Telling people: one message to one contact."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from poise.model.oncall import Contact, ContactKind


class Message(Struct, frozen=True, kw_only=True):
    """What a person is told. ``id`` is stable: the receiver can drop a duplicate by it.

    ``link`` acknowledges by one click on the page it leads to; ``detail`` is plain text, one fact a line;
    ``kind`` is ``page``, ``resolved``, ``dispute`` or ``test``; ``incident`` is its key and ``severity`` its,
    both empty where it is about none.
    """

    id: str
    title: str
    detail: str
    severity: str
    link: str
    kind: str = "page"
    incident: str = ""


class Notifier(Protocol):
    """One way of telling. Never hangs longer than its time-out."""

    kind: ContactKind

    async def send(self, contact: Contact, message: Message) -> str:
        """Tell; returns the receiver's receipt in one sentence.

        Raises ``Unreachable`` or ``TimedOut`` when trying later may help, ``Invalid`` when it cannot.
        """
        ...
