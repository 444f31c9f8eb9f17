"""DORA's five figures of a window, each with the deployments behind it; and the objectives that were met.

An empty window or bucket has no figure (None), never 0. Everything is bucketed by when it was deployed.
Source: dora.dev, guides/dora-metrics (2026-01-05): five metrics; no bands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from poise.balance.scorecard.deployments import Deployment
from poise.balance.scorecard.facts import Trigger
from poise.model.balance import Budget

DAY_S: Final = 86_400.0
BUCKETS_MAX: Final = 120
DAILY_UP_TO_S: Final = 14 * DAY_S  # longer windows are cut into weeks

DEPLOYMENT_FREQUENCY: Final = "deployment_frequency"
CHANGE_LEAD_TIME: Final = "change_lead_time"
CHANGE_FAIL_RATIO: Final = "change_fail_ratio"
RECOVERY_TIME: Final = "failed_deployment_recovery_time"
REWORK_RATIO: Final = "rework_ratio"
FIGURES: Final = (DEPLOYMENT_FREQUENCY, CHANGE_LEAD_TIME, CHANGE_FAIL_RATIO, RECOVERY_TIME, REWORK_RATIO)


class Figure(Struct, frozen=True, kw_only=True):
    """One of the five. ``value`` None: nothing happened that it could be computed from.

    ``unit`` is ``per_day``, ``seconds`` (the median) or ``ratio``. ``parts`` holds what it is made of;
    ``guessed`` how many of ``evidence`` rest on a label instead of a link, and ``certain`` the value
    without those. ``evidence`` are sequences of events in the journal.
    """

    name: str
    value: float | None
    unit: str
    count: int
    sentence: str
    parts: dict[str, Any] = {}
    guessed: int = 0
    certain: float | None = None
    evidence: tuple[int, ...] = ()


class Bucket(Struct, frozen=True, kw_only=True):
    """One day or week: its five values by name, None where nothing happened."""

    start: datetime
    end: datetime
    deployments: int
    values: dict[str, float | None]


class ObjectivesMet(Struct, frozen=True, kw_only=True):
    """The share of objectives whose budget is not spent, of those whose budget is known.

    Each is judged over its own window as it stands now; ``spent_in_window`` are those that were found spent
    at some time in the scorecard's window. ``unknown`` are left out of the ratio and named.
    """

    ratio: float | None
    met: tuple[str, ...]
    missed: tuple[str, ...]
    unknown: tuple[str, ...]
    spent_in_window: tuple[str, ...]
    sentence: str


class Scorecard(Struct, frozen=True, kw_only=True):
    """The five figures of [start, end), the same ones of the window before, and the trend in buckets."""

    scope: str
    start: datetime
    end: datetime
    figures: tuple[Figure, ...]
    previous: tuple[Figure, ...]
    buckets: tuple[Bucket, ...]
    objectives: ObjectivesMet
    sentence: str


def decide(
    scope: str,
    found: Iterable[Deployment],
    end: datetime,
    window_s: float,
    budgets: Sequence[Budget] = (),
    spent: Sequence[tuple[str, datetime]] = (),
) -> Scorecard:
    """The scorecard of ``window_s`` seconds up to ``end``, from deployments in any order."""
    window = timedelta(seconds=window_s)
    start, every = end - window, sorted(found, key=lambda one: (one.finished_at, one.event))
    now = figures(within(every, start, end), window_s)
    before = figures(within(every, start - window, start), window_s)
    objectives = _objectives(budgets, [key for key, at in spent if start <= at < end])
    return Scorecard(
        scope=scope,
        start=start,
        end=end,
        figures=now,
        previous=before,
        buckets=_buckets(every, start, end),
        objectives=objectives,
        sentence=_trend(now[0], before[0]),
    )


def within(found: Iterable[Deployment], start: datetime, end: datetime) -> list[Deployment]:
    """Those that finished in [start, end)."""
    return [one for one in found if start <= one.finished_at < end]


def figures(found: Sequence[Deployment], window_s: float) -> tuple[Figure, ...]:
    """The five, in the order of ``FIGURES``, of the deployments of one window."""
    counted = [one for one in found if one.counts]
    return (
        _frequency(counted, window_s),
        _lead_time(counted),
        _fail_ratio(counted),
        _recovery(counted),
        _rework(counted),
    )


def evidence(name: str, found: Iterable[Deployment]) -> list[Deployment]:
    """The deployments that a figure is made of, ascending by event."""
    return sorted((one for one in found if one.counts and _BELONGS[name](one)), key=lambda one: one.event)


_BELONGS: Final[dict[str, Callable[[Deployment], bool]]] = {
    DEPLOYMENT_FREQUENCY: lambda one: one.live,
    CHANGE_LEAD_TIME: lambda one: any(push.commits for push in one.brought or ()),
    CHANGE_FAIL_RATIO: lambda one: True,
    RECOVERY_TIME: lambda one: one.failed,
    REWORK_RATIO: lambda one: True,
}


# -- the five -----------------------------------------------------------------------------------------


def _frequency(counted: list[Deployment], window_s: float) -> Figure:
    """Deployments that went live, per day."""
    live = evidence(DEPLOYMENT_FREQUENCY, counted)
    days = window_s / DAY_S
    value = len(live) / days if live else None
    said = f"{len(live)} deployments went live in {days:g} days." if live else "Nothing was deployed."
    return Figure(
        name=DEPLOYMENT_FREQUENCY, value=value, unit="per_day", count=len(live), sentence=said, certain=value,
        parts={"deployments": len(live), "days": days}, evidence=_events(live),
    )  # fmt: skip


def _lead_time(counted: list[Deployment]) -> Figure:
    """From a commit to its users, per commit."""
    with_commits = evidence(CHANGE_LEAD_TIME, counted)
    moved = [commit for one in with_commits for commit in one.commits or ()]
    unknown = sum(one.live and not one.first and one.brought is None for one in counted)
    leads = [one.lead_s for one in moved]
    pushes = [one.from_push_s for one in moved]
    parts: dict[str, Any] = {
        "p50_s": quantile(leads, 0.5),
        "p90_s": quantile(leads, 0.9),
        "from_push_p50_s": quantile(pushes, 0.5),
        "from_push_p90_s": quantile(pushes, 0.9),
        "baselines": sum(one.first for one in counted),
        "ranges_unknown": unknown,
    }
    said = "No commit with a known date reached users."
    if moved:
        p50, p90 = duration(parts["p50_s"]), duration(parts["p90_s"])
        said = f"Half of {len(moved)} commits reached users within {p50}, nine of ten within {p90}."
    return Figure(
        name=CHANGE_LEAD_TIME, value=parts["p50_s"], unit="seconds", count=len(moved), sentence=said,
        certain=parts["p50_s"], parts=parts, evidence=_events(with_commits),
    )  # fmt: skip


def _fail_ratio(counted: list[Deployment]) -> Figure:
    """The share of deployments that needed immediate intervention."""
    failed = [one for one in counted if one.failed]
    sure = [one for one in failed if one.failed_for_sure]
    total = len(counted)
    said = f"{len(failed)} of {total} deployments failed{_marked(len(failed) - len(sure))}."
    reasons = {why: sum(why in one.failures for one in failed) for why in _WHY}
    return Figure(
        name=CHANGE_FAIL_RATIO, value=len(failed) / total if total else None, unit="ratio", count=len(failed),
        sentence=said if total else "Nothing was deployed.", guessed=len(failed) - len(sure),
        certain=len(sure) / total if total else None, parts={"deployments": total, **reasons},
        evidence=_events(failed),
    )  # fmt: skip


_WHY: Final = ("rolled_back", "incident", "followed_by_rework")


def _recovery(counted: list[Deployment]) -> Figure:
    """From a failed deployment's finish to users being well again, of those that recovered."""
    failed = evidence(RECOVERY_TIME, counted)
    over = [(one, one.recovery_s) for one in failed if one.recovery_s is not None]
    times = [seconds for _, seconds in over]
    detections = [_between_s(one.finished_at, one.detected_at) for one, _ in over]
    repairs = [_between_s(one.detected_at, one.recovered_at) for one, _ in over]
    sure = [seconds for one, seconds in over if one.failed_for_sure]
    parts: dict[str, Any] = {
        "p50_s": quantile(times, 0.5),
        "p90_s": quantile(times, 0.9),
        "detection_p50_s": quantile([one for one in detections if one is not None], 0.5),
        "repair_p50_s": quantile([one for one in repairs if one is not None], 0.5),
        "not_recovered": len(failed) - len(over),
    }
    if over:
        said = f"Half of {len(over)} failures were over within {duration(parts['p50_s'])}."
    else:
        said = "No deployment failed." if not failed else f"{len(failed)} failed; none is known to be over."
    return Figure(
        name=RECOVERY_TIME, value=parts["p50_s"], unit="seconds", count=len(over), sentence=said,
        guessed=len(over) - len(sure), certain=quantile(sure, 0.5), parts=parts, evidence=_events(failed),
    )  # fmt: skip


