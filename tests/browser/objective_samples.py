"""Views of one objective: a month with two expensive changes, and every odd state that a budget may be in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from msgspec.structs import replace

from poise.model.balance import Budget, Burn, GroupBudget, PeriodBudget
from poise.model.exclusion import Exclusion
from poise.model.objective import Combination, Component, Composite, IndicatorKind, Objective
from poise.model.policy import BudgetPolicy, Level, PolicyState
from poise.model.slices import Contradiction
from poise.model.spend import BurnNow, Foresight, Outlook, Spend, SpendCause, SpendLedger
from poise.web import links
from poise.web import views as v
from poise.web.objective_views import BurnDown, BurnPoint, ObjectiveView, PartRow

NOW = datetime(2026, 11, 28, 9, 40, tzinfo=UTC)
SINCE = NOW - timedelta(days=28)
SERVICE = "acme/production/storefront"
ALLOWED = 64_800.0
DAY_S = 86_400.0


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def burn_down() -> BurnDown:
    random, left, points = Random(7), 1.0, []
    step = timedelta(days=28) / 240
    for k in range(240):
        end = SINCE + (k + 1) * step
        bad, canary = at(19, 14) <= end < at(20, 22), at(24, 9) <= end < at(24, 18)
        gap = 150 <= k < 153
        failed = (0.011 if bad else 0.004 if canary else 0.0004) * random.uniform(0.8, 1.2)
        left -= 0.31 / 11.4 if bad else 0.064 / 3.2 if canary else 0.246 / 240
        known = 0.1 if gap else 1.0
        points.append(
            BurnPoint(
                at=end,
                left_ratio=None if gap else round(left, 4),
                failed_ratio=None if gap else round(failed, 6),
                measured_ratio=known,
            )
        )
    changes = ((39, 3), (40, 9), (41, 14), (42, 19), (43, 24))
    markers = [
        v.Marker(at=at(day, 14, 2), label=f"r{n}", kind="deploy", href=links.rollout(SERVICE, n))
        for n, day in changes
    ]
    markers.append(
        v.Marker(at=at(20, 22), label="r42 rolled back", kind="rollback", href=links.rollout(SERVICE, 42))
    )
    markers.append(v.Marker(at=at(21, 9), label="settings", kind="config", href=links.rollout(SERVICE, 44)))
    return BurnDown(
        start=SINCE,
        since=SINCE,
        until=NOW,
        points=tuple(points),
        markers=tuple(markers),
        incidents=(v.Band(since=at(19, 14, 10), until=at(20, 22, 5), label="incident 118"),),
        excluded=(v.Band(since=at(11, 2), until=at(11, 6), label="database upgrade"),),
        good_s=26.1 * DAY_S,
        bad_s=1.5 * DAY_S,
        unknown_s=0.4 * DAY_S,
        grain_s=1680.0,
    )


ENTRIES = (
    Spend(
        since=at(6, 11, 20),
        until=at(6, 11, 31),
        events=9_400,
        bad=1_180,
        spent_ratio=0.0182,
        cause=SpendCause.UNKNOWN,
        chance=0.62,
        why="nothing that changed explains it",
    ),
    Spend(
        since=at(14, 3, 4),
        until=at(14, 3, 40),
        events=31_000,
        bad=2_010,
        spent_ratio=0.031,
        cause=SpendCause.DEPENDENCY,
        subject="acme/production/payments",
        name="payments (release 12 of payments)",
        chance=0.93,
        why="it began at the same time, 93 % likely, of 3 that were weighed",
    ),
    Spend(
        since=at(19, 14, 6),
        until=at(20, 22, 1),
        events=1_830_000,
        bad=20_090,
        spent_ratio=0.31,
        cause=SpendCause.DEPLOY,
        subject=f"{SERVICE}/000042",
        name="release 42 of storefront",
        chance=0.994,
        why="it began 4 min after, 99 % likely, of 4 that were weighed",
    ),
    Spend(
        since=at(21, 9, 3),
        until=at(21, 9, 9),
        events=6_000,
        bad=410,
        spent_ratio=0.0063,
        cause=SpendCause.CONFIG,
        subject=f"{SERVICE}/000044",
        name="settings of storefront, payments timeout 2 s",
        chance=0.88,
        why="it began 3 min after, 88 % likely",
    ),
    Spend(
        since=at(24, 9, 31),
        until=None,
        events=940_000,
        bad=4_147,
        spent_ratio=0.064,
        cause=SpendCause.INCIDENT,
        subject="acme/000119",
        name="incident 119",
        chance=0.7,
        why="incident 119 (checkout is slow) was open, and no change explains it",
    ),
)


def ledger() -> SpendLedger:
    bad = 40_176.0
    return SpendLedger(
        service=SERVICE,
        objective="availability",
        at=NOW,
        bad=bad,
        allowed=ALLOWED,
        window_s=28 * DAY_S,
        usual_bad=bad - sum(one.bad for one in ENTRIES),
        entries=ENTRIES,
    )


def budget(**changes: object) -> Budget:
    given: dict[str, object] = {
        "service": SERVICE,
        "objective": "availability",
        "target_ratio": 0.999,
        "window_s": 28 * DAY_S,
        "good": 64_759_824.0,
        "bad": 40_176.0,
        "allowed": ALLOWED,
        "left_ratio": 0.38,
        "burns": (
            Burn(window_s=300.0, rate=0.3, coverage_ratio=1.0, events=8_030, bad=2.0),
            Burn(window_s=1800.0, rate=0.4, coverage_ratio=1.0, events=48_180, bad=19.0),
            Burn(window_s=3600.0, rate=0.4, coverage_ratio=1.0, events=96_360, bad=38.0),
            Burn(window_s=21_600.0, rate=0.6, coverage_ratio=1.0, events=578_160, bad=347.0),
            Burn(window_s=3 * DAY_S, rate=1.1, coverage_ratio=0.998, events=6_937_920, bad=7_631.0),
            Burn(window_s=28 * DAY_S, rate=0.62, coverage_ratio=0.985, events=64_800_000, bad=40_176.0),
        ),
        "coverage_ratio": 0.985,
        "bootstrap": False,
        "since": SINCE,
        "measured_at": NOW - timedelta(seconds=3),
        "at": NOW,
        "rate_per_s": 26.8,
        "excluded_s": 14_400.0,
        "unadjusted_bad": 41_990.0,
        "unadjusted_left_ratio": 0.352,
        "group": "region=eu",
        "groups": (
            GroupBudget(group="region=us", good=30e6, bad=9_000.0, left_ratio=0.71, coverage_ratio=1.0),
            GroupBudget(group="region=eu", good=34e6, bad=31_176.0, left_ratio=0.38, coverage_ratio=0.985),
        ),
        "periods": (
            PeriodBudget(
                name="28 d",
                start=SINCE,
                end=NOW,
                good=64_759_824,
                bad=40_176,
                allowed=ALLOWED,
                left_ratio=0.38,
                coverage_ratio=0.985,
            ),
            PeriodBudget(
                name="month",
                start=at(1, 0),
                end=at(30, 0),
                good=61e6,
                bad=38_000,
                allowed=61_038,
                left_ratio=0.377,
                coverage_ratio=0.984,
            ),
        ),
    }
    return Budget(**{**given, **changes})  # type: ignore[arg-type]


def outlook(*, burning: bool = False, frozen: bool = False) -> Outlook:
    burn = BurnNow(
        test="fast",
        pages=True,
        since=at(28, 9, 22),
        events=28_000,
        bad=412,
        spent_ratio=0.0064,
        burn_rate=14.7,
        real_chance=0.99997,
    )
    ahead = Foresight(
        at=NOW,
        until=NOW + timedelta(days=1),
        left_low=0.31,
        left_middle=0.372,
        left_high=0.39,
        spent_chance=0.03,
        spent_chance_low=0.01,
        spent_chance_high=0.09,
        days=27,
        returns_at=datetime(2026, 12, 17, 14, tzinfo=UTC) if frozen else None,
        returns_earliest=datetime(2026, 12, 17, 9, tzinfo=UTC) if frozen else None,
    )
    return Outlook(
        service=SERVICE,
        objective="availability",
        at=NOW,
        bad=40_176.0,
        allowed=ALLOWED,
        window_s=28 * DAY_S,
        real_chance=0.99997 if burning else 0.004,
        burn=burn if burning else None,
        foresight=ahead,
    )


def objective(chrome: v.Chrome, *, burning: bool = False) -> ObjectiveView:
    """A month in which two changes cost most of what was spent."""
    return ObjectiveView(
        chrome=chrome,
        objective=Objective(
            service=SERVICE,
            name="availability",
            indicator=IndicatorKind.AVAILABILITY,
            target_ratio=0.999,
            group_by=("region",),
        ),
        status="at risk",
        sentence="38 % of the budget is left; at this pace it lasts until 9 December.",
        period="28 days",
        policy=BudgetPolicy(),
        budget=budget(),
        level=PolicyState(
            service=SERVICE,
            policy="default",
            level=Level.SLOW,
            since=at(24, 9, 35),
            at=NOW,
            objective=f"{SERVICE}/availability",
            left_ratio=0.38,
            text="38 % of availability's budget is left, below 40 %",
            faster_at=at(28, 10, 35),
        ),
        outlook=outlook(burning=burning),
        ledger=ledger(),
        burn_down=burn_down(),
        source="what users got from Envoy, answered without a 5xx",
        queries=(
            ("total", 'sum(increase(poise_requests_total{service="acme/production/storefront"}[28d]))'),
            ("bad", 'sum(increase(poise_errors_total{service="acme/production/storefront"}[28d]))'),
        ),
        siblings=("availability", "latency"),
        parts=(
            PartRow(
                key="acme/production/payments/availability",
                role="required",
                target_ratio=0.9995,
                left_ratio=0.12,
                coverage_ratio=1.0,
            ),
        ),
        exclusions=(
            Exclusion(
                project="acme",
                name="database-upgrade",
                starts="2026-11-11T02:00:00",
                duration_s=14_400.0,
                reason="the database is upgraded",
                by="ana",
            ),
        ),
    )


def composite(chrome: v.Chrome) -> ObjectiveView:
    """OpenSLO's composite of occurrences: what two others spent, one of them half."""
    view, keys = objective(chrome), (f"{SERVICE}/availability", f"{SERVICE}/latency")
    whole = Composite(
        combination=Combination.BURN,
        components=(Component(objective=keys[0], weight=0.5), Component(objective=keys[1])),
    )
    rows = tuple(
        PartRow(
            key=key, role="component", target_ratio=target, left_ratio=left, coverage_ratio=1.0, weight=weight
        )
        for key, target, left, weight in ((keys[0], 0.999, 0.38, 0.5), (keys[1], 0.99, 0.52, None))
    )
    return replace(
        view,
        objective=Objective(
            service=SERVICE, name="shopping", indicator=IndicatorKind.COMPOSITE, target_ratio=0.99,
            composite=whole,
        ),
        sentence="21 % of the budget is left; at this pace it lasts.",
        budget=budget(
            left_ratio=0.21, target_ratio=0.99, bad=550_368.0, allowed=696_668.0, groups=(), group="",
            periods=(), excluded_s=0.0, unadjusted_bad=None, unadjusted_left_ratio=None,
        ),
        outlook=None,
        ledger=None,
        burn_down=None,
        source="",
        queries=(),
        siblings=("availability", "latency", "shopping"),
        parts=rows,
        exclusions=(),
    )  # fmt: skip


