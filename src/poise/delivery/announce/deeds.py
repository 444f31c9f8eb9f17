"""Sending one event to one sink: again and again for a day, ever more rarely, and never for ever."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from poise.delivery.announce.shape import Facts, cloud_event
from poise.engine.controller import Again, Dropped
from poise.model import event_types as types
from poise.model.acts import SendEvent
from poise.model.delivery import Rollout, Run
from poise.model.errors import Invalid, TimedOut, Unreachable
from poise.model.incident import Incident
from poise.model.record import Recorded
from poise.model.service import Project
from poise.ports.sink import Sink
from poise.ports.store import Store

GIVE_UP_AFTER: Final = timedelta(days=1)
DARK_FIRST_S: Final = 1.0
DARK_MOST_S: Final = 300.0


class Announcer:
    """Performs ``SendEvent``. A sink that failed is left alone for a while by all its events at once."""

    def __init__(
        self, store: Store, sink: Sink, installation: str, base_url: str, wake: Callable[[str], None]
    ) -> None:
        self._store = store
        self._sink = sink
        self._facts = Facts(installation=installation, base_url=base_url)
        self._wake = wake
        self._dark: dict[tuple[str, str], tuple[datetime, float]] = {}  # (project, sink): until, how long

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """Send the event as the journal holds it; the same id each time."""
        assert isinstance(act, SendEvent)
        project, _ = await self._store.get(Project, act.project)
        sink = (act.project, act.sink)
        if project is None or act.sink not in project.sinks:
            self._dark.pop(sink, None)
            raise Dropped("the project no longer names this sink")
        rows = await self._store.journal(after=act.sequence - 1, limit=1)
        if not rows or rows[0].sequence != act.sequence:
            raise Dropped("the event is not in the journal")
        if now - rows[0].at > GIVE_UP_AFTER:
            self._wake(act.project)
            return "given up: the sink did not take it for a day"
        until, _ = self._dark.get(sink, (now, 0.0))
        if until > now:
            raise Again("the sink failed a moment ago", (until - now).total_seconds())
        return await self._send(sink, rows[0], now)

    async def _send(self, sink: tuple[str, str], row: Recorded, now: datetime) -> str:
        project, url = sink
        try:
            said = await self._sink.send(project, url, cloud_event(row, await self._about(row)))
        except (Unreachable, TimedOut) as error:
            dark_s = min(DARK_MOST_S, max(DARK_FIRST_S, 2 * self._dark.get(sink, (now, 0.0))[1]))
            self._dark[sink] = (now + timedelta(seconds=dark_s), dark_s)
            raise Again(str(error), dark_s) from error
        except Invalid as error:
            self._wake(project)
            raise Dropped(str(error)) from error
        self._dark.pop(sink, None)
        self._wake(project)
        return said

    async def _about(self, row: Recorded) -> Facts:
        """What is on record of the event's subject and the event does not carry."""
        facts, event = self._facts, row.event
        how = {"installation": facts.installation, "base_url": facts.base_url}
        if event.type in (types.RUN_QUEUED, types.RUN_STARTED, types.RUN_FINISHED):
            run, _ = await self._store.get(Run, event.subject)
            return Facts(**how, workflow=run.workflow if run else "")
        if event.type == types.SERVICE_ROLLED_BACK and isinstance(kept := event.data.get("kept"), int):
            service = event.subject.rpartition("/")[0]
            return Facts(**how, digest=await self._digest(service, kept))
        if event.type in (types.INCIDENT_DETECTED, types.INCIDENT_RESOLVED):
            incident, _ = await self._store.get(Incident, event.subject)
            if incident is not None:
                live = incident.rollouts.get(incident.service)
                return Facts(
                    **how,
                    environment=incident.environment,
                    service=incident.service,
                    digest=await self._digest(incident.service, live) if live is not None else "",
                )
        return facts

    async def _digest(self, service: str, n: int) -> str:
        rollout, _ = await self._store.get(Rollout, f"{service}/{n:06d}")
        return rollout.digest if rollout else ""
