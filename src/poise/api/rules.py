"""Rule groups and their alerts as Prometheus' ``/api/v1/rules`` and ``/api/v1/alerts`` write them.

Source: prometheus.io/docs/prometheus/latest/querying/api; web/api/v1/api.go (rules, alerts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from poise.api.prometheus_form import Form
from poise.engine.ruling import GroupStanding, RuleStanding
from poise.model.rules import RuleAlert, RuleAlertState

NEVER: Final = "0001-01-01T00:00:00Z"  # as Prometheus tells of a rule that was not evaluated yet
_WORST: Final = (RuleAlertState.FIRING, RuleAlertState.PENDING)


def groups(standings: Sequence[GroupStanding]) -> list[dict[str, Any]]:
    """Every group with its rules, in the order given."""
    return [_group(one) for one in standings]


def alerts(standings: Sequence[GroupStanding]) -> list[dict[str, Any]]:
    """Everything pending or firing."""
    return [
        _alert(alert)
        for group in standings
        for one in group.rules
        for alert in one.memory.alerts
        if alert.state in _WORST
    ]


def only(told: Sequence[Mapping[str, Any]], form: Form, kind: str | None) -> list[dict[str, Any]]:
    """The groups that a request names, with the rules of one kind or of some names; none without a rule.

    With ``exclude_alerts`` the alerts of a rule are left out.
    """
    names, files, wanted = (set(form.texts(f"{one}[]")) for one in ("rule_name", "file", "rule_group"))
    bare = form.text("exclude_alerts") == "true"
    found = []
    for group in told:
        if (files and group["file"] not in files) or (wanted and group["name"] not in wanted):
            continue
        rules = [
            {key: value for key, value in rule.items() if not (bare and key == "alerts")}
            for rule in group["rules"]
            if kind in (None, rule["type"]) and (not names or rule["name"] in names)
        ]
        if rules or not (names or kind):
            found.append({**group, "rules": rules})
    return found


def file_of(standing: GroupStanding) -> str:
    """Which file of which project: ``project/path``."""
    return f"{standing.project}/{standing.file}"


def health(one: RuleStanding) -> str:
    """``ok``, ``err``, or ``unknown`` before the first evaluation."""
    return "unknown" if one.evaluated_at is None else "err" if one.error else "ok"


def state(one: RuleStanding) -> str:
    """The worst of an alerting rule's alerts."""
    states = {alert.state for alert in one.memory.alerts}
    return next((word.value for word in _WORST if word in states), RuleAlertState.INACTIVE.value)


def _group(standing: GroupStanding) -> dict[str, Any]:
    return {
        "name": standing.group.name,
        "file": file_of(standing),
        "rules": [_rule(standing, one) for one in standing.rules],
        "interval": standing.group.interval_s,
        "limit": standing.group.limit,
        "evaluationTime": standing.seconds,
        "lastEvaluation": _instant(standing.evaluated_at),
    }


def _rule(standing: GroupStanding, one: RuleStanding) -> dict[str, Any]:
    rule = one.rule
    labels = {**standing.group.labels, **rule.labels}
    made: dict[str, Any] = {"name": rule.name, "query": rule.expr, "labels": labels}
    if rule.alert:
        made |= {
            "state": state(one),
            "duration": rule.for_s,
            "keepFiringFor": rule.keep_firing_for_s,
            "annotations": rule.annotations,
            "alerts": [_alert(alert) for alert in one.memory.alerts if alert.state in _WORST],
        }
    made["health"] = health(one)
    if one.error:
        made["lastError"] = one.error
    return made | {
        "evaluationTime": one.seconds,
        "lastEvaluation": _instant(one.evaluated_at),
        "type": "alerting" if rule.alert else "recording",
    }


def _alert(alert: RuleAlert) -> dict[str, Any]:
    made: dict[str, Any] = {
        "labels": dict(alert.labels),
        "annotations": alert.annotations,
        "state": alert.state.value,
        "activeAt": _instant(alert.active_at),
        "value": _value(alert.value),
    }
    if alert.keep_firing_since is not None:
        made["keepFiringSince"] = _instant(alert.keep_firing_since)
    return made


def _value(text: str) -> str:
    """Go's ``FormatFloat(value, 'e', -1, 64)``.

    >>> _value("0.25"), _value("1"), _value("NaN"), _value("12345.5")
    ('2.5e-01', '1e+00', 'NaN', '1.23455e+04')
    """
    if text in ("", "NaN", "+Inf", "-Inf"):
        return text or "NaN"
    digits = len(repr(float(text)).replace("-", "").replace(".", "").split("e")[0].strip("0")) or 1
    return f"{float(text):.{max(0, digits - 1)}e}"


def _instant(at: datetime | None) -> str:
    return NEVER if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
