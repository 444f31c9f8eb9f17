"""How a group of rules stands: what it gave last, when, and where its alerts are. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from poise.model import rule_alerts
from poise.model.alerting import Place, service_of
from poise.model.rules import (
    Rule,
    RuleAlert,
    RuleAlertState,
    RuleGroup,
    RuleMemory,
    RulesEvaluated,
    RuleState,
    rule_fingerprint,
    state_key,
)
from poise.model.samples import STALE, Labels, Reading, Round

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class RuleStanding(Struct, frozen=True, kw_only=True):
    """One rule: what it made last, its alerts, and why it failed (empty: it did not)."""

    rule: Rule
    memory: RuleMemory = RuleMemory()
    error: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    evaluated_at: datetime | None = None


class GroupStanding(Struct, frozen=True, kw_only=True):
    """One group. ``missed`` counts evaluations that were due and not begun."""

    project: str
    file: str
    group: RuleGroup
    rules: tuple[RuleStanding, ...]
    evaluated_at: datetime | None = None
    seconds: float = 0.0
    missed: int = 0

    @property
    def key(self) -> str:
        """As its state's."""
        return state_key(self.project, self.file, self.group.name)


def begun(
    project: str, file: str, group: RuleGroup, before: GroupStanding | None, state: RuleState | None
) -> GroupStanding:
    """A group as it is taken up: what is remembered of its rules, by their names and labels.

    ``before`` is the same group before its file was changed, ``state`` what an earlier process left.
    """
    known: dict[str, list[RuleAlert]] = {}
    for alert in state.alerts if state is not None else ():
        known.setdefault(alert.rule, []).append(alert)
    memories: dict[tuple[str, str], list[RuleMemory]] = {}
    for one in before.rules if before is not None else ():
        memories.setdefault(identity(file, group, one.rule), []).append(one.memory)
    rules = []
    for rule in group.rules:
        same = memories.get(identity(file, group, rule))
        if same:
            memory = same.pop(0)
        else:
            alerts = known.pop(rule_fingerprint(file, group, rule), []) if rule.alert and not before else []
            memory = RuleMemory(
                alerts=tuple(alerts), series=tuple(one for one, _ in rule_alerts.samples(rule, alerts))
            )
        rules.append(RuleStanding(rule=rule, memory=memory))
    return GroupStanding(
        project=project,
        file=file,
        group=group,
        rules=tuple(rules),
        evaluated_at=before.evaluated_at if before is not None else None,
        missed=before.missed if before is not None else 0,
    )


def identity(file: str, group: RuleGroup, rule: Rule) -> tuple[str, str]:
    """What makes two rules of one group the same across an edit."""
    return ("record" if rule.record else "alert", f"{rule.record}{rule_fingerprint(file, group, rule)}")


def orphans(before: GroupStanding, after: GroupStanding | None) -> tuple[Labels, ...]:
    """Series that a rule made which is no more: each gets a stale marker."""
    kept = {labels for one in after.rules for labels in one.memory.series} if after is not None else set()
    return tuple(labels for one in before.rules for labels in one.memory.series if labels not in kept)


def resumed(standing: GroupStanding, state: RuleState, at: datetime) -> GroupStanding:
    """The group when it is looked at for the first time since another process did."""
    interval_s = standing.group.interval_s
    rules = []
    for one in standing.rules:
        alerts = rule_alerts.resumed(one.memory.alerts, state.evaluated_at, at, interval_s)
        rules.append(replace(one, memory=replace(one.memory, alerts=alerts)))
    return replace(standing, rules=tuple(rules))


def due_ms(key: str, interval_s: float, now_ms: int) -> int:
    """The newest instant up to now at which a group is due: aligned, each group at its own offset."""
    interval = round(interval_s * 1000)
    offset = int(key.rpartition("/")[2], 16) % interval
    return (now_ms - offset) // interval * interval + offset


