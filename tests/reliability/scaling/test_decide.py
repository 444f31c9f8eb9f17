"""Scaling: tables, laws, and a thousand ways in which data goes missing."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.model import event_types
from poise.model.fleet import ScaleTarget
from poise.model.record import Decision
from poise.model.service import Replicas, Scaling, Service
from poise.reliability.scaling import queueing
from poise.reliability.scaling.decide import Seen, assess, decide
from poise.reliability.scaling.load import Reading, loads, newest_load

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
T = NOW.timestamp()
KEY = "acme/production/shop"
SCALING = Scaling(service_rate_per_s=20.0, scale_in_after_s=60.0, stale_after_s=15.0)
SERVICE = Service(
    project="acme", environment="production", name="shop", command="run", port=8080,
    replicas=Replicas(min=2, max=12), scaling=SCALING,
)  # fmt: skip


def steady(rate: float, seconds: int = 100, until: float = T, in_flight: float = 1.0) -> list[Reading]:
    """Readings each second of a steady rate, the last at ``until``."""
    return [
        Reading(at=until - seconds + i, epoch="e1", total=1000.0 + rate * i, in_flight=in_flight)
        for i in range(seconds + 1)
    ]


def target(replicas: int, **changes: object) -> ScaleTarget:
    made = ScaleTarget(service=KEY, replicas=replicas, changed_at=NOW - timedelta(hours=1))
    return replace(made, **changes)


def see(
    readings: list[Reading],
    before: ScaleTarget | None = None,
    service: Service = SERVICE,
    stepping: bool = False,
) -> Seen:
    return Seen(key=KEY, service=service, before=before, readings=tuple(readings), stepping=stepping)


def written(decision: Decision) -> ScaleTarget | None:
    return next((write.body for write in decision.writes if isinstance(write.body, ScaleTarget)), None)


def types(decision: Decision) -> list[str]:
    return [event.type for event in decision.events]


def test_the_formulae_are_as_in_their_source() -> None:
    assert doctest.testmod(queueing).failed == 0 and doctest.testmod(queueing).attempted > 3


@given(rate=st.floats(0, 500), more=st.floats(0, 100), mu=st.floats(0.5, 100), width=st.integers(1, 8))
def test_more_load_never_needs_fewer_replicas_and_what_is_needed_keeps_the_promise(
    rate: float, more: float, mu: float, width: int
) -> None:
    def need(load: float) -> int:
        return queueing.replicas_for(
            load, service_rate_per_s=mu, concurrency=width, wait_s=0.05, late_ratio_max=0.05, most=5000
        )

    count = need(rate)
    assert count <= need(rate + more)
    assert queueing.late_ratio(count * width, rate, mu / width, 0.05) <= 0.05
    if count > 1:
        assert queueing.late_ratio((count - 1) * width, rate, mu / width, 0.05) > 0.05


def test_more_offered_load_goes_out_at_once_with_its_numbers() -> None:
    """100/s with a tenth of headroom at 20/s each need 7."""
    decision = decide(see(steady(100.0), target(2)), NOW)
    after = written(decision)
    assert after is not None and (after.replicas, after.rule, after.direction) == (8, "offered-rate", 1)
    assert types(decision) == [event_types.SCALE_CHANGED]
    assert decision.events[0].data["rate_per_s"] == 100.0 and "100 requests/s" in after.reason


@given(st.lists(st.floats(0.0, 12.0), min_size=1, max_size=30), st.integers(0, 2**16))
def test_the_newest_load_is_the_last_of_all_loads(gaps: list[float], seed: int) -> None:
    """What is worked out alone at each look is what the whole course ends with."""
    rng, at, run = Random(seed), T, list[Reading]()
    for gap in gaps:
        at += gap
        run.append(Reading(at=at, epoch="e1", total=rng.uniform(0, 99), in_flight=rng.choice([None, 2.0])))
    assert newest_load(run) == list(loads(run))[-1]


def test_requests_in_flight_bound_the_need_from_below() -> None:
    """Replicas that answer nothing show no rate."""
    after = written(decide(see(steady(1.0, in_flight=8.0), target(2)), NOW))
    assert after is not None and (after.replicas, after.rule) == (9, "in-flight")


def test_a_service_stays_within_its_bounds() -> None:
    most = written(decide(see(steady(5000.0), target(2)), NOW))
    assert most is not None and most.replicas == 12
    least = written(decide(see(steady(0.1), target(3)), NOW))
    assert least is not None and least.replicas == 2


def test_going_in_is_one_step_of_at_most_half_and_then_waits() -> None:
    decision = decide(see(steady(1.0), target(12)), NOW)
    after = written(decision)
    assert after is not None and (after.replicas, after.rule, after.direction) == (6, "lower-need", -1)
    assert decide(see(steady(1.0), after), NOW + timedelta(seconds=1)).is_empty
    later = NOW + timedelta(seconds=61)
    again = written(decide(see(steady(1.0, until=later.timestamp()), after), later))
    assert again is not None and again.replicas == 3


def test_a_peak_within_the_window_keeps_its_replicas() -> None:
    """The most that was recommended in the window is what stays."""
    low, peak = steady(1.0, 50), steady(80.0, 50, until=T - 50)
    shifted = [replace(one, total=(one.total or 0) + 80 * 50) for one in low]
    assert written(decide(see([*peak, *shifted[1:]], target(7)), NOW)) is None


def test_nothing_goes_in_while_a_rollout_is_under_way() -> None:
    """The baseline of a canary is not disturbed; going out is."""
    assert decide(see(steady(1.0), target(8), stepping=True), NOW).is_empty
    assert written(decide(see(steady(100.0), target(2), stepping=True), NOW)) is not None


def _stale(readings: list[Reading]) -> list[Reading]:
    return [replace(one, at=one.at - 20) for one in readings]


def _gap(readings: list[Reading]) -> list[Reading]:
    return [one for one in readings if not T - 40 < one.at < T - 20]


def _new_epoch(readings: list[Reading]) -> list[Reading]:
    return [
        replace(one, epoch="e2", total=(one.total or 0) - 1000) if one.at > T - 5 else one for one in readings
    ]


def _no_total(readings: list[Reading]) -> list[Reading]:
    return [replace(one, total=None) if one.at > T - 3 else one for one in readings]


def _no_flight(readings: list[Reading]) -> list[Reading]:
    return [replace(one, in_flight=None) if one.at > T - 3 else one for one in readings]


def _frozen(readings: list[Reading]) -> list[Reading]:
    still = readings[-31].total
    return [replace(one, total=still, in_flight=0.0) if one.at >= T - 30 else one for one in readings]


def _future(readings: list[Reading]) -> list[Reading]:
    return [replace(one, at=one.at + 30) for one in readings]


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (_stale, "stale"), (_gap, "gap"), (_new_epoch, "gap"), (_no_total, "partial"),
        (_no_flight, "partial"), (_frozen, "implausible-zero"), (_future, "future"),
        (lambda readings: [], "no-data"),
    ],
)  # fmt: skip
def test_doubtful_data_holds_and_is_told_once(spoil: object, rule: str) -> None:
    readings = spoil(steady(20.0))  # type: ignore[operator]
    decision = decide(see(readings, target(10)), NOW)
    after = written(decision)
    assert after is not None and (after.replicas, after.withheld) == (10, rule)
    assert types(decision) == [event_types.SCALE_WITHHELD]
    assert decide(see(readings, after), NOW + timedelta(seconds=1)).is_empty
    other = decide(see([], after), NOW + timedelta(seconds=2))
    assert other.events == (), "one episode is told once, whatever it is by"


def test_good_data_goes_out_though_it_is_too_short_to_go_in() -> None:
    after = written(decide(see(_new_epoch(steady(100.0)), target(2)), NOW))
    assert after is not None and after.replicas == 8


def test_requests_in_flight_that_never_end_are_no_silence() -> None:
    """A rate of zero while requests are in flight is a hang, however long it lasts."""
    readings = [replace(one, in_flight=1.0) for one in steady(0.0, 1000)]
    readings[0] = replace(readings[0], total=0.0)
    found = assess(see(readings, target(10)), SERVICE, NOW)
    assert (found.replicas, found.withheld) == (10, "implausible-zero")


def test_a_silence_that_lasts_is_believed() -> None:
    after = written(decide(see(steady(0.0, 901, in_flight=0.0), target(4)), NOW))
    assert after is not None and after.replicas == 2


def test_without_a_service_rate_it_stays_at_its_minimum_and_says_so() -> None:
    service = replace(SERVICE, scaling=Scaling())
    after = written(decide(see([], None, service), NOW))
    assert after is not None and (after.replicas, after.rule) == (2, "not-declared")
    assert "serviceRate" in after.reason


def test_a_first_start_without_data_holds_at_the_minimum_and_tells_nobody() -> None:
    decision = decide(see([]), NOW)
    after = written(decision)
    assert after is not None and (after.replicas, after.withheld, decision.events) == (2, "no-data", ())


def test_new_bounds_move_the_target_and_are_no_reversal() -> None:
    service = replace(SERVICE, replicas=Replicas(min=1, max=3))
    after = written(decide(see([], target(10, direction=1), service), NOW))
    assert after is not None and (after.replicas, after.rule, after.reversals) == (3, "bounds", ())


def test_the_target_of_a_service_that_is_gone_is_forgotten() -> None:
    decision = decide(Seen(key=KEY, service=None, before=target(3)), NOW)
    assert [(write.key, write.body) for write in decision.writes] == [(KEY, None)]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), budget=st.integers(0, 6))
def test_a_day_never_has_more_reversals_than_its_budget(seed: int, budget: int) -> None:
    """Load that jumps up and down: out always, in only while a turn back out is left."""
    rng = Random(seed)
    service = replace(SERVICE, scaling=replace(SCALING, reversals_per_day=budget))
    before, now = target(2), NOW
    turned: list[datetime] = []
    direction = 0
    for _ in range(120):
        now += timedelta(seconds=rng.choice([90, 600, 1800]))
        rate = rng.choice([1.0, 40.0, 150.0])
        after = written(decide(see(steady(rate, until=now.timestamp()), before, service), now))
        if after is None:
            continue
        move = (after.replicas > before.replicas) - (after.replicas < before.replicas)
        if move and direction and move != direction:
            turned.append(now)
        direction, before = move or direction, after
        assert sum(now - at < timedelta(days=1) for at in turned) <= budget


SPOILS = (_stale, _gap, _new_epoch, _no_total, _no_flight, _frozen, _future)


def test_a_thousand_outages_of_the_data_never_take_a_replica_away() -> None:
    """The load is steady and needs all eight: whatever goes in did so on data that was missing."""
    rng = Random(7)
    for trial in range(1000):
        readings, before, now = steady(100.0, 130, until=T, in_flight=5.0), target(8), NOW
        for step in range(12):
            now = NOW + timedelta(seconds=step)
            seen = _outage(rng, [*readings, *_on(readings, step)])
            after = written(decide(see(seen, before), now))
            assert after is None or after.replicas >= 8, (trial, step, after)
            before = after or before


def _on(readings: list[Reading], seconds: int) -> list[Reading]:
    last = readings[-1]
    return [replace(last, at=last.at + i, total=(last.total or 0) + 100 * i) for i in range(1, seconds + 1)]


def _outage(rng: Random, readings: list[Reading]) -> list[Reading]:
    """Some of what an outage does, over a span of its own."""
    begin = rng.uniform(readings[0].at, readings[-1].at)
    end = begin + rng.choice([2.0, 30.0, 200.0])
    kind = rng.choice(["lost", "zero", "frozen", "no total", "no flight", "restart", "none"])
    still = next((one.total for one in readings if one.at >= begin), 0.0)
    out = []
    for one in readings:
        inside = begin <= one.at <= end
        if not inside:
            restarted = kind == "restart" and one.at > end
            out.append(replace(one, epoch="e2", total=(one.total or 0) - (still or 0)) if restarted else one)
        elif kind == "zero":
            out.append(replace(one, total=0.0, in_flight=0.0))
        elif kind == "frozen":
            out.append(replace(one, total=still, in_flight=0.0))
        elif kind == "no total":
            out.append(replace(one, total=None))
        elif kind == "no flight":
            out.append(replace(one, in_flight=None))
        elif kind == "none":
            out.append(replace(one, total=None, in_flight=None))
    return out
