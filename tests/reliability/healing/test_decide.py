"""The heal budget: tables and laws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.model import event_types
from poise.model.delivery import Order, Verb
from poise.model.fleet import HealOrder, Identity, Replica
from poise.model.record import Decision
from poise.model.service import Heal
from poise.reliability.healing.decide import Seen, budget, decide, is_mass_failure

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = "acme/production/shop"


def replica(index: int, failures: int = 0, **changes: object) -> Replica:
    made = Replica(
        service=KEY,
        rollout=1,
        index=index,
        identity=Identity(pid=100 + index, start_ticks=7),
        ready=failures < 3,
        failures=failures,
        failing_since=NOW if failures else None,
        started_at=NOW - timedelta(hours=1),
    )
    return replace(made, **changes)


def see(*replicas: Replica, orders: tuple[HealOrder, ...] = (), restart: Order | None = None) -> Seen:
    return Seen(service=KEY, failures=3, replicas=replicas, orders=orders, restart=restart)


def orders(decision: Decision) -> list[HealOrder]:
    return [write.body for write in decision.writes if isinstance(write.body, HealOrder)]


def order(of: Replica, age_s: float, **changes: object) -> HealOrder:
    assert of.identity is not None
    made = HealOrder(replica=of.key, identity=of.identity, reason="r", at=NOW - timedelta(seconds=age_s))
    return replace(made, **changes)


def another(of: Replica) -> Replica:
    """The same replica, now another process."""
    return replace(of, identity=Identity(pid=999, start_ticks=9))


def test_a_replica_that_hangs_is_ordered_to_be_replaced_by_its_identity() -> None:
    """Pid and start time, never a name or a port."""
    decision = decide(see(replica(0), replica(1, failures=3)), NOW)
    assert [(o.replica, o.identity, o.mass) for o in orders(decision)] == [
        (replica(1).key, Identity(pid=101, start_ticks=7), False)
    ]
    assert [event.type for event in decision.events] == [event_types.HEAL_ORDERED]


def test_a_few_failed_probes_are_not_a_hang() -> None:
    """An overloaded replica answers now and then."""
    assert decide(see(replica(0), replica(1, failures=2)), NOW).is_empty


def test_one_order_stands_until_its_process_is_gone() -> None:
    """Told twice is told once."""
    hung = replica(1, failures=3)
    assert decide(see(replica(0), hung, orders=(order(hung, 2),)), NOW).is_empty


def test_a_process_that_outlives_its_order_is_ordered_anew() -> None:
    """What was to be done about it was lost; it would hang for ever."""
    hung = replica(1, failures=3)
    again = orders(decide(see(replica(0), hung, orders=(order(hung, 61),)), NOW))
    assert [(o.replica, o.identity, o.at) for o in again] == [(hung.key, hung.identity, NOW)]


def test_while_one_is_being_healed_the_next_waits() -> None:
    """The budget of five replicas is one."""
    hung, next_one = replica(0, failures=3), replica(1, failures=3)
    quiet = [replica(index) for index in range(2, 5)]
    coming = replace(another(hung), ready=False, failures=0)
    assert decide(see(coming, next_one, *quiet, orders=(order(hung, 2),)), NOW).is_empty
    back = replace(coming, ready=True)
    assert orders(decide(see(back, next_one, *quiet, orders=(order(hung, 2),)), NOW))


def test_half_of_a_service_failing_together_is_not_healed_and_said_once() -> None:
    """The cause is elsewhere, and killing takes away what still half works."""
    seen = see(replica(0, failures=3), replica(1, failures=3), replica(2), replica(3))
    decision = decide(seen, NOW)
    assert all(o.mass for o in orders(decision)) and len(orders(decision)) == 2
    assert [event.type for event in decision.events] == [event_types.HEAL_WITHHELD]
    again = decide(replace(seen, orders=tuple(orders(decision))), NOW)
    assert again.is_empty


def test_one_of_two_is_healed_both_of_two_are_not() -> None:
    """With two replicas one failing is already half; it must still be healed."""
    assert not orders(decide(see(replica(0), replica(1, failures=3)), NOW))[0].mass
    assert all(o.mass for o in orders(decide(see(replica(0, failures=3), replica(1, failures=3)), NOW)))


def test_when_a_mass_failure_is_over_what_still_hangs_is_healed() -> None:
    """A withheld order is not a heal and starts no back-off."""
    hung = replica(0, failures=3)
    well = [replica(1), replica(2), replica(3)]
    held = (order(hung, 1, mass=True), order(well[0], 1, mass=True))
    decision = decide(see(hung, *well, orders=held), NOW)
    assert [(o.replica, o.mass, o.count) for o in orders(decision)] == [(hung.key, False, 1)]
    assert [write.key for write in decision.writes if write.body is None] == [well[0].key]


def test_a_replica_that_hangs_again_waits_longer_each_time() -> None:
    """Back-off, jittered by its key, so that a fleet does not heal in step."""
    hung = another(replica(1, failures=3))
    for count, least_s in ((1, 10), (2, 20), (3, 40)):
        before = order(replica(1), least_s - 1, count=count)
        assert decide(see(replica(0), hung, orders=(before,)), NOW).is_empty
        late = order(replica(1), least_s * 1.25 + 1, count=count)
        assert orders(decide(see(replica(0), hung, orders=(late,)), NOW))[0].count == count + 1


def test_a_quiet_time_forgives() -> None:
    """One hang a week is not a pattern."""
    hung = another(replica(1, failures=3))
    assert orders(decide(see(replica(0), hung, orders=(order(replica(1), 601, count=5),)), NOW))[0].count == 1


def test_a_restart_goes_one_by_one_and_gently() -> None:
    """A person's restart must cost no request."""
    asked = Order(service=KEY, n=1, verb=Verb.RESTART, by="ann", reason="new secret", at=NOW)
    zero, one = replica(0), replica(1)
    first = orders(decide(see(zero, one, restart=asked), NOW))
    assert [(o.replica, o.gentle) for o in first] == [(zero.key, True)]
    assert "ann" in first[0].reason
    coming = replace(another(zero), ready=False, started_at=NOW + timedelta(seconds=1))
    later = NOW + timedelta(seconds=2)
    assert decide(see(coming, one, orders=tuple(first), restart=asked), later).is_empty
    second = orders(decide(see(replace(coming, ready=True), one, orders=tuple(first), restart=asked), later))
    assert [o.replica for o in second if o.checked_at is None] == [one.key]
    done = replace(another(one), started_at=later + timedelta(seconds=1))
    last = later + timedelta(seconds=3)
    both = (*first, *second)
    settled = orders(decide(see(replace(coming, ready=True), done, orders=both, restart=asked), last))
    assert all(o.checked_at for o in settled), "nothing more is ordered"


