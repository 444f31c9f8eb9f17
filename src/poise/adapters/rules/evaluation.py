"""One group at one instant: its rules in order, each seeing what those before it gave.

Source: prometheus/rules/group.go (Group.Eval), recording.go, alerting.go, at 3.x.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.promql import Engine
from poise.adapters.promql.engine import DEFAULT_STEP_MS
from poise.adapters.promql.text import number, shown
from poise.adapters.rules.overlay import Overlay
from poise.adapters.rules.rendering import Given, Sample, filled
from poise.model.errors import PoiseError
from poise.model.rule_alerts import Told, advanced, samples
from poise.model.rules import (
    EvaluateRules,
    Rule,
    RuleAlertState,
    RuleMemory,
    RuleResult,
    RulesEvaluated,
    named,
    rule_fingerprint,
)
from poise.model.samples import NAME, STALE, AnswerKind, Frame, Labels, Limits
from poise.ports.signals import Selector

SERIES_MAX: Final = 10_000  # that one recording rule may make
ALERTS_MAX: Final = 1_000  # pending or firing, of one rule
NOTES_MAX: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Refused(Exception):
    """The result cannot be what the rule says."""


class _Round(Struct, frozen=True, kw_only=True):
    """What all rules of the evaluation share."""

    asked: EvaluateRules
    engine: Engine
    at: datetime  # of the evaluation
    sample_ms: int  # of what is made: the group's offset before it

    def query(self, expression: str) -> list[Sample]:
        """For templates: at the evaluation's own instant."""
        return _vector(self.engine.instant(expression, self.asked.at_ms))


def evaluate(
    asked: EvaluateRules,
    selector: Selector,
    limits: Limits | None = None,
    *,
    subquery_step_ms: int = DEFAULT_STEP_MS,
    monotonic: Callable[[], float] = time.monotonic,
) -> RulesEvaluated:
    """What every rule of the group gives at the instant. A rule that fails says why; the others go on."""
    overlay = Overlay(selector)
    sample_ms = asked.at_ms - round(asked.group.query_offset_s * 1000)
    at = _EPOCH + timedelta(milliseconds=asked.at_ms)
    engine = Engine(overlay, limits, subquery_step_ms=subquery_step_ms)
    round_ = _Round(asked=asked, engine=engine, at=at, sample_ms=sample_ms)
    results = []
    for place, rule in enumerate(asked.group.rules):
        memory = asked.memories[place] if place < len(asked.memories) else RuleMemory()
        began = monotonic()
        result = _result(round_, rule, memory)
        took = monotonic() - began
        results.append(replace(result, seconds=took))
        overlay.add(zip(result.series, result.values, strict=True), sample_ms)
        overlay.add(((labels, STALE) for labels in result.gone), sample_ms)
    return RulesEvaluated(at_ms=sample_ms, results=tuple(results))


def _result(round_: _Round, rule: Rule, memory: RuleMemory) -> RuleResult:
    try:
        frame = round_.engine.instant(rule.expr, round_.sample_ms)
        vector = _vector(frame)
        if rule.record:
            made = _recorded(round_, rule, vector)
            result = RuleResult(series=tuple(made), values=tuple(made.values()), notes=frame.warnings)
        else:
            result = _alerted(round_, rule, memory, vector, frame.warnings)
    except PoiseError as error:
        return RuleResult(error=_said(error), alerts=memory.alerts)
    except _Refused as error:
        return RuleResult(error=str(error), alerts=memory.alerts)
    now = set(result.series)
    gone = tuple(labels for labels in memory.series if labels not in now)
    return replace(result, gone=gone)


def _vector(frame: Frame) -> list[Sample]:
    if frame.kind not in (AnswerKind.VECTOR, AnswerKind.SCALAR):
        raise _Refused("rule result is not a vector or scalar")
    column = frame.values[:, 0].tolist()
    there = frame.present[:, 0].tolist()
    series = frame.series or ((),)
    return [Sample(labels, v) for labels, v, is_there in zip(series, column, there, strict=False) if is_there]


def _recorded(round_: _Round, rule: Rule, vector: list[Sample]) -> dict[Labels, float]:
    added = {**round_.asked.group.labels, **rule.labels}
    made: dict[Labels, float] = {}
    for one in vector:
        labels = named(_with(one.labels, added), rule.record)
        if labels in made:
            raise _Refused(
                f"vector contains metrics with the same labelset after applying rule labels: {shown(labels)}"
            )
        made[labels] = one.value
    _check_limit(len(made), round_.asked.group.limit, SERIES_MAX, "series")
    return made


def _alerted(
    round_: _Round, rule: Rule, memory: RuleMemory, vector: list[Sample], warnings: tuple[str, ...]
) -> RuleResult:
    group = round_.asked.group
    notes: dict[str, None] = dict.fromkeys(warnings)
    fresh: dict[Labels, Told] = {}
    for one in vector:
        given = Given(
            labels=dict(one.labels),
            value=one.value,
            external_labels=round_.asked.external_labels,
            external_url=round_.asked.external_url,
            query=round_.query,
            faults=notes,
        )
        added = {name: filled(text, given) for name, text in {**group.labels, **rule.labels}.items()}
        bare = tuple(pair for pair in one.labels if pair[0] != NAME)
        labels = _with(bare, {**added, "alertname": rule.alert})
        if labels in fresh:
            what = "vector contains metrics with the same labelset after applying alert labels"
            raise _Refused(f"{what}: {shown(labels)}")
        annotations = {name: filled(text, given) for name, text in rule.annotations.items()}
        fresh[labels] = Told(annotations=annotations, value=number(one.value))
    id = rule_fingerprint(round_.asked.file, group, rule)
    alerts = advanced(rule, id, memory.alerts, fresh, round_.at)
    active = sum(alert.state is not RuleAlertState.INACTIVE for alert in alerts)
    _check_limit(active, group.limit, ALERTS_MAX, "alerts")
    made = samples(rule, alerts)
    return RuleResult(
        series=tuple(labels for labels, _ in made),
        values=tuple(value for _, value in made),
        alerts=alerts,
        notes=tuple(notes)[:NOTES_MAX],
    )


def _with(labels: Labels, added: dict[str, str]) -> Labels:
    """The labels with others over them; an empty value takes one away."""
    return tuple(sorted((name, value) for name, value in {**dict(labels), **added}.items() if value))


def _check_limit(count: int, declared: int, own: int, what: str) -> None:
    limit = min(declared or own, own)
    if count > limit:
        raise _Refused(f"exceeded limit of {limit} with {count} {what}")


def _said(error: PoiseError) -> str:
    return ": ".join(part for part in (error.what, error.why) if part)
