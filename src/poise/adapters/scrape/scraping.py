"""One target over time: scrape, append, mark what is gone as stale, remember how it went."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio.to_thread
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.exposition.page import Exposition, Read
from poise.adapters.scrape.asking import SCRAPE_ERRORS, Asker
from poise.adapters.scrape.target import Target, as_labels, transform_of
from poise.adapters.unpacking import unpacked
from poise.model.errors import TooLarge
from poise.model.intake import IntakeLimits
from poise.model.samples import NAME, STALE, Appended, Labels, Metadata, Reading, Round

REPORTS: Final = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
FAULTS_SHOWN: Final = 10
Append = Callable[[Round], Awaitable[Appended]]
Relabelling = Callable[[dict[str, str]], dict[str, str] | None]


class Health(Struct, frozen=True, kw_only=True):
    """How the newest scrape went; ``up`` is None before the first. ``faults`` are lines left out."""

    up: bool | None = None
    at_ms: int = 0
    seconds: float = 0.0
    error: str = ""
    samples: int = 0
    kept: int = 0
    faults: tuple[str, ...] = ()
    counts: dict[str, int] = {}


class Scraping:
    """The scrapes of one target. Never two at once."""

    def __init__(self, target: Target, asker: Asker, metric_relabel: Relabelling) -> None:
        self.target, self._asker = target, asker
        self.health = Health()
        self.due_ms = 0
        self.busy = False
        config = target.config
        self._place = f"scrape/{target.project}/{config.name}/{target.instance}"[:300]
        self._limits = IntakeLimits(body_bytes=config.body_bytes)
        self._page = Exposition(
            self._place, self._limits, transform_of(target, metric_relabel),
            honor_timestamps=config.honor_timestamps,
        )  # fmt: skip
        own = dict(target.labels)
        self._reports = tuple(as_labels({**own, NAME: name}) for name in REPORTS)
        self._live: tuple[Labels, ...] = ()

    async def scrape(self, append: Append, now: Callable[[], float]) -> None:
        """One scrape, appended whether it worked or not. ``now`` gives seconds since the epoch."""
        began = now()
        at_ms = round(began * 1000)
        config = self.target.config
        read, error = None, ""
        try:
            got = await self._asker.get(self.target.url, config.timeout_s)

            def decoded() -> Read:
                text = unpacked(got.body, got.encoding, config.body_bytes)
                return self._page.read(text, got.content_type, at_ms)

            read = await anyio.to_thread.run_sync(decoded)
            if config.sample_limit and read.kept > config.sample_limit:
                kept, read = read.kept, None
                raise TooLarge(
                    "POISE-M505", f"{kept} samples; the limit is {config.sample_limit}", where=self.target.url
                )  # fmt: skip
        except SCRAPE_ERRORS as refused:
            error = str(refused)
        seconds = max(0.0, now() - began)
        self.health = _health(read, error, at_ms, seconds)
        appended = await append(self._round(read, at_ms, seconds))
        if appended.refused:
            counts = dict(self.health.counts)
            told = list(self.health.faults)
            for one in appended.refused:
                counts[one.reason] = counts.get(one.reason, 0) + one.count
                told.append(f"{one.reason}: {one.count}, such as {dict(one.example)}"[:300])
            self.health = replace(self.health, faults=tuple(told[:FAULTS_SHOWN]), counts=counts)

    def ended(self, at_ms: int) -> Round:
        """The target is no more: everything of it is stale."""
        gone = (*self._live, *self._reports)
        self._live = ()
        return Round(readings=(self._stale(gone, at_ms),))

    def _round(self, read: Read | None, at_ms: int, seconds: float) -> Round:
        before = self._live
        self._live = read.current.series if read is not None else ()
        gone: tuple[Labels, ...] = ()
        if self._live is not before:  # the same page has the same tuple
            taken = set(self._live)
            gone = tuple(one for one in before if one not in taken)
        readings: list[Reading] = list(read.readings) if read is not None else []
        if gone:
            readings.append(self._stale(gone, at_ms))
        figures = [float(read is not None), seconds]
        figures += [float(x) for x in ((read.scraped, read.kept, read.series_added) if read else (0, 0, 0))]
        readings.append(self._reading(self._reports, at_ms, np.array(figures)[:, None]))
        metadata: tuple[Metadata, ...] = read.metadata if read is not None else ()
        return Round(readings=tuple(readings), metadata=metadata)

    def _stale(self, series: tuple[Labels, ...], at_ms: int) -> Reading:
        return self._reading(series, at_ms, np.full((len(series), 1), STALE))

    def _reading(self, series: tuple[Labels, ...], at_ms: int, values: np.ndarray) -> Reading:
        return Reading(target=self._place, series=series, at_ms=np.array([at_ms], np.int64), values=values)


def _health(read: Read | None, error: str, at_ms: int, seconds: float) -> Health:
    if read is None:
        return Health(up=False, at_ms=at_ms, seconds=seconds, error=error)
    return Health(
        up=True,
        at_ms=at_ms,
        seconds=seconds,
        samples=read.scraped,
        kept=read.kept,
        faults=tuple(str(one) for one in read.faults[:FAULTS_SHOWN]),
        counts=read.counts,
    )
