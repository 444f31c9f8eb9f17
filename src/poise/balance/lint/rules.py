"""The rules. Static ones need the file alone, the others what was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from poise.balance.burn.tiers import TICKETS
from poise.balance.lint.finding import Finding, Measured, Severity
from poise.model.composite import infeasible
from poise.model.counting import selectors
from poise.model.objective import CalendarUnit, IndicatorKind, Objective
from poise.model.policy import BudgetPolicy, BurnTier, Urgency

DECREASES_MIN: Final = 5  # restarts happen; this many, and of a hundredth of all steps, are a gauge
DECREASES_RATIO: Final = 0.01
SLACK_EVENTS: Final = 1.0  # two counters are never read at the same instant
SLACK_RATIO: Final = 0.001
SCRAPES_MIN: Final = 2
HOURS_MIN: Final = 24  # of history before a burn is called constant, or missing
STEADY_RATIO: Final = 0.1  # spread of the hourly ratio of failures over its mean
ALLOWED_MIN: Final = 10.0  # failures that were allowed: none at all is then odd
FIXED_ZONES: Final = ("EST", "MST", "HST")
HOUR_S: Final = 3600.0
_Found = Iterator[tuple[str, Severity, str, str, str]]  # rule, severity, what, why, mend


def lint(
    objectives: Sequence[Objective],
    policy: BudgetPolicy,
    places: Mapping[str, str],
    measured: Mapping[str, Measured] | None = None,
) -> tuple[Finding, ...]:
    """Everything that is found, in the order of the objectives; ``measured`` is by an objective's key."""
    cannot = {one.objective: one for one in infeasible(objectives)}
    found: list[Finding] = []
    for one in objectives:
        rules = [*_static(one, policy)]
        if one.key in cannot:
            why = "What it requires fails as often as its own targets allow."
            mend = (
                f"Lower the target to {_percent(cannot[one.key].ceiling_ratio)}, or soften what it requires."
            )
            rules.append(("infeasible", Severity.ERROR, cannot[one.key].sentence, why, mend))
        seen = (measured or {}).get(one.key)
        if seen is not None:
            rules += _with_data(one, policy, seen)
        found += [
            Finding(
                rule=rule, severity=severity, objective=one.key, where=places.get(one.key, one.source),
                what=what, why=why, mend=mend,
            )
            for rule, severity, what, why, mend in rules
        ]  # fmt: skip
    return tuple(found)


def traffic_bound_per_h(objective: Objective, tier: BurnTier) -> float:
    """Requests an hour below which one failure alone is over the tier.

    >>> from poise.model.objective import IndicatorKind
    >>> one = Objective(service="a/b/c", name="o", indicator=IndicatorKind.QUERY, target_ratio=0.999)
    >>> round(traffic_bound_per_h(one, BurnTier(long_s=3600, short_s=300, factor=14.4)), 1)
    69.4

    **Source:** SRE workbook, chapter 5, low-traffic services: one failure of ``N`` in the long window is a
    burn of ``1 / (N x (1 - target))``.
    """
    return 1.0 / (tier.factor * (1.0 - objective.target_ratio) * tier.long_s / HOUR_S)


# -- without data ---------------------------------------------------------------------------------------


def _static(one: Objective, policy: BudgetPolicy) -> _Found:
    yield from _tiers(one, policy)
    yield from _same_counters(one)
    yield from _calendar(one)
    if one.indicator is IndicatorKind.RAW_RATIO:
        yield (
            "values-not-events", Severity.WARNING, "each value of a ratio counts as one event",
            "A quiet minute then weighs as much as a busy one.", "Name counters: 'good' or 'bad', 'total'.",
        )  # fmt: skip


def _pages(one: Objective, policy: BudgetPolicy) -> tuple[BurnTier, ...]:
    """The tiers that page: its own, or the policy's."""
    own = one.alerts.tiers if one.alerts else None
    return policy.fast_burn if own is None else tuple(tier for tier in own if tier.severity is Urgency.PAGE)


def _tickets(one: Objective) -> tuple[BurnTier, ...]:
    own = one.alerts.tiers if one.alerts else None
    return TICKETS if own is None else tuple(tier for tier in own if tier.severity is Urgency.TICKET)


