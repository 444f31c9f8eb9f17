"""A burn's share of the budget is of the budget that the gate knows: one way of sizing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from msgspec import structs

from poise.adapters.memory import MemoryStore
from poise.adapters.memory_totals import MemoryTotals
from poise.balance.budget.controller import ALL, BudgetController
from poise.balance.burn.watch import BurnWatch
from poise.model.balance import Budget
from poise.model.exclusion import Exclusion
from poise.model.objective import Calendar, CalendarUnit, IndicatorKind, Objective
from poise.model.policy import BudgetPolicy, OnUnknown
from poise.model.record import Write
from poise.model.service import Project
from poise.model.signal import ERRORS_TOTAL, REQUESTS_TOTAL, Batch, Sample, Series
from poise.model.spend import Outlook
from poise.ports.store import Transaction

T0 = datetime(2026, 11, 2, tzinfo=UTC)
SHOP = "acme/production/shop"
ROLLING = Objective(service=SHOP, name="rolling", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999)
MONTHLY = structs.replace(ROLLING, name="monthly", calendar=Calendar(unit=CalendarUnit.MONTH))
STRICT = structs.replace(ROLLING, name="strict", target_ratio=0.9999)
YOUNG, OLD = BudgetPolicy(), BudgetPolicy(bootstrap_s=3600.0, bootstrap_events=10)


async def _played(policy: BudgetPolicy, hours: int, exclusion: Exclusion | None) -> tuple[int, int]:
    """Hours of readings every minute, with an outage in the second one: (outlooks, burns) compared."""
    store, totals = MemoryStore(), MemoryTotals()
    room = BudgetController(store, totals, observers=(BurnWatch(),))
    writes = [Write(kind="Project", key="acme", body=Project(name="acme", policy=policy))]
    writes += [Write(kind="Objective", key=one.key, body=one) for one in (ROLLING, MONTHLY, STRICT)]
    if exclusion is not None:
        writes.append(Write(kind="Exclusion", key=exclusion.key, body=exclusion))
    await store.commit(Transaction(at=T0, writes=writes))
    total = bad = outlooks = burns = 0
    for minute in range(60 * hours):
        at = T0 + timedelta(minutes=minute)
        failed = 40 if 70 <= minute < 90 else 0
        total, bad = total + 60, bad + failed
        labels = (("service", SHOP),)
        if not 200 <= minute < 230:  # a gap
            samples = (
                Sample(Series(ERRORS_TOTAL, labels), bad),
                Sample(Series(REQUESTS_TOTAL, labels), total),
            )
            await totals.append(Batch(at=at, epoch="e1" if minute < 215 else "e2", samples=samples))
        decision = await room.look(ALL, at)
        await store.commit(
            Transaction(at=at, reads=decision.reads, writes=decision.writes, events=decision.events)
        )
        for write in decision.writes:
            if isinstance(write.body, Outlook):
                budget, _ = await store.get(Budget, write.key)
                if budget is not None and budget.at == write.body.at:
                    outlooks += 1
                    assert write.body.allowed == budget.allowed
                    if write.body.burn is not None:
                        burns += 1
                        assert write.body.burn.spent_ratio == write.body.burn.bad / budget.allowed
    return outlooks, burns


@pytest.mark.parametrize("policy", [YOUNG, OLD, structs.replace(YOUNG, on_unknown=OnUnknown.BAD)])
@pytest.mark.parametrize("excluded", [False, True])
def test_the_watch_and_the_budget_say_the_same_of_how_large_a_budget_is(
    policy: BudgetPolicy, excluded: bool
) -> None:
    """Young and old, rolling and of the calendar, with unknown time that counts and time that does not."""
    exclusion = Exclusion(
        project="acme", name="x", starts=(T0 + timedelta(minutes=80)).isoformat(), duration_s=600,
        reason="work", by="ann",
    )  # fmt: skip
    outlooks, burns = anyio.run(_played, policy, 6, exclusion if excluded else None)
    assert outlooks > 10
    assert burns > 0
