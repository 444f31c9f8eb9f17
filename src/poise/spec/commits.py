"""What a change is for, as its message, its labels and its paths say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

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


class Classified(Struct, frozen=True, kw_only=True):
    """The class of a change, and what decided it: ``label cve``; empty where nothing claims any."""

    change_class: ChangeClass
    why: str = ""

    @property
    def sentence(self) -> str:
        """``fix, by label bug``."""
        word = self.change_class.value
        return f"{word}, by {self.why}" if self.why else f"{word}: nothing claims another class"


def change_class(message: str) -> ChangeClass:
    """The class that a commit message claims: the last ``Poise-Class:`` trailer, else its first word.

    A revert is a fix, and so is ``Poise-Class: rollback``: ``ROLLBACK`` passes every gate, so only an
    order to Poise makes one. A trailer with any other word is no claim, and without a claim a change is
    a feature, which the policy treats most strictly.

    Source: Conventional Commits 1.0.0 (types, scope, ``!``), git-interpret-trailers(1).

    >>> change_class("fix(api): no more 500s").value, change_class('Revert "new cart"').value
    ('fix', 'fix')
    """
    return classified(message, (), ()).change_class


def classified(
    message: str, paths: Sequence[str], rules: Sequence[ClassRule], labels: Sequence[str] = ()
) -> Classified:
    """The class of a change, the first of these that says one: its ``Poise-Class:`` trailer; the policy's
    rules for labels, which are those of its ``Poise-Labels:`` trailer and those that a forge gave
    (``labels``); the rules for paths; the subject's first word.

    A rule for paths fits where each of ``paths`` matches one of its globs: one path outside of them makes
    the change something else. Of several rules the first that fits counts.

    >>> docs = ClassRule(change_class="fix", paths=("docs/**", "*.md"))
    >>> classified("new page", ["docs/a/b.txt", "README.md"], [docs]).sentence
    'fix, by its paths: all match docs/**, *.md'
    >>> classified("new page", ["docs/a.txt", "src/a.py"], [docs]).change_class.value
    'feature'
    >>> cve = ClassRule(change_class="security", labels=("cve",))
    >>> classified("new page", ["docs/a.txt"], [docs, cve], ["cve"]).sentence
    'security, by label cve'
    """
    text = message[:MESSAGE_CHARS].replace("\r\n", "\n").strip()
    subject, _, body = text.partition("\n")
    trailers = body.rpartition("\n\n")[2]
    if claims := _TRAILER.findall(trailers):
        word = claims[-1].lower()
        return Classified(change_class=_CLASSES[word], why=f"trailer Poise-Class: {word}")
    own = [label.strip() for line in _LABELS.findall(trailers) for label in line.split(",")]
    return (
        _by_label([*own, *labels], rules)
        or _by_paths(paths, rules)
        or _by_subject(subject)
        or Classified(change_class=ChangeClass.FEATURE)
    )


def _by_label(labels: Sequence[str], rules: Sequence[ClassRule]) -> Classified | None:
    for rule in rules:
        for label in labels:
            if label in rule.labels:
                return Classified(change_class=ChangeClass(rule.change_class), why=f"label {label}")
    return None


def _by_paths(paths: Sequence[str], rules: Sequence[ClassRule]) -> Classified | None:
    for rule in rules:
        if rule.paths and paths and all(_matches(path, rule.paths) for path in paths):
            why = f"its paths: all match {', '.join(rule.paths)}"
            return Classified(change_class=ChangeClass(rule.change_class), why=why)
    return None


def _by_subject(subject: str) -> Classified | None:
    if found := _PREFIX.match(subject):
        word = found[1].lower()
        return Classified(change_class=_CLASSES[word], why=f"its subject: {word}")
    reverts = subject.startswith('Revert "')
    return Classified(change_class=ChangeClass.FIX, why="its subject: Revert") if reverts else None


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