def _tiers(one: Objective, policy: BudgetPolicy) -> _Found:
    allowed, every = 1.0 - one.target_ratio, _pages(one, policy)
    pages = [tier for tier in every if tier.factor * allowed >= 1.0 - 1e-12]
    tickets = [tier for tier in _tickets(one) if tier.factor * allowed >= 1.0 - 1e-12]
    for tier in (*pages, *tickets):
        is_dead = tier in pages and len(pages) == len(every)
        limit, where = 1.0 - 1.0 / tier.factor, "its alerts" if one.alerts else "the policy's fastBurn"
        yield (
            "tier-cannot-fire", Severity.ERROR if is_dead or one.alerts else Severity.WARNING,
            f"the tier of {tier.factor:g}x can never fire at a target of {_percent(one.target_ratio)}",
            f"Even a total outage burns {1.0 / allowed:.3g} times too fast. "
            + ("No page tier is left." if is_dead else ""),
            f"Raise the target above {_percent(limit)}, or lower the factor in {where}.",
        )  # fmt: skip
    for tier in _pages(one, policy):
        if tier.long_s > one.window_s:
            yield (
                "tier-over-window", Severity.WARNING,
                f"the tier over {_span(tier.long_s)} is longer than the window ({_span(one.window_s)})",
                "It still burns on what the budget has forgotten.", "Use a longer window, or shorter tiers.",
            )  # fmt: skip


def _same_counters(one: Objective) -> _Found:
    texts = selectors(one)
    by_text: dict[str, list[str]] = {}
    for role, text in texts.items():
        by_text.setdefault("".join(text.split()), []).append(role)
    for text, roles in by_text.items():
        if len(roles) > 1:
            yield (
                "same-counters", Severity.ERROR,
                f"'{roles[0]}' and '{roles[1]}' are the same counter, {text}",
                "The ratio is then the same whatever happens.", "Select what is good (or bad) by a label.",
            )  # fmt: skip


def _calendar(one: Objective) -> _Found:
    for window in one.windows:
        calendar = window.calendar
        if calendar is None:
            continue
        zone, starts = calendar.zone, datetime.fromisoformat(calendar.starts)
        if zone in FIXED_ZONES or zone.startswith("Etc/GMT"):
            sign = (
                " Its sign is the reverse of what people write: Etc/GMT+5 is UTC-5." if "GMT" in zone else ""
            )
            yield (
                "fixed-zone", Severity.WARNING, f"the zone {zone} has no daylight saving time",
                f"Its days begin an hour off for half the year where clocks change.{sign}",
                "Name a place, such as America/New_York.",
            )  # fmt: skip
        months = (CalendarUnit.MONTH, CalendarUnit.QUARTER, CalendarUnit.YEAR)
        if calendar.unit in months and starts.day > 28:
            yield (
                "short-months", Severity.WARNING,
                f"windows start on day {starts.day}, which some months lack",
                "Those windows begin on the month's last day, so that lengths differ by days.",
                "Start on day 1 to 28.",
            )  # fmt: skip
        if _is_skipped(starts, zone):
            yield (
                "skipped-hour", Severity.WARNING, f"{calendar.starts} does not exist in {zone}",
                "Clocks are put forward over it.", "Start an hour later, or at midnight.",
            )  # fmt: skip


def _is_skipped(wall: datetime, zone: str) -> bool:
    """Whether clocks are put forward over this wall time: it does not come back from UTC."""
    local = wall.replace(tzinfo=ZoneInfo(zone))
    back = (local.astimezone(ZoneInfo("UTC")) + timedelta(0)).astimezone(ZoneInfo(zone))
    return back.replace(tzinfo=None) != wall


# -- with data ------------------------------------------------------------------------------------------


def _with_data(one: Objective, policy: BudgetPolicy, seen: Measured) -> _Found:
    if seen.problem:
        yield "unreachable", Severity.ERROR, f"it cannot be read: {seen.problem}", "", seen.mend
        return
    yield from _roles(seen)
    yield from _intervals(one, policy, seen)
    if any(not role.series and not role.is_part for role in seen.roles.values()) or not len(seen.total):
        return
    yield from _contradiction(seen)
    yield from _traffic(one, policy, seen)
    if not any(role.missing for role in seen.roles.values()):
        yield from _burns(one, seen)
    if seen.known_ratio < policy.coverage_min_ratio:
        yield (
            "gaps", Severity.WARNING, f"only {seen.known_ratio:.1%} of the time was measured",
            f"Below {policy.coverage_min_ratio:.0%} the gate holds: nobody knows.",
            "Look for what is not scraped: poise targets",
        )  # fmt: skip


def _roles(seen: Measured) -> _Found:
    for name, role in seen.roles.items():
        if role.missing:
            severity = Severity.WARNING if role.is_part and "label" not in role.missing else Severity.ERROR
            rule = "missing-label" if "label" in role.missing else "no-series"
            yield rule, severity, f"'{name}': {role.missing}", f"It selects {role.text}.", role.mend
        if role.decreases >= max(DECREASES_MIN, DECREASES_RATIO * role.steps):
            yield (
                "not-a-counter", Severity.ERROR,
                f"'{name}' fell {role.decreases} times in {role.steps:,} steps: it is no counter",
                f"Each fall of {role.text} counts as a restart, so its value is added again.",
                "Name a counter (..._total), or measure the gauge with 'threshold'.",
            )  # fmt: skip


