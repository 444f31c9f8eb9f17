"""Where a history comes from: a Prometheus-compatible API, an OpenMetrics file, or the house's own stores."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import anyio.to_thread
from cyclopts import Parameter
from msgspec import Struct

from poise.cli.gate_alone import TOKEN
from poise.cli.place import Common
from poise.engine.query_past import Asks
from poise.model.errors import Invalid, NotFound
from poise.model.samples import Frame, Limits
from poise.ports.totals import Readings
from poise.spec.durations import parse_span

if TYPE_CHECKING:
    from poise.adapters.blocks.reader import BlockReader

DAYS_MAX: Final = 400
MINUTE_S: Final = 60.0
Url = Annotated[str | None, Parameter(help="A Prometheus-compatible API to read.")]
MetricsFile = Annotated[
    Path | None,
    Parameter(help="An OpenMetrics file with timestamps, as promtool's create-blocks-from reads."),
]
Since = Annotated[str, Parameter(help="How far back, such as 12h or 30d.")]


class Past(Struct, frozen=True, eq=False, kw_only=True):
    """A metrics store to ask, readings of Envoy where the house has them, and the span: whole minutes."""

    signals: Asks
    earlier: Readings | None
    start_s: float
    end_s: float
    said: str  # what it is


def span_s(since: str) -> float:
    """A span as typed; ``Invalid`` for none, and for one that is longer than is replayed."""
    seconds = parse_span(since)
    if not seconds or seconds < 10 * MINUTE_S:
        raise Invalid("POISE-E230", f"--since {since} is no span", mend="Write e.g. --since 30d.")
    if seconds > DAYS_MAX * 86_400:
        mend = f"Write at most --since {DAYS_MAX}d."
        raise Invalid("POISE-E230", f"--since {since} is more than is replayed", mend=mend)
    return seconds


@asynccontextmanager
async def opened(
    prometheus: str | None,
    metrics: Path | None,
    since: str,
    common: Common,
    told: Callable[[float], None] = lambda share: None,
) -> AsyncIterator[Past]:
    """The history that is meant; ``told`` of how much of a file is read."""
    if prometheus is not None and metrics is not None:
        mend = "Name one of the two."
        raise Invalid("POISE-E231", "--prometheus and --metrics are two histories", mend=mend)
    seconds = span_s(since)
    if metrics is not None:
        from poise.adapters.exposition.history import read_history

        file = read_history(metrics, told)
        first_s, end_s = file.first_ms / 1000, file.last_ms / 1000
        start_s = max(first_s - MINUTE_S, end_s - seconds)
        yield _past(file, None, start_s, end_s + MINUTE_S, str(metrics))
    elif prometheus is not None:
        from poise.adapters.prometheus.endpoint import Endpoint
        from poise.adapters.prometheus.store import PrometheusSignals

        bearer = os.environ.get(TOKEN, "")
        signals = PrometheusSignals(Endpoint(url=prometheus, name="--prometheus", bearer=bearer))
        try:
            now_s = time.time()
            yield _past(signals, None, now_s - seconds, now_s, prometheus)
        finally:
            await signals.close()
    else:
        async with _house(seconds, common) as past:
            yield past


@asynccontextmanager
async def _house(seconds: float, common: Common) -> AsyncIterator[Past]:
    """The stores of this machine's house, read beside it."""
    from poise.adapters.blocks.reader import BlockReader
    from poise.adapters.totals.store import StoredTotals

    metrics, totals = common.folder / "metrics.db", common.folder / "signals.db"
    if not metrics.is_file() or not totals.is_file():
        raise NotFound(
            "POISE-E232", "there is no history here", where=str(common.folder),
            why="Neither --prometheus nor --metrics is given, so the house's own stores are meant.",
            mend="Add --prometheus URL or --metrics FILE, or name the folder: --data FOLDER",
        )  # fmt: skip
    reader, kept = BlockReader(metrics), StoredTotals(totals)
    try:
        now_s = time.time()
        yield _past(_Blocks(reader), kept, now_s - seconds, now_s, str(common.folder))
    finally:
        reader.close()
        await kept.close()


class _Blocks:
    """The embedded store, asked in this process."""

    def __init__(self, reader: BlockReader) -> None:
        self._reader = reader

    async def query(self, expression: str, at_ms: int, limits: Limits | None = None) -> Frame:
        """As ``SignalStore.query``, in a thread."""
        from poise.adapters.promql.engine import Engine

        return await anyio.to_thread.run_sync(Engine(self._reader, limits).instant, expression, at_ms)

    async def query_range(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, limits: Limits | None = None
    ) -> Frame:
        """As ``SignalStore.query_range``, in a thread."""
        from poise.adapters.promql.engine import Engine

        engine = Engine(self._reader, limits)
        return await anyio.to_thread.run_sync(engine.range, expression, start_ms, end_ms, step_ms)


def _past(signals: Asks, earlier: Readings | None, start_s: float, end_s: float, said: str) -> Past:
    return Past(
        signals=signals, earlier=earlier, start_s=start_s // MINUTE_S * MINUTE_S,
        end_s=end_s // MINUTE_S * MINUTE_S, said=said,
    )  # fmt: skip
