"""A group at one instant: order, offsets, limits, and what a failing rule does."""

from __future__ import annotations

from poise.adapters.memory_samples import MemorySamples
from poise.adapters.rules import evaluate
from poise.model.rules import EvaluateRules, Rule, RuleAlertState, RuleGroup, RuleMemory, RuleResult
from poise.model.samples import Labels

AT = 600_000


def series(name: str, **labels: str) -> Labels:
    return tuple(sorted({"__name__": name, **labels}.items()))


def given(*points: tuple[Labels, float]) -> MemorySamples:
    samples = MemorySamples()
    for labels, value in points:
        samples.add(labels, [(AT - 30_000, value), (AT, value)])
    return samples


def results(
    samples: MemorySamples, *rules: Rule, limit: int = 0, memories: tuple[RuleMemory, ...] = ()
) -> tuple[RuleResult, ...]:  # fmt: skip
    group = RuleGroup(name="g", limit=limit, labels={"team": "a"}, rules=rules)
    asked = EvaluateRules(file="f", group=group, at_ms=AT, memories=memories)
    return evaluate(asked, samples).results


def test_a_rule_sees_what_the_ones_before_it_made() -> None:
    """Rules of a group are written one upon another."""
    samples = given((series("x", a="1"), 2.0), (series("x", a="2"), 3.0), (series("sum:x"), 7.0))
    first, second, third = results(
        samples,
        Rule(record="sum:x", expr="sum(x)", labels={"kind": "all"}),
        Rule(record="twice", expr='sum:x{kind="all"} * 2'),
        Rule(record="both", expr="count(sum:x)"),
    )
    assert (first.series, first.values) == ((series("sum:x", kind="all", team="a"),), (5.0,))
    assert second.values == (10.0,)
    assert third.values == (2.0,)


def test_a_series_that_vanishes_is_stale_for_the_rules_after_it() -> None:
    old = series("made", a="1", team="a")
    samples = given((old, 1.0), (series("x", a="2"), 1.0))
    first, second = results(
        samples,
        Rule(record="made", expr="x"),
        Rule(record="n", expr="count(made)"),
        memories=(RuleMemory(series=(old,)),),
    )
    assert first.gone == (old,)
    assert second.values == (1.0,)


def test_a_failing_rule_says_why_keeps_its_alerts_and_stops_no_other() -> None:
    """What cannot be looked at is not over."""
    samples = given(
        (series("x", a="1"), 1.0), (series("y", a="1", b="1"), 1.0), (series("y", a="1", b="2"), 1.0)
    )
    alert = Rule(alert="A", expr="x")
    (held,) = results(samples, alert)
    broken = Rule(alert="A", expr="x * on(a) y")
    first, second = results(
        samples, broken, Rule(record="fine", expr="x"),
        memories=(RuleMemory(series=held.series, alerts=held.alerts),),
    )  # fmt: skip
    assert "matching" in first.error
    assert first.alerts == held.alerts and first.alerts[0].state is RuleAlertState.FIRING
    assert (first.series, first.gone) == ((), ())
    assert second.error == "" and second.values == (1.0,)


def test_a_limit_fails_the_rule_and_ends_no_alert() -> None:
    samples = given(*((series("x", a=str(n)), 1.0) for n in range(5)))
    assert (
        results(samples, Rule(record="r", expr="x"), limit=4)[0].error == "exceeded limit of 4 with 5 series"
    )
    known = results(samples, Rule(alert="A", expr="x"))[0].alerts
    (over,) = results(samples, Rule(alert="A", expr="x"), limit=4, memories=(RuleMemory(alerts=known),))
    assert over.error == "exceeded limit of 4 with 5 alerts"
    assert over.alerts == known


def test_the_offset_moves_what_is_asked_and_what_is_made() -> None:
    samples = MemorySamples()
    samples.add(series("x"), [(AT - 60_000, 1.0), (AT, 2.0)])
    group = RuleGroup(name="g", query_offset_s=30, rules=(Rule(record="r", expr="x"),))
    done = evaluate(EvaluateRules(file="f", group=group, at_ms=AT), samples)
    assert (done.at_ms, done.results[0].values) == (AT - 30_000, (1.0,))


def test_two_results_of_one_label_set_are_refused() -> None:
    samples = given((series("x", a="1"), 1.0), (series("x", a="2"), 1.0))
    (record,) = results(samples, Rule(record="r", expr="x", labels={"a": ""}))
    assert "same labelset after applying rule labels" in record.error
    (alert,) = results(samples, Rule(alert="A", expr="x", labels={"a": "{{ $value }}"}))
    assert "same labelset after applying alert labels" in alert.error


def test_a_scalar_is_one_series() -> None:
    (one,) = results(MemorySamples(), Rule(record="now", expr="time()"))
    assert (one.series, one.values) == ((series("now", team="a"),), (600.0,))


def test_a_template_that_cannot_be_filled_says_so_and_is_noted() -> None:
    """Never a wrong number; whoever is paged sees that something is missing."""
    rule = Rule(alert="A", expr="x", annotations={"s": "{{ query `nosuch` | first | value }}"})
    (one,) = results(given((series("x"), 1.0)), rule)
    assert one.alerts[0].annotations["s"].startswith("<error expanding template: first() called")
    assert len(one.notes) == 1


def test_samples_of_the_group_meet_those_of_the_store_in_one_series() -> None:
    """A range over a recorded series holds both, and a second answer for one instant takes its place."""
    samples = MemorySamples()
    samples.add(series("r", team="a"), [(AT - 60_000, 1.0), (AT, 99.0)])
    samples.add(series("x"), [(AT, 5.0)])
    _, second = results(samples, Rule(record="r", expr="x"), Rule(record="all", expr="sum_over_time(r[2m])"))
    assert second.values == (6.0,)