def _intervals(one: Objective, policy: BudgetPolicy, seen: Measured) -> _Found:
    known = [role.interval_s for role in seen.roles.values() if role.interval_s]
    if not known:
        return
    interval_s = max(known)
    own = one.alerts.tiers if one.alerts else ()
    windows = {("the tier's window", tier.short_s) for tier in (*_pages(one, policy), *own)}
    if one.slicing is not None:
        windows.add(("the time slice", one.slicing.slice_s))
    for what, window_s in sorted(windows):
        if window_s < SCRAPES_MIN * interval_s:
            yield (
                "window-under-two-scrapes", Severity.ERROR,
                f"{what} of {_span(window_s)} is shorter than two scrapes ({_span(interval_s)} each)",
                "Nothing, or one delta alone, lies in it.",
                f"Scrape every {_span(window_s / 4)}, or make it {_span(4 * interval_s)} long.",
            )  # fmt: skip
    if interval_s > seen.stale_after_s:
        yield (
            "stale-between-scrapes", Severity.ERROR,
            f"it is sampled every {_span(interval_s)}, and stale after {_span(seen.stale_after_s)}",
            "Between two samples it is unknown, and unknown holds.",
            f"Write staleAfter: {_span(2.5 * interval_s)} in its DataSource.",
        )  # fmt: skip


def _contradiction(seen: Measured) -> _Found:
    over = seen.good - seen.total
    slack = SLACK_EVENTS + SLACK_RATIO * seen.total
    if (over > slack).any():
        hours = int((over > slack).sum())
        yield (
            "good-over-total", Severity.ERROR, f"there was more good than total in {hours} hours",
            f"At worst {float(over.max()):,.0f} more in one hour: the two do not count the same events.",
            "Select both with the same labels; is one of them counted twice, or by other pods?",
        )  # fmt: skip
    elif (seen.good < -slack).any():
        yield (
            "good-over-total", Severity.ERROR, "there was more bad than total",
            "The two do not count the same events.", "Select both with the same labels.",
        )  # fmt: skip


def _traffic(one: Objective, policy: BudgetPolicy, seen: Measured) -> _Found:
    per_h = float(seen.total.sum()) / max(seen.lasted_s / HOUR_S, 1e-9)
    if per_h <= 0:
        yield (
            "no-traffic", Severity.WARNING, "no event was counted", "A budget of nothing cannot be spent.",
            "Look again when there is traffic, or watch it with a probe.",
        )  # fmt: skip
        return
    goal = _percent(one.target_ratio)
    for tier in _pages(one, policy):
        bound = traffic_bound_per_h(one, tier)
        if per_h < bound:
            target = 1.0 - (1.0 - one.target_ratio) * bound / per_h
            lower = f"Lower the target to {_percent(target)}, " if 0.5 < target < 1 else ""
            yield (
                "low-traffic", Severity.WARNING,
                f"{per_h:,.1f} requests/h are too few for {goal} and the {tier.factor:g}x tier",
                f"Below {bound:,.1f}/h one failure alone is over it: an alarm for single errors.",
                f"{lower}{'combine' if lower else 'Combine'} services, or add a probe's traffic.",
            )  # fmt: skip


def _burns(one: Objective, seen: Measured) -> _Found:
    busy = seen.total > 0
    if busy.sum() < HOURS_MIN:
        return
    bad = np.clip(seen.total - seen.good, 0.0, None)[busy]
    ratio = bad / seen.total[busy]
    allowed = (1.0 - one.target_ratio) * float(seen.total.sum())
    if not bad.any() and allowed >= ALLOWED_MIN:
        yield (
            "no-burn", Severity.WARNING, f"nothing failed in {float(seen.total.sum()):,.0f} events",
            f"{allowed:,.0f} were allowed to: does anything count failures?",
            "Make one request fail and look whether it is counted.",
        )  # fmt: skip
    mean = float(ratio.mean())
    if (ratio > 0).all() and float(ratio.std()) < STEADY_RATIO * mean:
        yield (
            "constant-burn", Severity.WARNING, f"{_percent(mean)} fail, hour by hour the same",
            "A fault comes and goes; this looks like something that is always counted as bad.",
            "Look at what fails all the time: health checks, 404s of robots, a label that is never good.",
        )  # fmt: skip


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.6g} %" if ratio < 0.9 else f"{round(100 * ratio, 4):g} %"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
