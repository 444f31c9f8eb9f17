"""What a commit message says that a change is for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from poise.model.delivery import ChangeClass
from poise.model.policy import ClassRule

MESSAGE_CHARS: Final = 64 * 1024

_TRAILER: Final = re.compile(r"(?im)^poise-class:[ \t]*(fix|security|feature|rollback)[ \t]*$")
_INCIDENT: Final = re.compile(r"(?im)^poise-incident:[ \t]*#?(\d{1,6})[ \t]*$")
_LABELS: Final = re.compile(r"(?im)^poise-labels?:[ \t]*(\S[^\n]{0,500})$")
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
    return classified(message, (), ())


def classified(message: str, paths: Sequence[str], rules: Sequence[ClassRule]) -> ChangeClass:
    """The class of a change by its ``Poise-Class:`` trailer, else by the policy's rules, else its first word.

    A rule fits by a label of the ``Poise-Labels:`` trailer, or where each of ``paths`` matches one of its
    globs: one path outside of them makes the change something else. The first rule that fits counts.

    >>> docs = ClassRule(change_class="fix", paths=("docs/**", "*.md"))
    >>> classified("new page", ["docs/a/b.txt", "README.md"], [docs]).value
    'fix'
    >>> classified("new page", ["docs/a.txt", "src/a.py"], [docs]).value
    'feature'
    """
    text = message[:MESSAGE_CHARS].replace("\r\n", "\n").strip()
    subject, _, body = text.partition("\n")
    trailers = body.rpartition("\n\n")[2]
    if claims := _TRAILER.findall(trailers):
        return _CLASSES[claims[-1].lower()]
    labels = {label.strip() for line in _LABELS.findall(trailers) for label in line.split(",")}
    for rule in rules:
        all_match = bool(paths) and all(_matches(path, rule.paths) for path in paths)
        if labels & set(rule.labels) or (rule.paths and all_match):
            return ChangeClass(rule.change_class)
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


def _matches(path: str, globs: Sequence[str]) -> bool:
    return any(_pattern(glob).fullmatch(path) for glob in globs)


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    """``**`` goes through folders, ``*`` and ``?`` stay in one."""
    made = []
    for part in re.split(r"(\*\*/?|\*|\?)", glob):
        match part:
            case "**" | "**/":
                made.append(".*")
            case "*":
                made.append("[^/]*")
            case "?":
                made.append("[^/]")
            case _:
                made.append(re.escape(part))
    return re.compile("".join(made), re.DOTALL)
