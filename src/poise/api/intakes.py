"""What is pushed here, decoded away from the event loop; and the count of what was not kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread

from poise.adapters.exposition.page import Exposition, Transform
from poise.adapters.remote_write.read import RemoteWrite
from poise.adapters.unpacking import unpacked
from poise.model.intake import Intake, IntakeLimits

if TYPE_CHECKING:
    from poise.adapters.otlp import MetricsRequest

T = TypeVar("T")
BODY_BYTES: Final = 16_777_216  # as it is sent
LIMITS: Final = IntakeLimits(body_bytes=67_108_864)


class Intakes:
    """Decodes one body at a time. ``counts`` only grow: ``<source>/taken``, ``<source>/<fault>``."""

    def __init__(self, limits: IntakeLimits = LIMITS) -> None:
        self.counts: dict[str, int] = {}
        self._limits = limits
        self._remote_write = RemoteWrite(limits)
        self._otlp: MetricsRequest | None = None
        self._turn = anyio.Lock()

    async def remote_write(self, body: bytes) -> Intake:
        """A WriteRequest 1.0. Raises ``Invalid`` and ``TooLarge``."""
        return await self._decoded(lambda: self._remote_write.read(body))

    async def otlp(self, body: bytes, encoding: str, now_ms: int, *, json: bool) -> Intake:
        """An ExportMetricsServiceRequest. Raises ``Invalid`` and ``TooLarge``."""

        def decode() -> Intake:
            if self._otlp is None:
                from poise.adapters.otlp import MetricsRequest  # heavy, and many never send any

                self._otlp = MetricsRequest(self._limits)
            raw = unpacked(body, encoding, self._limits.body_bytes)
            return self._otlp.read(raw, json=json, now_ms=now_ms)

        return await self._decoded(decode)

    async def page(
        self, body: bytes, content_type: str, encoding: str, target: str, now_ms: int, transform: Transform
    ) -> Intake:
        """Exposition text. Raises ``Invalid`` and ``TooLarge``."""

        def decode() -> Intake:
            text = unpacked(body, encoding, self._limits.body_bytes)
            read = Exposition(target, self._limits, transform).read(text, content_type, now_ms)
            return Intake(
                readings=read.readings,
                metadata=read.metadata,
                faults=read.faults,
                counts=read.counts,
                samples=read.kept,
            )

        return await self._decoded(decode)

    def count(self, source: str, kind: str, count: int) -> None:
        """Add to what is counted."""
        name = f"{source}/{kind}"
        self.counts[name] = self.counts.get(name, 0) + count

    async def _decoded(self, decode: Callable[[], T]) -> T:
        async with self._turn:
            return await anyio.to_thread.run_sync(decode)
