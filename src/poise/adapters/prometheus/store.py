"""The SignalStore port over another server's HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import anyio.to_thread
import numpy as np
from msgspec.structs import replace

from poise.adapters.prometheus import answer
from poise.adapters.prometheus.asking import Asker
from poise.adapters.prometheus.endpoint import SELECT_BEFORE_S, Endpoint
from poise.adapters.prometheus.wire import WRITE_HEADERS, seconds, selector, write_request
from poise.model.errors import Invalid, TooLarge
from poise.model.samples import (
    EMPTY,
    Appended,
    Block,
    Frame,
    Instants,
    Labels,
    Limits,
    Matcher,
    Metadata,
    Round,
)
from poise.ports.signals import Capability

IN_THREAD_BYTES: Final = 64 * 1024  # a larger answer is decoded where nothing waits for it
Selectors = Sequence[Sequence[Matcher]]


class PrometheusSignals:
    """Another server's series. Appending needs a write URL; selecting is for small windows.

    ``select`` looks at most ``endpoint.select_window_s`` back, and ``before`` at most five minutes more.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._asker = Asker(endpoint)
        self._endpoint = endpoint
        can = {Capability.SELECT, Capability.QUERY, Capability.METADATA}
        self.capabilities = frozenset(can | ({Capability.APPEND} if endpoint.write_url else set()))

    async def append(self, round: Round) -> Appended:
        """See the port. Remote-write takes or refuses a round whole; the refusal is ``Invalid``."""
        if Capability.APPEND not in self.capabilities:
            raise Invalid("POISE-H150", "nothing is written to this source", where=self._endpoint.shown,
                          mend="Configure its write URL, or append to the embedded store.")  # fmt: skip
        body = await anyio.to_thread.run_sync(write_request, round)
        await self._asker.send(body, WRITE_HEADERS)
        return Appended(kept=sum(reading.values.size for reading in round.readings))

    async def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, before: bool = False
    ) -> Block:
        """See the port; ``TooLarge`` for a window longer than the source is asked for."""
        if end_ms <= start_ms:
            return EMPTY
        if end_ms - start_ms > self._endpoint.select_window_s * 1000:
            what = f"raw samples are read over at most {self._endpoint.select_window_s:g} s of a source"
            raise TooLarge("POISE-H151", what, where=self._endpoint.shown, mend="Use query_range.")
        since_ms = start_ms - (round(SELECT_BEFORE_S * 1000) if before else 0)
        frame = await self.query(f"{selector(matchers)}[{end_ms - since_ms}ms]", end_ms)
        return _within(frame.ragged or EMPTY, start_ms, before)

    async def query(self, expression: str, at_ms: int, limits: Limits | None = None) -> Frame:
        """See the port."""
        limits = limits or Limits()
        form = [("query", expression), ("time", seconds(at_ms)), *self._patience(limits)]
        body = await self._asker.ask("/api/v1/query", form, limits.seconds)
        return await self._read(body, np.array([at_ms], dtype=np.int64), limits)

    async def query_range(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, limits: Limits | None = None
    ) -> Frame:
        """See the port."""
        limits = limits or Limits()
        grid = _grid(start_ms, end_ms, step_ms, limits)
        form = [
            ("query", expression),
            ("start", seconds(start_ms)),
            ("end", seconds(end_ms)),
            ("step", seconds(step_ms)),
            ("nocache", "1"),  # else VictoriaMetrics moves the grid
            *self._patience(limits),
        ]
        body = await self._asker.ask("/api/v1/query_range", form, limits.seconds)
        return await self._read(body, grid, limits)

    async def series(self, selectors: Selectors, start_ms: int, end_ms: int) -> list[Labels]:
        """See the port."""
        if not selectors:
            return []
        form = _matched(selectors, start_ms, end_ms)
        return answer.series_of(await self._asker.ask("/api/v1/series", form), self._endpoint.shown)

    async def label_names(self, selectors: Selectors, start_ms: int, end_ms: int) -> list[str]:
        """See the port."""
        form = _matched(selectors, start_ms, end_ms)
        return answer.names_of(await self._asker.ask("/api/v1/labels", form), self._endpoint.shown)

    async def label_values(self, label: str, selectors: Selectors, start_ms: int, end_ms: int) -> list[str]:
        """See the port."""
        path = f"/api/v1/label/{quote(label, safe='')}/values"
        body = await self._asker.fetch(path, _matched(selectors, start_ms, end_ms))
        return answer.names_of(body, self._endpoint.shown)

    async def metadata(self, name: str = "") -> list[Metadata]:
        """See the port."""
        query = [("metric", name)] if name else []
        return answer.metadata_of(await self._asker.fetch("/api/v1/metadata", query), self._endpoint.shown)

    async def close(self) -> None:
        """Let the connections go."""
        await self._asker.close()

    def _patience(self, limits: Limits) -> list[tuple[str, str]]:
        return [("timeout", f"{max(1, round(min(limits.seconds, self._endpoint.timeout_s)))}s")]

    async def _read(self, body: bytes, grid: Instants, limits: Limits) -> Frame:
        where = self._endpoint.shown
        if len(body) <= IN_THREAD_BYTES:
            return answer.frame_of(body, where, grid, limits)
        return await anyio.to_thread.run_sync(answer.frame_of, body, where, grid, limits)


def _matched(selectors: Selectors, start_ms: int, end_ms: int) -> list[tuple[str, str]]:
    span = [("start", seconds(start_ms)), ("end", seconds(end_ms))]
    return [*(("match[]", selector(one)) for one in selectors), *span]


def _grid(start_ms: int, end_ms: int, step_ms: int, limits: Limits) -> Instants:
    if step_ms <= 0 or end_ms < start_ms:
        raise Invalid("POISE-H152", "a range needs a step above zero and an end after its start",
                      mend="Write start, end and step.")  # fmt: skip
    points = (end_ms - start_ms) // step_ms + 1
    if points > limits.points:
        raise TooLarge("POISE-H153", f"the range has {points} steps", why=f"The limit is {limits.points}.",
                       mend="Use a longer step or a shorter range.")  # fmt: skip
    return start_ms + step_ms * np.arange(points, dtype=np.int64)


def _within(block: Block, start_ms: int, before: bool) -> Block:
    """Samples later than ``start_ms``, and the last one up to it where ``before`` wants it."""
    series, instants, values = [], [], []
    for first, at_ms, rows in block.groups():
        cut = int(np.searchsorted(at_ms, start_ms, side="right"))
        cut -= 1 if before and cut else 0
        if cut < len(at_ms):
            series.append(block.series[first])
            instants.append(at_ms[cut:])
            values.append(rows[0, cut:])
    lengths = np.cumsum([0, *(len(one) for one in values)])[:-1]
    return replace(
        block,
        series=tuple(series),
        owner=np.arange(len(series), dtype=np.intp),
        at_ms=tuple(instants),
        start=lengths.astype(np.intp),
        flat=np.concatenate(values) if values else np.empty(0),
    )
