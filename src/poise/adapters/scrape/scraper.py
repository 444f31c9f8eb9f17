"""All targets: found, scraped on their beat, and let go when nothing names them any more."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Final

import anyio
import anyio.to_thread
import structlog

from poise.adapters.scrape.asking import Asker, Held
from poise.adapters.scrape.finding import Finder, Found, Job
from poise.adapters.scrape.relabel import relabelling
from poise.adapters.scrape.scraping import DECODING, Scraping, Seconds
from poise.adapters.scrape.target import Dropped, Target
from poise.adapters.secrets import NamedSecrets
from poise.engine.loop import contain
from poise.model.errors import PoiseError
from poise.model.scrape import Access
from poise.ports.clock import Clock
from poise.ports.signals import SignalStore
from poise.ports.store import Store

log = structlog.get_logger()

BEAT_S: Final = 0.1
DISCOVER_S: Final = 5.0
AT_ONCE: Final = 100  # targets of one job; those of another never wait for them
Count = Callable[[str, str, int], None]


class Scraper:
    """Scrapes what projects declare. ``count`` is told of samples taken and of faults, by kind.

    ``steady`` drives the beat, so that a clock that steps neither stops nor doubles it; ``wall`` dates what
    was scraped.
    """

    def __init__(
        self,
        store: Store,
        metrics: SignalStore,
        clock: Clock,
        secrets: NamedSecrets,
        count: Count,
        *,
        steady: Seconds = time.monotonic,
        wall: Seconds = time.time,
    ) -> None:
        self._metrics, self._clock, self._secrets, self._count = metrics, clock, secrets, count
        self._steady, self._wall = steady, wall
        self._held = Held()
        self._askers: dict[tuple[str, Access], Asker] = {}
        self._finder = Finder(store, self._asker, steady)
        self._turns: anyio.CapacityLimiter | None = None
        self._places: dict[Job, anyio.Semaphore] = {}
        self.scrapings: dict[str, Scraping] = {}
        self.dropped: tuple[Dropped, ...] = ()
        self.faults: dict[Job, str] = {}

    async def run(self) -> None:
        """Scrape until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._discovering)
            while True:
                for one in self.due():
                    group.start_soon(self.once, one)
                await self._clock.sleep(BEAT_S)

    @property
    def held_bytes(self) -> int:
        """Of pages being received or waiting to be read."""
        return self._held.bytes

    async def close(self) -> None:
        """Let every connection go."""
        for asker in self._askers.values():
            await asker.close()
        for one in self.scrapings.values():
            await one.close()
        self._askers.clear()

    def due(self) -> list[Scraping]:
        """Targets to scrape now; each is thereby busy until it has been scraped.

        A target has a place of its own within its interval, by its name, so that not all are asked at once.
        """
        now = self._steady()
        found = []
        for one in self.scrapings.values():
            if one.busy or one.due_s > now:
                continue
            one.due_s = _next(one.target, now)
            one.busy = True
            found.append(one)
        return found

    async def once(self, one: Scraping) -> None:
        """Scrape a target that is due. Whatever it does, it is told of in its health."""
        key = one.target.key
        try:
            async with self._places.setdefault(one.target.job, anyio.Semaphore(AT_ONCE)):
                if self.scrapings.get(key) is one:
                    await one.scrape(self._metrics.append)
                    self._told(one)
        except (PoiseError, OSError) as error:
            log.warning("a scrape could not be kept", target=one.target.url, error=str(error))
        except Exception as mistake:
            contain(f"scrape of {one.target.url}", mistake)  # one target's must not stop every scrape
        finally:
            one.busy = False
        if self.scrapings.get(key) is not one:  # it was let go meanwhile
            await self._end(one)

    def _told(self, one: Scraping) -> None:
        health = one.health
        if health.up:
            self._count("scrape", "taken", health.kept)
        for kind, count in health.counts.items():
            self._count("scrape", kind, count)

    async def _discovering(self) -> None:
        while True:
            await self.discover()
            await self._clock.sleep(DISCOVER_S)

    async def discover(self) -> None:
        """Look at what is declared and found now; targets that are gone become stale."""
        try:
            found = await self._finder.look()
        except (PoiseError, OSError) as error:
            log.warning("what is to be scraped cannot be read", error=str(error))
            return
        for job, fault in found.faults.items():
            if self.faults.get(job) != fault:
                log.warning("targets could not be found", project=job[0], job=job[1], error=fault)
        self.faults, self.dropped = found.faults, found.dropped
        await self._settle(found)
        for key in self._askers.keys() - found.accesses:
            if not self._askers[key].asking:
                await self._askers.pop(key).close()
        self._places = {job: one for job, one in self._places.items() if job in found.jobs}

    async def _settle(self, found: Found) -> None:
        for key, one in list(self.scrapings.items()):
            if found.targets.get(key) != one.target:
                del self.scrapings[key]
                if not one.busy:  # else it is ended when its scrape is over
                    await self._end(one)
        for key, target in found.targets.items():
            if key not in self.scrapings:
                self.scrapings[key] = self._begun(target)

    def _begun(self, target: Target) -> Scraping:
        self._turns = self._turns or anyio.CapacityLimiter(DECODING)
        asker = self._asker(target.project, target.config.access).apart()
        rule = relabelling(target.config.metric_relabel)
        one = Scraping(target, asker, rule, self._turns, self._wall)
        one.due_s = _next(target, self._steady())
        return one

    def _asker(self, project: str, access: Access) -> Asker:
        key = project, access
        if key not in self._askers:
            self._askers[key] = Asker(project, access, self._secrets, self._held)
        return self._askers[key]

    async def _end(self, one: Scraping) -> None:
        try:
            await self._metrics.append(one.ended())
        except (PoiseError, OSError) as error:
            log.warning("stale markers could not be kept", target=one.target.url, error=str(error))
        await one.close()


def _next(target: Target, now: float) -> float:
    """When a target is due next, later than now."""
    every = target.every_s
    share = int.from_bytes(hashlib.sha256(target.key.encode()).digest()[:4], "big") / 2**32
    return now + every - (now - share * every) % every
