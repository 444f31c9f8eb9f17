"""Which counters stand behind another tool's queries: Poise adds up their growth instead of taking rates."""

from __future__ import annotations

import re
from typing import Final

from poise.spec.counter import NotCounted, Selector, counter
from poise.spec.foreign.slo import Counters, Events, Indicator, RawRatio

_OR_ZERO: Final = re.compile(r"\s+or\s+(?:on\s*\(\s*\)\s*)?vector\s*\(\s*0\s*\)\s*$", re.IGNORECASE)
_MATCHING: Final = re.compile(
    r"\s*(?:(?:on|ignoring)\s*\([^)]*\)\s*)?(?:group_(?:left|right)\s*(?:\([^)]*\)\s*)?)?", re.IGNORECASE
)
_OPENS: Final = {"(": ")", "{": "}", "[": "]"}


def counters_of(indicator: Indicator) -> Counters | None:
    """The counters of an indicator; None where a query does more than sum up what counters grew by.

    >>> counters_of(Events(bad='sum(rate(a{c="5"}[{{.window}}]))', total="sum(rate(a[{{.window}}]))"))
    Counters(good='', bad='a{c="5"}', total='a', group_by=())
    >>> counters_of(RawRatio(bad="1 - (sum(rate(g[{{.window}}])) / sum(rate(t[{{.window}}])))")).good
    'g'
    """
    match indicator:
        case Counters():
            return indicator
        case Events(bad="", good=good, total=total):
            return _of(good=good, total=total)
        case Events(bad=bad, total=total):
            return _of_events(bad, total)
        case RawRatio(bad=ratio):
            return _of_ratio(ratio)
        case _:
            return None


def _of_events(bad: str, total: str) -> Counters | None:
    whole, parts = _selector(total), _split(bad, "-")
    if whole is None:
        return None
    if parts is not None:
        minuend, good = _selector(parts[0]), _selector(parts[1])
        if minuend is None or good is None or (minuend.metric, minuend.matchers) != (
            whole.metric, whole.matchers
        ):  # fmt: skip
            return None
        return Counters(good=good.text, total=whole.text)
    return _of(bad=bad, total=total)


def _of_ratio(ratio: str) -> Counters | None:
    parts = _split(ratio, "-")
    if parts is not None:
        divided = _split(parts[1], "/") if parts[0].strip() == "1" else None
        return None if divided is None else _of(good=divided[0], total=divided[1])
    divided = _split(ratio, "/")
    return None if divided is None else _of_events(*divided)


def _of(**texts: str) -> Counters | None:
    found: dict[str, str] = {}
    for role, text in texts.items():
        one = _selector(text)
        if one is None:
            return None
        found[role] = one.text
    return Counters(good=found.get("good", ""), bad=found.get("bad", ""), total=found.get("total", ""))


def _selector(text: str) -> Selector | None:
    try:
        return counter(_OR_ZERO.sub("", _bare(text)).strip())
    except NotCounted:
        return None


def _bare(text: str) -> str:
    """Without the parentheses around all of it."""
    text = text.strip()
    while text.startswith("(") and _end(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _split(text: str, operator: str) -> tuple[str, str] | None:
    """Both sides of the one binary ``operator`` outside all brackets; None where there is not just one."""
    text = _bare(text)
    places = [at for at in _outside(text) if text[at] == operator]
    if len(places) != 1 or not text[: places[0]].strip():
        return None
    right = text[places[0] + 1 :]
    matching = _MATCHING.match(right)
    return text[: places[0]], right[matching.end() :] if matching else right


def _outside(text: str) -> list[int]:
    """The places of characters that stand in no bracket and no string."""
    places, at = [], 0
    while at < len(text):
        if text[at] in _OPENS or text[at] in "\"'`":
            at = _end(text, at)
        else:
            places.append(at)
        at += 1
    return places


def _end(text: str, at: int) -> int:
    """Where the bracket or string that opens at ``at`` ends; the text's end when it does not."""
    if text[at] in "\"'`":
        quote, at = text[at], at + 1
        while at < len(text) and text[at] != quote:
            at += 2 if text[at] == "\\" and quote != "`" else 1
        return at
    closes, at = _OPENS[text[at]], at + 1
    while at < len(text) and text[at] != closes:
        if text[at] in _OPENS or text[at] in "\"'`":
            at = _end(text, at)
        at += 1
    return at