def test_a_replica_on_its_way_out_is_left_alone() -> None:
    """It is stopped anyway."""
    assert decide(see(replica(0), replica(1, failures=3, draining=True)), NOW).is_empty


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.floats(0, 1), st.floats(0.1, 1))
def test_never_more_are_killed_at_once_than_the_budget_allows(
    failures: list[int], share: float, mass: float
) -> None:
    """No heal action makes it worse."""
    heal = Heal(share_ratio=share, mass_failure_ratio=mass)
    seen = replace(see(*(replica(i, failures=f) for i, f in enumerate(failures))), heal=heal)
    standing: dict[str, HealOrder] = {}
    for _ in range(3):
        decision = decide(replace(seen, orders=tuple(standing.values())), NOW)
        standing |= {o.replica: o for o in orders(decision)}
    kills = [o for o in standing.values() if not o.mass]
    failing = sum(f >= 3 for f in failures)
    assert len(kills) <= max(1, int(share * len(failures)))
    assert len(kills) <= failing
    if failing >= max(2, ceil(mass * len(failures))):
        assert not kills


def test_the_budget_is_at_least_one_and_at_most_the_share() -> None:
    """max(1, floor(share x N))."""
    assert [budget(n, Heal()) for n in (1, 2, 5, 9, 10)] == [1, 1, 1, 1, 2]
    assert [is_mass_failure(f, 4, Heal()) for f in (1, 2, 3)] == [False, True, True]


def test_a_heal_that_helped_is_seen_once() -> None:
    """The replica is ready as another process."""
    zero, one = replica(0), replica(1)
    healed = order(one, 5, failed=2)
    decision = decide(see(zero, another(one), orders=(healed,)), NOW)
    checked = orders(decision)
    assert [(o.checked_at, o.failed) for o in checked] == [(NOW, 0)]
    assert decide(see(zero, another(one), orders=tuple(checked)), NOW + timedelta(seconds=1)).is_empty


def test_three_heals_in_a_row_that_do_not_help_are_told_once() -> None:
    """Ordered, replaced, hanging again: the third failure says that healing does not help."""
    zero, now, standing, told = replica(0), NOW, (), []
    for pid in range(200, 208):
        one = replace(replica(1, failures=3), identity=Identity(pid=pid, start_ticks=1))
        decision = decide(see(zero, one, orders=standing), now)
        standing = tuple(orders(decision)) or standing
        told += [event.type for event in decision.events if event.type == event_types.HEAL_FAILED]
        now += timedelta(seconds=400)
    assert told == [event_types.HEAL_FAILED]
    assert standing[0].failed > 3


def test_a_healed_replica_that_never_gets_ready_has_failed_to_heal() -> None:
    """Nothing may ever be heard of it: time tells."""
    one = replica(1)
    silent = replace(another(one), ready=False)
    decision = decide(see(replica(0), silent, orders=(order(one, 61, failed=2),)), NOW)
    assert [o.failed for o in orders(decision)] == [3]
    assert [event.type for event in decision.events] == [event_types.HEAL_FAILED]
