"""The conditions of a service, each true, false or unknown. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from msgspec import Struct, structs

from poise.model.balance import Budget, Burn
from poise.model.delivery import Rollout
from poise.model.fleet import HealOrder, Replica, RollbackRequest, Route
from poise.model.incident import Alert, AlertSource, Severity
from poise.model.ingress import Certificate, is_for, urgent_at, warn_at
from poise.model.policy import AlertTier, BudgetPolicy, BurnTier, Urgency
from poise.model.record import Read
from poise.model.service import BurnAlerts, Detection, Service
from poise.model.spend import BurnNow, Outlook
from poise.model.standing import FUTURE_TOLERANCE_S, fires, stale_after_s

CRASHES: Final = 3  # as many unasked ends of one replica within CRASH_WINDOW_S are a loop
CRASH_WINDOW_S: Final = 300.0
OUTLOOK_MAX_AGE_S: Final = 900.0  # an older one says nothing of now
PAGED_AT_ONCE: Final = 14.4  # from this burn rate on users suffer now
CERTIFICATE_LOOK_S: Final = 60.0  # between two looks at whether one that is about to expire was renewed
TROUBLE_S: Final = 60.0  # so long Envoy may not take a change: it may just be starting anew
HEALS_IN_VAIN: Final = 3  # as many heals in a row without a quiet time between have failed


class Holds(StrEnum):
    """Whether a condition holds. Unknown neither fires nor ends an alert."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Condition(Struct, frozen=True, kw_only=True):
    """One thing that may be wrong. ``since`` is its onset; ``at`` when it becomes true if nothing changes."""

    name: str
    source: AlertSource
    holds: Holds
    severity: Severity = Severity.SEV2
    summary: str = ""
    since: datetime | None = None
    at: datetime | None = None
    numbers: dict[str, Any] = {}


class Seen(Struct, frozen=True, kw_only=True):
    """One service as it stands. ``watched_since`` is since when this process looks."""

    key: str
    service: Service | None
    timing: Detection = Detection()
    policy: BudgetPolicy = BudgetPolicy()
    objectives: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] = ()
    outlooks: tuple[Outlook, ...] = ()
    replicas: tuple[Replica, ...] = ()
    live: Rollout | None = None
    active: Rollout | None = None
    heals: tuple[HealOrder, ...] = ()
    request: RollbackRequest | None = None
    route: Route | None = None
    certificates: tuple[Certificate, ...] = ()
    alerts: tuple[Alert, ...] = ()
    watched_since: datetime
    reads: tuple[Read, ...] = ()


def conditions(seen: Seen, now: datetime) -> list[Condition]:
    """Every condition of the service, whether it holds or not."""
    return [
        *_burns(seen, now),
        _replicas(seen, now),
        _signal(seen, now),
        _mass_failure(seen),
        _crash_loop(seen, now),
        _heal_failed(seen),
        _certificate(seen, now),
        _traffic(seen, now),
    ]


# -- objectives -----------------------------------------------------------------------------------


def _burns(seen: Seen, now: datetime) -> Iterator[Condition]:
    """One condition per objective; its tiers and tests are severities of the one alert."""
    outlooks = {one.objective: one for one in seen.outlooks}
    for budget in seen.budgets:
        name = f"burn/{budget.objective}"
        if not _is_current(budget, seen, now):
            yield Condition(name=name, source=AlertSource.BURN, holds=Holds.UNKNOWN)
            continue
        outlook = outlooks.get(budget.objective)
        burn = outlook.burn if outlook is not None and _is_fresh(outlook, now) else None
        yield _burn(budget, name, burn, outlook, seen.timing, seen.policy, now)


