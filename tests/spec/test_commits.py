"""The class of a change, from its message."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.model.delivery import ChangeClass
from poise.spec.commits import change_class


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
