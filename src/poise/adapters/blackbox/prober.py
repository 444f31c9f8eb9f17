"""Looks at every declared probe on its beat and records what it found."""

from __future__ import annotations

from typing import Final

import anyio
import numpy as np
import structlog

from poise.adapters.blackbox.looks import Look, look
from poise.model.errors import PoiseError
from poise.model.samples import NAME, Labels, Reading, Round
from poise.model.service import Probe, Project
from poise.ports.clock import Clock
from poise.ports.signals import SignalStore
from poise.ports.store import Store

log = structlog.get_logger()

BEAT_S: Final = 1.0
DECLARED_S: Final = 5.0  # how often what is declared is read
AT_ONCE: Final = 32


class BlackboxProber:
    """One look per probe and period; a probe that is still being looked at is not looked at again."""

    def __init__(self, store: Store, metrics: SignalStore, clock: Clock) -> None:
        self._store, self._metrics, self._clock = store, metrics, clock
        self._declared: list[tuple[str, Probe]] = []
        self._read_at = float("-inf")
        self._due: dict[tuple[str, str], float] = {}
        self._looking: set[tuple[str, str]] = set()
        self._places = anyio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Look until cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                try:
                    for project, probe in await self.due():
                        group.start_soon(self.once, project, probe)
                except (PoiseError, OSError) as error:
                    log.warning("probes could not be read", error=str(error))
                await self._clock.sleep(BEAT_S)

    async def due(self) -> list[tuple[str, Probe]]:
        """The probes to look at now."""
        now = self._clock.now().timestamp()
        if not 0 <= now - self._read_at < DECLARED_S:
            projects, _ = await self._store.scan(Project)
            self._declared = [(project.name, probe) for project in projects for probe in project.probes]
            self._read_at = now
        keys = {(project, probe.name) for project, probe in self._declared}
        self._due = {key: at for key, at in self._due.items() if key in keys}
        found = []
        for project, probe in self._declared:
            key = (project, probe.name)
            since = self._due.get(key)
            if key not in self._looking and (since is None or not now - probe.every_s < since <= now):
                self._due[key] = now
                self._looking.add(key)
                found.append((project, probe))
        return found

    async def once(self, project: str, probe: Probe) -> None:
        """One look, recorded."""
        key = (project, probe.name)
        try:
            async with self._places:
                found = await look(probe)
            if found.why:
                log.info("a probe failed", project=project, probe=probe.name, why=found.why)
            await self._metrics.append(Round(readings=(reading(project, probe, found, self._now_ms()),)))
        except (PoiseError, OSError) as error:
            log.warning("a probe could not be recorded", probe=probe.name, error=str(error))
        finally:
            self._looking.discard(key)

    def _now_ms(self) -> int:
        return round(self._clock.now().timestamp() * 1000)


def reading(project: str, probe: Probe, found: Look, at_ms: int) -> Reading:
    """What a look found as samples of ``job="probe"``; ``instance`` is the target."""
    own = {"job": "probe", "instance": probe.target, "probe": probe.name, "project": project}
    series: list[Labels] = []
    for name, phase in found.figures:
        phases = {"phase": phase} if phase else {}
        series.append(tuple(sorted({NAME: name, **own, **phases}.items())))
    return Reading(
        target=f"probe/{project}/{probe.name}",
        series=tuple(series),
        at_ms=np.array([at_ms], np.int64),
        values=np.array(list(found.figures.values()), np.float64)[:, None],
    )
