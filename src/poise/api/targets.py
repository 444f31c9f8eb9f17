"""What is scraped, in the shape of Prometheus' HTTP API; of each project that its asker may view.

Source: prometheus.io/docs/prometheus/latest/querying/api, "Targets" and "Querying target metadata".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from litestar import HttpMethod, Request, Response

from poise.adapters.regex import anchored
from poise.adapters.scrape.scraping import Scraping
from poise.adapters.scrape.target import Dropped
from poise.adapters.worker.jobs import selectors_of
from poise.api.access import check
from poise.api.parts import Parts
from poise.api.prometheus import face, form_of, told
from poise.api.prometheus_form import BadData
from poise.api.target_views import NEVER, ActiveTarget, DroppedTarget, TargetMetadata, Targets
from poise.model.access import Principal, Role
from poise.model.errors import Forbidden
from poise.model.samples import Matcher, MatchOp
from poise.spec.durations import format_duration

STATES: Final = ("active", "dropped", "any", "")
METADATA_MAX: Final = 50_000
Asked = Request[Any, Any, Any]


async def targets(request: Asked) -> Response[Any]:
    """Targets; ``state=active|dropped`` and ``scrapePool`` choose among them."""
    form = await form_of(request)
    state, pool = form.text("state"), form.text("scrapePool")
    if state not in STATES:
        raise BadData(
            "POISE-A480", f'invalid parameter "state": {state[:40]!r} is none of active, dropped, any'
        )
    found = viewed(request.app.state.parts, request.user, pool)
    if state == "active":
        found = Targets(activeTargets=found.activeTargets, faults=found.faults)
    if state == "dropped":
        found = Targets(
            droppedTargets=found.droppedTargets, droppedTargetCounts=found.droppedTargetCounts,
            faults=found.faults,
        )  # fmt: skip
    return told(found)


async def scrape_pools(request: Asked) -> Response[Any]:
    """The names of all jobs."""
    found = viewed(request.app.state.parts, request.user)
    pools = {one.scrapePool for one in found.activeTargets} | set(found.droppedTargetCounts)
    return told({"scrapePools": sorted(pools)})


async def target_metadata(request: Asked) -> Response[Any]:
    """What targets say of their metric families; ``match_target``, ``metric`` and ``limit`` choose."""
    form = await form_of(request)
    text = form.text("match_target")
    chosen = [_chooser(matchers) for matchers in (selectors_of((text,)) if text else ((),))]
    wanted = form.text("metric")
    limit = form.count("limit") or METADATA_MAX
    rows: list[TargetMetadata] = []
    for one in _mine(request.app.state.parts, request.user):
        labels = dict(one.target.labels)
        for said in one.metadata if any(fits(labels) for fits in chosen) else ():
            if len(rows) >= limit:
                return told(rows)
            if not wanted or said.name == wanted:
                rows.append(
                    TargetMetadata(
                        target=labels, metric=said.name, type=said.kind.value, help=said.help, unit=said.unit
                    )
                )
    return told(rows)


def viewed(parts: Parts, viewer: Principal, pool: str = "") -> Targets:
    """Every target of the projects that ``viewer`` may view, by job and URL."""
    scraper = parts.scraper
    if scraper is None:
        return Targets()
    may = _may(viewer)
    active = sorted(
        (one for one in _mine(parts, viewer) if pool in ("", one.target.config.name)),
        key=lambda one: (one.target.project, one.target.config.name, one.target.url),
    )
    dropped = [one for one in scraper.dropped if may(one.project) and pool in ("", one.config.name)]
    counts: dict[str, int] = {}
    for one in dropped:
        counts[one.config.name] = counts.get(one.config.name, 0) + 1
    return Targets(
        activeTargets=tuple(_active(one, parts.url) for one in active),
        droppedTargets=tuple(_dropped(one) for one in dropped),
        droppedTargetCounts=counts,
        faults={"/".join(job): fault for job, fault in scraper.faults.items() if may(job[0])},
    )


def health_of(up: bool | None) -> str:
    """Prometheus' word for it."""
    return "unknown" if up is None else "up" if up else "down"


def _mine(parts: Parts, viewer: Principal) -> Iterator[Scraping]:
    may = _may(viewer)
    found = parts.scraper.scrapings.values() if parts.scraper is not None else ()
    return (one for one in found if may(one.target.project))


def _may(viewer: Principal) -> Callable[[str], bool]:
    known: dict[str, bool] = {}

    def may(project: str) -> bool:
        if project not in known:
            try:
                check(viewer, Role.VIEWER, project)
                known[project] = True
            except Forbidden:
                known[project] = False
        return known[project]

    return may


def _active(one: Scraping, url: str) -> ActiveTarget:
    target, health = one.target, one.health
    return ActiveTarget(
        discoveredLabels=dict(target.discovered),
        labels=dict(target.labels),
        scrapePool=target.config.name,
        scrapeUrl=target.url,
        globalUrl=target.url,
        lastError=health.error,
        lastScrape=_instant(health.at_ms),
        lastScrapeDuration=health.seconds,
        health=health_of(health.up),
        scrapeInterval=format_duration(target.every_s),
        scrapeTimeout=format_duration(target.timeout_s),
        project=target.project,
        samples=health.kept if health.up else 0,
        faults=health.faults,
        faultCounts=health.counts,
    )


def _dropped(one: Dropped) -> DroppedTarget:
    return DroppedTarget(
        discoveredLabels=dict(one.discovered), scrapePool=one.config.name, project=one.project, why=one.why
    )


def _instant(at_ms: int) -> str:
    if not at_ms:
        return NEVER
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _chooser(matchers: Sequence[Matcher]) -> Callable[[dict[str, str]], bool]:
    """Whether a target has the labels that are asked for."""
    tests: list[tuple[str, Callable[[str], bool], bool]] = []
    for one in matchers:
        plain = one.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL)
        same: Callable[[str], bool] = _equal(one.value) if plain else _matching(one.value)
        tests.append((one.label, same, one.op in (MatchOp.EQUAL, MatchOp.MATCHES)))
    return lambda labels: all(same(labels.get(name, "")) is wanted for name, same, wanted in tests)


def _equal(value: str) -> Callable[[str], bool]:
    return lambda text: text == value


def _matching(pattern: str) -> Callable[[str], bool]:
    regex = anchored(pattern)
    return lambda text: regex.search(text) is not None


ROUTES = [
    face("/api/v1/targets", targets, [HttpMethod.GET]),
    face("/api/v1/targets/metadata", target_metadata, [HttpMethod.GET]),
    face("/api/v1/scrape_pools", scrape_pools, [HttpMethod.GET]),
]
