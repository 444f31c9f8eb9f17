"""The class of a change, from its message."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.model.delivery import ChangeClass
from poise.model.policy import ClassRule
from poise.spec.commits import change_class, classified


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Add a cart", ChangeClass.FEATURE),
        ("", ChangeClass.FEATURE),
        ("feat: a cart", ChangeClass.FEATURE),
        ("fix: no more 500s", ChangeClass.FIX),
        ("fix(api): no more 500s", ChangeClass.FIX),
        ("fix(api)!: no more 500s", ChangeClass.FIX),
        ("Fix: no more 500s", ChangeClass.FIX),
        ("fixes the cart", ChangeClass.FEATURE),
        ("prefix: fix: x", ChangeClass.FEATURE),
        ("security: bump openssl", ChangeClass.SECURITY),
        ("revert: the cart", ChangeClass.FIX),
        ('Revert "add a cart"\n\nThis reverts commit abc.', ChangeClass.FIX),
        ("rollback: the cart", ChangeClass.FEATURE),
        ("add a cart\n\nPoise-Class: fix", ChangeClass.FIX),
        ("fix: a cart\n\nwhy\n\nPoise-Class: feature\nSigned-off-by: a\n", ChangeClass.FEATURE),
        ("a\n\npoise-class:  SECURITY \r\n", ChangeClass.SECURITY),
        ("a\n\nPoise-Class: fix\nPoise-Class: security", ChangeClass.SECURITY),
        ("a\n\nPoise-Class: hotfix", ChangeClass.FEATURE),
        ("a\n\nPoise-Class: fix\n\nnot a trailer any more", ChangeClass.FEATURE),
        ("Poise-Class: fix", ChangeClass.FEATURE),
        ("a\n\nPoise-Class: rollback", ChangeClass.FIX),
    ],
)
def test_a_message_claims_a_class(message: str, expected: ChangeClass) -> None:
    """The policy lets fixes pass where features are held, so the claim must be read exactly."""
    assert change_class(message) is expected


@settings(deadline=None)
@given(st.text() | st.text().map(lambda text: f"x\n\nPoise-Class: {text}"))
def test_no_message_makes_a_rollback(message: str) -> None:
    """A rollback passes every gate; a commit message must not be a way round it."""
    assert change_class(message) is not ChangeClass.ROLLBACK


DOCS = ClassRule(change_class="fix", paths=("docs/**", "*.md"), labels=())
URGENT = ClassRule(change_class="security", labels=("cve", "urgent"))


@pytest.mark.parametrize(
    ("message", "paths", "expected"),
    [
        ("a page", ("docs/a/b.txt", "README.md"), ChangeClass.FIX),
        ("a page", ("docs/a/b.txt", "src/a.py"), ChangeClass.FEATURE),
        ("a page", ("src/README.md",), ChangeClass.FEATURE),
        ("a page", (), ChangeClass.FEATURE),
        ("a page\n\nPoise-Class: feature", ("docs/a.txt",), ChangeClass.FEATURE),
        ("a bump\n\nPoise-Labels: deps, cve", ("src/a.py",), ChangeClass.SECURITY),
        ("a bump\n\nPoise-Label: urgent\nSigned-off-by: a", (), ChangeClass.SECURITY),
        ("a bump\n\nPoise-Labels: dependency", (), ChangeClass.FEATURE),
        ("fix: a bug", ("src/a.py",), ChangeClass.FIX),
    ],
)
def test_the_policys_rules_classify_by_paths_and_labels(
    message: str, paths: tuple[str, ...], expected: ChangeClass
) -> None:
    """One path outside of the rule makes the change something else: nothing hides in a docs commit."""
    assert classified(message, paths, (DOCS, URGENT)).change_class is expected


@pytest.mark.parametrize(
    ("message", "labels", "expected"),
    [
        ("a page\n\nPoise-Class: feature", ("cve",), "feature, by trailer Poise-Class: feature"),
        ("a page", ("deps", "cve"), "security, by label cve"),
        ("a page\n\nPoise-Labels: urgent", (), "security, by label urgent"),
        ("a page", ("deps",), "fix, by its paths: all match docs/**, *.md"),
        ("fix: a page", ("cve",), "security, by label cve"),
    ],
)
def test_a_trailer_wins_over_a_label_and_a_label_over_paths(
    message: str, labels: tuple[str, ...], expected: str
) -> None:
    """The nearer to the commit the stronger, and it is said which decided."""
    assert classified(message, ("docs/a.md",), (DOCS, URGENT), labels).sentence == expected


def test_the_subject_is_the_last_to_be_asked() -> None:
    assert classified("fix: a bug", ("src/a.py",), (DOCS, URGENT), ()).sentence == "fix, by its subject: fix"
    assert classified("a bug", (), (), ("cve",)).sentence == "feature: nothing claims another class"
