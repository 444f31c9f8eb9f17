"""DORA's five figures and objectives met, computed from the journal when they are asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.params import QueryParameter
from msgspec import Struct

from poise.api.params import Cursor, Limit, Part
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.api.views import Page
from poise.balance.scorecard import decide as scorecard
from poise.balance.scorecard.decide import FIGURES, Scorecard
from poise.balance.scorecard.deployments import Deployment, Moved
from poise.balance.scorecard.facts import Trigger
from poise.model.errors import Invalid, NotFound
from poise.model.service import Project, Service
from poise.spec.durations import parse_duration

WINDOW: Final = "28d"
WINDOW_MIN_S: Final = 60.0
WINDOW_MAX_S: Final = 731 * 86_400.0
COMMITS_SHOWN: Final = 100  # of one deployment; ``commit_count`` says how many there are

OfService = Annotated[str, QueryParameter(max_length=100)]
OfEnvironment = Annotated[str, QueryParameter(max_length=100)]
Window = Annotated[str, QueryParameter(max_length=20)]


class DeploymentView(Struct, frozen=True, kw_only=True):
    """One deployment behind a figure: what it was, why it failed, what is guessed of that.

    ``event`` is the sequence of its event in the journal; ``commits`` are at most ``COMMITS_SHOWN``.
    """

    event: int
    service: str
    rollout: int | None
    release: int | None
    digest: str
    commit: str
    previous_commit: str | None
    trigger: Trigger
    live: bool
    first: bool
    external: bool
    started_at: datetime | None
    finished_at: datetime
    commit_count: int | None
    commits: tuple[Moved, ...]
    failures: tuple[str, ...]
    guessed: tuple[str, ...]
    incidents: tuple[str, ...]
    detected_at: datetime | None
    recovered_at: datetime | None
    recovery_s: float | None


@get("/api/v1/projects/{project:str}/scorecard", opt={"permission": "viewer"})
async def get_scorecard(
    request: Request[Any, Any, Any],
    project: Part,
    service: OfService = "",
    environment: OfEnvironment = "",
    window: Window = WINDOW,
) -> Scorecard:
    """The five figures of a service, or of all services of an environment (default: the last one)."""
    return (await _asked(parts_of(request), project, service, environment, window))[0]


@get("/api/v1/projects/{project:str}/scorecard/{figure:str}/evidence", opt={"permission": "viewer"})
async def list_evidence(
    request: Request[Any, Any, Any],
    project: Part,
    figure: Part,
    service: OfService = "",
    environment: OfEnvironment = "",
    window: Window = WINDOW,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Page[DeploymentView]:
    """The deployments that a figure is made of, ascending by event."""
    if figure not in FIGURES:
        raise NotFound("POISE-E404", f"no figure {figure}", why=f"The figures are: {', '.join(FIGURES)}.",
                       mend=f"Ask for one of them, e.g. {FIGURES[0]}.")  # fmt: skip
    if cursor and not (cursor.isascii() and cursor.isdigit()):
        raise Invalid("POISE-E422", "that cursor is of no list", where="cursor", mend="Start without one.")
    _, found = await _asked(parts_of(request), project, service, environment, window)
    after = int(cursor[:18] or 0)
    rows = [one for one in scorecard.evidence(figure, found) if one.event > after]
    more = str(rows[limit - 1].event) if len(rows) > limit else None
    return Page(items=[_view(one) for one in rows[:limit]], next=more)


async def _asked(
    parts: Parts, project: str, service: str, environment: str, window: str
) -> tuple[Scorecard, list[Deployment]]:
    known, _ = await parts.store.get(Project, project)
    if known is None:
        raise NotFound("POISE-E404", f"no project {project}", mend="Run: poise status")
    seconds = parse_duration(window)
    if seconds is None or not WINDOW_MIN_S <= seconds <= WINDOW_MAX_S:
        raise Invalid("POISE-E422", f"window {window!r} is not a duration from 1m to 731d", where="window",
                      mend=f"Give e.g. {WINDOW}.")  # fmt: skip
    where = environment or known.environments[-1]
    scope = f"{project}/{where}/{service}" if service else f"{project}/{where}"
    if service:
        declared, _ = await parts.store.get(Service, scope)
        if declared is None:
            raise NotFound("POISE-E404", f"no service {scope}", mend="Run: poise status")
    return await parts.scorecard.card(parts.store, scope, f"{scope}/", parts.clock.now(), seconds)


def _view(one: Deployment) -> DeploymentView:
    commits = one.commits
    return DeploymentView(
        event=one.event,
        service=one.service,
        rollout=one.rollout,
        release=one.release,
        digest=one.digest,
        commit=one.commit,
        previous_commit=one.previous_commit,
        trigger=one.trigger,
        live=one.live,
        first=one.first,
        external=one.external,
        started_at=one.started_at,
        finished_at=one.finished_at,
        commit_count=None if commits is None else len(commits),
        commits=(commits or ())[:COMMITS_SHOWN],
        failures=one.failures,
        guessed=one.guessed,
        incidents=one.incidents,
        detected_at=one.detected_at,
        recovered_at=one.recovered_at,
        recovery_s=one.recovery_s,
    )


ROUTES = [get_scorecard, list_evidence]
