"""Where a spend began and ended, and who is charged with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from poise.balance.ledger.attribution import Suspect, charge, likeliest
from poise.balance.ledger.episodes import Episode, episodes
from poise.model.spend import SpendCause

ALLOWED = 0.001


def day(
    *faults: tuple[int, int, float], per_minute: float = 100.0, usual: float = 0.0003
) -> list[np.ndarray]:
    """(total, bad) of a day with these faults (begin, end, ratio)."""
    random = np.random.default_rng(3)
    ratio = np.full(1440, usual)
    for begin, end, high in faults:
        ratio[begin:end] = high
    total = random.poisson(per_minute, 1440)
    return [total.astype(float), random.binomial(total, ratio).astype(float)]


def deploy(at: float, undone_at: float | None = None, cause: SpendCause = SpendCause.DEPLOY) -> Suspect:
    return Suspect(cause=cause, subject=f"{cause.value} {at:g}", at=at, undone_at=undone_at)


def test_a_fault_is_one_episode_with_its_first_and_last_minute() -> None:
    """Two faults an hour apart are two entries, however bad they are."""
    found = episodes(*day((600, 630, 0.5), (690, 700, 1.0)), ALLOWED)
    assert [(one.begin, one.end) for one in found] == [(600, 630), (690, 700)]


def test_a_blip_is_dated_and_usual_failures_are_not() -> None:
    """A minute that spends much is a spend like any other; half the budget's rate is none."""
    assert [(one.begin, one.end) for one in episodes(*day((300, 301, 0.3)), ALLOWED)] == [(300, 301)]
    assert episodes(*day(usual=0.0005), ALLOWED) == []


def test_an_episode_that_goes_on_has_no_end_yet() -> None:
    """Its entry is closed when the counts say so."""
    found = episodes(*day((1400, 1440, 0.2)), ALLOWED)
    assert [(one.begin, one.end) for one in found] == [(1400, None)]


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), max_size=120), st.floats(1e-5, 0.5))
def test_no_failure_is_in_two_episodes_and_the_chances_are_whole(
    counts: list[tuple[int, float]], allowed: float
) -> None:
    """The sums must add up to what was spent, exactly."""
    total = np.array([float(one) for one, _ in counts])
    bad = np.round(total * np.array([share for _, share in counts]))
    found = episodes(total, bad, allowed)
    edges = [edge for one in found for edge in (one.begin, len(total) if one.end is None else one.end)]
    assert edges == sorted(edges)
    for one in found:
        some = slice(one.begin, one.end)
        assert (one.bad, one.total) == (bad[some].sum(), total[some].sum())
        assert sum(one.onset) == pytest.approx(1.0)


def one_at(begin: int, end: int | None = None) -> Episode:
    return Episode(begin=begin, end=end, total=1000.0, bad=100.0, first=begin, onset=(1.0,))


def test_the_deploy_just_before_is_charged_and_not_those_of_other_hours() -> None:
    """v43 cost 3.1 % of the month."""
    charged = charge(one_at(600), [deploy(598.5), deploy(480), deploy(602), deploy(30)])
    assert (charged.subject, charged.lag_min) == ("deploy 598.5", 1.5)
    assert charged.chance > 0.9


def test_nobody_is_charged_by_less_than_an_even_chance() -> None:
    """A false charge costs trust; what is not known is told as unknown."""
    assert charge(one_at(600), [deploy(480)]).cause is SpendCause.UNKNOWN
    assert charge(one_at(600), []).cause is SpendCause.UNKNOWN
    assert charge(one_at(600), [deploy(601.5)]).cause is SpendCause.UNKNOWN


def test_what_was_undone_before_is_innocent_and_what_ended_it_is_likelier() -> None:
    """A rollback after which failures end is evidence."""
    assert charge(one_at(600), [deploy(590, undone_at=595)]).cause is SpendCause.UNKNOWN
    two = [deploy(597, undone_at=631), deploy(599)]
    assert charge(one_at(600, 630), two).subject == "deploy 597"
    assert charge(one_at(600), two).subject == "deploy 599"


def test_a_dependency_that_fails_at_the_same_time_is_charged_before_a_deploy_an_hour_ago() -> None:
    """Its failures are passed on within seconds."""
    found = charge(one_at(600), [deploy(540), deploy(600, cause=SpendCause.DEPENDENCY)])
    assert found.cause is SpendCause.DEPENDENCY


def test_the_start_is_where_the_ratio_rose_not_at_the_last_stray_failure() -> None:
    """At little traffic a stray failure half an hour before must not charge another deploy."""
    total, bad = np.full(1440, 5.0), np.zeros(1440)
    bad[570] = 1
    bad[600:630] = 4
    assert likeliest(episodes(total, bad, ALLOWED)[0]) == 600


def tried(e_value: float, at: float = 597.0, undone_at: float | None = None) -> Suspect:
    return structs.replace(deploy(at, undone_at), compared=(at, at + 10), e_value=e_value)


def test_a_fault_that_hits_both_revisions_alike_is_not_the_new_ones() -> None:
    """The deploy came three minutes before; what its canary and the old revision answered says otherwise."""
    assert charge(one_at(600), [tried(1.0)]).subject == "deploy 597"
    alike = charge(one_at(600), [tried(1e-4)])
    assert alike.cause is SpendCause.UNKNOWN
    assert (alike.likeliest, alike.lag_min) == ("deploy 597", 3.0) and 0 < alike.likeliest_chance < 0.5
    assert charge(one_at(600), [tried(1e9)]).chance > 0.99
    after = structs.replace(tried(1e-4), compared=(590.0, 595.0))
    assert charge(one_at(600), [after]).subject == "deploy 597", "a trial that was over says nothing of it"


def test_how_an_episode_ends_is_evidence_for_and_against() -> None:
    """It ended as the deploy was undone, ended without that, or went on all the same."""
    ended, without, outlived = (
        charge(one_at(600, 660), [deploy(594, undone_at)]) for undone_at in (658.0, None, 615.0)
    )
    assert ended.subject == "deploy 594" and ended.chance > 0.95
    open_ = charge(one_at(600), [deploy(594)])
    assert open_.subject == "deploy 594", "while it goes on nobody knows"
    assert without.cause is SpendCause.UNKNOWN and outlived.chance < open_.chance


@given(
    st.floats(0, 1e300),
    st.floats(1, 1e3),
    st.floats(590, 600),
    st.none() | st.floats(600, 700),
    st.booleans(),
)
def test_more_evidence_against_the_new_revision_never_makes_it_less_likely(
    e_value: float, times: float, at: float, undone_at: float | None, ended: bool
) -> None:
    """And a chance is a chance, however extreme the numbers are."""
    episode = one_at(600, 660 if ended else None)
    chances = []
    for e in (e_value, min(e_value * times, 1e300)):
        found = charge(episode, [tried(e, at, undone_at)])
        chances.append(found.chance if found.subject else found.likeliest_chance)
    assert 0.0 <= chances[0] <= chances[1] + 1e-12 <= 1.0 + 1e-9
