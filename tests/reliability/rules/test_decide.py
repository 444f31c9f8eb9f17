"""Alerts of rules become alerts of services: one each, with their severity, ended when they are over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from poise.model.event_types import ALERT_FIRING, ALERT_RESOLVED
from poise.model.incident import Alert, AlertSource, AlertState, Severity
from poise.model.rules import RuleAlert, RuleAlertState, RuleState
from poise.reliability.rules.decide import Seen, alert_key, decide

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
ONE = RuleAlert(
    rule="abc",
    labels=(("alertname", "Down"), ("job", "web"), ("severity", "page")),
    annotations={"summary": "web is\ndown"},
    value="1",
    active_at=NOW - timedelta(minutes=5),
    service="shop/production/web",
)
FIRING = replace(ONE, state=RuleAlertState.FIRING, fired_at=NOW)
OVER = replace(FIRING, state=RuleAlertState.INACTIVE, resolved_at=NOW)


def state(*alerts: RuleAlert) -> RuleState:
    return RuleState(project="shop", file="r.yml", group="g", evaluated_at=NOW, alerts=alerts)


def made(alert: RuleAlert, known: Alert | None = None, now: datetime = NOW) -> Alert | None:
    seen = Seen(state=state(alert), alerts={known.key: known} if known else {})
    decision = decide(seen, now)
    body = decision.writes[0].body if decision.writes else None
    assert body is None or isinstance(body, Alert)
    return body


def test_what_is_pending_is_nobody_s() -> None:
    assert decide(Seen(state=state(ONE)), NOW).is_empty


def test_a_firing_alert_is_an_alert_of_its_service() -> None:
    decision = decide(Seen(state=state(FIRING)), NOW)
    (write,), (event,) = decision.writes, decision.events
    alert = write.body
    assert isinstance(alert, Alert)
    assert write.key == alert.key == alert_key(FIRING)
    assert (alert.source, alert.severity, alert.summary) == (AlertSource.RULE, Severity.SEV1, "web is down")
    assert (alert.started_at, alert.seen_at, alert.count) == (ONE.active_at, NOW, 1)
    assert (event.type, event.subject) == (ALERT_FIRING, alert.key)


def test_told_again_changes_nothing() -> None:
    alert = made(FIRING)
    assert alert is not None
    assert made(FIRING, alert) is None
    assert made(replace(FIRING, value="2"), alert) is None


def test_once_it_is_over_it_has_ended_and_a_later_firing_is_counted() -> None:
    alert = made(FIRING)
    ended = made(OVER, alert)
    assert ended is not None
    assert (ended.state, ended.ended_at) == (AlertState.RESOLVED, NOW)
    assert (
        decide(Seen(state=state(OVER), alerts={ended.key: alert or ended}), NOW).events[0].type
        == ALERT_RESOLVED
    )
    assert made(OVER, ended) is None
    again = made(replace(FIRING, active_at=NOW - timedelta(minutes=1)), ended, NOW + timedelta(minutes=9))
    assert again is not None
    assert (again.count, again.started_at) == (2, NOW)  # its onset lies after the end of the one before


@pytest.mark.parametrize(
    ("label", "severity"),
    [("critical", Severity.SEV1), ("warning", Severity.SEV2), ("info", Severity.SEV3), ("", Severity.SEV3)],
)
def test_the_severity_label_says_how_bad_it_is(label: str, severity: Severity) -> None:
    """The same words as for what Alertmanager tells."""
    labels = tuple((k, v) for k, v in ONE.labels if k != "severity") + (
        (("severity", label),) if label else ()
    )
    alert = made(replace(FIRING, labels=labels))
    assert alert is not None and alert.severity is severity


@given(st.lists(st.sampled_from([ONE, FIRING, OVER]), max_size=12))
def test_an_alert_fires_only_while_its_rule_does(looks: list[RuleAlert]) -> None:
    """Level-triggered: whatever was missed between two looks, the record agrees with what is."""
    known: Alert | None = None
    for step, look in enumerate(looks):
        known = made(look, known, NOW + timedelta(seconds=step)) or known
        if look.state is RuleAlertState.FIRING:
            assert known is not None and known.state is AlertState.FIRING
        if look.state is RuleAlertState.INACTIVE:
            assert known is None or known.state is AlertState.RESOLVED
