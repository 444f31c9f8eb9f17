"""What a commit message says that a change is for."""

from __future__ import annotations

import re
from typing import Final

from poise.model.delivery import ChangeClass

MESSAGE_CHARS: Final = 64 * 1024

_TRAILER: Final = re.compile(r"(?im)^poise-class:[ \t]*(fix|security|feature|rollback)[ \t]*$")
_INCIDENT: Final = re.compile(r"(?im)^poise-incident:[ \t]*#?(\d{1,6})[ \t]*$")
_PREFIX: Final = re.compile(r"(fix|security|revert)(?:\([^()\n]{1,100}\))?!?:", re.IGNORECASE)
_CLASSES: Final = {
    "feature": ChangeClass.FEATURE,
    "fix": ChangeClass.FIX,
    "revert": ChangeClass.FIX,
    "rollback": ChangeClass.FIX,
    "security": ChangeClass.SECURITY,
}


def change_class(message: str) -> ChangeClass:
    """The class that a commit message claims: the last ``Poise-Class:`` trailer, else its first word.

    A revert is a fix, and so is ``Poise-Class: rollback``: ``ROLLBACK`` passes every gate, so only an
    order to Poise makes one. A trailer with any other word is no claim, and without a claim a change is
    a feature, which the policy treats most strictly.

    Source: Conventional Commits 1.0.0 (types, scope, ``!``), git-interpret-trailers(1).

    >>> change_class("fix(api): no more 500s").value, change_class('Revert "new cart"').value
    ('fix', 'fix')
    """
    text = message[:MESSAGE_CHARS].replace("\r\n", "\n").strip()
    subject, _, body = text.partition("\n")
    if claims := _TRAILER.findall(body.rpartition("\n\n")[2]):
        return _CLASSES[claims[-1].lower()]
    if found := _PREFIX.match(subject):
        return _CLASSES[found[1].lower()]
    return ChangeClass.FIX if subject.startswith('Revert "') else ChangeClass.FEATURE


def incident(message: str) -> int | None:
    """The number of the incident that a commit message says it repairs: its last ``Poise-Incident:`` trailer.

    >>> incident("fix: no more 500s\\n\\nPoise-Incident: 12"), incident("incident 12")
    (12, None)
    """
    text = message[:MESSAGE_CHARS].replace("\r\n", "\n").strip()
    named = _INCIDENT.findall(text.partition("\n")[2].rpartition("\n\n")[2])
    return int(named[-1]) if named else None
