"""Keeps asking every replica whether it is well, all at once, and remembers the last answers in memory.

What it remembers are observations of one exact process: they die with Poise and are made again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct

from poise.fleet.seen import Probed
from poise.model.fleet import Identity
from poise.model.service import Health
from poise.model.service import Protocol as Spoken
from poise.ports.probe import Probe, ProbeResult

CONFIRM_SHARE: Final = 0.5  # after a failed probe the next ones come this much sooner, and overlap
STARTING_S: Final = 0.05  # between two probes until the first good answer
START_GRACE_S: Final = 30.0  # a process that never answered is starting for so long, then failing


class Target(Struct, frozen=True, kw_only=True):
    """Whom to ask, and how; ``port`` None: there is nothing to ask, running is well."""

    key: str
    identity: Identity
    port: int | None
    health: Health
    spoken: Spoken = Spoken.HTTP


class Probes(Protocol):
    """What fleet's controller needs of whoever probes."""

    def watch(self, owner: str, targets: list[Target]) -> None:
        """Probe exactly these of ``owner`` (a service) from now on."""
        ...

    def latest(self, key: str) -> Probed | None:
        """What was heard last of a replica; None when nothing was."""
        ...


class Prober:
    """``Probes`` over the Probe port. ``wake(service)`` is called when what is known changes.

    ``stopped`` says whether a process is stopped (state T): such a one hangs for certain, so its first
    failed probe counts as all of them. A process that answers now and then is slow, not hanging: any good
    answer starts the count anew.
    """

    def __init__(self, probe: Probe, stopped: Callable[[int], bool], wake: Callable[[str], None]) -> None:
        self._probe, self._stopped, self._wake = probe, stopped, wake
        self._targets: dict[str, dict[str, Target]] = {}
        self._heard: dict[str, Probed] = {}
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._group: TaskGroup | None = None

    def watch(self, owner: str, targets: list[Target]) -> None:
        """See ``Probes``; unchanged targets are left in peace."""
        before, after = self._targets.get(owner, {}), {target.key: target for target in targets}
        self._targets[owner] = after
        for key in before:
            if before[key] != after.get(key):
                self._forget(key)
        for key, target in after.items():
            if target != before.get(key):
                self._begin(owner, target)

    def latest(self, key: str) -> Probed | None:
        """See ``Probes``."""
        return self._heard.get(key)

    async def run(self) -> None:
        """Probe until cancelled."""
        async with anyio.create_task_group() as group:
            self._group = group
            for owner, targets in self._targets.items():
                for target in targets.values():
                    self._begin(owner, target)
            await anyio.sleep_forever()

    def _forget(self, key: str) -> None:
        self._heard.pop(key, None)
        scope = self._scopes.pop(key, None)
        if scope is not None:
            scope.cancel()

    def _begin(self, owner: str, target: Target) -> None:
        if self._group is not None and target.key not in self._scopes:
            scope = self._scopes[target.key] = anyio.CancelScope()
            self._group.start_soon(self._attend, owner, target, scope)

    async def _attend(self, owner: str, target: Target, scope: anyio.CancelScope) -> None:
        with scope:
            async with anyio.create_task_group() as asked:
                began = anyio.current_time()
                while target.key not in self._heard:
                    await self._ask(owner, target, anyio.current_time() - began)
                    await anyio.sleep(min(STARTING_S, target.health.interval_s))
                while True:
                    asked.start_soon(self._ask, owner, target)
                    await anyio.sleep(self._pause_s(target))

    def _pause_s(self, target: Target) -> float:
        heard, interval_s = self._heard.get(target.key), target.health.interval_s
        return interval_s if heard is None or heard.ok else interval_s * CONFIRM_SHARE

    async def _ask(self, owner: str, target: Target, age_s: float = START_GRACE_S) -> None:
        result = ProbeResult.OK
        if target.port is not None:
            health = target.health
            result = await self._probe.ask(target.port, health.path, health.timeout_s, target.spoken)
        if self._targets.get(owner, {}).get(target.key) == target:
            self._hear(owner, target, result, age_s)

    def _hear(self, owner: str, target: Target, result: ProbeResult, age_s: float) -> None:
        heard = self._heard.get(target.key)
        if result is ProbeResult.OK:
            after = Probed(identity=target.identity, ok=True)
        elif heard is None and age_s < START_GRACE_S:
            return  # it is starting
        else:
            failures = (heard.failures if heard else 0) + 1
            if self._stopped(target.identity.pid):
                failures = max(failures, target.health.failures)
            after = Probed(identity=target.identity, ok=False, failures=failures)
        if after != heard:
            self._heard[target.key] = after
            if heard is None or heard.ok != after.ok or after.failures <= target.health.failures:
                self._wake(owner)
