"""Keeps the ingress as ``ingress.yaml`` and its certificates are: looked at on a beat, taken up when changed.

What cannot be used is said and changes nothing: the last good certificate, or the last good file, goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio.to_thread
import structlog
from msgspec.structs import replace

from poise.adapters.envoy import certificates, listeners
from poise.adapters.envoy.adapter import EnvoyTraffic
from poise.adapters.envoy.certificates import Proof
from poise.adapters.envoy.listeners import Doors
from poise.model.errors import Invalid, PoiseError
from poise.model.ingress import Certificate, Ingress, Pair
from poise.model.record import Write
from poise.ports.clock import Clock
from poise.ports.store import Store, Transaction
from poise.spec.ingress import FILENAME, parse_ingress

log = structlog.get_logger()

PERIOD_S: Final = 2.0
Mark = tuple[int, ...]


class IngressTending:
    """One installation's ingress. ``fence`` is the leader's token; without one nothing is touched."""

    def __init__(
        self, data: Path, traffic: EnvoyTraffic, store: Store, clock: Clock, fence: Callable[[], int | None]
    ) -> None:
        self._data, self._traffic, self._store = data, traffic, store
        self._folder = data / "envoy"
        self._clock, self._fence = clock, fence
        self._ingress = Ingress()
        self._seen: dict[str, Mark] | None = None
        self._told: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled; trouble is told once and tried again."""
        while True:
            if self._fence() is not None:
                try:
                    await self.look()
                except (PoiseError, OSError) as error:
                    self._seen = None
                    self._tell(str(error))
            await self._clock.sleep(PERIOD_S)

    async def look(self) -> None:
        """Take up what changed since the last look. Raises what ``EnvoyTraffic.open`` raises."""
        marks = await anyio.to_thread.run_sync(self._marks)
        if marks == self._seen:
            return
        self._ingress = await anyio.to_thread.run_sync(self._declared)
        marks = await anyio.to_thread.run_sync(
            self._marks
        )  # before they are read: what changes later is seen
        known = {one.name: one for one in (await self._store.scan(Certificate))[0]}
        found = await anyio.to_thread.run_sync(self._taken, known)
        doors = Doors(
            address=self._ingress.address,
            https_port=self._ingress.https_port,
            redirect=self._ingress.redirect,
            secrets=tuple((one.name, one.hosts) for one in found if one.expires_at is not None),
        )
        before = self._traffic.doors()
        if doors.redirect and _entry(doors) != _entry(before):
            await self._traffic.open(
                replace(doors, redirect=False)
            )  # nobody is sent where nobody answers yet
        if doors != before:
            await self._traffic.open(doors)
        await self._record(known, found)
        await anyio.to_thread.run_sync(self._forget, {one.name for one in found})
        self._told &= {one.problem for one in found}
        for one in found:
            if one.problem:
                self._tell(one.problem)
        self._seen = marks

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            log.warning("the ingress is not as declared", problem=problem)

    def _marks(self) -> dict[str, Mark]:
        """What tells that a file is another: links are followed, since renewals move them."""
        pairs = [path for one in self._ingress.pairs for path in (one.certificate_file, one.key_file)]
        marks: dict[str, Mark] = {}
        for path in (str(self._data / FILENAME), *pairs):
            try:
                found = os.stat(path)  # noqa: PTH116
                marks[path] = (
                    found.st_ino,
                    found.st_mtime_ns,
                    found.st_size,
                    found.st_mode,
                    found.st_ctime_ns,
                )
            except OSError as error:
                marks[path] = (error.errno or 0,)
        return marks

    def _declared(self) -> Ingress:
        path = self._data / FILENAME
        try:
            return parse_ingress(path.read_text(), str(path))
        except FileNotFoundError:
            return Ingress()
        except UnicodeDecodeError as error:
            raise Invalid(
                "POISE-S101", "the file is not UTF-8", where=str(path), mend="Write it anew."
            ) from error

    def _taken(self, known: dict[str, Certificate]) -> list[Certificate]:
        """Each declared certificate as it serves from now on: the new one, else the last good one."""
        return [self._one(pair, known) for pair in self._ingress.pairs]

    def _one(self, pair: Pair, known: dict[str, Certificate]) -> Certificate:
        name = certificates.name_of(pair)
        kept = known.get(name, Certificate(name=name, file=pair.certificate_file))
        if not listeners.secret_file(self._folder, name).exists():
            kept = replace(kept, hosts=(), begins_at=None, expires_at=None)
        try:
            proof = certificates.read(pair, self._clock.now())
        except Invalid as error:
            return replace(kept, problem=str(error))
        self._give(name, proof)
        instants = {"begins_at": proof.begins_at, "expires_at": proof.expires_at}
        return replace(kept, hosts=proof.hosts, problem="", **instants)

    def _give(self, name: str, proof: Proof) -> None:
        """Beside, then renamed: Envoy reads certificate and key at once, and a crash leaves old or new."""
        path = listeners.secret_file(self._folder, name)
        body = listeners.secret_body(name, proof.chain, proof.key)
        if path.exists() and path.read_bytes() == body:
            return
        path.parent.mkdir(mode=0o700, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)

    def _forget(self, names: set[str]) -> None:
        """No key is kept for longer than it is declared."""
        for path in self._folder.glob("sds/*"):
            if path.stem not in names:
                path.unlink()

    async def _record(self, known: dict[str, Certificate], found: list[Certificate]) -> None:
        now = {one.name: one for one in found}
        changed = [name for name in sorted({*known, *now}) if known.get(name) != now.get(name)]
        writes = [Write(kind="Certificate", key=name, body=now.get(name)) for name in changed]
        if writes:
            await self._store.commit(Transaction(at=self._clock.now(), writes=writes, fence=self._fence()))


def _entry(doors: Doors) -> tuple[str, int | None, bool]:
    """What tells one way in with TLS from another."""
    return doors.address, doors.https_port, bool(doors.secrets)