def _burn(
    budget: Budget,
    name: str,
    burn: BurnNow | None,
    outlook: Outlook | None,
    timing: Detection,
    policy: BudgetPolicy,
    now: datetime,
) -> Condition:
    """What the tiers or the tests say, whichever is worse; the tests know more of it."""
    tiers = [] if timing.burns is BurnAlerts.SEQUENTIAL else _tiers(timing, policy)
    tiers = _own_tiers(budget) or tiers
    hit = next((one for one in tiers if _fires(one[0], budget, timing, now)), None)
    found = None if hit is None else structs.replace(_burning(budget, name, *hit), at=_held(budget, now))
    if burn is not None and timing.burns is not BurnAlerts.TIERS:
        tested = _tested(budget, name, burn)
        if found is None or _rank(tested) < _rank(found):
            return tested
    if found is None:
        known = all(_is_known(tier, budget.burns) for tier, severity in tiers if severity.pages)
        holds = Holds.NO if known else Holds.UNKNOWN
        return Condition(name=name, source=AlertSource.BURN, holds=holds, at=_held(budget, now))
    if outlook is None:
        return found
    told = {"real_chance": outlook.real_chance} if burn is None else _evidence(burn)
    said = found.summary if burn is None else f"{found.summary}; {_said(burn)}"
    return structs.replace(found, summary=said, numbers=found.numbers | told)


def _tiers(timing: Detection, policy: BudgetPolicy) -> list[tuple[BurnTier, Severity]]:
    """The fastest is the worst; those that are tickets come last."""
    paging = sorted(policy.fast_burn, key=lambda tier: -tier.factor)
    severities = [Severity.SEV1, *[Severity.SEV2] * len(paging)]
    return [*zip(paging, severities, strict=False), *((tier, Severity.SEV3) for tier in timing.tickets)]


def _own_tiers(budget: Budget) -> list[tuple[BurnTier, Severity]]:
    """The objective's own, which are there to be heeded whatever else tells of burns; as ``_tiers``."""
    own = budget.alerts.tiers if budget.alerts else ()
    paging = sorted((one for one in own if one.severity is Urgency.PAGE), key=lambda tier: -tier.factor)
    severities = [Severity.SEV1, *[Severity.SEV2] * len(paging)]
    tickets = ((one, Severity.SEV3) for one in own if one.severity is Urgency.TICKET)
    return [*zip(paging, severities, strict=False), *tickets]


def _fires(tier: BurnTier, budget: Budget, timing: Detection, now: datetime) -> bool:
    """Whether it burns; one of the objective's own, for as long as it says."""
    least: float = timing.failures_min
    if isinstance(tier, AlertTier) and budget.alerts is not None:
        least = budget.alerts.failures_min or least
        began = budget.burning_since[budget.alerts.tiers.index(tier)]
        if began is None or (now - began).total_seconds() < tier.hold_s:
            return False
    return fires(tier, budget.burns, (budget.at - budget.since).total_seconds(), least)


def _held(budget: Budget, now: datetime) -> datetime | None:
    """When the next of the objective's own tiers will have burned for long enough."""
    tiers = budget.alerts.tiers if budget.alerts else ()
    ahead = (
        began + timedelta(seconds=tier.hold_s)
        for tier, began in zip(tiers, budget.burning_since, strict=True)
        if began is not None
    )
    return min((at for at in ahead if at > now), default=None)


def _is_fresh(outlook: Outlook, now: datetime) -> bool:
    return -FUTURE_TOLERANCE_S <= (now - outlook.at).total_seconds() <= OUTLOOK_MAX_AGE_S


def _rank(condition: Condition) -> int:
    return list(Severity).index(condition.severity)


def _tested(budget: Budget, name: str, burn: BurnNow) -> Condition:
    """A burn that the sequential tests found: they know its start and how likely it is to be real."""
    severity = Severity.SEV3 if not burn.pages else Severity.SEV2
    if burn.pages and (burn.test == "outage" or burn.burn_rate >= PAGED_AT_ONCE):
        severity = Severity.SEV1
    return Condition(
        name=name,
        source=AlertSource.BURN,
        holds=Holds.YES,
        severity=severity,
        summary=(
            f"{budget.objective} burns its error budget{burn.where} {burn.burn_rate:.3g} times too fast "
            f"({budget.left_ratio * 100:.3g} % is left); {_said(burn)}"
        ),
        since=min(burn.since + timedelta(seconds=60), budget.at),
        numbers={"left_ratio": budget.left_ratio, **_evidence(burn)},
    )


