"""The scheduler's laws, against a plain dictionary that keeps the earliest time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from poise.engine.scheduler import Item, Scheduler

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS = st.tuples(st.sampled_from(["fleet", "rollout"]), st.sampled_from(["a", "b", "c"]))
SECONDS = st.integers(0, 20).map(lambda s: T0 + timedelta(seconds=s))
WAKE = st.tuples(st.just("wake"), ITEMS, SECONDS)
DUE = st.tuples(st.just("due"), st.none(), SECONDS)


@given(st.lists(WAKE | DUE, max_size=60))
def test_it_is_a_set_of_earliest_times(story: list[tuple[str, Item, datetime]]) -> None:
    scheduler, model = Scheduler(), dict[Item, datetime]()
    for verb, item, at in story:
        if verb == "wake":
            scheduler.wake(item, at)
            model[item] = min(at, model.get(item, at))
        else:
            taken = scheduler.due(at)
            expected = {known for known, when in model.items() if when <= at}
            assert len(taken) == len(set(taken)), "told twice is told once"
            assert set(taken) == expected
            assert [model[one] for one in taken] == sorted(model[one] for one in taken)
            for one in taken:
                del model[one]
        assert scheduler.next_at() == min(model.values(), default=None)


@given(st.lists(ITEMS, min_size=1, max_size=20))
def test_ties_are_served_first_come_first_served(items: list[Item]) -> None:
    scheduler = Scheduler()
    for item in items:
        scheduler.wake(item, T0)
    assert scheduler.due(T0) == list(dict.fromkeys(items))


@given(ITEMS, SECONDS, SECONDS)
def test_a_later_wish_never_delays_an_earlier_one(item: Item, one: datetime, other: datetime) -> None:
    scheduler = Scheduler()
    scheduler.wake(item, one)
    scheduler.wake(item, other)
    assert scheduler.next_at() == min(one, other)
    assert scheduler.due(max(one, other)) == [item]
    assert scheduler.due(max(one, other)) == []


def test_what_is_taken_may_ask_again() -> None:
    scheduler = Scheduler()
    scheduler.wake(("fleet", "a"), T0)
    assert scheduler.due(T0) == [("fleet", "a")]
    scheduler.wake(("fleet", "a"), T0 + timedelta(seconds=1))
    assert scheduler.due(T0) == []
    assert scheduler.due(T0 + timedelta(seconds=1)) == [("fleet", "a")]
