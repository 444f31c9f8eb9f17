"""All targets: found, scraped on their beat, and let go when nothing names them any more."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import anyio
import anyio.to_thread
import structlog

from poise.adapters.regex import RegexError
from poise.adapters.scrape.asking import SCRAPE_ERRORS, Asker
from poise.adapters.scrape.discovery import groups_of_files, groups_of_json, groups_of_replicas
from poise.adapters.scrape.relabel import relabelling
from poise.adapters.scrape.scraping import Scraping
from poise.adapters.scrape.target import Dropped, Target, target_of
from poise.adapters.secrets import NamedSecrets
from poise.adapters.unpacking import unpacked
from poise.model.errors import PoiseError
from poise.model.fleet import Replica
from poise.model.scrape import FileDiscovery, HttpDiscovery, ScrapeConfig, TargetGroup
from poise.model.service import Project
from poise.ports.clock import Clock
from poise.ports.signals import SignalStore
from poise.ports.store import Store

log = structlog.get_logger()

BEAT_S: Final = 0.25
DISCOVER_S: Final = 5.0
AT_ONCE: Final = 64
TARGETS_MAX: Final = 5000  # of one configuration
Count = Callable[[str, str, int], None]
Job = tuple[str, str]


class Scraper:
    """Scrapes what projects declare. ``count`` is told of samples taken and of faults, by kind."""

    def __init__(
        self, store: Store, metrics: SignalStore, clock: Clock, secrets: NamedSecrets, count: Count
    ) -> None:
        self._store, self._metrics, self._clock = store, metrics, clock
        self._secrets, self._count = secrets, count
        self._askers: dict[Job, Asker] = {}
        self._found: dict[tuple[str, str, str], tuple[float, tuple[TargetGroup, ...]]] = {}
        self._places = anyio.Semaphore(AT_ONCE)
        self.scrapings: dict[str, Scraping] = {}
        self.dropped: tuple[Dropped, ...] = ()
        self.faults: dict[Job, str] = {}

    async def run(self) -> None:
        """Scrape until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._discovering)
            while True:
                for one in self.due():
                    group.start_soon(self._once, one)
                await self._clock.sleep(BEAT_S)

    def due(self) -> list[Scraping]:
        """Targets to scrape now; each is thereby busy until it has been scraped.

        A target has a place of its own within its interval, by its name, so that not all are asked at once.
        """
        now_ms = self._now_ms()
        found = []
        for one in self.scrapings.values():
            every_ms = round(one.target.config.every_s * 1000)
            if one.busy or not (one.due_ms <= now_ms or one.due_ms > now_ms + 2 * every_ms):
                continue  # the last of these: the clock was set back
            offset = int.from_bytes(hashlib.sha256(one.target.key.encode()).digest()[:4], "big") % every_ms
            one.due_ms = now_ms - (now_ms - offset) % every_ms + every_ms
            one.busy = True
            found.append(one)
        return found

    async def _once(self, one: Scraping) -> None:
        try:
            async with self._places:
                if self.scrapings.get(one.target.key) is not one:
                    return
                await one.scrape(self._metrics.append, lambda: self._clock.now().timestamp())
            self._count("scrape", "taken", one.health.kept)
            for kind, count in one.health.counts.items():
                self._count("scrape", kind, count)
        except (PoiseError, OSError) as error:
            log.warning("a scrape could not be kept", target=one.target.url, error=str(error))
        finally:
            one.busy = False

    async def _discovering(self) -> None:
        while True:
            try:
                await self.discover()
            except (PoiseError, OSError) as error:
                log.warning("targets could not be found", error=str(error))
            await self._clock.sleep(DISCOVER_S)

    async def discover(self) -> None:
        """Look at what is declared and found now; targets that are gone become stale."""
        projects, _ = await self._store.scan(Project)
        replicas, _ = await self._store.scan(Replica)
        declared = {(one.name, config.name): config for one in projects for config in one.scrapes}
        for job, asker in list(self._askers.items()):
            if declared.get(job) != asker.config:
                del self._askers[job]
                await asker.close()
        self._found = {key: one for key, one in self._found.items() if key[:2] in declared}
        self.faults = {}
        wanted: dict[str, tuple[Target, Asker]] = {}
        dropped: list[Dropped] = []
        for job, config in declared.items():
            asker = self._askers.setdefault(job, Asker(job[0], config, self._secrets))
            mine = [one for one in replicas if one.service.startswith(f"{job[0]}/")]
            groups = [*config.static, *groups_of_replicas(mine, config.services)]
            groups += await self._elsewhere(job, config, asker)
            for made in self._targets(job, config, groups):
                if isinstance(made, Dropped):
                    dropped.append(made)
                else:
                    wanted.setdefault(made.key, (made, asker))
        self.dropped = tuple(dropped)
        await self._settle(wanted)

    def _targets(self, job: Job, config: ScrapeConfig, groups: list[TargetGroup]) -> list[Target | Dropped]:
        try:
            relabel = relabelling(config.relabel)
        except RegexError as error:
            self.faults[job] = f"a relabelling cannot be read: {error}"
            return []
        places = [(address, group.labels) for group in groups for address in group.targets]
        if len(places) > TARGETS_MAX:
            self.faults[job] = f"{len(places)} targets; the first {TARGETS_MAX} are scraped"
        return [target_of(job[0], config, *place, relabel) for place in places[:TARGETS_MAX]]

    async def _elsewhere(self, job: Job, config: ScrapeConfig, asker: Asker) -> list[TargetGroup]:
        """Groups from files and URLs, looked at anew when it is time; what cannot be read stays as it was."""
        found: list[TargetGroup] = []
        now = self._clock.now().timestamp()
        sources: tuple[HttpDiscovery | FileDiscovery, ...] = (*config.http, *config.files)
        for source in sources:
            key = (*job, str(source))
            at, groups = self._found.get(key, (float("-inf"), ()))
            if not 0 <= now - at < source.refresh_s:
                try:
                    groups = await self._groups(job, config, asker, source, groups)
                    self._found[key] = (now, groups)
                except SCRAPE_ERRORS as error:
                    self._fault(job, str(error))
            found += groups
        return found

    async def _groups(
        self,
        job: Job,
        config: ScrapeConfig,
        asker: Asker,
        source: HttpDiscovery | FileDiscovery,
        before: tuple[TargetGroup, ...],
    ) -> tuple[TargetGroup, ...]:
        if isinstance(source, HttpDiscovery):
            got = await asker.get(source.url, config.timeout_s, "application/json")
            body = unpacked(got.body, got.encoding, config.body_bytes)
            return tuple(_said(one, source.url) for one in groups_of_json(body, source.url))
        read, faults = await anyio.to_thread.run_sync(groups_of_files, source.files)
        if faults:
            self._fault(job, str(faults[0]))
        return before if faults and not read else read

    def _fault(self, job: Job, told: str) -> None:
        self.faults[job] = told
        log.warning("targets could not be found", scrape=job[1], error=told)

    async def _settle(self, wanted: dict[str, tuple[Target, Asker]]) -> None:
        for key, one in list(self.scrapings.items()):
            if key not in wanted or wanted[key][0] != one.target:
                del self.scrapings[key]
                if not one.busy:  # its last scrape would come after its end
                    await self._metrics.append(one.ended(self._now_ms()))
        for key, (target, asker) in wanted.items():
            if key in self.scrapings:
                continue
            try:
                self.scrapings[key] = Scraping(target, asker, relabelling(target.config.metric_relabel))
            except RegexError as error:
                self.faults[target.project, target.config.name] = f"a relabelling cannot be read: {error}"

    def _now_ms(self) -> int:
        return round(self._clock.now().timestamp() * 1000)


def _said(group: TargetGroup, url: str) -> TargetGroup:
    return TargetGroup(targets=group.targets, labels={"__meta_url": url, **group.labels})