def _rework(counted: list[Deployment]) -> Figure:
    """The share of deployments that an incident made necessary."""
    rework = [one for one in counted if one.trigger is Trigger.REWORK]
    sure = [one for one in rework if "rework" not in one.guessed]
    total = len(counted)
    said = f"{len(rework)} of {total} deployments were unplanned repairs{_marked(len(rework) - len(sure))}."
    return Figure(
        name=REWORK_RATIO, value=len(rework) / total if total else None, unit="ratio", count=len(rework),
        sentence=said if total else "Nothing was deployed.", guessed=len(rework) - len(sure),
        certain=len(sure) / total if total else None, parts={"deployments": total}, evidence=_events(rework),
    )  # fmt: skip


# -- objectives, trend --------------------------------------------------------------------------------


def _objectives(budgets: Sequence[Budget], spent: Sequence[str]) -> ObjectivesMet:
    ordered = sorted(budgets, key=lambda one: one.key)
    known = [one for one in ordered if one.measured_at is not None and one.coverage_ratio > 0]
    met = tuple(one.key for one in known if one.left_ratio > 0)
    missed = tuple(one.key for one in known if one.left_ratio <= 0)
    unknown = tuple(one.key for one in ordered if one not in known)
    said = f"{len(met)} of {len(known)} objectives have budget left"
    said += f"; {len(unknown)} more are not measured." if unknown else "."
    return ObjectivesMet(
        ratio=len(met) / len(known) if known else None, met=met, missed=missed, unknown=unknown,
        spent_in_window=tuple(sorted(set(spent))),
        sentence=said if known else "No objective is measured yet.",
    )  # fmt: skip


