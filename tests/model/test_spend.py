"""A ledger's shares are of the budget that is shown beside them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.model.balance import Budget
from poise.model.spend import BurnNow, Outlook, Spend, SpendCause, SpendLedger, burn_of_budget, of_budget

NOW = datetime(2026, 11, 28, tzinfo=UTC)
BUDGET = Budget(
    service="acme/production/shop", objective="availability", target_ratio=0.999, window_s=2_419_200.0,
    good=9_970.0, bad=30.0, allowed=10.0, left_ratio=-2.0, burns=(), coverage_ratio=1.0, bootstrap=True,
    since=NOW, measured_at=NOW, at=NOW,
)  # fmt: skip


@given(
    allowed=st.floats(1e-3, 1e9), bads=st.lists(st.floats(0.0, 1e6), max_size=5), usual=st.floats(0.0, 1e6)
)
def test_shares_of_a_ledger_add_up_to_what_is_gone(allowed: float, bads: list[float], usual: float) -> None:
    """A young budget is projected and grows; a ledger written before must not say that more is gone."""
    entries = tuple(
        Spend(since=NOW, until=NOW, events=bad, bad=bad, spent_ratio=0.5, cause=SpendCause.UNKNOWN)
        for bad in bads
    )
    ledger = SpendLedger(
        service=BUDGET.service, objective=BUDGET.objective, at=NOW, bad=sum(bads) + usual, allowed=7.0,
        window_s=BUDGET.window_s, usual_bad=usual, entries=entries,
    )  # fmt: skip
    sized = of_budget(ledger, replace(BUDGET, allowed=allowed))
    shares = sum(one.spent_ratio for one in sized.entries) + sized.usual_bad / sized.allowed
    assert shares == pytest.approx(ledger.bad / allowed)
    assert of_budget(ledger, None) == ledger and of_budget(ledger, replace(BUDGET, allowed=0.0)) == ledger


def test_a_burn_tells_its_share_of_the_same_budget() -> None:
    """Two shares of one spend on one page would both be doubted."""
    burn = BurnNow(
        test="fast",
        pages=True,
        since=NOW,
        events=90,
        bad=5,
        spent_ratio=0.9,
        burn_rate=20.0,
        real_chance=0.99,
    )
    outlook = Outlook(
        service=BUDGET.service,
        objective=BUDGET.objective,
        at=NOW,
        bad=5,
        allowed=5.5,
        window_s=1.0,
        burn=burn,
    )
    sized = burn_of_budget(outlook, BUDGET)
    assert sized.burn is not None and sized.burn.spent_ratio == 0.5 and sized.allowed == BUDGET.allowed
    assert burn_of_budget(replace(outlook, burn=None), BUDGET).burn is None
