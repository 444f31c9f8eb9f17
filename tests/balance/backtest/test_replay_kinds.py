"""Every kind of indicator is replayed as it runs live: the same samples, the same budgets, bit for bit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import anyio
import msgspec
import pytest
from msgspec.structs import replace
from tests.balance.backtest.live import Held, Live

from poise.adapters.memory_samples import MemorySamples
from poise.balance.backtest.budgets import Budgets
from poise.balance.budget.controller import GROUPED_S
from poise.engine.query_past import QueryPast
from poise.model.balance import Budget
from poise.model.exclusion import Exclusion
from poise.model.objective import (
    Combination,
    Comparison,
    Component,
    Composite,
    Gauge,
    Histogram,
    IndicatorKind,
    Method,
    Objective,
    Queries,
    Slicing,
    WhenDelayed,
)
from poise.model.policy import BudgetPolicy
from poise.model.samples import STALE, Labels

T0 = datetime(2026, 11, 1, tzinfo=UTC)
T0_MS = round(T0.timestamp() * 1000)
POLICY = BudgetPolicy(stale_after_s=90.0)
SHOP, TILL = "acme/production/shop", "acme/production/till"
MINUTES = 120
LATE = 40  # minutes, until a region is told of


def made(name: str, kind: IndicatorKind, **more: object) -> Objective:
    return Objective(
        service=SHOP, name=name, indicator=kind, target_ratio=0.95, window_s=6 * 3600.0,
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


def composite(
    name: str, combination: Combination, *parts: Objective, slices: Slicing | None = None, **more: object
) -> tuple[Objective, ...]:
    """The parts, and what is made of them."""
    method = Method.OCCURRENCES
    if slices is not None:
        method = Method.RATIO_TIMESLICES if slices.target_ratio is None else Method.TIMESLICES
    components = tuple(Component(objective=one.key, weight=0.5) for one in parts)
    whole = Composite(combination=combination, components=components, **more)  # type: ignore[arg-type]
    return (*parts, made(name, IndicatorKind.COMPOSITE, composite=whole, slicing=slices, method=method))


MINUTE, GOOD_MINUTE = Slicing(slice_s=60.0), Slicing(slice_s=60.0, target_ratio=0.9)
ALIVE = Gauge(query='up{job="shop"}', op=Comparison.GTE, bound=1.0)
DEEP = Gauge(query="max by (region) (depth)", op=Comparison.LT, bound=100.0, every_s=30.0)
DEPTH = made("depth", IndicatorKind.THRESHOLD, gauge=Gauge(query="depth", op=Comparison.LT, bound=100.0))
UP = made("alive", IndicatorKind.BOOLEAN, gauge=ALIVE)
ORDERS = made(
    "orders", IndicatorKind.QUERY, queries=Queries(total="orders_total", bad='orders_total{code="500"}')
)
FAST = made("fast", IndicatorKind.HISTOGRAM, histogram=Histogram(query="lag_bucket", bound=0.5))
BETWEEN = made("between", IndicatorKind.HISTOGRAM, histogram=Histogram(query="lag_bucket", bound=0.3))
EUROPE = made(
    "fast-eu", IndicatorKind.HISTOGRAM, histogram=Histogram(query='lag_bucket{region="eu"}', bound=0.5)
)
REGION = ("region",)
KINDS: dict[str, tuple[Objective, ...]] = {
    "counters": (ORDERS,),
    "threshold": (DEPTH,),
    "threshold of an expression": (made("deep", IndicatorKind.THRESHOLD, gauge=DEEP),),
    "raw ratio": (made("ratio", IndicatorKind.RAW_RATIO, gauge=Gauge(query="failing_ratio", failure=True)),),
    "boolean": (UP,),
    "probe": (made("seen", IndicatorKind.PROBE, gauge=replace(ALIVE, query="probe_success")),),
    "histogram": (FAST,),
    "histogram between two bounds": (BETWEEN,),
    "timeslices": (replace(DEPTH, name="depth-minutes", method=Method.TIMESLICES, slicing=GOOD_MINUTE),),
    "ratio timeslices": (
        replace(ORDERS, name="orders-minutes", method=Method.RATIO_TIMESLICES, slicing=MINUTE),
    ),
    "groups of counters": (replace(ORDERS, name="orders-by", group_by=REGION),),
    "groups of a gauge": (replace(DEPTH, name="depth-by", group_by=REGION),),
    "groups of an expression": (made("deep-by", IndicatorKind.THRESHOLD, gauge=DEEP, group_by=REGION),),
    "groups of a histogram": (replace(FAST, name="fast-by", group_by=REGION),),
    "one region of a histogram": (EUROPE,),
    "too many groups": (replace(DEPTH, name="depth-many", group_by=REGION, groups_max=1),),
    "journey": composite("journey", Combination.ALL_OF, DEPTH, ORDERS, slices=MINUTE),
    "alternatives": composite(
        "either", Combination.ANY_OF, UP, DEPTH, slices=GOOD_MINUTE, when_delayed=WhenDelayed.IGNORE
    ),
    "weighted": composite("mean", Combination.WEIGHTED, UP, FAST, slices=MINUTE),
    "composite that burns": composite("whole", Combination.BURN, DEPTH, ORDERS),
}


def elsewhere(one: Objective) -> Objective:
    """The same of the service of which a quarter of an hour does not count."""
    parts = one.composite
    if parts is not None:
        components = tuple(
            replace(each, objective=each.objective.replace(SHOP, TILL)) for each in parts.components
        )
        parts = replace(parts, components=components)
    return replace(one, service=TILL, composite=parts)


EXCLUDED_KINDS = ("threshold", "histogram", "groups of counters", "journey", "composite that burns")
KINDS |= {f"{kind}, excluded": tuple(map(elsewhere, KINDS[kind])) for kind in EXCLUDED_KINDS}
ALL = tuple({one.key: one for some in KINDS.values() for one in some}.values())
EXCLUDED = Exclusion(
    project="acme", name="nightly", starts="2026-11-01T00:40:00", duration_s=900.0, reason="upgrade", by="a",
    rrule="FREQ=DAILY", objectives=(TILL,),
)  # fmt: skip


def labels(name: str, **more: str) -> Labels:
    return tuple(sorted({"__name__": name, **more}.items()))


def history(seed: int, minutes: int = MINUTES, every_s: int = 15) -> MemorySamples:
    """Gauges, counters and buckets: a fault, a silence, a late region, a restart, a series that ends."""
    random, samples = Random(seed), MemorySamples()
    points: dict[Labels, list[tuple[int, float]]] = {}
    counts: dict[Labels, float] = {}
    late_s, silent = LATE * 60, (minutes * 24, minutes * 26 + 120)

    def put(at_ms: int, value: float, name: str, **more: str) -> None:
        points.setdefault(labels(name, **more), []).append((at_ms, value))

    def grow(at_ms: int, by: float, name: str, **more: str) -> None:
        key = labels(name, **more)
        counts[key] = counts.get(key, 0.0) + by
        put(at_ms, counts[key], name, **more)

    for n in range(-4, minutes * 60 // every_s):
        at_s = n * every_s
        if silent[0] < at_s < silent[1]:
            continue
        burning = minutes * 30 < at_s < minutes * 42
        if n == 77:
            counts.clear()  # a restart of everything
        for region in ("eu", "us"):
            if region == "us" and at_s < late_s:
                continue
            at_ms = T0_MS + at_s * 1000 + random.randrange(0, 900)
            hot = burning and region == "eu"
            put(
                at_ms,
                random.choice((120.0, 99.0, 140.0)) if hot else random.uniform(0, 101),
                "depth",
                region=region,
            )
            put(at_ms, float(not (hot and random.random() < 0.5)), "up", job="shop", region=region)
            for code, by in (
                ("200", random.randrange(0, 9)),
                ("500", 3 if hot else int(random.random() < 0.02)),
            ):
                if by or labels("orders_total", code=code, region=region) in counts:
                    grow(at_ms, by, "orders_total", code=code, region=region)
            quick, slow = random.randrange(0, 5), (4 if hot else int(random.random() < 0.03))
            for le, by in (
                ("0.1", quick),
                ("0.5", quick + 1),
                ("1", quick + 1 + slow),
                ("+Inf", quick + 1 + slow),
            ):
                grow(at_ms, by, "lag_bucket", le=le, region=region)
        at_ms = T0_MS + at_s * 1000 + random.randrange(0, 900)
        value = float("nan") if random.random() < 0.05 else 0.6 if burning else random.uniform(0, 0.1)
        put(at_ms, value, "failing_ratio")
        put(at_ms, float(not burning or random.random() < 0.5), "probe_success")
    ended = points[labels("up", job="shop", region="us")]
    del ended[len(ended) * 3 // 4 :]
    ended.append((ended[-1][0] + 15_000, STALE))
    for key, some in points.items():
        samples.add(key, some)
    return samples


Told = dict[datetime, dict[str, bytes]]  # every budget that was written, by instant and key


@pytest.fixture(scope="module")
def told() -> Told:
    """What a running Poise wrote."""
    found: Told = {}

    async def live() -> None:
        poise = Live(history(7), ALL, POLICY, T0, exclusions=(EXCLUDED,), beat_s=5.0)
        await poise.declare()
        while poise.clock.at < T0 + timedelta(minutes=MINUTES):
            for write in await poise.beat():
                if isinstance(write.body, Budget):
                    plain = replace(write.body, problem="")
                    found.setdefault(poise.clock.at, {})[write.key] = msgspec.json.encode(plain)

    anyio.run(live)
    return found


@pytest.fixture(scope="module")
def again(told: Told) -> Told:
    """The same instants and budgets, replayed at once."""
    found: Told = {}

    async def replay() -> None:
        past = QueryPast(Held(history(7)), ALL, chunk_s=1800.0, period_s=5.0)
        kept = await Budgets.begun(past, ALL, POLICY, (EXCLUDED,), T0)
        for now in sorted(told):
            await kept.follow(past, now)
            found[now] = {
                one.key: msgspec.json.encode(one)
                for one in kept.budgets(now, interpolated_of=past.is_interpolated)
            }

    anyio.run(replay)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_replayed_bit_for_bit(told: Told, again: Told, kind: str) -> None:
    """A backtest that counts by rules of its own would promise what does not come."""
    keys, last = {one.key for one in KINDS[kind]}, b""
    lag = T0 + timedelta(minutes=LATE), T0 + timedelta(minutes=LATE, seconds=GROUPED_S)
    written = [
        (now, key)
        for now in sorted(told)
        for key in told[now].keys() & keys
        if not lag[0] <= now <= lag[1]  # a house looks for new groups so often
    ]
    for now, key in written:
        last = told[now][key]
        assert again[now][key] == last, (now, key, again[now][key], last)
    assert len(written) > MINUTES * len(keys)
    assert msgspec.json.decode(last, type=Budget).excluded_s == (900.0 if "excluded" in kind else 0.0)


def test_a_grouped_objective_is_told_as_its_worst_group_alone_would_be(again: Told) -> None:
    """When a spent one recovers is known of the group that spent it, not of the whole."""
    grouped, alone = (
        msgspec.json.decode(again[max(again)][f"{SHOP}/{name}"], type=Budget)
        for name in ("fast-by", "fast-eu")
    )
    assert grouped.group == "region=eu" and alone.recovers_at is not None
    assert (grouped.good, grouped.bad, grouped.left_ratio) == (alone.good, alone.bad, alone.left_ratio)
    assert grouped.recovers_at == alone.recovers_at
    assert grouped.burns == alone.burns


async def _gauge_past(chunk_s: float, period_s: float) -> bytes:
    past = QueryPast(Held(history(9)), ALL, chunk_s=chunk_s, period_s=5.0)
    kept = await Budgets.begun(past, ALL, POLICY, (), T0)
    at = T0
    while at < T0 + timedelta(minutes=MINUTES):
        at += timedelta(seconds=period_s)
        await kept.follow(past, at)
    return msgspec.json.encode(kept.budgets(at))


def test_how_history_is_fetched_changes_nothing() -> None:
    """An edge between two questions must neither lose a value nor count it twice."""
    found = {anyio.run(_gauge_past, chunk_s, 60.0) for chunk_s in (600.0, 1810.0, 21_600.0)}
    assert len(found) == 1
