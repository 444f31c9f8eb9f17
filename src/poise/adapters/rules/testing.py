"""Unit tests of rules run: series of the file, evaluations in steps, and what differs from what is expected.

Source: prometheus/cmd/promtool/unittest.go.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from poise.adapters.memory_samples import MemorySamples
from poise.adapters.promql import Engine, QueryInvalid, notation
from poise.adapters.promql.text import escaped, number, shown
from poise.adapters.rules.evaluation import evaluate
from poise.model.errors import PoiseError
from poise.model.rules import (
    EvaluateRules,
    RuleAlert,
    RuleAlertState,
    RuleFile,
    RuleGroup,
    RuleMemory,
    RulesEvaluated,
)
from poise.model.samples import STALE, Block, Labels, Limits, Matcher
from poise.spec.document import Place
from poise.spec.durations import format_duration
from poise.spec.rule_tests import AlertTest, ExpressionTest, RuleTest, RuleTestFile

STEPS_MAX: Final = 200_000
TOLERANCE: Final = 1e-12  # relative; two right answers may differ in their last bit
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Failure(Struct, frozen=True, kw_only=True):
    """One check that failed: what it is about, and lines of expected (``-``), got (``+``) and both."""

    where: str
    what: str
    lines: tuple[str, ...] = ()


class Outcome(Struct, frozen=True, kw_only=True):
    """One file's tests: how many checks there were and which failed."""

    path: str
    checks: int
    failures: tuple[Failure, ...] = ()


Groups = Sequence[tuple[str, RuleGroup]]  # (path, group)


def run(file: RuleTestFile, rule_files: Sequence[RuleFile], only: str = "") -> Outcome:
    """Every test of a file (those named ``only``). Nothing is shared between two tests."""
    groups = _ordered(rule_files, file.order)
    checks, failures = 0, []
    for place, test in enumerate(file.tests, 1):
        if only and test.name != only:
            continue
        checks += len(test.alerts) + len(test.expressions)
        try:
            failures += list(_Run(file, groups, test, place).failures())
        except PoiseError as error:
            failures.append(Failure(where=_where(file, test.place), what=_said(error)))
    return Outcome(path=file.path, checks=checks, failures=tuple(failures))


def _ordered(rule_files: Sequence[RuleFile], order: Sequence[str]) -> Groups:
    """Groups by file and place; those named in ``group_eval_order`` after the others, in its order."""
    rank = {name: place for place, name in enumerate(order)}
    groups = [(file.path, group) for file in rule_files for group in file.groups]
    return sorted(groups, key=lambda one: rank.get(one[1].name, 0))


class _Until:
    """Samples up to an instant: a test does not see what is to come."""

    def __init__(self, samples: MemorySamples) -> None:
        self._samples = samples
        self.end_ms = 0

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, before: bool = False
    ) -> Block:
        return self._samples.select(matchers, start_ms, min(end_ms, self.end_ms), before=before)