def _said(burn: BurnNow) -> str:
    spent = f"{burn.spent_ratio * 100:.2g} % of the budget was spent since {burn.since:%H:%M} UTC"
    return f"{spent}, {burn.real_chance * 100:.2g} % likely to be real"


def _evidence(burn: BurnNow) -> dict[str, Any]:
    return {
        "test": burn.test,
        "burn_since": burn.burn_rate,
        "onset": burn.since.isoformat(),
        "spent_ratio": burn.spent_ratio,
        "bad_since": burn.bad,
        "events_since": burn.events,
        "real_chance": burn.real_chance,
        **({"groups": list(burn.groups), "groups_burning": burn.groups_burning} if burn.groups else {}),
    }


def _is_current(budget: Budget, seen: Seen, now: datetime) -> bool:
    if budget.measured_at is None:
        return False
    age_s = (now - budget.measured_at).total_seconds()
    return -FUTURE_TOLERANCE_S <= age_s <= stale_after_s(budget, seen.policy)


def _is_known(tier: BurnTier, burns: Sequence[Burn]) -> bool:
    rates = {burn.window_s: burn.rate for burn in burns}
    return rates.get(tier.long_s) is not None and rates.get(tier.short_s) is not None


def _burning(budget: Budget, name: str, tier: BurnTier, severity: Severity) -> Condition:
    rates = {burn.window_s: burn.rate for burn in budget.burns}
    earliest, latest = onset(budget, tier)
    short = rates[tier.short_s] or 0.0
    where = f" in {budget.group}" if budget.group else ""
    return Condition(
        name=name,
        source=AlertSource.BURN,
        holds=Holds.YES,
        severity=severity,
        summary=(
            f"{budget.objective} burns its error budget{where} {short:.3g} times too fast "
            f"({budget.left_ratio * 100:.3g} % is left)"
        ),
        since=latest,
        numbers={
            "burn_long": rates[tier.long_s],
            "burn_short": short,
            "long_s": tier.long_s,
            "short_s": tier.short_s,
            "factor": tier.factor,
            "left_ratio": budget.left_ratio,
            "bad": next(burn.bad for burn in budget.burns if burn.window_s == tier.short_s),
            "onset_earliest": earliest.isoformat(),
            "onset_latest": latest.isoformat(),
        },
    )


def onset(budget: Budget, tier: BurnTier) -> tuple[datetime, datetime]:
    """Between which instants the bad events began, as far as the burn windows tell.

    A window that holds hardly more bad events than the next shorter one adds nothing: it began later. Where
    a longer window does hold more, a steady failure of t seconds gives b(w) = b x w / t, so that t is
    w x b(longer) / b(w). It cannot have begun later than the bad events need at the measured rate of events
    if every one of them failed. The estimate is the later edge: a change after it cannot be the cause.
    """
    burns = sorted((b for b in budget.burns if b.window_s <= tier.long_s), key=lambda b: b.window_s)
    at = budget.measured_at or budget.at
    low_s, high_s, bad = 0.0, burns[0].window_s, burns[0].bad
    for shorter, longer in pairwise(burns):
        if longer.bad <= shorter.bad * 1.1:
            break
        spread_s = shorter.window_s * longer.bad / max(shorter.bad, 1.0)
        low_s, high_s, bad = (
            min(max(spread_s, shorter.window_s), longer.window_s),
            longer.window_s,
            longer.bad,
        )
    if low_s == 0.0:
        events_per_s = max(budget.rate_per_s, burns[0].events / burns[0].window_s)
        low_s = min(high_s, bad / events_per_s) if events_per_s > 0 else 0.0
    floor = budget.since
    return max(floor, at - timedelta(seconds=high_s)), max(floor, at - timedelta(seconds=low_s))


# -- replicas and signals -------------------------------------------------------------------------


