"""The shell of announce: looks at a project's sinks and how far each has been told. Keys are projects."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Final

from poise.delivery.announce.decide import WINDOW, Seen, SinkSeen, decide, intent_key
from poise.delivery.announce.shape import ANNOUNCED
from poise.model.exchange import Announcement
from poise.model.record import Decision, Ref
from poise.model.service import Project
from poise.ports.store import IntentState, Store

SINKS_MAX: Final = 20
_KINDS: Final = ("Project", "Change", "Run", "Release", "Rollout", "Incident")


class AnnounceController:
    """Told late or never, it looks at the journal from where each sink's cursor stands."""

    name = "announce"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keys(self) -> Iterable[str]:
        """Every project that has a sink, or had one."""
        projects, _ = await self._store.scan(Project)
        cursors, _ = await self._store.scan(Announcement)
        return sorted({one.name for one in projects if one.sinks} | {one.project for one in cursors})

    def wakes(self, ref: Ref) -> str | None:
        """Whatever is written with an event that is announced."""
        return ref.key.split("/", 1)[0] if ref.kind in _KINDS else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read each sink's cursor, its part of the outbox, and what comes next."""
        project, _ = await self._store.get(Project, key)
        sinks = project.sinks[:SINKS_MAX] if project else ()
        cursors, _ = await self._store.scan(Announcement, f"{key}/")
        if not sinks and not cursors:
            return Decision()
        last = await self._store.journal(last=True, limit=1)
        seen = Seen(
            project=key,
            sinks=tuple([await self._sink(key, url) for url in sinks]),
            gone=tuple([await self._gone(one) for one in cursors if one.sink not in sinks]),
            head=last[-1].sequence if last else 0,
        )
        return decide(seen, now)

    async def _sink(self, project: str, url: str) -> SinkSeen:
        digest = digest_of(url)
        known, ref = await self._store.get(Announcement, f"{project}/{digest}")
        if known is None:
            return SinkSeen(url=url, digest=digest, known=None, ref=ref)
        left = tuple([n for n in known.open if await self._is_open(project, digest, n)])
        rows = await self._store.journal(
            after=known.sequence, limit=WINDOW, subject=f"{project}/", types=ANNOUNCED
        )
        return SinkSeen(url=url, digest=digest, known=known, ref=ref, open=left, rows=tuple(rows))

    async def _is_open(self, project: str, digest: str, sequence: int) -> bool:
        stored = await self._store.intent(intent_key(project, digest, sequence))
        return stored is not None and stored.state is IntentState.PENDING

    async def _gone(self, known: Announcement) -> tuple[Announcement, Ref]:
        _, ref = await self._store.get(Announcement, known.key)
        return known, ref


def digest_of(url: str) -> str:
    """A sink's name in keys."""
    return sha256(url.encode()).hexdigest()[:16]