def evaluated(
    standing: GroupStanding, done: RulesEvaluated, at: datetime, place: Place, missed: int
) -> GroupStanding:
    """The group after an evaluation. New alerts learn where they belong; a failed rule keeps what it had."""
    rules = []
    for one, result in zip(standing.rules, done.results, strict=True):
        alerts = tuple(
            alert if alert.service else replace(alert, service=service_of(dict(alert.labels), place))
            for alert in result.alerts
        )
        series = one.memory.series if result.error else result.series
        rules.append(
            replace(
                one,
                memory=RuleMemory(series=series, alerts=alerts),
                error=result.error,
                notes=result.notes,
                seconds=result.seconds,
                evaluated_at=at,
            )
        )
    seconds = sum(one.seconds for one in rules)
    return replace(
        standing, rules=tuple(rules), evaluated_at=at, seconds=seconds, missed=standing.missed + missed
    )


def failed(standing: GroupStanding, error: str, at: datetime, missed: int) -> GroupStanding:
    """The group when none of it could be evaluated: nothing is new and nothing is over."""
    rules = tuple(replace(one, error=error, evaluated_at=at) for one in standing.rules)
    return replace(standing, rules=rules, evaluated_at=at, missed=standing.missed + missed)


def refused(standing: GroupStanding, said: str) -> GroupStanding:
    """The group when the store did not keep all that it made: rules that made something are not well."""
    rules = tuple(
        replace(one, error=one.error or said) if one.memory.series else one for one in standing.rules
    )
    return replace(standing, rules=rules)


def round_of(standing: GroupStanding, done: RulesEvaluated) -> Round | None:
    """The samples of an evaluation, stale markers included; None when there are none."""
    series: list[Labels] = []
    values: list[float] = []
    for result in done.results:
        series += (*result.series, *result.gone)
        values += (*result.values, *(STALE for _ in result.gone))
    return readings(standing, series, values, done.at_ms)


def readings(
    standing: GroupStanding, series: Sequence[Labels], values: Sequence[float], at_ms: int
) -> Round | None:
    """Samples of one instant under the group's own target."""
    if not series:
        return None
    reading = Reading(
        target=f"rules/{standing.key}",
        series=tuple(series),
        at_ms=np.array([at_ms], np.int64),
        values=np.array(values, np.float64)[:, None],
    )
    return Round(readings=(reading,))


def state_of(standing: GroupStanding, known: RuleState | None, at: datetime) -> RuleState | None:
    """What to write of the group's alerts; None when nothing changed and nothing is pending."""
    alerts = tuple(alert for one in standing.rules for alert in one.memory.alerts)
    before = known.alerts if known is not None else ()
    alive = {alert.fingerprint for alert in alerts}
    ended = tuple(
        left for alert in before if alert.fingerprint not in alive and (left := ended_at(alert, at))
    )
    made = RuleState(
        project=standing.project,
        file=standing.file,
        group=standing.group.name,
        evaluated_at=at,
        alerts=(*alerts, *ended),
    )
    pending = any(alert.state is RuleAlertState.PENDING for alert in alerts)
    if pending or _essence(made.alerts) != _essence(before):
        return made
    return None


def ended_at(alert: RuleAlert, at: datetime) -> RuleAlert | None:
    """An alert whose rule is no more: over, and told of for a while if it fired."""
    if alert.state is RuleAlertState.PENDING:
        return None
    if alert.state is RuleAlertState.FIRING:
        return replace(alert, state=RuleAlertState.INACTIVE, resolved_at=at)
    return alert if (at - (alert.resolved_at or at)).total_seconds() <= rule_alerts.RETENTION_S else None


def _essence(alerts: Sequence[RuleAlert]) -> list[tuple[object, ...]]:
    """What of alerts is worth a write: not what they say at the moment."""
    return sorted(
        (
            one.fingerprint,
            one.state.value,
            one.service,
            *(str(at) for at in (one.active_at, one.fired_at, one.keep_firing_since, one.resolved_at)),
        )
        for one in alerts
    )
