"""The sequential tests of a burn: what they promise whatever the traffic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from poise.balance.burn.sequential import (
    TESTS,
    State,
    advance,
    advance_all,
    chance_real,
    fresh,
    hazard,
    weights,
)

TARGET, PERIOD_S = 0.999, 30 * 86_400.0
Minute = tuple[float, float]


def follow(
    minutes: Sequence[Minute], state: State | None = None, *, begin: int = 0, looks: Minute = (0.0, 0.0)
) -> list[State]:
    """One objective's states after each minute of (total, bad)."""
    worth = weights(np.array([TARGET]))
    state = state if state is not None else fresh(1, begin * 60.0)
    found = []
    for number, (total, bad) in enumerate(minutes, begin + 1):
        state = advance(
            state, worth, np.array([total]), np.array([bad]), at=number * 60.0,
            period_allowed=np.array([max(total, 1.0) * 43.2]), period_s=np.array([PERIOD_S]),
            looks=looks[0], looks_failed=looks[1],
        )  # fmt: skip
        found.append(state)
    return found


def pages(state: State) -> bool:
    return bool(state.firing[0] >= 0) and TESTS[int(state.firing[0])].pages


@given(total=st.integers(1, 1_000_000), share=st.floats(0, 1))
def test_one_blip_however_bad_pages_nobody(total: int, share: float) -> None:
    """A naive CUSUM pages at every blip; one minute's evidence is capped."""
    quiet = [(float(total), 0.0)] * 3
    states = follow([*quiet, (float(total), float(round(total * share))), *quiet])
    assert not any(pages(one) for one in states)


@pytest.mark.parametrize("per_minute", [10, 100, 1000, 100_000])
def test_a_total_outage_pages_at_the_end_of_its_second_minute(per_minute: int) -> None:
    """From 600 requests/h nobody waits longer, and nobody is woken after one minute."""
    states = follow([(per_minute, 0)] * 5 + [(per_minute, per_minute)] * 2)
    assert [pages(one) for one in states[5:]] == [False, True]
    assert states[-1].onset[0] == 300.0


def test_a_probe_that_fails_pages_within_two_minutes_without_any_traffic() -> None:
    """At ten requests an hour users cannot tell in time; a probe every 30 s can."""
    assert [pages(one) for one in follow([(0, 0)] * 2, looks=(2.0, 2.0))] == [False, True]


def test_a_broken_probe_does_not_page_while_users_are_served() -> None:
    """Evidence is joined, not or-ed: a thousand answers weigh more than a look."""
    assert not any(pages(one) for one in follow([(1000, 0)] * 30, looks=(2.0, 2.0)))


@pytest.mark.parametrize(("burn", "within"), [(20, 25), (8, 90), (4, 300)])
def test_a_burn_pages_soon_and_knows_its_start(burn: int, within: int) -> None:
    """The start is what attribution needs; here the counts are their own expectation."""
    total = 1000.0
    states = follow([(total, 0.5)] * 60 + [(total, total * burn * 0.001)] * within)
    assert not any(pages(one) for one in states[:60])
    first = next(one for one in states if pages(one))
    assert first.onset[0] == 3600.0
    assert chance_real(first, weights(np.array([TARGET])), np.array([43_200.0]))[0] > 0.99


def test_silence_neither_begins_nor_ends_a_burn() -> None:
    """No scrape is unknown, not healthy."""
    burning = follow([(100, 0)] * 5 + [(100, 100)] * 3)[-1]
    after = follow([(0, 0)] * 600, burning, begin=8)[-1]
    assert pages(after)
    assert not pages(follow([(0, 0)] * 600)[-1])


def test_a_burn_is_over_when_counts_say_so_and_knows_since_when() -> None:
    """The end closes an entry of the ledger."""
    burning = follow([(100, 0)] * 5 + [(100, 100)] * 10)[-1]
    after = follow([(100, 0)] * 3, burning, begin=15)
    assert [pages(one) for one in after] == [True, False, False]
    assert after[-1].over_since[0] == 15 * 60.0
    assert after[-1].evidence.max() == 0.0


