"""How alerts go on: the laws of ``for``, ``keep_firing_for`` and restarts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from poise.model.rule_alerts import (
    OUTAGE_TOLERANCE_S,
    RETENTION_S,
    Told,
    advanced,
    resumed,
    samples,
)
from poise.model.rules import Rule, RuleAlert, RuleAlertState

T0 = datetime(2026, 3, 1, tzinfo=UTC)
LABELS = (("alertname", "A"), ("job", "web"))
TOLD = Told(annotations={}, value="1")
INTERVAL_S = 15.0
PENDING, FIRING, INACTIVE = RuleAlertState.PENDING, RuleAlertState.FIRING, RuleAlertState.INACTIVE

rules = st.builds(
    lambda for_n, keep_n: Rule(alert="A", expr="x", for_s=for_n * 15.0, keep_firing_for_s=keep_n * 15.0),
    st.integers(0, 8),
    st.integers(0, 5),
)
holds = st.lists(st.booleans(), min_size=1, max_size=40)


def at(step: int) -> datetime:
    return T0 + timedelta(seconds=step * INTERVAL_S)


def step_on(rule: Rule, known: tuple[RuleAlert, ...], is_true: bool, step: int) -> tuple[RuleAlert, ...]:
    return advanced(rule, "r", known, {LABELS: TOLD} if is_true else {}, at(step))


def state(alerts: tuple[RuleAlert, ...]) -> RuleAlertState | None:
    return alerts[0].state if alerts else None


@given(rules, holds)
def test_an_alert_fires_only_after_it_held_for_all_of_for(rule: Rule, truth: list[bool]) -> None:
    """``for`` is what keeps a blip from waking somebody."""
    alerts: tuple[RuleAlert, ...] = ()
    held_since: int | None = None
    for step, is_true in enumerate(truth):
        before = state(alerts)
        alerts = step_on(rule, alerts, is_true, step)
        held_since = (step if held_since is None else held_since) if is_true else None
        if state(alerts) is FIRING and before is not FIRING:
            assert held_since is not None
            assert (step - held_since) * INTERVAL_S >= rule.for_s
        if is_true and held_since is not None and (step - held_since) * INTERVAL_S >= rule.for_s:
            assert state(alerts) is FIRING
        if is_true:
            assert state(alerts) in (PENDING, FIRING)


@given(rules, holds)
def test_a_firing_alert_ends_no_sooner_than_keep_firing_for(rule: Rule, truth: list[bool]) -> None:
    """So that it does not flap: it ends ``keep_firing_for`` after the first miss."""
    alerts: tuple[RuleAlert, ...] = ()
    missed_since: int | None = None
    for step, is_true in enumerate(truth):
        before = state(alerts)
        alerts = step_on(rule, alerts, is_true, step)
        missed_since = None if is_true else (step if missed_since is None else missed_since)
        if before is FIRING and missed_since is not None:
            over = (step - missed_since) * INTERVAL_S >= rule.keep_firing_for_s
            assert state(alerts) is (INACTIVE if over else FIRING)


@given(rules, holds, st.data())
def test_a_restart_at_any_point_neither_loses_nor_restarts_for(
    rule: Rule, truth: list[bool], data: st.DataObject
) -> None:
    """A restart between two evaluations changes nothing at all."""
    point = data.draw(st.integers(0, len(truth) - 1))
    one: tuple[RuleAlert, ...] = ()
    other: tuple[RuleAlert, ...] = ()
    for step, is_true in enumerate(truth):
        if step == point and step:
            other = resumed(other, at(step - 1), at(step), INTERVAL_S)
        one, other = step_on(rule, one, is_true, step), step_on(rule, other, is_true, step)
        assert one == other


@given(rules, st.integers(1, 20), st.integers(0, 200))
def test_time_that_nobody_looked_does_not_count_for_for(rule: Rule, held: int, gap: int) -> None:
    """Nobody knows that it held meanwhile; what it had held before is not forgotten."""
    alerts: tuple[RuleAlert, ...] = ()
    for step in range(held):
        alerts = step_on(rule, alerts, True, step)
    before = state(alerts)
    again = held + gap
    alerts = resumed(alerts, at(held - 1), at(again), INTERVAL_S)
    alerts = step_on(rule, alerts, True, again)
    if before is FIRING:
        assert state(alerts) is FIRING
    else:
        assert state(alerts) is (FIRING if held * INTERVAL_S >= rule.for_s else PENDING)


def test_after_a_long_outage_a_pending_alert_begins_anew() -> None:
    rule = Rule(alert="A", expr="x", for_s=60)
    pending = step_on(rule, (), True, 0)
    assert resumed(pending, T0, T0 + timedelta(seconds=OUTAGE_TOLERANCE_S + 1), INTERVAL_S) == ()
    firing = step_on(rule, pending, True, 4)
    later = T0 + timedelta(seconds=OUTAGE_TOLERANCE_S * 5)
    assert resumed(firing, T0, later, INTERVAL_S) == firing  # until a look says otherwise


def test_an_alert_that_ended_is_told_of_for_a_while() -> None:
    """So that whoever reads the state late still learns that it is over."""
    rule = Rule(alert="A", expr="x")
    ended = step_on(rule, step_on(rule, (), True, 0), False, 1)
    assert (state(ended), ended[0].resolved_at) == (INACTIVE, at(1))
    assert step_on(rule, ended, False, 1 + int(RETENTION_S / INTERVAL_S)) == ended
    assert step_on(rule, ended, False, 2 + int(RETENTION_S / INTERVAL_S)) == ()
    (again,) = step_on(rule, ended, True, 5)
    assert (again.state, again.active_at) == (FIRING, at(5))


def test_alerts_are_series() -> None:
    rule = Rule(alert="A", expr="x", for_s=60)
    assert samples(rule, step_on(rule, (), True, 1)) == [
        ((("__name__", "ALERTS"), ("alertname", "A"), ("alertstate", "pending"), ("job", "web")), 1.0),
        ((("__name__", "ALERTS_FOR_STATE"), ("alertname", "A"), ("job", "web")), at(1).timestamp()),
    ]