def _replicas(seen: Seen, now: datetime) -> Condition:
    """Too few replicas of what users reach are ready. A canary's count for nothing."""
    live, service = seen.live, seen.service
    quiet = Condition(name="replicas", source=AlertSource.PROBE, holds=Holds.NO)
    if live is None or service is None:
        return quiet
    mine = [r for r in seen.replicas if r.rollout == live.n and not r.draining]
    ready, needed = sum(r.ready for r in mine), service.replicas.min
    if seen.active is not None and seen.active.beside is not None:
        needed = min(needed, seen.active.beside)  # the others were replaced: those of the new one serve
    if ready >= needed:
        return quiet
    down = ready == 0
    since = _short_since(mine, 1 if down else needed, live)
    patience_s = seen.timing.down_after_s if down else seen.timing.unready_after_s
    at = since + timedelta(seconds=patience_s)
    what = "no replica is ready" if down else f"{ready} of {needed} replicas are ready"
    return Condition(
        name="replicas",
        source=AlertSource.PROBE,
        holds=Holds.YES if now >= at else Holds.UNKNOWN,
        severity=Severity.SEV1 if down else Severity.SEV2,
        summary=what,
        since=since,
        at=at,
        numbers={"ready": ready, "needed": needed, "rollout": live.n},
    )


def _short_since(mine: Sequence[Replica], needed: int, live: Rollout) -> datetime:
    """Since when fewer than ``needed`` are ready: when one too many became unready."""
    fallback = live.finished_at or live.created_at
    lost = sorted(_lost_at(one) or fallback for one in mine if not one.ready)
    spare = len(mine) - needed
    return max(fallback, lost[spare]) if 0 <= spare < len(lost) else max(fallback, *lost[:1], fallback)


def _lost_at(one: Replica) -> datetime | None:
    """When one became unready: its start says so only of a process that runs."""
    ended = one.exited_at if one.identity is None else None
    return one.failing_since or ended or one.started_at or one.asked_at


def _signal(seen: Seen, now: datetime) -> Condition:
    """What users get is not measured though there are users. Not told before we have looked so long."""
    quiet = Condition(name="signal", source=AlertSource.SIGNAL, holds=Holds.NO)
    if seen.live is None or seen.service is None or seen.service.port is None or not seen.objectives:
        return quiet
    known = {budget.objective: budget for budget in seen.budgets}
    began = seen.live.finished_at or seen.live.created_at
    if not known:  # declared a moment ago: nobody can have measured it yet
        return structs.replace(quiet, holds=Holds.UNKNOWN)
    last = {name: one.measured_at or max(began, one.since) for name, one in known.items()}
    oldest = min(last.values())
    at = max(oldest, seen.watched_since) + timedelta(seconds=seen.timing.missing_after_s)
    if now < at:
        fresh = (now - oldest).total_seconds() < seen.policy.stale_after_s
        return Condition(
            name="signal", source=AlertSource.SIGNAL, holds=Holds.NO if fresh else Holds.UNKNOWN, at=at
        )
    silent = sorted(name for name, seen_at in last.items() if now - seen_at >= at - oldest)
    return Condition(
        name="signal",
        source=AlertSource.SIGNAL,
        holds=Holds.YES,
        summary=f"nothing was measured of {', '.join(silent)} for {(now - oldest).total_seconds():.0f} s",
        since=oldest,
        numbers={"missing_after_s": seen.timing.missing_after_s, "objectives": silent},
    )


# -- healing --------------------------------------------------------------------------------------


def _mass_failure(seen: Seen) -> Condition:
    withheld = [order for order in seen.heals if order.mass]
    quiet = Condition(name="mass-failure", source=AlertSource.HEALING, holds=Holds.NO)
    if not withheld:
        return quiet
    return Condition(
        name="mass-failure",
        source=AlertSource.HEALING,
        holds=Holds.YES,
        severity=Severity.SEV1,
        summary=f"{withheld[0].reason}; nothing is killed",
        since=min(order.at for order in withheld),
        numbers={"replicas": len(withheld)},
    )


