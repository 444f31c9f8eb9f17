"""The same events in any order, twice, or in parts give the same figures."""

from __future__ import annotations

import random
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as some
from tests.balance.scorecard.histories import START, generated

from poise.balance.scorecard.decide import DAY_S, Scorecard, decide
from poise.balance.scorecard.ledger import Ledger
from poise.model.record import Recorded

END = START + timedelta(days=28)


def card_of(ledger: Ledger) -> Scorecard:
    every = [one for key in ledger.services("shop") for one in ledger.deployments(key)]
    return decide("shop", every, END, 28 * DAY_S)


def fresh(rows: list[Recorded]) -> Scorecard:
    ledger = Ledger()
    ledger.add(rows)
    return card_of(ledger)


@settings(max_examples=60, deadline=None)
@given(seed=some.integers(0, 10_000), shuffle=some.integers(0, 10_000))
def test_any_order_and_twice_give_the_same_figures(seed: int, shuffle: int) -> None:
    rows = generated(seed)
    mixed = [*rows, *rows[::2]]
    random.Random(shuffle).shuffle(mixed)
    assert fresh(mixed) == fresh(rows)


@settings(max_examples=40, deadline=None)
@given(seed=some.integers(0, 10_000), cuts=some.lists(some.integers(0, 200), max_size=5))
def test_added_in_parts_equals_computed_from_scratch(seed: int, cuts: list[int]) -> None:
    """Figures are asked between the parts, so that nothing kept from before is stale."""
    rows, ledger, last = generated(seed), Ledger(), 0
    for cut in sorted(cuts):
        ledger.add(rows[last:cut])
        last = max(last, cut)
        assert card_of(ledger) == fresh(rows[:cut])
    ledger.add(rows[last:])
    assert card_of(ledger) == fresh(rows)


@settings(max_examples=40, deadline=None)
@given(seed=some.integers(0, 10_000))
def test_ratios_are_ratios_and_every_figure_has_its_evidence(seed: int) -> None:
    for figure in fresh(generated(seed)).figures:
        assert figure.value is None or figure.value >= 0
        if figure.unit == "ratio" and figure.value is not None:
            assert figure.value <= 1
            assert len(figure.evidence) == figure.count
        assert (figure.value is None) or figure.evidence or figure.value == 0
