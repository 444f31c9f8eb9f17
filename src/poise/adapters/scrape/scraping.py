"""One target over time: scrape, append, mark what is gone as stale, remember how it went."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import anyio.to_thread
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.exposition.page import Exposition, Read
from poise.adapters.scrape.asking import SCRAPE_ERRORS, Asker, Got
from poise.adapters.scrape.relabel import Rule
from poise.adapters.scrape.target import Target, as_labels, transform_of
from poise.adapters.unpacking import unpacked
from poise.model.errors import Invalid, PoiseError, TooLarge
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
DECODING: Final = 2  # at once: each takes the interpreter from the loop for a switch interval (5 ms)
FAILURES: Final = {
    "POISE-M501": "timeout", "POISE-M502": "unreachable", "POISE-M503": "status", "POISE-M102": "too-large",
    "POISE-M103": "too-large", "POISE-M303": "too-large", "POISE-M506": "too-large", "POISE-M301": "encoding",
    "POISE-M302": "encoding", "POISE-M101": "format", "POISE-M505": "sample-limit", "POISE-M507": "format",
    "POISE-H162": "secret",
}  # fmt: skip
Append = Callable[[Round], Awaitable[Appended]]
Seconds = Callable[[], float]


class Health(Struct, frozen=True, kw_only=True):
    """How the newest scrape went; ``up`` is None before the first.

    ``faults`` name what was left out of it, and ``counts`` count that by kind. ``failure`` is the kind of
    error where the whole scrape failed.
    """

    up: bool | None = None
    at_ms: int = 0
    seconds: float = 0.0
    error: str = ""
    failure: str = ""
    samples: int = 0
    kept: int = 0
    added: int = 0
    faults: tuple[str, ...] = ()
    counts: dict[str, int] = {}


class Scraping:
    """The scrapes of one target. Never two at once; ``wall`` gives seconds since the epoch."""

    def __init__(
        self, target: Target, asker: Asker, metric_relabel: Rule, turns: anyio.CapacityLimiter, wall: Seconds
    ) -> None:
        self.target, self._asker, self._turns, self._wall = target, asker, turns, wall
        self.health = Health()
        self.metadata: tuple[Metadata, ...] = ()
        self.due_s = 0.0
        self.busy = False
        config = target.config
        digest = hashlib.sha256(target.key.encode()).hexdigest()[:8]
        self.place = f"scrape/{target.project}/{config.name}/{target.instance}"[:280] + f"#{digest}"
        self._own_place = f"{self.place}/reports"
        self._limits = IntakeLimits(body_bytes=config.body_bytes)
        self._page = Exposition(
            self.place, self._limits, transform_of(target, metric_relabel),
            honor_timestamps=config.honor_timestamps, ends=True,
        )  # fmt: skip
        own = dict(target.labels)
        self._reports = tuple(as_labels({**own, NAME: name}) for name in REPORTS)
        self._live: tuple[Labels, ...] = ()

    async def scrape(self, append: Append) -> None:
        """One scrape, appended whether it worked or not."""
        began = self._wall()
        at_ms = round(began * 1000)
        config = self.target.config
        read: Read | None = None
        failed: PoiseError | None = None
        try:
            got = await self._asker.get(self.target.url, self.target.timeout_s, config.body_bytes)
            try:
                read = await anyio.to_thread.run_sync(self._decoded, got, at_ms, limiter=self._turns)
            finally:
                self._asker.drop(got)
            failed = self._failed(read)
        except SCRAPE_ERRORS as error:
            failed = error
        health = _health(read, failed, at_ms, max(0.0, self._wall() - began))
        kept = read if failed is None else None
        self.metadata = kept.metadata if kept is not None else self.metadata
        appended = await append(await anyio.to_thread.run_sync(self._round, kept, health))
        self.health = _with_refusals(health, appended)

    def ended(self) -> Round:
        """The target is no more: everything of it is stale."""
        at_ms = max(round(self._wall() * 1000), self.health.at_ms + 1)
        own = replace(self._stale(self._reports, at_ms), target=self._own_place)
        gone = (self._stale(self._live, at_ms),) if self._live else ()
        self._live = ()
        return Round(readings=(*gone, own))

    async def close(self) -> None:
        """Let its connection go."""
        await self._asker.close()

    def _decoded(self, got: Got, at_ms: int) -> Read:
        text = unpacked(got.body, got.encoding, self.target.config.body_bytes)
        return self._page.read(text, got.content_type, at_ms)

    def _failed(self, read: Read) -> PoiseError | None:
        """Why nothing of a page is kept, if so."""
        most, url = self.target.config.sample_limit, self.target.url
        if most and read.kept > most:
            return TooLarge(
                "POISE-M505", f"{read.kept} samples; the limit is {most}", where=url,
                mend="Expose less, drop some by metric_relabel_configs, or raise sample_limit.",
            )  # fmt: skip
        if read.faults and not read.scraped:
            return Invalid(
                "POISE-M507", "nothing of the page can be read as metrics", where=url,
                why=f"{read.faults[0]}.", mend="Let it expose Prometheus text or OpenMetrics.",
            )  # fmt: skip
        return None

    def _round(self, read: Read | None, health: Health) -> Round:
        before = self._live
        self._live = read.current.series if read is not None else ()
        gone: tuple[Labels, ...] = ()
        if self._live is not before:  # the same page has the same tuple
            taken = set(self._live)
            gone = tuple(one for one in before if one not in taken)
        readings: list[Reading] = list(read.readings) if read is not None else []
        if gone:
            readings.append(self._stale(gone, health.at_ms))
        figures = [float(bool(health.up)), health.seconds, health.samples, health.kept, health.added]
        values = np.array(figures, np.float64)[:, None]
        # under a name of their own: a target that is past its cap of series still says that it is up
        readings.append(replace(self._reading(self._reports, health.at_ms, values), target=self._own_place))
        return Round(readings=tuple(readings), metadata=read.metadata if read is not None else ())

    def _stale(self, series: tuple[Labels, ...], at_ms: int) -> Reading:
        return self._reading(series, at_ms, np.full((len(series), 1), STALE))

    def _reading(self, series: tuple[Labels, ...], at_ms: int, values: np.ndarray) -> Reading:
        return Reading(target=self.place, series=series, at_ms=np.array([at_ms], np.int64), values=values)


def _health(read: Read | None, failed: PoiseError | None, at_ms: int, seconds: float) -> Health:
    made = Health(up=failed is None, at_ms=at_ms, seconds=seconds)
    if failed is not None:
        kind = FAILURES.get(failed.code, "refused")
        made = replace(made, error=str(failed), failure=kind, counts={f"failed-{kind}": 1})
    if read is None:
        return made
    return replace(
        made,
        samples=read.scraped,
        kept=read.kept,
        added=read.series_added,
        faults=tuple(str(one) for one in read.faults[:FAULTS_SHOWN]),
        counts={**read.counts, **made.counts},
    )


def _with_refusals(health: Health, appended: Appended) -> Health:
    """What the store did not keep is a fault of the target as well."""
    if not appended.refused:
        return health
    counts, told = dict(health.counts), list(health.faults)
    for one in appended.refused:
        counts[one.reason] = counts.get(one.reason, 0) + one.count
        told.append(f"{one.reason}: {one.count}, such as {_shown(one.example)}"[:300])
    return replace(health, faults=tuple(told[:FAULTS_SHOWN]), counts=counts)


def _shown(labels: Labels) -> str:
    inner = ", ".join(f'{name}="{value[:60]}"' for name, value in labels if name != NAME)
    return f"{dict(labels).get(NAME, '')}{{{inner}}}"
