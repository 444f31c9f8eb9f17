"""Telling other systems: one CloudEvent to one URL."""

from __future__ import annotations

from typing import Any, Protocol


class Sink(Protocol):
    """Where events go. Never hangs longer than its time-out; nothing of an answer's body is kept."""

    async def send(self, project: str, url: str, event: dict[str, Any]) -> str:
        """Send one CloudEvent as JSON; its ``id`` is stable, so a receiver can drop a repeat.

        Returns one sentence. Raises ``Unreachable`` or ``TimedOut`` when trying later may help, ``Invalid``
        when it cannot.
        """
        ...
