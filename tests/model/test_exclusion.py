"""Exclusions as stretches of time: merged, clipped, capped."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from poise.model.exclusion import Exclusion, effective, length_s, merged

stretches = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=20)


def seconds(found: object) -> set[int]:
    assert isinstance(found, list | tuple)
    return {at for start, end in found for at in range(int(start), int(end))}


@given(given_=stretches)
def test_merged_is_the_same_time_once(given_: list[tuple[int, int]]) -> None:
    """An hour that two exclusions cover is one hour."""
    found = merged(given_)
    assert seconds(found) == seconds([pair for pair in given_ if pair[0] < pair[1]])
    assert all(one[1] < other[0] for one, other in pairwise(found))


@given(given_=stretches, start=st.integers(0, 100), length=st.integers(0, 100), most=st.integers(0, 50))
def test_no_more_than_the_cap_is_ever_excluded(
    given_: list[tuple[int, int]], start: int, length: int, most: int
) -> None:
    """Exclusions that eat the window would make any objective met."""
    found = effective(given_, start, start + length, most)
    inside = seconds(merged(given_)) & set(range(start, start + length))
    assert seconds(found) <= inside
    assert length_s(found) == min(most, len(inside))


def test_it_covers_an_objective_a_service_or_a_project() -> None:
    """Maintenance of a database is about some objectives, that of a data centre about all."""
    one = Exclusion(project="acme", name="x", starts="", duration_s=1, reason="r", by="ann")
    assert one.covers("acme/production/shop/latency")
    assert not one.covers("acme2/production/shop/latency")
