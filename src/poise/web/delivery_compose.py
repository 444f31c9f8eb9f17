"""From runs, rollouts and incidents to the delivery page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from poise.api.parts import Parts
from poise.model.config import Config, Secret
from poise.model.delivery import Change, Release, Rollout, RolloutState, Run
from poise.model.errors import Invalid, NotFound
from poise.model.incident import Incident, IncidentState
from poise.model.service import Project, Service
from poise.web import links, views
from poise.web.answered import answered
from poise.web.delivery_views import Answered, ChangeLine, DeliveryView, Lane, Mark, Stop
from poise.web.scorecard import Choice
from poise.web.wording import plural

WINDOWS: Final = {
    "1h": ("1 hour", timedelta(hours=1)),
    "24h": ("24 hours", timedelta(days=1)),
    "7d": ("7 days", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
}
USUAL: Final = "7d"
RUNS_MAX: Final = 200
ROLLOUTS_MAX: Final = 100  # of one service
INCIDENTS_MAX: Final = 100
_BAD: Final = (RolloutState.ROLLED_BACK, RolloutState.ROLLING_BACK, RolloutState.FAILED)
_WORDS: Final = {RolloutState.RETIRED: "was live", RolloutState.WAITING: "waits at the gate"}


async def delivery(parts: Parts, project: str, window: str, around: views.Chrome) -> DeliveryView:
    """What a project delivered in the window, up to now; ``""`` is the one that shows most of it best."""
    known, _ = await parts.store.get(Project, project)
    if known is None:
        raise NotFound("POISE-E404", f"no project {project}", mend="Run: poise status")
    until = parts.clock.now()
    window = window or await _usual(parts, project, until)
    if window not in WINDOWS:
        raise Invalid("POISE-E423", f"no window {window}", why=f"There are {', '.join(WINDOWS)}.")
    said, length = WINDOWS[window]
    since = until - length
    order = {name: k for k, name in enumerate(known.environments)}
    services, _ = await parts.store.scan(Service, f"{project}/")
    services.sort(key=lambda one: (order.get(one.environment, len(order)), one.name))
    rollouts = {one.key: await _rollouts(parts, one.key) for one in services}
    incidents, _ = await parts.store.scan(Incident, f"{project}/", limit=INCIDENTS_MAX, last=True)
    every = [one for found in rollouts.values() for one in found]
    commits, is_whole = await _commits(parts, project, since, every)
    changes = [
        *commits,
        *await _settings(parts, [one for one in every if one.created_at >= since]),
    ]
    found = await answered(parts, project, since, until)
    lines = tuple(sorted(changes, key=lambda line: line.at, reverse=True))
    return DeliveryView(
        chrome=around,
        project=project,
        sentence=sentence(lines, said, [one for one in every if one.created_at >= since], every, is_whole),
        window=said,
        since=since,
        until=until,
        windows=tuple(
            Choice(label=text, href=f"{links.delivery(project)}?window={key}", chosen=key == window)
            for key, (text, _) in WINDOWS.items()
        ),
        environments=known.environments,
        lanes=tuple(
            _lane(one, rollouts[one.key], incidents, since, until, found.by_service.get(one.key, ()))
            for one in services
        ),
        changes=lines,
        step_s=found.step_s,
        problem=found.problem,
    )


async def _usual(parts: Parts, project: str, until: datetime) -> str:
    """A week; of a project that is younger, the shortest that holds all of it."""
    first, _ = await parts.store.scan(Run, f"{project}/", limit=1)
    if not first:
        return USUAL
    young = (key for key, (_, length) in WINDOWS.items() if first[0].created_at >= until - length)
    return min(next(young, USUAL), USUAL, key=lambda key: WINDOWS[key][1])


def sentence(
    lines: Sequence[ChangeLine],
    window: str,
    lately: Iterable[Rollout],
    every: Iterable[Rollout],
    is_whole: bool = True,
) -> str:
    """How many changes there were (at least, where not all were read), what came back, what waits now."""
    back = sum(one.state in _BAD for one in lately)
    waits = sum(one.state is RolloutState.WAITING for one in every)
    moving = sum(one.state.is_active for one in every)
    count = len({(line.label, line.summary) for line in lines})  # a commit may have run twice
    least = "" if is_whole else "At least "
    told = [f"{least}{plural(count, 'change')} in {window}" if lines else f"No change in {window}"]
    if back:
        told.append(f"{back} rolled back")
    if moving:
        told.append(f"{moving} on the way to users")
    if waits:
        told.append(f"{waits} {'waits' if waits == 1 else 'wait'} at the gate")
    return ", ".join(told) + "."


async def _rollouts(parts: Parts, key: str) -> list[Rollout]:
    return (await parts.store.scan(Rollout, f"{key}/", limit=ROLLOUTS_MAX, last=True))[0]


async def _commits(
    parts: Parts, project: str, since: datetime, every: Sequence[Rollout]
) -> tuple[list[ChangeLine], bool]:
    """What was pushed and ran since then, and whether that is all of it."""
    runs, _ = await parts.store.scan(Run, f"{project}/", limit=RUNS_MAX, last=True)
    made: list[ChangeLine] = []
    for run in runs:
        if run.created_at < since:
            continue
        change, _ = await parts.store.get(Change, f"{project}/{run.commit}")
        releases = [found for key in run.releases if (found := (await parts.store.get(Release, key))[0])]
        numbers = {(one.service, one.n) for one in releases}
        mine = [one for one in every if (one.service, one.release) in numbers and "release" in one.changes]
        made.append(
            ChangeLine(
                label=run.commit[:10],
                summary=change.summary if change else "",
                by=change.author if change else "",
                at=change.pushed_at if change else run.created_at,
                run=run.n,
                run_state=run.state,
                run_href=links.run(project, run.n),
                releases=tuple((f"{one.service} r{one.n}", "") for one in releases),
                stops=tuple(_stop(one) for one in mine if one.back_to is None),
            )
        )
    return made, len(runs) < RUNS_MAX or runs[0].created_at < since


async def _settings(parts: Parts, lately: Sequence[Rollout]) -> list[ChangeLine]:
    """Versions of config and secrets that went out without a release."""
    made = []
    for one in lately:
        if "release" in one.changes or one.back_to is not None:
            continue
        by, reason = "", one.summary
        versions = (
            ("config", (await parts.store.get(Config, f"{one.service_key}/{one.config:06d}"))[0]),
            ("secret", (await parts.store.get(Secret, f"{one.service_key}/{one.secret:06d}"))[0]),
        )
        for name, version in versions:
            if name in one.changes and version is not None:
                by, reason = version.by, version.reason
        made.append(
            ChangeLine(
                label=_label(one), summary=f"{one.service}: {reason}", by=by, at=one.created_at,
                stops=(_stop(one),),
            )
        )  # fmt: skip
    return made


def _stop(one: Rollout) -> Stop:
    return Stop(
        environment=one.environment,
        label=f"{one.service} {_label(one)}",
        word=_WORDS.get(one.state, one.state.value.replace("_", " ")),
        href=links.rollout(one.service_key, one.n),
        bad=one.state in _BAD,
    )


def _label(one: Rollout) -> str:
    """What is new in a rollout: r5, config 3, secret 2."""
    if "release" in one.changes or not one.changes:
        return f"r{one.release}"
    versions = {"config": one.config, "secret": one.secret}
    return " + ".join(f"{name} {versions[name]}" for name in one.changes if name in versions)


def _lane(
    service: Service,
    found: Sequence[Rollout],
    incidents: Sequence[Incident],
    since: datetime,
    until: datetime,
    points: tuple[Answered, ...],
) -> Lane:
    met = [one for one in found if one.started_at is not None]
    marks = [_mark(one, one.started_at) for one in met if one.started_at and one.started_at >= since]
    hurt = [
        one
        for one in incidents
        if service.key in one.services
        and one.state is not IncidentState.MERGED
        and (one.resolved_at or until) >= since
    ]
    marks += [
        Mark(
            at=one.opened_at,
            label=f"incident {one.n}",
            kind="incident",
            summary=one.title,
            href=links.incident(one.project, one.n),
        )
        for one in hurt
        if one.service == service.key and one.opened_at >= since
    ]
    return Lane(
        name=service.name,
        environment=service.environment,
        href=links.service(service.key),
        marks=tuple(sorted(marks, key=lambda mark: mark.at)),
        bands=tuple(
            views.Band(
                since=one.onset_at, until=one.resolved_at or until, label=f"incident {one.n}: {one.title}"
            )
            for one in hurt
        ),
        answered=points,
    )


def _mark(one: Rollout, at: datetime) -> Mark:
    back = one.state in _BAD or one.back_to is not None
    label = _label(one)
    if one.back_to is not None:
        label = f"back to {label}"
    elif one.state in _BAD:
        label += " failed" if one.state is RolloutState.FAILED else " rolled back"
    kind = "rollback" if back else "deploy" if "release" in one.changes else "settings"
    return Mark(
        at=at, label=label, kind=kind, summary=one.summary, href=links.rollout(one.service_key, one.n)
    )
