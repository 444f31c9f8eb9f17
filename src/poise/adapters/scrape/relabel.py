"""Relabelling: labels in, labels out, or nothing at all. Pure.

**Source:** prometheus.io/docs/prometheus/latest/configuration/configuration, ``relabel_config``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Final

from poise.adapters.regex import anchored, expanded
from poise.model.scrape import Relabel, RelabelAction

Pairs = dict[str, str]
Rule = Callable[[Pairs], Pairs | None]
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def relabelling(rules: Sequence[Relabel]) -> Rule:
    """All rules, one after another; None drops. What it is given is not changed. Raises ``RegexError``."""
    made = [_rule(one) for one in rules]

    def apply(labels: Pairs) -> Pairs | None:
        for rule in made:
            found = rule(labels)
            if found is None:
                return None
            labels = found
        return labels

    return apply


def _rule(one: Relabel) -> Rule:
    regex = anchored(one.regex)
    action = one.action

    def source(labels: Pairs) -> str:
        return one.separator.join(labels.get(name, "") for name in one.source_labels)

    def put(labels: Pairs, name: str, value: str) -> Pairs:
        rest = {key: kept for key, kept in labels.items() if key != name}
        return {**rest, name: value} if value else rest

    def matches(text: str) -> bool:
        return regex.search(text) is not None

    def replace(labels: Pairs) -> Pairs:
        text = source(labels)
        value, name = expanded(regex, one.replacement, text), expanded(regex, one.target_label, text)
        if value is None or name is None or not _NAME.fullmatch(name):
            return labels
        return put(labels, name, value)

    def labelmap(labels: Pairs) -> Pairs:
        made = dict(labels)
        for name, value in labels.items():
            mapped = expanded(regex, one.replacement, name)
            if mapped:
                made[mapped] = value
        return made

    def hashmod(labels: Pairs) -> Pairs:
        digest = hashlib.md5(source(labels).encode(), usedforsecurity=False).digest()
        return put(labels, one.target_label, str(int.from_bytes(digest[8:], "big") % one.modulus))

    table: dict[RelabelAction, Rule] = {
        RelabelAction.REPLACE: replace,
        RelabelAction.KEEP: lambda labels: labels if matches(source(labels)) else None,
        RelabelAction.DROP: lambda labels: None if matches(source(labels)) else labels,
        RelabelAction.KEEP_EQUAL: lambda labels: (
            labels if source(labels) == labels.get(one.target_label, "") else None
        ),
        RelabelAction.DROP_EQUAL: lambda labels: (
            None if source(labels) == labels.get(one.target_label, "") else labels
        ),
        RelabelAction.HASH_MOD: hashmod,
        RelabelAction.LABEL_MAP: labelmap,
        RelabelAction.LABEL_DROP: lambda labels: {k: v for k, v in labels.items() if not matches(k)},
        RelabelAction.LABEL_KEEP: lambda labels: {k: v for k, v in labels.items() if matches(k)},
        RelabelAction.LOWERCASE: lambda labels: put(labels, one.target_label, source(labels).lower()),
        RelabelAction.UPPERCASE: lambda labels: put(labels, one.target_label, source(labels).upper()),
    }
    return table[action]