def _crash_loop(seen: Seen, now: datetime) -> Condition:
    """Healing asked for a rollback that is not done yet, or a replica of the live rollout ends repeatedly."""
    quiet = Condition(name="crash-loop", source=AlertSource.HEALING, holds=Holds.NO)
    serving = [one for one in (seen.live, seen.active) if one is not None]
    asked = seen.request
    about = next((one for one in serving if asked is not None and one.n == asked.rollout), None)
    if asked is not None and about is not None:
        return Condition(
            name="crash-loop",
            source=AlertSource.HEALING,
            holds=Holds.YES,
            severity=Severity.SEV1 if about is seen.live else Severity.SEV2,
            summary=asked.reason,
            since=asked.at,
            numbers={"rollout": asked.rollout},
        )
    recent = timedelta(seconds=CRASH_WINDOW_S)
    for replica in seen.replicas:
        ends = [at for at in replica.crashes if now - at < recent]
        if seen.live is not None and replica.rollout == seen.live.n and len(ends) >= CRASHES:
            return Condition(
                name="crash-loop",
                source=AlertSource.HEALING,
                holds=Holds.YES,
                severity=Severity.SEV2,
                summary=f"replica {replica.index} ended {len(ends)} times in {CRASH_WINDOW_S / 60:.0f} min",
                since=ends[0],
                numbers={"rollout": replica.rollout, "crashes": len(ends)},
            )
    return quiet


def _heal_failed(seen: Seen) -> Condition:
    unready = {replica.key for replica in seen.replicas if not replica.ready and not replica.draining}
    vain = [
        o
        for o in seen.heals
        if o.count >= HEALS_IN_VAIN and not (o.mass or o.gentle) and o.replica in unready
    ]
    quiet = Condition(name="heal-failed", source=AlertSource.HEALING, holds=Holds.NO)
    if not vain:
        return quiet
    worst = max(vain, key=lambda order: order.count)
    return Condition(
        name="heal-failed",
        source=AlertSource.HEALING,
        holds=Holds.YES,
        summary=f"replica {worst.replica.rsplit('/', 1)[-1]} was replaced {worst.count} times in vain",
        since=min(order.at for order in vain),
        numbers={"heals": worst.count, "replicas": len(vain)},
    )


def _traffic(seen: Seen, now: datetime) -> Condition:
    """Envoy goes on with the split that it has: users are served, and no way back would reach it either."""
    route = seen.route
    quiet = Condition(name="traffic", source=AlertSource.TRAFFIC, holds=Holds.NO)
    if route is None or route.troubled_since is None:
        return quiet
    at = route.troubled_since + timedelta(seconds=TROUBLE_S)
    return structs.replace(
        quiet,
        holds=Holds.YES if now >= at else Holds.UNKNOWN,
        summary=f"Envoy takes no change of its traffic: {route.trouble}",
        since=route.troubled_since,
        at=at,
        numbers={"asked_version": route.version, "acked_version": route.acked_version},
    )


# -- certificates ---------------------------------------------------------------------------------


def _certificate(seen: Seen, now: datetime) -> Condition:
    """The one that serves the service's host is about to expire: renewal should have come long ago."""
    quiet = Condition(name="certificate", source=AlertSource.CERTIFICATE, holds=Holds.NO)
    host = (seen.service.hostname if seen.service is not None else None) or ""
    mine = [
        (one.expires_at, one.begins_at, one)
        for one in seen.certificates
        if one.expires_at is not None and one.begins_at is not None and is_for(one.hosts, host)
    ]
    if not mine:
        return quiet
    expires_at, begins_at, worst = min(mine, key=lambda one: (one[0], one[2].name))
    due = warn_at(begins_at, expires_at)
    if now < due:
        return structs.replace(quiet, at=due)
    left = expires_at - now
    late = Severity.SEV2 if now >= urgent_at(begins_at, expires_at) else Severity.SEV3
    severity = late if left > timedelta() else Severity.SEV1
    told = f"expires in {left.days} days" if left > timedelta() else "has expired"
    why = f"; {worst.problem}" if worst.problem else ""
    return structs.replace(
        quiet,
        holds=Holds.YES,
        severity=severity,
        summary=f"the certificate of {host} {told} ({worst.file}){why}",
        since=due,
        at=now + timedelta(seconds=CERTIFICATE_LOOK_S),
        numbers={"expires_at": expires_at.isoformat(), "file": worst.file, "problem": worst.problem},
    )
