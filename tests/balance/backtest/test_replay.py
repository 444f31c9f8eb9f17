"""The replay says what a running Poise said: the same samples, the same budgets, bit for bit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.balance.backtest.live import Held, Live

from poise.adapters.memory_samples import MemorySamples
from poise.balance.backtest.decide import Counts, recommend
from poise.balance.backtest.replay import Asked, Replay, replayed, thinned
from poise.balance.backtest.report import AlertPolicy, Backtest, Point
from poise.engine.query_past import QueryPast
from poise.model.balance import Budget
from poise.model.objective import IndicatorKind, Method, Objective, Queries, Slicing
from poise.model.policy import Alerting, AlertTier, BudgetPolicy, Urgency
from poise.model.samples import Labels
from poise.model.spend import Outlook
from poise.spec.condition import evaluate

T0 = datetime(2026, 11, 1, tzinfo=UTC)
T0_MS = round(T0.timestamp() * 1000)
POLICY = BudgetPolicy(stale_after_s=90.0)
OBJECTIVES = (
    Objective(
        service="acme/production/shop",
        name="orders",
        indicator=IndicatorKind.QUERY,
        target_ratio=0.99,
        window_s=6 * 3600.0,
        queries=Queries(total="orders_total", bad='orders_total{code="500"}'),
    ),
    Objective(
        service="acme/production/shop",
        name="served",
        indicator=IndicatorKind.QUERY,
        target_ratio=0.9,
        window_s=86_400.0,
        queries=Queries(total="served_total", good='served_total{ok="yes"}'),
    ),
    Objective(
        service="acme/production/till",
        name="minutes",
        indicator=IndicatorKind.QUERY,
        target_ratio=0.95,
        window_s=6 * 3600.0,
        queries=Queries(total="orders_total", bad='orders_total{code="500"}'),
        method=Method.TIMESLICES,
        slicing=Slicing(slice_s=60.0, target_ratio=0.9),
    ),
)


def _labels(name: str, **labels: str) -> Labels:
    return tuple(sorted({"__name__": name, **labels}.items()))


def history(seed: int, minutes: int, *, every_s: int = 15, fault: bool = True) -> MemorySamples:
    """Counters with restarts, gaps, late series and a fault, sampled at uneven instants."""
    random, samples = Random(seed), MemorySamples()
    series: dict[Labels, float] = {}
    names = [
        _labels("orders_total", code="200", pod="a"), _labels("orders_total", code="500", pod="a"),
        _labels("orders_total", code="200", pod="b"), _labels("served_total", ok="yes"),
        _labels("served_total", ok="no"),
    ]  # fmt: skip
    points: dict[Labels, list[tuple[int, float]]] = {one: [] for one in names}
    silent_until = dict.fromkeys(names, 0)
    for n in range(minutes * 60 // every_s):
        burning = fault and minutes * 30 < n * every_s < minutes * 42
        for one in names:
            failing = dict(one).get("code") == "500" or dict(one).get("ok") == "no"
            grown = random.randrange(0, 8) if not failing else (3 if burning else int(random.random() < 0.01))
            if failing and one not in series and not grown:
                continue
            series[one] = series.get(one, 0.0) + grown
            if random.random() < 0.003:
                series[one] = float(random.randrange(0, 3))  # a restart
            if random.random() < 0.004:
                silent_until[one] = n + random.randrange(1, 20)
            if n >= silent_until[one]:
                points[one].append((T0_MS + n * every_s * 1000 + random.randrange(1, 900), series[one]))
    for one, some in points.items():
        samples.add(one, some)
    return samples


def asked(minutes: int, **more: Any) -> Asked:
    until = T0 + timedelta(minutes=minutes)
    given = {"objectives": OBJECTIVES, "policy": POLICY, **more}
    return Asked(since=T0, until=until, evaluate=evaluate, **given)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_replay_equals_what_ran_live_bit_for_bit(seed: int) -> None:
    """A backtest that counts by rules of its own would promise what does not come."""
    minutes = 180
    samples = history(seed, minutes)
    told: dict[datetime, dict[str, bytes]] = {}
    burns: list[tuple[str, str, datetime]] = []

    async def live() -> None:
        poise = Live(samples, OBJECTIVES, POLICY, T0)
        await poise.declare()
        while poise.clock.at < T0 + timedelta(minutes=minutes):
            for write in await poise.beat():
                if isinstance(write.body, Budget):
                    plain = msgspec.structs.replace(write.body, problem="")
                    told.setdefault(poise.clock.at, {})[write.key] = msgspec.json.encode(plain)
                if isinstance(write.body, Outlook) and write.body.burn is not None:
                    burns.append((write.key, write.body.burn.test, write.body.burn.since))

    async def replay() -> tuple[int, Backtest]:
        past = QueryPast(Held(samples), OBJECTIVES)
        made, compared = await Replay.begun(asked(minutes), past), 0
        for minute in range(1, minutes + 1):
            now = T0 + timedelta(minutes=minute)
            await made.step(past, now)
            for budget in made.budgets(now):
                before = told.get(now, {}).get(budget.key)
                if before is not None:
                    assert msgspec.json.encode(budget) == before, (now, budget.key)
                    compared += 1
        return compared, made.report(300.0)

    anyio.run(live)
    compared, report = anyio.run(replay)
    assert compared > minutes / 3
    said = {
        (one.key, alert.test, alert.since)
        for one in report.objectives
        for alert in one.alerts
        if alert.policy is AlertPolicy.SEQUENTIAL
    }
    assert said and {(key, since) for key, _, since in said} <= {(key, since) for key, _, since in burns}


def run(samples: MemorySamples, minutes: int, **more: Any) -> Backtest:
    async def replay() -> Backtest:
        return await replayed(asked(minutes, **more), QueryPast(Held(samples), OBJECTIVES))

    return anyio.run(replay)


def test_a_fault_is_found_by_its_start_and_spend() -> None:
    """A team wants to see what would have woken it, and what it would have cost."""
    report = run(history(4, 300), 300)
    orders = report.objectives[0]
    begun = T0 + timedelta(minutes=150)
    (page,) = [one for one in orders.alerts if one.policy is AlertPolicy.SEQUENTIAL and one.pages]
    assert abs((page.since - begun).total_seconds()) <= 300
    assert page.fired_at >= page.since and page.spent_ratio > 0.5
    assert orders.left_ratio is not None and orders.left_ratio < 0
    assert report.gates[0].hold_ratio > 0
    assert (
        abs(sum((report.gates[0].go_ratio, report.gates[0].slow_ratio, report.gates[0].hold_ratio)) - 1)
        < 1e-9
    )


def test_silence_is_unknown_time_and_a_hold() -> None:
    """What nobody measured is never a go, in the past as now."""
    report = run(MemorySamples(), 60)
    assert all(one.since is None and one.coverage_ratio == 0.0 for one in report.objectives)
    assert report.gates[0].hold_ratio == 1.0 and report.gates[0].unknown_ratio == 1.0
    assert all(one.recommendation.target_ratio is None for one in report.objectives)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), chunk_s=st.sampled_from([600.0, 1800.0, 21_600.0]))
def test_how_history_is_fetched_changes_nothing(seed: int, chunk_s: float) -> None:
    """An edge between two questions must neither lose a sample nor count it twice."""
    from poise.engine import query_past

    samples, found = history(seed, 40), []
    for size in (query_past.CHUNK_S, chunk_s):

        async def replay(size: float = size) -> bytes:
            past = QueryPast(Held(samples), OBJECTIVES, chunk_s=size)
            return msgspec.json.encode(await replayed(asked(40), past))

        found.append(anyio.run(replay))
    assert found[0] == found[1]


def _counts(days: float, per_hour: float, ratio: float, known: float = 1.0) -> Counts:
    import numpy as np

    steps = round(days * 24)
    total = np.full(steps, per_hour)
    return Counts(step_s=3600.0, good=total * (1 - ratio), bad=total * ratio, known=np.full(steps, known))


@pytest.mark.parametrize(
    ("days", "per_hour", "ratio", "target", "said"),
    [
        (60, 10_000, 0.0005, 0.999, "99.95 %: the worst window"),
        (60, 10_000, 0.00085, 0.995, "left 15% alone"),
        (60, 100_000, 0.0, 0.9999, "100% of the budget"),
        (60, 60, 0.0, 0.995, "one failure costs"),
        (60, 1000, 0.2, None, "not even 90 %"),
        (0.5, 1000, 0.0, None, "too short"),
        (60, 0, 0.0, None, "no event"),
    ],
)
def test_the_tightest_target_that_is_met_with_margin_is_recommended(
    days: float, per_hour: float, ratio: float, target: float | None, said: str
) -> None:
    """A target people can keep, and the number that speaks against a tighter one."""
    made = recommend(_counts(days, per_hour, ratio), 28 * 86_400.0)
    assert made.target_ratio == target
    assert said in made.reason, made.reason


def test_a_short_or_patchy_history_is_said_to_be_one() -> None:
    """A recommendation out of three days must not look like one out of a month."""
    made = recommend(_counts(3, 10_000, 0.0005, known=0.5), 28 * 86_400.0)
    assert made.target_ratio == 0.999
    assert "3.0 of 28 days" in made.caveats[0] and "50%" in made.caveats[1]


@given(st.lists(st.one_of(st.none(), st.floats(-5, 1)), min_size=1, max_size=300), st.integers(2, 40))
def test_thinning_keeps_the_worst(lefts: list[float | None], most: int) -> None:
    """A chart must not hide the dip."""
    points = [
        Point(at=T0 + timedelta(minutes=n), left_ratio=left, coverage_ratio=1.0)
        for n, left in enumerate(lefts)
    ]
    kept = thinned(points, most)
    assert len(kept) <= most + 1 and kept[-1] is points[-1]
    known = [one.left_ratio for one in points if one.left_ratio is not None]
    if known and None not in lefts:
        assert min(one.left_ratio for one in kept if one.left_ratio is not None) == min(known)


def test_own_tiers_are_replayed_with_their_hold_instead_of_the_policys() -> None:
    """The same fault, told by a tier that nobody else has, once it burned for ten minutes."""
    tier = AlertTier(long_s=1200, short_s=120, factor=2, severity=Urgency.TICKET)
    samples, pages, tickets = history(4, 300), [], []
    for hold_s in (0.0, 600.0):
        held = msgspec.structs.replace(tier, hold_s=hold_s)
        own = msgspec.structs.replace(OBJECTIVES[0], alerts=Alerting(tiers=(held,)))
        alerts = run(samples, 300, objectives=(own,)).objectives[0].alerts
        pages += [one for one in alerts if one.policy is AlertPolicy.PAGE]
        tickets.append(next(one for one in alerts if one.policy is AlertPolicy.TICKET))
    assert not pages and [one.test for one in tickets] == ["2x", "2x"]
    assert tickets[1].fired_at - tickets[0].fired_at == timedelta(minutes=10)
