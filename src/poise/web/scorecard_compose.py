"""From the scorecard and its deployments to what its page shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from poise.api.parts import Parts
from poise.balance.scorecard import decide as room
from poise.balance.scorecard.decide import Figure, Scorecard
from poise.balance.scorecard.deployments import Deployment
from poise.balance.scorecard.facts import Trigger
from poise.model.errors import Invalid, NotFound
from poise.model.service import Project, Service
from poise.web import links, views
from poise.web.scorecard import (
    EVIDENCE_MAX,
    Choice,
    EvidenceRow,
    FigureView,
    ObjectivesView,
    ScorecardView,
    Stretch,
)

WINDOWS: Final = {"24h": ("24 hours", 86_400.0), "7d": ("7 days", 604_800.0), "28d": ("28 days", 2_419_200.0),
                  "90d": ("90 days", 7_776_000.0)}  # fmt: skip
_TITLES: Final = {
    room.DEPLOYMENT_FREQUENCY: ("Deployment frequency", "How often a change reaches users."),
    room.CHANGE_LEAD_TIME: ("Change lead time", "From a commit to its users, the median."),
    room.CHANGE_FAIL_RATIO: ("Change fail ratio", "Deployments that needed immediate intervention."),
    room.RECOVERY_TIME: (
        "Failed deployment recovery time",
        "From a failed deployment until users were well again, the median.",
    ),
    room.REWORK_RATIO: ("Rework ratio", "Deployments that an incident made necessary."),
}
_WHY: Final = {
    "rolled_back": "rolled back",
    "incident": "an incident is linked to it",
    "followed_by_rework": "a repair followed within a day",
}


async def scorecard(
    parts: Parts, project: str, environment: str, service: str, window: str, around: views.Chrome
) -> ScorecardView:
    """The scorecard of a service, or of all services of an environment (default: the last one)."""
    known, _ = await parts.store.get(Project, project)
    if known is None:
        raise NotFound("POISE-E404", f"no project {project}", mend="Run: poise status")
    if window not in WINDOWS:
        raise Invalid("POISE-E423", f"no window {window}", why=f"There are {', '.join(WINDOWS)}.")
    where = environment or known.environments[-1]
    declared, _ = await parts.store.scan(Service, f"{project}/{where}/")
    names = [one.name for one in declared]
    if (service and service not in names) or (where not in known.environments and not names):
        raise NotFound("POISE-E404", f"no service {project}/{where}/{service}", mend="Run: poise status")
    scope = f"{project}/{where}/{service}" if service else f"{project}/{where}"
    said, length_s = WINDOWS[window]
    card, found = await parts.scorecard.card(parts.store, scope, f"{scope}/", parts.clock.now(), length_s)

    def to(**changed: str) -> str:
        asked = {"environment": where, "service": service, "window": window} | changed
        return f"{links.scorecard(project)}?{urlencode({k: v for k, v in asked.items() if v})}"

    return ScorecardView(
        chrome=around,
        project=project,
        scope=scope.replace("/", " / "),
        sentence=_sentence(card),
        window=said,
        since=card.start,
        until=card.end,
        environments=tuple(
            Choice(label=one, href=to(environment=one, service=""), chosen=one == where)
            for one in known.environments
        ),
        services=tuple(
            Choice(label=one or "all", href=to(service=one), chosen=one == service) for one in ("", *names)
        ),
        windows=tuple(
            Choice(label=text, href=to(window=key), chosen=key == window)
            for key, (text, _) in WINDOWS.items()
        ),
        figures=tuple(_figure(card, n, found) for n in range(len(card.figures))),
        objectives=_objectives(card),
    )


def _sentence(card: Scorecard) -> str:
    failed = next(one for one in card.figures if one.name == room.CHANGE_FAIL_RATIO)
    return f"{card.sentence} {failed.sentence}" if failed.parts.get("deployments") else card.sentence


def _figure(card: Scorecard, n: int, found: Sequence[Deployment]) -> FigureView:
    now, before = card.figures[n], card.previous[n]
    title, meaning = _TITLES[now.name]
    behind = _behind(now, found)
    return FigureView(
        title=title,
        meaning=meaning,
        unit=now.unit,
        value=now.value,
        sentence=now.sentence,
        before=before.value,
        guessed=now.guessed,
        certain=now.certain,
        trend=tuple(
            Stretch(
                start=bucket.start, end=bucket.end, value=bucket.values[now.name],
                deployments=bucket.deployments,
            )
            for bucket in card.buckets
        ),
        evidence=tuple(_row(one) for one in behind[: -EVIDENCE_MAX - 1 : -1]),
        total=len(behind),
    )  # fmt: skip


def _behind(now: Figure, found: Sequence[Deployment]) -> list[Deployment]:
    """The deployments that the figure's sequences name, ascending; of a share, those that it counts."""
    named = set(now.evidence)
    return sorted((one for one in found if one.event in named), key=lambda one: one.event)


def _row(one: Deployment) -> EvidenceRow:
    said = [_WHY.get(why, why) for why in one.failures]
    if one.trigger is not Trigger.PLANNED:
        said.insert(0, one.trigger.value)
    name = one.service.rsplit("/", 1)[-1]
    return EvidenceRow(
        label=f"{name} r{one.release}" if one.release is not None else f"{name} {one.commit[:10]}",
        at=one.finished_at,
        summary=", ".join(said) or ("went live" if one.live else "was taken back"),
        href=links.rollout(one.service, one.rollout) if one.rollout is not None else "",
        commits=None if one.brought is None else sum(len(push.commits) for push in one.brought),
        guessed=bool(one.guessed),
        incidents=tuple(_incident(key) for key in one.incidents),
    )


def _incident(key: str) -> tuple[str, str]:
    project, _, n = key.partition("/")
    return (f"incident {int(n)}", links.incident(project, int(n))) if n.isdigit() else (key, "")


def _objectives(card: Scorecard) -> ObjectivesView:
    met = card.objectives
    words = (
        *((key, "has budget left") for key in met.met),
        *((key, "is spent") for key in met.missed),
        *((key, "is not measured") for key in met.unknown),
    )
    lately = set(met.spent_in_window)
    return ObjectivesView(
        sentence=met.sentence,
        rows=tuple(
            (
                " / ".join(key.split("/")[2:]),
                word + (", was spent at some time in this window" if key in lately else ""),
                links.service("/".join(key.split("/")[:3])),
            )
            for key, word in words
        ),
    )
