"""The Traffic port over files and the admin socket, always in the safe order.

Clusters, healthy members, routes, listeners; then, once drained, the last reading and the removal.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import anyio
import msgspec

from poise.adapters.disk import note_written
from poise.adapters.envoy import admin, config, counters, xds
from poise.adapters.envoy.counters import Stats
from poise.adapters.envoy.listeners import DOORS, STAT_TLS, Doors, ingress
from poise.adapters.envoy.xds import STAT_PREFIX
from poise.model import signal
from poise.model.errors import Conflict, TimedOut
from poise.model.signal import Batch, Sample
from poise.ports.traffic import Acknowledged, Cluster, TrafficPlan

ACK_TIMEOUT_S: Final = 10.0
ACK_POLL_S: Final = 0.02
DRAIN_S: Final = 3700.0  # over the longest `drain` of a service: replicas end first, and streams with them
RETAINED_S: Final = 600.0
LOG_TAIL_BYTES: Final = 1 << 16
LOG_TRIES: Final = 50
DOORS_FILE: Final = "doors.json"
MEMBER: Final = re.compile(rb"^[^:]+::127\.0\.0\.1:(\d+)::hostname::", re.MULTILINE)
TOLD: Final = re.compile(r"^: |reject|[Ee]rror adding|update failed")
DUMP: Final = "goo.gle/debug"  # then the whole configuration follows, and after it ": " and the reason
LOG_PREFIX: Final = re.compile(r"^(\[[^\]]*\] ?)*(: )?")  # instant, thread, level, component, place
SEE_LOG: Final = "see Envoy's log"


_Kept = tuple[float, str, list[Sample]]


class EnvoyTraffic:
    """Envoy under ``data/envoy``. One plan is applied at a time; reading never waits for it."""

    def __init__(self, data: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._folder = data / "envoy"
        self._now = now
        self._lock = anyio.Lock()
        self._leaving: dict[str, float] = {}  # cluster -> monotonic deadline of its drain
        self._retained: dict[
            str, tuple[float, str, list[Sample]]
        ] = {}  # cluster -> until, epoch, last reading

    async def apply(self, plan: TrafficPlan) -> None:
        """See the port. What leaves the plan keeps its cluster until it has drained and was read."""
        async with self._lock:
            wanted = config.clusters(plan)
            names = {cluster.name for cluster in wanted}
            await self._endpoints({cluster.members for cluster in wanted})
            keep = [cluster for cluster in self._written_clusters() if cluster.name not in names]
            files = config.render(plan, self._folder, keep, self.doors())
            await self._put(xds.CDS, files[xds.CDS], counters.CDS_VERSION)
            await self._members(plan)
            await self._put(xds.RDS, files[xds.RDS], counters.RDS_VERSION)
            await self._put(xds.LDS, files[xds.LDS], counters.LDS_VERSION)
            deadline = time.monotonic() + DRAIN_S
            self._leaving = {c.name: self._leaving.get(c.name, deadline) for c in keep}

    async def open(self, doors: Doors) -> None:
        """Let users enter as ``doors`` say; what is open at an unchanged door stays open.

        Returns once Envoy runs it. Raises as ``apply`` does: a port that is taken is a ``Conflict``.
        """
        async with self._lock:
            written = self._written(xds.LDS)
            mine = {STAT_PREFIX, STAT_TLS}
            [port] = [
                one["address"]["socket_address"]["port_value"]
                for one in written
                if one["name"] == STAT_PREFIX
            ]
            others = [one for one in written if one["name"] not in mine]
            resources = [*ingress(port, self._folder, doors), *others]
            body = xds.response(self._version_in(xds.LDS), resources)
            await self._put(xds.LDS, body, counters.LDS_VERSION)
            self._write(DOORS_FILE, msgspec.json.encode(doors))

    def doors(self) -> Doors:
        """Where users enter now."""
        path = self._folder / DOORS_FILE
        return msgspec.json.decode(path.read_bytes(), type=Doors) if path.exists() else DOORS

    async def observe(self) -> Acknowledged | None:
        """See the port. ``version`` is that of the routes."""
        try:
            stats, epoch = await self._stats(counters.STATE_TARGET)
        except admin.Silent:
            return None
        return Acknowledged(
            version=_version(stats),
            rejected=self._refusal() if any(stats.numbers.get(n) for n in counters.REJECTIONS) else "",
            healthy=counters.by_cluster(stats, "membership_healthy"),
            active=counters.by_cluster(stats, "upstream_rq_active"),
            weights=self._running_weights(stats),
            epoch=epoch,
        )

    async def members(self) -> frozenset[int] | None:
        """See the port."""
        try:
            body, _ = await admin.ask(self._folder / "admin.sock", "/clusters")
        except admin.Silent:
            return None
        return frozenset(int(port) for port in MEMBER.findall(body))

    async def read(self) -> Batch | None:
        """See the port. A cluster that has drained is removed after this reading, which is kept a while."""
        try:
            stats, epoch = await self._stats(counters.READ_TARGET)
        except admin.Silent:
            return None
        found = counters.samples(stats)
        self._remember(found, epoch)
        await self._remove_drained(counters.by_cluster(stats, "upstream_rq_active"))
        kept = [old for name, (_, of, old) in self._retained.items() if of == epoch and name not in found]
        gone = [[one for one in old if one.series.name != signal.IN_FLIGHT] for old in kept]  # nothing is
        flat = [sample for group in (*found.values(), *gone) for sample in group]
        return Batch(at=self._now(), epoch=epoch, samples=tuple(flat))

    def _remember(self, found: dict[str, list[Sample]], epoch: str) -> None:
        """Keep each cluster's newest reading, so that its last one outlives its removal."""
        now = time.monotonic()
        self._retained = {name: kept for name, kept in self._retained.items() if kept[0] > now}
        for name, group in found.items():
            self._retained[name] = (now + RETAINED_S, epoch, group)

    async def _remove_drained(self, active: dict[str, int]) -> None:
        now = time.monotonic()
        done = {name for name, by in self._leaving.items() if not active.get(name) or by <= now}
        if not done or self._lock.locked():
            return
        async with self._lock:
            done &= self._leaving.keys()  # a plan applied meanwhile may have taken one back
            version = self._version_in(xds.CDS)
            left = [cluster for cluster in self._written_clusters() if cluster.name not in done]
            self._write(xds.CDS, config.render_clusters(version, left, self._folder))
            for name in done:
                del self._leaving[name]

    async def _put(self, name: str, body: bytes, stat: str) -> None:
        """Write one file and wait until Envoy runs it; refused: the old file is put back."""
        path = self._folder / name
        old = path.read_bytes() if path.exists() else None
        if old is not None and name != xds.RDS and _mark_of(old) == _mark_of(body):
            body = old  # the routes alone carry the plan's number: a change of weights waits for nothing else
        version = _version_of(body)
        before, _ = await self._answer()
        mark = self._log_size()
        if old != body:
            self._write(name, body)

        def settled(stats: Stats) -> bool:
            if counters.rejected(before.numbers, stats.numbers):
                raise _Refused
            return stats.texts.get(stat) == version

        try:
            await self._until(settled, f"{name} {version}")
        except _Refused:
            if old is not None:
                self._write(name, old)
            raise _conflict(name, await self._told(mark)) from None

    async def _endpoints(self, names: set[str]) -> None:
        """Wait for the keeper's files: Envoy refuses a cluster whose endpoint file is absent."""
        with anyio.move_on_after(ACK_TIMEOUT_S):
            while not all(config.endpoint_file(self._folder, n).exists() for n in names):  # noqa: ASYNC110
                await anyio.sleep(ACK_POLL_S)
            return
        raise TimedOut(
            "POISE-F304",
            f"The keeper wrote no endpoints within {ACK_TIMEOUT_S:g} s",
            where=str(self._folder / "eds"),
            mend="`poise doctor` says whether the keeper runs.",
        )

    async def _members(self, plan: TrafficPlan) -> None:
        """Wait until every cluster whose weight rises has a healthy member."""
        now = self._written_weights()
        rising = {name for host in plan.hosts for name, weight in host.weights if weight > now.get(name, 0)}

        def healthy(stats: Stats) -> bool:
            members = counters.by_cluster(stats, "membership_healthy")
            return all(members.get(name) for name in rising)

        await self._until(healthy, f"healthy members of {', '.join(sorted(rising))}")

    async def _until(self, settled: Callable[[Stats], bool], what: str) -> None:
        with anyio.move_on_after(ACK_TIMEOUT_S):
            while True:
                try:
                    stats, _ = await self._stats(counters.STATE_TARGET)
                    if settled(stats):
                        return
                except admin.Silent:
                    pass  # it is being restarted; it will read the files
                await anyio.sleep(ACK_POLL_S)
        raise TimedOut(
            "POISE-F301",
            f"Envoy did not acknowledge {what} within {ACK_TIMEOUT_S:g} s",
            where=str(self._folder),
            mend="See `poise logs envoy`; it is tried again.",
        )

    async def _answer(self) -> tuple[Stats, str]:
        """Envoy's state, waiting while it is being restarted."""
        with anyio.move_on_after(ACK_TIMEOUT_S):
            while True:
                try:
                    return await self._stats(counters.STATE_TARGET)
                except admin.Silent:
                    await anyio.sleep(ACK_POLL_S)
        raise TimedOut(
            "POISE-F302",
            f"Envoy did not answer on its admin socket within {ACK_TIMEOUT_S:g} s",
            where=str(self._folder / "admin.sock"),
            mend="See `poise logs envoy`; the keeper restarts it.",
        )

    async def _stats(self, target: str) -> tuple[Stats, str]:
        body, epoch = await admin.ask(self._folder / "admin.sock", target)
        try:
            return counters.parse(body), epoch
        except msgspec.MsgspecError as error:
            raise admin.Silent(f"the admin socket answered something else: {error}") from error

    # -- files ------------------------------------------------------------------------------------

    def _write(self, name: str, body: bytes) -> None:
        """Beside, then renamed: Envoy reads on rename only, and a crash leaves old or new."""
        note_written(self._folder, name, body)
        beside = self._folder / f"{name}.new"
        with beside.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(self._folder / name)

    def _written(self, name: str) -> list[xds.Json]:
        path = self._folder / name
        return list(msgspec.json.decode(path.read_bytes())["resources"]) if path.exists() else []

    def _written_clusters(self) -> list[Cluster]:
        """Those whose endpoint file is there: Envoy would refuse any other."""
        named = [config.cluster_of(resource) for resource in self._written(xds.CDS)]
        return [cluster for cluster in named if config.endpoint_file(self._folder, cluster.members).exists()]

    def _running_weights(self, stats: Stats) -> dict[str, int] | None:
        """The weights of the routes that Envoy runs: those written, once it has acknowledged them."""
        path = self._folder / xds.RDS
        written = path.read_bytes() if path.exists() else b""
        acknowledged = written and stats.texts.get(counters.RDS_VERSION) == _version_of(written)
        return config.weights_in(written) if acknowledged else None

    def _written_weights(self) -> dict[str, int]:
        path = self._folder / xds.RDS
        text = path.read_bytes() if path.exists() else b"{}"
        return config.weights_in(text)

    def _version_in(self, name: str) -> int:
        return xds.plan_version(_version_of((self._folder / name).read_bytes()))

    def _log_size(self) -> int:
        path = self._folder / "envoy.log"
        return path.stat().st_size if path.exists() else 0

    async def _told(self, mark: int) -> str:
        """What Envoy's log says since ``mark``; it reaches the file a moment after the count rises."""
        for _ in range(LOG_TRIES):
            if (said := self._refusal(mark)) != SEE_LOG:
                break
            await anyio.sleep(ACK_POLL_S)
        return said

    def _refusal(self, mark: int = 0) -> str:
        """What Envoy's log says last about a refused configuration."""
        path = self._folder / "envoy.log"
        if not path.exists():
            return SEE_LOG
        with path.open("rb") as file:
            file.seek(max(mark if mark <= self._log_size() else 0, self._log_size() - LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        told = [line for line in lines if TOLD.search(line)]
        said = LOG_PREFIX.sub("", told[-1]).strip() if told else SEE_LOG
        return SEE_LOG if DUMP in said else said


class _Refused(Exception):
    """Envoy's count of refused configurations rose."""


def _conflict(name: str, why: str) -> Conflict:
    return Conflict(
        "POISE-F303",
        f"Envoy refused {name}; what it ran before still serves",
        why=f"It says: {why}.",
        mend="See `poise logs envoy`.",
    )


def _mark_of(body: bytes) -> str:
    """What the version says of the content; of a file that says nothing of it, the content."""
    return _version_of(body).partition("-")[2] or repr(body)


def _version_of(body: bytes) -> str:
    return str(msgspec.json.decode(body)["version_info"])


def _version(stats: Stats) -> int:
    return xds.plan_version(stats.texts.get(counters.RDS_VERSION, ""))
