"""Relabelling does what Prometheus' does; expected values come from its documentation and behaviour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.adapters.regex import RegexError
from poise.adapters.scrape.relabel import relabelling
from poise.model.scrape import Relabel, RelabelAction

A = RelabelAction
LABELS = {"a": "foo", "b": "bar", "c": "baz", "__meta_x": "1"}


@pytest.mark.parametrize(
    ("rule", "after"),
    [
        (Relabel(source_labels=("a",), target_label="d"), {**LABELS, "d": "foo"}),
        (Relabel(source_labels=("a",), regex="f(.*)", target_label="d", replacement="ch${1}-ch$1"),
         {**LABELS, "d": "choo-choo"}),
        (Relabel(source_labels=("a", "b"), target_label="d"), {**LABELS, "d": "foo;bar"}),
        (Relabel(source_labels=("a",), regex="fo", target_label="d"), LABELS),
        (Relabel(source_labels=("a",), target_label="b", replacement=""),
         {"a": "foo", "c": "baz", "__meta_x": "1"}),
        (Relabel(source_labels=("b",), regex="(b).*", target_label="${1}x"), {**LABELS, "bx": "b"}),
        (Relabel(source_labels=("a",), target_label="not a name"), LABELS),
        (Relabel(action=A.KEEP, source_labels=("a",), regex="foo"), LABELS),
        (Relabel(action=A.KEEP, source_labels=("a",), regex="fo"), None),
        (Relabel(action=A.DROP, source_labels=("a", "b"), regex="foo;b.."), None),
        (Relabel(action=A.DROP, source_labels=("nope",), regex=".+"), LABELS),
        (Relabel(action=A.LABEL_MAP, regex="__meta_(.+)", replacement="m_$1"), {**LABELS, "m_x": "1"}),
        (Relabel(action=A.LABEL_DROP, regex="__.*"), {"a": "foo", "b": "bar", "c": "baz"}),
        (Relabel(action=A.LABEL_KEEP, regex="[ab]"), {"a": "foo", "b": "bar"}),
        (Relabel(action=A.UPPERCASE, source_labels=("a",), target_label="a"), {**LABELS, "a": "FOO"}),
        (Relabel(action=A.KEEP_EQUAL, source_labels=("a",), target_label="b"), None),
        (Relabel(action=A.DROP_EQUAL, source_labels=("a",), target_label="b"), LABELS),
        (Relabel(action=A.HASH_MOD, source_labels=("c",), target_label="d", modulus=1000),
         {**LABELS, "d": "976"}),
    ],
)  # fmt: skip
def test_each_action(rule: Relabel, after: dict[str, str] | None) -> None:
    assert relabelling([rule])(LABELS) == after


def test_rules_run_in_order_and_a_dropped_one_stays_dropped() -> None:
    moved = relabelling(
        [
            Relabel(source_labels=("a",), target_label="z"),
            Relabel(action=A.KEEP, source_labels=("z",), regex="foo"),
            Relabel(action=A.LABEL_DROP, regex="[abc]"),
        ]
    )
    assert moved(LABELS) == {"z": "foo", "__meta_x": "1"}
    assert moved({"a": "other"}) is None


def test_an_expression_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(RegexError):
        relabelling([Relabel(regex="(")])


PAIRS = st.dictionaries(st.sampled_from("abcd"), st.text("xyz", min_size=1), max_size=4)


@given(labels=PAIRS, source=st.sampled_from("abcd"), target=st.sampled_from("abcd"))
def test_a_rule_changes_its_target_only_and_never_what_it_was_given(
    labels: dict[str, str], source: str, target: str
) -> None:
    before = dict(labels)
    after = relabelling([Relabel(source_labels=(source,), target_label=target)])(labels)
    assert labels == before and after is not None
    assert {k: v for k, v in after.items() if k != target} == {k: v for k, v in labels.items() if k != target}
    assert after.get(target, "") == labels.get(source, "")
