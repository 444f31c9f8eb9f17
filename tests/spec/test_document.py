"""YAML as it is written: places, words of YAML 1.2, and bombs that do not go off."""

from __future__ import annotations

import pytest

from poise.model.errors import Invalid
from poise.spec import limits
from poise.spec.document import Items, Mapping, Scalar, compose
from poise.spec.problems import Problems

BAD = [
    ("a: [", "POISE-S101", "f.yaml:1:5"),
    ("a: b: c", "POISE-S101", "f.yaml:1:5"),
    ("a: 1\n\tb: 2", "POISE-S101", "f.yaml:2:1"),
    ("ok: 1\nbad: \x07", "POISE-S101", "f.yaml:2:6"),
    ("a: *x", "POISE-S101", "f.yaml:1:4"),
    ("a: &x [*x]", "POISE-S101", "f.yaml:1:8"),
    ("a: 1\nb: 2\na: 3", "POISE-S102", "f.yaml:3:1"),
    ("a:\n  b: 1\n  'b': 2", "POISE-S102", "f.yaml:3:3"),
    ("[" * 40 + "]" * 40, "POISE-S103", "f.yaml:1:33"),
    ("a: !!python/name:os.system x", "POISE-S104", "f.yaml:1:4"),
    ("%YAML 1.1\n---\na: on", "POISE-S104", "f.yaml:2:1"),
    ("[a]: 1", "POISE-S112", "f.yaml:1:1"),
]


@pytest.mark.parametrize(("text", "code", "where"), BAD)
def test_what_is_not_read_is_refused_at_its_place(text: str, code: str, where: str) -> None:
    """A person must find the line at once, with a code to search for."""
    with pytest.raises(Problems) as caught:
        compose(text, "f.yaml")
    assert [(problem.code, problem.where) for problem in caught.value.problems] == [(code, where)]


def test_words_keep_the_meaning_of_yaml_1_2() -> None:
    """``on:`` in a workflow is a word; YAML 1.1 would make it true."""
    (root,) = compose("on: yes\nn: 08\nf: 1.10\nq: '1'\nz: ~\nt: true", "f.yaml")
    assert isinstance(root, Mapping)
    read = [(key.text, value.text, value.kind) for key, value in root.entries if isinstance(value, Scalar)]
    assert read == [
        ("on", "yes", "text"),
        ("n", "08", "integer"),
        ("f", "1.10", "number"),
        ("q", "1", "text"),
        ("z", "~", "null"),
        ("t", "true", "flag"),
    ]


def test_nodes_know_their_line_and_column() -> None:
    """Every message about a file stands on these."""
    (root,) = compose("# note\na:\n  - b: 1\n  - [x, y]\n", "f.yaml")
    assert isinstance(root, Mapping)
    items = root.get("a")
    assert isinstance(items, Items)
    assert [(item.line, item.column) for item in items.items] == [(3, 5), (4, 5)]


def test_an_alias_means_its_anchor() -> None:
    """Aliases are plain YAML; only their number is limited."""
    (root,) = compose("a: &x {k: v}\nb: *x", "f.yaml")
    assert isinstance(root, Mapping)
    assert root.get("a") == root.get("b")


def test_an_alias_bomb_is_refused_before_it_is_followed() -> None:
    """Ten lines must not become a billion values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    with pytest.raises(Invalid, match=str(limits.NODES)):
        compose("\n".join(lines), "f.yaml")


def test_a_file_over_its_limit_is_refused() -> None:
    """A limit by bytes, so that a wide character does not pass for one."""
    with pytest.raises(Invalid) as caught:
        compose("a: '" + "é" * (limits.TEXT_BYTES // 2) + "'", "f.yaml")
    assert caught.value.code == "POISE-S100"


def test_too_many_documents_are_refused() -> None:
    """Each document costs reading; their number has a limit."""
    with pytest.raises(Invalid) as caught:
        compose("---\na: 1\n" * (limits.DOCUMENTS + 1), "f.yaml")
    assert caught.value.code == "POISE-S100"


def test_empty_documents_are_left_out() -> None:
    """A trailing ``---`` is common and harmless."""
    assert compose("", "f.yaml") == ()
    assert len(compose("a: 1\n---\n---\n", "f.yaml")) == 1
