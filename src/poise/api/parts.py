"""What the front door needs of the house. Filled in ``app.py``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from poise.adapters.masking import Masker
from poise.adapters.scrape.scraper import Scraper
from poise.adapters.sealing import Sealer
from poise.adapters.signing import KeyFile
from poise.adapters.sqlite.store import SqliteStore
from poise.adapters.telemetry import TelemetryOwner
from poise.adapters.worker.asking import AskedRange
from poise.adapters.worker.pool import QueryWorker
from poise.api.begun import Begun
from poise.api.intakes import Intakes
from poise.balance.budget.controller import Curve
from poise.balance.scorecard.desk import Desk
from poise.delivery.provenance.deeds import Verifier
from poise.delivery.source.controller import SourceController
from poise.engine.lag import Lag
from poise.engine.loop import Loop
from poise.engine.ruling import GroupStanding
from poise.model.increments import Numbers
from poise.model.oncall import ContactKind
from poise.ports.artifacts import Bills, Repositories
from poise.ports.clock import Clock
from poise.ports.notifier import Notifier
from poise.ports.runtime import Runtime
from poise.ports.signals import SignalStore
from poise.ports.totals import Totals


def _uncounted(_objective: str, _at_s: Numbers) -> Curve | None:
    """Where no budgets are counted."""
    return None


@dataclass(frozen=True)
class Parts:
    """Ports and rooms, as the API uses them."""

    data: Path
    store: SqliteStore
    signals: Totals
    metrics: SignalStore
    clock: Clock
    loop: Loop
    repositories: Repositories
    runtime: Runtime
    source: SourceController
    signing_key: bytes
    sealer: Sealer
    masker: Masker
    ingress_port: int
    stop: Callable[[], None]
    notifiers: Mapping[ContactKind, Notifier] = field(default_factory=dict)
    url: str = "http://127.0.0.1"
    scorecard: Desk = field(default_factory=Desk)
    queries: QueryWorker | None = None
    ranges: AskedRange | None = None  # the same worker's answers over grids, the last ones kept
    sources: Callable[[str, str], Awaitable[SignalStore]] | None = None  # (project, name)
    begun: Begun = field(default_factory=Begun)
    rules: Callable[[], Sequence[GroupStanding]] = tuple  # how every group of rules stands
    loop_lag: Callable[[], Lag] | None = None
    intakes: Intakes = field(default_factory=Intakes)
    scraper: Scraper | None = None
    telemetry: TelemetryOwner | None = None
    key_file: KeyFile | None = None
    verifier: Verifier | None = None
    verifying: anyio.Lock = field(default_factory=anyio.Lock)  # one asker at a time has every file read
    bills: Bills | None = None
    curve: Callable[[str, Numbers], Curve | None] = _uncounted  # (objective, instants): as it was counted
