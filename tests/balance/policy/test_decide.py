"""The level on record: entered at once, left slowly, and the same after a restart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
from msgspec import structs

from poise.adapters.memory import MemoryStore
from poise.balance.policy.controller import PolicyController
from poise.balance.policy.decide import Seen, decide
from poise.model.balance import Budget
from poise.model.event_types import POLICY_LEVEL_CHANGED
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import DAY_S, BudgetPolicy, Level, PolicyState
from poise.model.record import Ref, Write
from poise.model.service import Project
from poise.ports.store import Transaction

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SHOP = "acme/production/shop"
POLICY = BudgetPolicy()


def budget(left: float, name: str = "availability", at: datetime = NOW, **changes: Any) -> Budget:
    fields: dict[str, Any] = {
        "service": SHOP, "objective": name, "target_ratio": 0.999, "window_s": 28 * DAY_S, "good": 1e6,
        "bad": 1000 * (1 - left), "allowed": 1000.0, "left_ratio": left, "burns": (), "coverage_ratio": 1.0,
        "bootstrap": False, "since": NOW - timedelta(days=30), "measured_at": at, "at": at,
    }  # fmt: skip
    return Budget(**(fields | changes))


def look(
    before: PolicyState | None, *budgets: Budget, at: datetime = NOW, **changes: Any
) -> PolicyState | None:
    """The level after a look: what was written, else what was there."""
    seen = Seen(
        service=SHOP, policy=changes.get("policy", POLICY), budgets=budgets,
        declared=tuple(one.key for one in budgets), before=before,
    )  # fmt: skip
    writes = decide(seen, at).writes
    after = writes[0].body if writes else before
    assert after is None or isinstance(after, PolicyState)
    return after


def test_the_worst_objective_decides_and_never_the_average() -> None:
    """NthLayer averages 0, 0 and 100 % to a go."""
    state = look(None, budget(0.9), budget(0.05, "latency"), budget(0.95, "freshness"))
    assert state is not None and (state.level, state.objective) == (Level.APPROVAL, f"{SHOP}/latency")


def test_a_service_that_nobody_has_watched_yet_is_not_fast_at_once() -> None:
    """Fast is earned: after the dwell, with the budget still there."""
    first = look(None, budget(0.99))
    assert first is not None and first.level is Level.NORMAL
    assert first.faster_at == NOW + timedelta(seconds=POLICY.dwell_s)
    later = NOW + timedelta(seconds=POLICY.dwell_s)
    second = look(first, budget(0.99, at=later), at=later)
    assert second is not None and (second.level, second.since) == (Level.FAST, later)


def test_a_restart_does_not_change_the_level() -> None:
    """The level is in the store: who comes up in the middle of the dwell keeps it."""
    frozen = look(None, budget(-0.1))
    assert frozen is not None and frozen.level is Level.FREEZE
    soon = NOW + timedelta(minutes=5)
    kept = look(frozen, budget(0.5, at=soon), at=soon)
    assert kept is not None and (kept.level, kept.since) == (Level.FREEZE, NOW)


def test_unknown_and_young_budgets_move_no_level() -> None:
    """What nobody knows neither freezes for an hour nor frees."""
    state = look(None, budget(0.2))
    assert look(state, budget(0.9, at=NOW - timedelta(hours=1))) == state
    assert look(state, budget(-1.0, bootstrap=True)) == state
    assert look(None, budget(-1.0, bootstrap=True)) is None


def test_a_change_of_level_is_told_and_a_small_move_is_not_even_written() -> None:
    """The journal gets transitions; otherwise each reading would be an entry."""
    seen = Seen(
        service=SHOP, policy=POLICY, budgets=(budget(0.5),), declared=(f"{SHOP}/availability",), before=None
    )
    decision = decide(seen, NOW)
    assert [one.type for one in decision.events] == [POLICY_LEVEL_CHANGED]
    (write,) = decision.writes
    assert isinstance(write.body, PolicyState)
    after = structs.replace(seen, before=write.body, budgets=(budget(0.495),))
    assert decide(after, NOW).is_empty


def test_another_policy_begins_anew_and_an_undeclared_service_is_forgotten() -> None:
    """Old bounds say nothing of new ones."""
    state = look(None, budget(-0.1))
    fresh = look(state, budget(0.5), policy=structs.replace(POLICY, name="other"))
    assert fresh is not None and (fresh.level, fresh.policy) == (Level.NORMAL, "other")
    assert look(state) is None


def test_the_room_wakes_on_budgets_and_forgets_what_is_gone() -> None:
    """The shell reads what the decision needs, by service."""

    async def scene() -> None:
        store = MemoryStore()
        objective = Objective(
            service=SHOP, name="availability", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999
        )
        bodies = (("acme", Project(name="acme")), (objective.key, objective), (objective.key, budget(0.3)))
        writes = [Write(kind=type(body).__name__, key=key, body=body) for key, body in bodies]
        await store.commit(Transaction(at=NOW, writes=writes))
        room = PolicyController(store)
        assert list(await room.keys()) == [SHOP]
        assert room.wakes(Ref("Budget", objective.key, 1)) == SHOP
        assert room.wakes(Ref("Rollout", "x", 1)) is None
        found = await room.look(SHOP, NOW)
        assert [write.key for write in found.writes] == [SHOP]
        assert found.wake_at == NOW + timedelta(seconds=60)

    anyio.run(scene)
