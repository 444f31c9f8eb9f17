"""Templates as trees, and what is refused of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.spec.template import Branch, Show, Words, parse_template
from poise.spec.template_text import TemplateFault


def test_trim_marks_take_the_space_beside_them() -> None:
    nodes = parse_template("a  {{- $value -}}  b {{ $value }} c")
    assert [one.text for one in nodes if isinstance(one, Words)] == ["a", "b ", " c"]


def test_a_comment_is_nothing() -> None:
    assert parse_template("a {{- /* {{ $nope }} */ -}} b") == (Words("a"), Words("b"))


def test_an_else_if_needs_one_end() -> None:
    (node,) = parse_template("{{ if gt $value 2.0 }}a{{ else if gt $value 1.0 }}b{{ else }}c{{ end }}")
    assert isinstance(node, Branch) and isinstance(node.otherwise[0], Branch)
    assert node.otherwise[0].otherwise == (Words("c"),)


def test_a_variable_lives_in_its_block() -> None:
    assert parse_template("{{ range $i, $s := query `up` }}{{ $i }}{{ $s.Value }}{{ end }}")
    with pytest.raises(TemplateFault, match=r"no variable '\$s'"):
        parse_template("{{ range $s := query `up` }}{{ end }}{{ $s }}")


@pytest.mark.parametrize(
    ("text", "offset", "what"),
    [
        ("{{ $labls.x }}", 3, "there is no variable '$labls'"),
        ("x {{ humanise 1 }}", 5, "there is no function 'humanise'"),
        ("{{ $value ", 0, "an action is not closed"),
        ("{{ if $value }}x", 13, "'if' is not ended"),
        ("{{ end }}", 7, "'end' without"),
        ("{{ humanize }}", 3, "'humanize' takes 1 argument(s), not 0"),
        ("{{ graphLink `up` }}", 3, "'graphLink' is not supported"),
        ("{{ define `x` }}{{ end }}", 3, "'define' is not supported"),
        ("{{ }}", 3, "an action without a value"),
        ("{{ $value 3 }}", 10, "takes no argument"),
        ("{{ break }}", 3, "outside of 'range'"),
        ("{{ ($value }}", 3, "'(' is not closed"),
        ("{{ 'x' }}", 3, "is not expected here"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, offset: int, what: str) -> None:
    """A template that is rendered wrong misleads whoever is paged at night."""
    with pytest.raises(TemplateFault) as raised:
        parse_template(text)
    assert what in raised.value.what
    assert raised.value.offset == offset
    assert raised.value.mend


@given(st.text(alphabet='{}$.-| "`()ab1=:,/*\n', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        nodes = parse_template(text)
    except TemplateFault as fault:
        assert 0 <= fault.offset <= len(text)
    else:
        assert all(isinstance(one, Words | Show | Branch) for one in nodes)