def _buckets(every: Sequence[Deployment], start: datetime, end: datetime) -> tuple[Bucket, ...]:
    """Days, or weeks for a long window, counted back from ``end``; the oldest may be shorter."""
    length_s = (end - start).total_seconds()
    wide_s = DAY_S if length_s <= DAILY_UP_TO_S else 7 * DAY_S
    made: list[Bucket] = []
    until = end
    while until > start and len(made) < BUCKETS_MAX:
        since = max(start, until - timedelta(seconds=wide_s))
        mine = within(every, since, until)
        found = figures(mine, (until - since).total_seconds())
        values = {one.name: one.value for one in found}
        made.append(
            Bucket(start=since, end=until, deployments=sum(one.counts for one in mine), values=values)
        )
        until = since
    return tuple(reversed(made))


def _trend(now: Figure, before: Figure) -> str:
    """How often users get changes, against the window before; no goal, no grade."""
    if now.value is None:
        return "Nothing was deployed in this window."
    word = (
        "up from" if now.count > before.count else "down from" if now.count < before.count else "as many as"
    )
    return f"{now.count} deployments went live, {word} {before.count} in the window before."


def quantile(values: Sequence[float], q: float) -> float | None:
    """The value at or below which a share ``q`` lies (nearest rank); None of nothing."""
    return sorted(values)[max(0, math.ceil(len(values) * q) - 1)] if values else None


def duration(seconds: float) -> str:
    """A duration for a sentence.

    >>> duration(90), duration(5400)
    ('1.5 min', '1.5 h')
    """
    for size, unit in ((DAY_S, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _between_s(start: datetime | None, end: datetime | None) -> float | None:
    if start is None or end is None:
        return None
    return max(0.0, (end - start).total_seconds())


def _marked(guessed: int) -> str:
    return f" ({guessed} guessed from a label)" if guessed else ""


def _events(found: Iterable[Deployment]) -> tuple[int, ...]:
    return tuple(sorted(one.event for one in found))