class _Run:
    """One test."""

    def __init__(self, file: RuleTestFile, groups: Groups, test: RuleTest, place: int) -> None:
        self._file, self._groups, self._test = file, groups, test
        self._title = f"test {place}" + (f" {test.name!r}" if test.name else "")
        self._samples = MemorySamples()
        self._until = _Until(self._samples)
        self._memories: list[tuple[RuleMemory, ...]] = [() for _ in groups]

    def failures(self) -> Iterator[Failure]:
        bad = list(self._loaded())
        yield from bad
        if bad:
            return
        step_ms = round(self._file.evaluation_interval_s * 1000)
        times_s = [one.eval_s for one in self._test.alerts] + [one.eval_s for one in self._test.expressions]
        last_ms = round(max(times_s, default=0.0) * 1000)
        if last_ms // step_ms > STEPS_MAX:
            what = f"{self._title}: more than {STEPS_MAX:,} evaluations"
            yield Failure(where=_where(self._file, self._test.place), what=what)
            return
        due = sorted(self._test.alerts, key=lambda one: one.eval_s)
        for at_ms in range(0, last_ms + 1, step_ms):
            broken = list(self._evaluated(at_ms))
            if broken:
                yield from broken
                return
            while due and at_ms <= round(due[0].eval_s * 1000) < at_ms + step_ms:
                yield from self._alerts(due.pop(0))
        self._until.end_ms = last_ms
        for expression in self._test.expressions:
            yield from self._expression(expression)

    # -- making -----------------------------------------------------------------------------------

    def _loaded(self) -> Iterator[Failure]:
        step_ms = round(self._test.interval_s * 1000)
        for one in self._test.series:
            try:
                labels, values = notation.series(f"{one.text} {one.values}")
            except PoiseError as error:
                yield Failure(where=_where(self._file, one.place), what=f"{self._title}: {_said(error)}")
                continue
            points = [(place * step_ms, value) for place, value in enumerate(values) if value is not None]
            self._samples.add(labels, points)

    def _evaluated(self, at_ms: int) -> Iterator[Failure]:
        self._until.end_ms = at_ms
        for place, (path, group) in enumerate(self._groups):
            asked = EvaluateRules(
                file=path,
                group=group,
                at_ms=at_ms,
                memories=self._memories[place],
                external_labels=self._test.external_labels,
                external_url=self._test.external_url,
            )
            done = evaluate(asked, self._until, Limits(), subquery_step_ms=self._step_ms())
            self._keep(done)
            self._memories[place] = tuple(
                RuleMemory(series=one.series, alerts=one.alerts) for one in done.results
            )
            for rule, result in zip(group.rules, done.results, strict=True):
                if result.error:
                    what = f"{self._title}: rule {rule.name} at {_time(at_ms / 1000)}: {result.error}"
                    yield Failure(where=_where(self._file, self._test.place), what=what)

    def _keep(self, done: RulesEvaluated) -> None:
        for result in done.results:
            for labels, value in zip(result.series, result.values, strict=True):
                self._samples.add(labels, [(done.at_ms, value)])
            for labels in result.gone:
                self._samples.add(labels, [(done.at_ms, STALE)])

    def _step_ms(self) -> int:
        return round(self._file.evaluation_interval_s * 1000)

    # -- checking ---------------------------------------------------------------------------------

    def _alerts(self, test: AlertTest) -> Iterator[Failure]:
        found: list[tuple[Labels, tuple[tuple[str, str], ...]]] = []
        for (_, group), memories in zip(self._groups, self._memories, strict=True):
            for rule, memory in zip(group.rules, memories, strict=False):
                if rule.alert == test.alertname:
                    found += [_shape(alert) for alert in memory.alerts if _fires(alert)]
        wanted = [
            (
                tuple(sorted({**one.labels, "alertname": test.alertname}.items())),
                tuple(sorted(one.annotations.items())),
            )
            for one in test.expected
        ]
        if sorted(found) != sorted(wanted):
            yield Failure(
                where=_where(self._file, test.place),
                what=f"{self._title}: alert {test.alertname} at {_time(test.eval_s)}",
                lines=_differences([_alert_text(one) for one in wanted], [_alert_text(one) for one in found]),
            )

    def _expression(self, test: ExpressionTest) -> Iterator[Failure]:
        what = f"{self._title}: {test.expr} at {_time(test.eval_s)}"
        where = _where(self._file, test.place)
        try:
            wanted = [(_labels(text), value) for text, value in test.samples]
            engine = Engine(self._until, Limits(), subquery_step_ms=self._step_ms())
            frame = engine.instant(test.expr, round(test.eval_s * 1000))
        except PoiseError as error:
            yield Failure(where=where, what=f"{what}: {_said(error)}")
            return
        if frame.ragged is not None or frame.text:
            yield Failure(where=where, what=f"{what}: it gives no instant vector or scalar")
            return
        column, there = frame.values[:, 0].tolist(), frame.present[:, 0].tolist()
        rows = zip(frame.series or ((),), column, there, strict=False)
        found = [(labels, value) for labels, value, is_there in rows if is_there]
        if not _alike(sorted(wanted, key=_by_labels), sorted(found, key=_by_labels)):
            lines = _differences([_sample_text(one) for one in wanted], [_sample_text(one) for one in found])
            yield Failure(where=where, what=what, lines=lines)


def _fires(alert: RuleAlert) -> bool:
    return alert.state is RuleAlertState.FIRING


def _shape(alert: RuleAlert) -> tuple[Labels, tuple[tuple[str, str], ...]]:
    return alert.labels, tuple(sorted(alert.annotations.items()))


def _labels(text: str) -> Labels:
    labels, rest = notation.labels_of(text)
    if rest.strip():
        raise QueryInvalid(f"these are no labels: {text!r}", mend='Write name{label="value"}.')
    return labels


def _by_labels(one: tuple[Labels, float]) -> tuple[Labels, str]:
    return one[0], number(one[1])


def _alike(wanted: Sequence[tuple[Labels, float]], found: Sequence[tuple[Labels, float]]) -> bool:
    return len(wanted) == len(found) and all(
        left[0] == right[0] and _close(left[1], right[1]) for left, right in zip(wanted, found, strict=True)
    )


def _close(left: float, right: float) -> bool:
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return left == right or math.isclose(left, right, rel_tol=TOLERANCE)


def _differences(wanted: Sequence[str], found: Sequence[str]) -> tuple[str, ...]:
    """Both, in order: what is only expected, only there, and there as expected."""
    left, right, both = sorted(wanted), sorted(found), []
    for one in list(left):
        if one in right:
            left.remove(one)
            right.remove(one)
            both.append(one)
    lines = [*(f"- {one}" for one in left), *(f"+ {one}" for one in right), *(f"  {one}" for one in both)]
    if not wanted:
        lines.insert(0, "- nothing")
    if not found:
        lines.append("+ nothing")
    return tuple(lines)


def _alert_text(one: tuple[Labels, tuple[tuple[str, str], ...]]) -> str:
    notes = "".join(f' {name}="{escaped(value)}"' for name, value in one[1])
    return f"{shown(one[0])}{notes}"


def _sample_text(one: tuple[Labels, float]) -> str:
    return f"{shown(one[0])} {number(one[1])}"


def _where(file: RuleTestFile, place: Place) -> str:
    return f"{file.path}:{place.line}:{place.column}"


def _time(seconds: float) -> str:
    return format_duration(seconds)


def _said(error: PoiseError) -> str:
    return ": ".join(part for part in (error.what, error.why) if part)
