"""The keeper's socket as a `Runtime`: one line out, one line back, connected again when it must be."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio
import msgspec

from poise.adapters.keeper.wire import GONE, PATIENCE_S, RETRY_FIRST_S, Answer, Wire, unreachable
from poise.model.errors import Conflict, Invalid, NotFound, PoiseError, Unreachable
from poise.ports.runtime import (
    EndpointFile,
    EndpointTemplate,
    Hello,
    Process,
    RuntimeEvent,
    Workload,
)

PROTOCOL = 1
ANSWER_S = 10.0
"""A keeper that takes longer than this to answer is taken for gone."""

Result = TypeVar("Result")

_ERRORS: dict[str, type[PoiseError]] = {
    "conflict": Conflict,
    "stale_token": Conflict,
    "not_found": NotFound,
    "disk_full": Unreachable,
    "closing": Unreachable,
    "failed": Unreachable,
}


class _Listed(msgspec.Struct):
    processes: tuple[Process, ...]
    clusters: dict[str, EndpointFile]


class _One(msgspec.Struct):
    process: Process | None = None
    done: bool = False


class _Clusters(msgspec.Struct):
    clusters: dict[str, EndpointFile]


class KeeperClient:
    """A `Runtime` over DATA/run/keeper.sock; use as an async context. Safe for many tasks of one loop.

    Every request is idempotent, so a broken connection is mended and the request sent again, for at most
    `patience_s`; then `Unreachable`.
    """

    def __init__(self, data: Path, patience_s: float = PATIENCE_S) -> None:
        self._path = data / "run" / "keeper.sock"
        self._patience_s = patience_s
        self._lock = anyio.Lock()
        self._wire: Wire | None = None
        self._number = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._hang_up()

    async def hello(self) -> Hello:
        """Who answers; raises `Invalid` when it does not speak this protocol."""
        return await self._ask(Hello, op="hello", version=PROTOCOL)

    async def list(self) -> Sequence[Process]:
        """Everything that is."""
        return (await self._ask(_Listed, op="list")).processes

    async def endpoints(self) -> Mapping[str, EndpointFile]:
        """What stands in the endpoint files, by cluster."""
        return (await self._ask(_Listed, op="list")).clusters

    async def spawn(self, token: int, workload: Workload) -> Process:
        """Run a workload by key, or adopt it."""
        spec = {**_said(workload), "spec_hash": spec_hash(workload)}
        return _there(await self._ask(_One, op="spawn", token=token, spec=spec))

    async def stop(
        self, token: int, key: str, timeout_s: float | None = None, reason: str = ""
    ) -> Process | None:
        """Begin to stop a key; None when nothing of it is left."""
        answer = await self._ask(_One, op="stop", token=token, key=key, timeout_s=timeout_s, reason=reason)
        return answer.process

    async def restart(
        self, token: int, key: str, pid: int, start_time: int, kill_now: bool = False, reason: str = ""
    ) -> bool:
        """Replace exactly this process; False when it is no longer the one."""
        asked = {"key": key, "pid": pid, "start_time": start_time, "kill_now": kill_now, "reason": reason}
        return (await self._ask(_One, op="restart", token=token, **asked)).done

    async def template(
        self, token: int, clusters: Mapping[str, EndpointTemplate]
    ) -> Mapping[str, EndpointFile]:
        """Set all endpoint templates."""
        body = msgspec.to_builtins(dict(clusters))
        return (await self._ask(_Clusters, op="template", token=token, clusters=body)).clusters

    async def hold(self, token: int, key: str, in_rotation: bool) -> Process:
        """Put a replica into its endpoint file, or take it out."""
        return _there(await self._ask(_One, op="hold", token=token, key=key, in_rotation=in_rotation))

    async def shutdown(self, token: int, timeout_s: float | None = None) -> None:
        """Stop every workload; the keeper ends after the last."""
        await self._ask(object, op="shutdown", token=token, timeout_s=timeout_s)

    async def detach(self, token: int) -> None:
        """End the keeper alone; workloads go on and are adopted by the next one."""
        await self._ask(object, op="detach", token=token)

    async def upgrade(self, token: int, entry: Path | None = None, python: Path | None = None) -> None:
        """Have the keeper become the release at `entry` (default: its own path), in place."""
        paths = {"entry": entry and str(entry), "python": python and str(python)}
        await self._ask(object, op="upgrade", token=token, **paths)

    @asynccontextmanager
    async def watch(self, after: int) -> AsyncIterator[AsyncIterator[RuntimeEvent]]:
        """Events above `after`, recorded then live, over a connection of its own that is mended."""
        events = self._events(after)
        try:
            yield events
        finally:
            await events.aclose()

    async def _events(self, after: int) -> AsyncGenerator[RuntimeEvent, None]:
        while True:
            wire = await Wire.reach(self._path, self._patience_s)
            try:
                await wire.send({"id": 1, "op": "watch", "after": after})
                while True:
                    event = (await wire.receive()).event
                    if event is not None and event.seq > after:
                        after = event.seq
                        yield event
            except GONE:
                await anyio.sleep(RETRY_FIRST_S)
            finally:
                await wire.close()

    async def _ask(self, kind: type[Result], **request: object) -> Result:
        """Send a request and return its result, over a new connection when the old one is gone."""
        async with self._lock:
            deadline = anyio.current_time() + self._patience_s
            while True:
                try:
                    answer = await self._exchange(request)
                    break
                except GONE as error:
                    if isinstance(error, Unreachable):
                        raise
                    if anyio.current_time() > deadline:
                        raise unreachable(self._path, str(error) or type(error).__name__) from error
                    await anyio.sleep(RETRY_FIRST_S)
        if answer.error is not None:
            raise _error(answer.error)
        return msgspec.json.decode(answer.result, type=kind)

    async def _exchange(self, request: dict[str, object]) -> Answer:
        wire = self._wire or await Wire.reach(self._path, self._patience_s)
        # Kept only after a whole exchange: a cancelled one would leave its answer for the next request.
        self._wire = None
        self._number += 1
        try:
            with anyio.fail_after(ANSWER_S):
                await wire.send({**request, "id": self._number})
                answer = await wire.receive()
        except BaseException:
            await wire.close()
            raise
        self._wire = wire
        return answer

    async def _hang_up(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()


def spec_hash(workload: Workload) -> str:
    """Return the SHA-256, in hex, of a workload's content; equal content, equal hash."""
    return hashlib.sha256(msgspec.json.encode(_said(workload), order="sorted")).hexdigest()


def _said(workload: Workload) -> dict[str, object]:
    """Without a container no word of one: an older keeper knows none, and hashes stay as they were."""
    said: dict[str, object] = msgspec.to_builtins(workload)
    return {name: value for name, value in said.items() if name != "container" or value is not None}


def _there(answer: _One) -> Process:
    assert answer.process is not None, "the keeper answers these with the process"
    return answer.process


def _error(parts: dict[str, str]) -> PoiseError:
    kind = _ERRORS.get(parts["code"], Invalid)
    code = f"POISE-K2-{parts['code']}"
    return kind(code, parts["what"], where=parts["where"], why=parts["why"], mend=parts["mend"])
