"""A ledger's shares are of the budget that is shown beside them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.model.balance import Budget
from poise.model.spend import Spend, SpendCause, SpendLedger, of_budget

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
