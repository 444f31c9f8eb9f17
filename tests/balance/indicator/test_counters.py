"""Counting: event-exact increments of every objective at once, whatever the readings look like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from poise.balance.indicator.counters import Counter
from poise.balance.indicator.decide import plan
from poise.model.counting import definition
from poise.model.increments import Increments
from poise.model.objective import IndicatorKind, Objective, Queries, Treatment
from poise.model.signal import LATENCY_BUCKET, QUERY_AT, QUERY_TOTAL, Epoch, Rows, Series

SERVICE = "acme/production/shop"
AVAILABILITY = Objective(
    service=SERVICE, name="availability", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999
)
ORDERS = Objective(
    service=SERVICE,
    name="orders",
    indicator=IndicatorKind.QUERY,
    target_ratio=0.9,
    queries=Queries(total="orders_total", bad='orders_total{state="failed"}'),
)
TOTAL, ERRORS = (Series(one.name, tuple(sorted(one.labels.items()))) for one in plan(AVAILABILITY).wanted)


def rows(epoch: str, *readings: tuple[float, dict[Series, float]]) -> list[Rows]:
    """One a reading: (at, values by series)."""
    return [
        Rows(
            epoch=epoch,
            series=tuple(values),
            at_s=np.array([at]),
            values=np.array([list(values.values())], dtype=float),
        )
        for at, values in readings
    ]


def served(epoch: str, *readings: tuple[float, float, float | None]) -> list[Rows]:
    """(at, total, errors): without errors their series is not there."""
    return rows(
        epoch,
        *(
            (at, {TOTAL: total} | ({} if errors is None else {ERRORS: errors}))
            for at, total, errors in readings
        ),
    )


def queried(at: float, sampled: float, objective: Objective = ORDERS, **counts: float) -> list[Rows]:
    """A reading of a metrics store: total_<name> and bad_<name> of each of its series."""
    told = (("definition", definition(objective)), ("objective", objective.key))
    values = {Series(QUERY_AT, told): sampled}
    for name, count in counts.items():
        role, _, series = name.partition("_")
        values[Series(QUERY_TOTAL, (*told, ("role", role), ("series", series)))] = count
    return rows("query/acme/prometheus/3", (at, values))


def counter(
    *objectives: Objective, since: float = 0.0, epochs: Sequence[Epoch] = (), has_begun: bool = True
) -> Counter:
    made = Counter(epochs)
    for place, one in enumerate(objectives or (AVAILABILITY,)):
        made.follow(one, place, since, has_begun=has_begun)
    return made


def added(increments: Increments, place: int = 0) -> tuple[float, float, float]:
    """(good, bad, known seconds)."""
    mine = increments.place == place
    known_s = (increments.at_s - increments.known_from_s)[mine].sum()
    return float(increments.good[mine].sum()), float(increments.bad[mine].sum()), float(known_s)


def lives(*epochs: tuple[str, float, float]) -> list[Epoch]:
    return [Epoch(name=name, first_at=first, kept_from=first, last_at=last) for name, first, last in epochs]


def test_increments_are_differences_of_readings() -> None:
    made = counter().take(served("e1", (10, 100, 5), (20, 150, 6), (30, 170, 6)))
    assert (made.at_s.tolist(), made.good.tolist(), made.bad.tolist()) == ([20, 30], [49, 20], [1, 0])
    assert made.known_from_s.tolist() == [10, 20]


@pytest.mark.parametrize(("treatment", "good"), [(Treatment.COUNT, 9.0), (Treatment.IGNORE, 2.0)])
def test_a_reset_within_an_epoch_counts_the_new_value_unless_it_is_ignored(
    treatment: Treatment, good: float
) -> None:
    objective = structs.replace(AVAILABILITY, on_reset=treatment)
    made = counter(objective).take(served("e1", (10, 100, 0), (20, 7, 0), (30, 9, 0)))
    assert added(made) == (good, 0, 20)


@pytest.mark.parametrize(("treatment", "bad"), [(Treatment.COUNT, 50.0), (Treatment.IGNORE, 0.0)])
def test_a_series_new_within_a_known_epoch_counts_from_its_first_value_unless_it_is_ignored(
    treatment: Treatment, bad: float
) -> None:
    """Case c: error series are born with their first errors; those are not lost."""
    objective = structs.replace(AVAILABILITY, first_sample=treatment)
    made = counter(objective).take(served("e1", (10, 100, None), (20, 160, 50)))
    assert added(made) == (60 - bad, bad, 10)


def test_a_first_epoch_of_unknown_age_is_only_where_counting_begins() -> None:
    made = counter(epochs=lives(("e1", 10, 20))).take(served("e1", (10, 1000, 9), (20, 1010, 9)))
    assert added(made) == (10, 0, 10)


def test_an_epoch_that_began_while_watching_counts_from_zero() -> None:
    """Envoy restarted: what the new one counted before its first reading happened after ``since``."""
    readings = [*served("e1", (5, 100, 0), (10, 110, 0)), *served("e2", (20, 30, 0), (30, 40, 0))]
    known = lives(("e1", 0, 10), ("e2", 20, 30))
    assert added(counter(epochs=known, since=1).take(readings)) == (10 + 40, 0, 5 + 10)
    assert added(counter(epochs=known, since=25).take(readings)) == (10, 0, 5)


def test_a_gap_within_an_epoch_is_counted_and_known_and_the_tail_before_a_new_one_is_not() -> None:
    made = counter().take(served("e1", (10, 100, 0), (5000, 900, 0)))
    assert added(made) == (800, 0, 4990)
    made = counter().take([*served("e1", (0, 1, 0), (100, 1, 0)), *served("e2", (160, 1, 0), (200, 1, 0))])
    assert added(made)[2] == 100 + 40


def test_a_total_that_vanished_is_unknown_until_it_is_back() -> None:
    """Case g: the target disappears while the source is still read."""
    one = counter()
    one.take(served("e1", (10, 1, 0), (100, 5, 0)))
    gone = one.take(rows("e1", (200, {ERRORS: 0.0}), (500, {ERRORS: 0.0})))
    assert added(gone) == (0, 0, 0)
    assert one.columns[AVAILABILITY.key].measured_s == 100
    back = one.take(served("e1", (600, 9, 0)))
    assert added(back) == (4, 0, 500), "the same counter was read again: nothing was lost"


def test_a_source_that_is_read_and_never_had_the_series_saw_no_traffic() -> None:
    made = counter().take(rows("e1", (10, {}), (500, {})))
    assert added(made) == (0, 0, 490)


def test_what_was_taken_is_not_taken_twice() -> None:
    one = counter()
    readings = served("e1", (10, 100, 0), (20, 150, 0))
    one.take(readings)
    assert added(one.take([*readings, *served("e1", (30, 160, 0))])) == (10, 0, 10)


def test_measuring_begins_when_declared_or_with_the_first_reading_if_there_was_none() -> None:
    one = counter(since=15, has_begun=False)
    one.take(served("e1", (10, 1, 0), (20, 2, 0)))
    assert one.columns[AVAILABILITY.key].since_s == 15
    other = counter(since=5, has_begun=False)
    assert added(other.take(served("e1", (10, 1, 0), (20, 2, 0)))) == (1, 0, 10)
    assert other.columns[AVAILABILITY.key].since_s == 10


def test_queried_events_count_when_they_were_sampled() -> None:
    one = counter(ORDERS)
    one.take(queried(12, 10, total_a=1000, bad_a=5))
    made = one.take(queried(27, 25, total_a=1100, bad_a=6))
    assert (made.at_s.tolist(), made.known_from_s.tolist()) == ([25], [10])
    assert added(made) == (99, 1, 15)
    assert len(one.take(queried(28, 25, total_a=1100, bad_a=6))) == 0, "nothing newer was sampled"


def test_queried_series_that_are_all_new_are_where_counting_begins_anew() -> None:
    one = counter(ORDERS)
    one.take(queried(10, 10, total_a=1000, bad_a=5))
    assert added(one.take(queried(20, 20, total_b=10**6, bad_b=99))) == (0, 0, 0)
    assert added(one.take(queried(30, 30, total_b=10**6 + 5, bad_b=99, total_c=7))) == (12, 0, 10)


def test_another_definition_is_not_counted() -> None:
    other = structs.replace(ORDERS, queries=Queries(total="shop_total", bad="shop_failed_total"))
    one = counter(other)
    one.take(queried(10, 10, total_a=1000, bad_a=5))
    assert len(one.take(queried(20, 20, total_a=1100, bad_a=5))) == 0
    assert one.columns[other.key].measured_s is None


@pytest.mark.parametrize(
    ("threshold_ms", "good", "interpolated"),
    [(100, 80, False), (50, 60, False), (75, 70, True), (25, 30, True), (1000, 95, False), (2000, 95, False)],
)
def test_latency_is_exact_at_a_bound_and_flagged_between(
    threshold_ms: float, good: float, interpolated: bool
) -> None:
    objective = Objective(
        service=SERVICE,
        name="latency",
        indicator=IndicatorKind.LATENCY,
        target_ratio=0.95,
        threshold_ms=threshold_ms,
    )
    buckets = {"50": 60.0, "100": 80.0, "1000": 95.0, "+Inf": 100.0}
    series = {
        Series(LATENCY_BUCKET, (("le", le), ("service", SERVICE))): count for le, count in buckets.items()
    }
    one = counter(objective)
    made = one.take(rows("e1", (10, dict.fromkeys(series, 0.0)), (20, series)))
    assert added(made)[0] == pytest.approx(good) and added(made)[1] == pytest.approx(100 - good)
    assert one.columns[objective.key].interpolated is interpolated


READINGS = st.lists(
    st.tuples(
        st.floats(0.01, 100),  # since the reading before
        st.booleans(),  # the process restarted
        st.integers(0, 1000),  # requests
        st.integers(0, 1000),  # of these failed
        st.booleans(),  # a new epoch
        st.booleans(),  # this reading is lost
    ),
    max_size=60,
)


@given(READINGS, st.lists(st.integers(1, 7), max_size=40))
def test_counting_in_pieces_equals_adding_everything(
    happened: list[tuple[float, bool, int, int, bool, bool]], pieces: list[int]
) -> None:
    """Brute force: a process counts; readings, losses, resets, epochs and pieces fall anywhere.

    What was counted between the last reading and a restart is lost to whoever reads; all else is counted.
    """
    now, epoch, count, read, truth, pending = 0.0, 1, [0, 0], [0, 0], [0, 0], [0, 0]
    readings: list[Rows] = served("e1", (0.0, 0.0, 0.0))
    for gap, restarted, asked, fails, renewed, lost in happened:
        events = [asked, min(asked, fails)]
        now += gap
        is_seen = restarted and events[0] < read[0] and events[1] < read[1]
        if renewed or is_seen:
            count, pending = [0, 0], [0, 0]
            epoch += renewed
        count, pending = ([a + b for a, b in zip(one, events, strict=True)] for one in (count, pending))
        if lost and not is_seen:
            continue
        readings += served(f"e{epoch}", (now, *count))
        read, truth, pending = count, [a + b for a, b in zip(truth, pending, strict=True)], [0, 0]
    one, all_good, all_bad = counter(since=0.0), 0.0, 0.0
    while readings:
        size = pieces.pop() if pieces else len(readings)
        good, bad, _ = added(one.take(readings[:size]))
        readings, all_good, all_bad = readings[size:], all_good + good, all_bad + bad
    assert [all_good + all_bad, all_bad] == truth


@pytest.mark.parametrize(("after", "known_s"), [(200.0, 210.0), (1000.0, 10.0)])
def test_a_restart_in_a_long_silence_hides_what_happened_before_it(after: float, known_s: float) -> None:
    """What a process counted before it died unseen is lost, so nobody knows that time."""
    made = counter(since=-1.0)
    found = made.take(served("a", (0.0, 100.0, 0.0), (10.0, 110.0, 1.0), (10.0 + after, 7.0, 0.0)))
    assert added(found)[:2] == (9.0 + 7.0, 1.0)
    assert added(found)[2] == known_s


def test_a_silence_in_which_the_counter_went_on_is_known() -> None:
    """A monotone counter tells of the time in which nobody read it."""
    found = counter(since=-1.0).take(served("a", (0.0, 100.0, 0.0), (5000.0, 160.0, 0.0)))
    assert added(found) == (60.0, 0.0, 5000.0)


def test_a_group_begins_when_it_is_told_of() -> None:
    """A region that opens today was not unknown, nor quiet, for the four weeks before."""
    whole = structs.replace(ORDERS, group_by=("region",))
    late = structs.replace(whole, group="region=us")
    made = counter(late, has_begun=False)

    def read(at: float, **counts: float) -> list[Rows]:
        told = (("definition", definition(whole)), ("objective", whole.key))
        values = {Series(QUERY_AT, told): at}
        for region, count in counts.items():
            labels = (*told, ("group", f"region={region}"), ("role", "total"), ("series", region))
            values[Series(QUERY_TOTAL, tuple(sorted(labels)))] = count
        return rows("query/acme/prometheus/3", (at, values))

    for at in (15.0, 30.0):
        made.take(read(at, eu=at))
    found = [made.take(read(at, eu=at, us=at)) for at in (45.0, 60.0)]
    assert made.columns[late.key].since_s == 45.0
    assert [added(one) for one in found] == [(0.0, 0.0, 0.0), (15.0, 0.0, 15.0)]
    assert not len(made.take(read(75.0, eu=75.0)))
    assert made.columns[late.key].measured_s == 60.0
