"""Many selectors in few questions: nothing is asked wrongly, and each series finds its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poise.adapters.regex import matching
from poise.engine.asking import Sorting, alone, questions
from poise.spec.counter import counter


def asked(*texts: str) -> list[str]:
    return [one.text for one in questions(texts)]


def test_selectors_of_one_metric_are_one_question() -> None:
    texts = [
        'http_total{job="web",service="a"}',
        'http_total{job="web",service="a",code=~"5.."}',
        'http_total{job="web",service="b.c"}',
    ]
    assert asked(*texts) == ['http_total{job="web",service=~"a|b\\\\.c"}']


def test_what_all_of_them_demand_is_demanded_of_the_store() -> None:
    assert asked('x_total{a="1",code!="404"}', 'x_total{a="2",code!="404"}') == [
        'x_total{code!="404",a=~"1|2"}'
    ]


def test_one_selector_is_asked_as_it_was_written() -> None:
    assert asked('x_total{a="1"}') == ['x_total{a="1"}']
    assert asked("sum(rate(x_total[5m]))") == ["x_total"]


def test_what_cannot_be_told_apart_here_is_asked_alone() -> None:
    """Escapes differ between the three kinds of quotes."""
    texts = ['x_total{a="b\\\\d"}', "x_total{a=`b\\d`}"]
    assert sorted(asked(*texts)) == sorted(texts)


def test_each_can_be_asked_alone() -> None:
    texts = {'x_total{a="1"}', 'x_total{a="2"}'}
    (question,) = questions(texts)
    assert {one.text for one in alone(question)} == texts


LABELS = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from(["", "a", "b", "a.c", "500", "503"]) for name in ("service", "code", "job")
    },
)
MATCHERS = st.lists(
    st.tuples(
        st.sampled_from(["service", "code", "job"]),
        st.sampled_from(["=", "!=", "=~", "!~"]),
        st.sampled_from(["a", "b", "a.c", "500", "5..", ""]),
    ),
    max_size=3,
    unique_by=lambda one: one[0],
)


def is_of(labels: dict[str, str], text: str) -> bool:
    """Brute force: whether a series satisfies every matcher of a selector."""
    for label, operator, quoted in counter(text).matchers:
        found, value = labels.get(label, ""), quoted.replace("\\\\", "\\")
        holds = found == value if operator in ("=", "!=") else matching(value)(found)
        if holds != (not operator.startswith("!")):
            return False
    return True


@given(st.lists(MATCHERS, min_size=1, max_size=6), st.lists(LABELS, max_size=8))
def test_each_series_goes_to_exactly_the_selectors_that_it_satisfies(
    selectors: list[list[tuple[str, str, str]]], series: list[dict[str, str]]
) -> None:
    texts = {
        "x_total{" + ",".join(f'{label}{op}"{value}"' for label, op, value in one) + "}" for one in selectors
    }
    for question in questions(texts):
        sorting = Sorting(question, matching)
        for labels in series:
            held = {name: value for name, value in labels.items() if value}
            mine = {text for text in question.texts if is_of(held, text)}
            if not is_of(held, question.text):
                assert not mine, "the question must be wide enough"
                continue
            assert set(sorting.selectors(tuple(sorted(held.items())))) == mine or len(question.texts) == 1