def young(chrome: v.Chrome) -> ObjectiveView:
    """An objective that was declared a moment ago: nothing is known, and the page says so."""
    return ObjectiveView(
        chrome=chrome,
        objective=Objective(
            service=SERVICE,
            name="latency",
            indicator=IndicatorKind.LATENCY,
            target_ratio=0.99,
            threshold_ms=250.0,
        ),
        status="unknown",
        sentence="Latency has no budget yet, so nobody knows what is left.",
        period="28 days",
        policy=BudgetPolicy(),
        siblings=("availability", "latency"),
    )


def overspent(chrome: v.Chrome) -> ObjectiveView:
    """Spent nineteen times over, and burning; one slice of its time contradicts itself."""
    view = objective(chrome, burning=True)
    since = datetime(2026, 11, 27, 14, 5, tzinfo=UTC)
    lie = Contradiction(since=since, until=since + timedelta(minutes=1), what="good", excess=1234.0)
    spent = budget(
        left_ratio=-18.66,
        bad=1_274_000.0,
        recovers_at=datetime(2026, 12, 17, 9, tzinfo=UTC),
        groups=(),
        contradiction=lie,
    )
    points = tuple(
        BurnPoint(
            at=one.at,
            left_ratio=None if one.left_ratio is None else 1 - 31.7 * (1 - one.left_ratio),
            failed_ratio=one.failed_ratio,
            measured_ratio=one.measured_ratio,
        )
        for one in burn_down().points
    )
    state = PolicyState(
        service=SERVICE,
        policy="default",
        level=Level.FREEZE,
        since=at(20, 1),
        at=NOW,
        objective=f"{SERVICE}/availability",
        left_ratio=-18.66,
        text="availability's budget is spent (-1866 % is left)",
    )
    return replace(
        view,
        status="spent",
        budget=spent,
        level=state,
        outlook=outlook(burning=True, frozen=True),
        ledger=replace(ledger(), bad=1_274_000.0, usual_bad=1_274_000.0 - 40_176.0 + ledger().usual_bad),
        sentence="The budget is spent and overspent by 1866 %; it is back on 17 December.",
        burn_down=replace(burn_down(), points=points),
        exclusions=(),
        parts=(),
    )