def test_a_worse_test_raises_what_fires_and_keeps_its_start() -> None:
    """One alert per objective, with a rising severity."""
    ticket = follow([(1000, 3)] * 3000)
    assert TESTS[int(ticket[-1].firing[0])].name == "trickle"
    paged = follow([(1000, 300)] * 30, ticket[-1], begin=3000)[-1]
    assert pages(paged)
    assert paged.onset[0] == ticket[-1].onset[0]


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 1)), min_size=1, max_size=40))
def test_objectives_side_by_side_stand_as_each_alone(counts: list[tuple[int, float]]) -> None:
    """Vectorised over objectives, and the same verdict live and replayed."""
    minutes = [(float(total), float(round(total * share))) for total, share in counts]
    alone = follow(minutes)[-1]
    worth, both = weights(np.array([TARGET, 0.95])), fresh(2, 0.0)
    for number, (total, bad) in enumerate(minutes, 1):
        both = advance(
            both, worth, np.array([total, 7.0]), np.array([bad, 1.0]), at=number * 60.0,
            period_allowed=np.array([max(total, 1.0) * 43.2, 5.0]), period_s=np.full(2, PERIOD_S),
        )  # fmt: skip
    for name in structs.asdict(alone):
        np.testing.assert_array_equal(getattr(both, name)[..., 0], getattr(alone, name)[..., 0], err_msg=name)


MINUTES = st.tuples(
    st.integers(0, 500) | st.just(0), st.floats(0, 0.02) | st.floats(0, 1), st.integers(0, 40), st.booleans()
)


@given(st.lists(st.tuples(MINUTES, st.integers(1, 12)), min_size=1, max_size=12), st.integers(0, 40))
def test_many_minutes_at_once_stand_as_one_after_another(
    stretches: list[tuple[tuple[int, float, int, bool], int]], first: int
) -> None:
    """What a restarted watch looks through at once must be what a running one saw, bit for bit."""
    rows = [minute for minute, times in stretches for _ in range(times)]
    total = np.array([(float(events), float(other)) for events, _, other, _ in rows])
    bad = np.array([(float(round(events * share)), float(other // 3)) for events, share, other, _ in rows])
    looks = np.array([(2.0, 0.0) if probed else (0.0, 0.0) for _, _, _, probed in rows])
    at_s = 60.0 * np.arange(1.0, len(rows) + 1)
    worth, single, at_once = weights(np.array([TARGET, 0.95])), fresh(2, 0.0), fresh(2, 0.0)
    allowed, period_s = np.array([400.0, 5.0]), np.full(2, PERIOD_S)
    for number in np.flatnonzero(total.any(axis=1)).tolist():
        single = advance(
            single, worth, total[number], bad[number], at=float(at_s[number]), period_allowed=allowed,
            period_s=period_s, looks=looks[number], looks_failed=looks[number],
        )  # fmt: skip
    for some in (slice(0, first), slice(first, None)):
        at_once = advance_all(
            at_once, worth, total[some], bad[some], at=at_s[some], period_allowed=allowed, period_s=period_s,
            looks=looks[some], looks_failed=looks[some],
        )  # fmt: skip
    for name in structs.asdict(single):
        np.testing.assert_array_equal(getattr(at_once, name), getattr(single, name), err_msg=name)


@given(target=st.floats(0.01, 0.999999), evidence=st.floats(0, 500), allowed=st.floats(0, 1e9))
def test_every_number_is_finite_at_any_target(target: float, evidence: float, allowed: float) -> None:
    """No NaN reaches a user, and a low target has tests that can fire."""
    worth = weights(np.array([target]))
    for values in structs.asdict(worth).values():
        assert np.isfinite(values).all()
    assert (worth.bad > 0).all()
    state = structs.replace(fresh(1, 0.0), evidence=np.full((len(TESTS), 1), evidence))
    assert 0.0 <= chance_real(state, worth, np.array([allowed]))[0] <= 1.0


def test_the_chance_that_a_burn_is_real_keeps_its_word_on_healthy_traffic() -> None:
    """At a chance p a healthy period may get so far (1 - p) / p times; here 10 periods at a burn of 1."""
    random = np.random.default_rng(7)
    count, minutes, allowed = 30, 14_400, np.full(30, 432.0)
    worth, state = weights(np.full(count, TARGET)), fresh(count, 0.0)
    total = random.poisson(10.0, (minutes, count))
    bad = random.binomial(total, 1 - TARGET)
    reached, above = 0, np.zeros(count, dtype=bool)
    for minute in range(minutes):
        state = advance(
            state, worth, total[minute].astype(float), bad[minute].astype(float), at=60.0 * minute,
            period_allowed=allowed, period_s=np.full(count, PERIOD_S),
        )  # fmt: skip
        chance = chance_real(state, worth, allowed)
        reached += int(((chance >= 0.5) & ~above).sum())
        above = (above | (chance >= 0.5)) & (state.evidence.max(axis=0) > 0)  # once in an excursion
    assert reached / 10 <= 1.0


def test_a_hazard_stays_a_ratio() -> None:
    """Fourteen times a budget of 10 % would be 144 %."""
    assert hazard(np.array([0.1]), 14.4)[0] == pytest.approx(0.781, abs=1e-3)
    assert hazard(np.array([0.001]), 14.4)[0] == pytest.approx(0.0144, rel=0.01)
