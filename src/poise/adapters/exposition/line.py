"""One line of a page, read strictly: a sample, or what a family says of itself.

**Source:** prometheus.io/docs/instrumenting/exposition_formats (text 0.0.4, with quoted UTF-8 names);
OpenMetrics 1.0 (RFC draft), section "Text format".
"""

from __future__ import annotations

import math
import re
from sys import intern
from typing import Final

from msgspec import Struct

from poise.model.intake import Faulty, IntakeLimits, check_labels
from poise.model.samples import NAME, Labels, MetricKind

_SPACE: Final = re.compile(r"[ \t]*+")
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*+")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*+")
_QUOTED: Final = re.compile(r'"((?:[^"\\]++|\\.)*+)"')
_TOKEN: Final = re.compile(r"[^ \t]++")
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_DECLARED: Final = re.compile(r'#[ \t]+(HELP|TYPE|UNIT)[ \t]+("(?:[^"\\]++|\\.)*+"|[^ \t]++)(?:[ \t](.*))?')
_ESCAPE: Final = re.compile(r'\\([\\n"])')
_ESCAPED: Final = {"\\": "\\", "n": "\n", '"': '"'}
DIGITS: Final = b"0123456789+-.eEinfatyINFATY"  # of which every value consists: no underscore, no blank
_FARTHEST_MS: Final = 2**62
KINDS: Final = {kind.value: kind for kind in MetricKind} | {"untyped": MetricKind.UNKNOWN}


class Line(Struct, frozen=True, kw_only=True):
    """A sample as it was written."""

    labels: Labels
    value: float
    at_ms: int | None  # as the line says; None: the moment of the page
    ends_at: int  # where the series text ends (it is what precedes the value, without white space)


class Declared(Struct, frozen=True, kw_only=True):
    """What one comment says of a family."""

    name: str
    kind: MetricKind | None = None
    help: str | None = None
    unit: str | None = None


def read_line(text: str, openmetrics: bool, limits: IntakeLimits) -> Line:
    """A sample line; raises ``Faulty`` with its column."""
    at = _skip(text, 0)
    name, at = _metric_name(text, at)
    pairs: list[tuple[str, str]] = [(NAME, intern(name))] if name else []
    at = _skip(text, at)
    if text.startswith("{", at):
        at = _labels(text, at + 1, pairs)
    series_end = at
    labels = _series(pairs, limits)
    value, at = _number(text, _skip(text, at))
    at_ms: int | None = None
    at = _skip(text, at)
    if at < len(text) and text[at] != "#":
        at_ms, at = _instant(text, at, openmetrics)
        at = _skip(text, at)
    if at < len(text):
        _exemplar(text, at)
    return Line(labels=labels, value=value, at_ms=at_ms, ends_at=len(text[:series_end].rstrip(" \t")))


def read_declared(text: str, limits: IntakeLimits) -> Declared | None:
    """A ``HELP``, ``TYPE`` or ``UNIT`` comment; None for any other."""
    found = _DECLARED.fullmatch(text)
    if found is None:
        return None
    word, name, said = found[1], found[2], found[3] or ""
    name = _unescaped(name[1:-1]) if name.startswith('"') else name
    if len(name) > limits.name_chars:
        raise Faulty("label-limit", f"the name {name[:40]!r}... is longer than {limits.name_chars}")
    if word == "HELP":
        return Declared(name=name, help=_unescaped(said)[: limits.value_chars])
    if word == "UNIT":
        return Declared(name=name, unit=said.strip()[: limits.name_chars])
    kind = KINDS.get(said.strip())
    if kind is None:
        raise Faulty("metadata", f"{said.strip()[:40]!r} is no metric type", found.start(3) + 1)
    return Declared(name=name, kind=kind)


def number(text: bytes) -> float:
    """A value as Prometheus writes it; raises ``Faulty``. Every NaN is one NaN."""
    try:
        value = float("." if text.translate(None, DIGITS) else text)
    except ValueError:
        raise Faulty("value", f"{text[:40].decode('utf-8', 'replace')!r} is no number") from None
    return value if value == value else math.nan


def instant(text: str, openmetrics: bool) -> int:
    """A timestamp in ms: whole ms in Prometheus' text, seconds in OpenMetrics; raises ``Faulty``."""
    if not openmetrics:
        if _WHOLE.fullmatch(text) is None:
            raise Faulty("timestamp", f"{text[:40]!r} is no whole number of milliseconds")
        return int(text)
    seconds = number(text.encode())
    if not abs(seconds) * 1000 < _FARTHEST_MS:  # so written that NaN is refused
        raise Faulty("timestamp", f"{text[:40]!r} is no instant")
    return int(seconds * 1000)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _metric_name(text: str, at: int) -> tuple[str, int]:
    found = _NAME.match(text, at)
    if found:
        return found[0], found.end()
    if text.startswith("{", at):
        return "", at
    raise Faulty("syntax", f"a metric name cannot begin with {text[at : at + 1]!r}", at + 1)


def _labels(text: str, at: int, pairs: list[tuple[str, str]]) -> int:
    """Read pairs up to the closing brace; where the text goes on."""
    while True:
        at = _skip(text, at)
        if text.startswith("}", at):
            return at + 1
        quoted = _QUOTED.match(text, at)
        found = quoted or _LABEL.match(text, at)
        if found is None:
            raise Faulty("syntax", "a label name is expected", at + 1)
        name = _unescaped(quoted[1]) if quoted else found[0]
        at = _skip(text, found.end())
        if quoted and text[at : at + 1] in ("}", ","):
            pairs.append((NAME, intern(name)))
        else:
            at = _value(text, at, name, pairs)
        if text.startswith(",", at):
            at += 1
        elif not text.startswith("}", at):
            raise Faulty("syntax", "a comma or a closing brace is expected", at + 1)


def _value(text: str, at: int, name: str, pairs: list[tuple[str, str]]) -> int:
    if not text.startswith("=", at):
        raise Faulty("syntax", f"an equals sign is expected after {name[:40]!r}", at + 1)
    at = _skip(text, at + 1)
    found = _QUOTED.match(text, at)
    if found is None:
        raise Faulty("syntax", f"the value of {name[:40]!r} has no closing quote", at + 1)
    pairs.append((intern(name), intern(_unescaped(found[1]))))
    return _skip(text, found.end())


def _series(pairs: list[tuple[str, str]], limits: IntakeLimits) -> Labels:
    labels = tuple(sorted(pair for pair in pairs if pair[1]))
    if len({name for name, _ in pairs}) != len(pairs):
        raise Faulty("syntax", "a label is given twice")
    if not any(name == NAME for name, _ in labels):
        raise Faulty("syntax", "the series has no name")
    if any(not name for name, _ in labels):
        raise Faulty("syntax", "a label's name is empty")
    check_labels(labels, limits)
    return labels


def _number(text: str, at: int) -> tuple[float, int]:
    found = _TOKEN.match(text, at)
    if found is None:
        raise Faulty("value", "the value is missing", at + 1)
    try:
        return number(found[0].encode()), found.end()
    except Faulty as fault:
        raise Faulty(fault.kind, fault.what, at + 1) from None


def _instant(text: str, at: int, openmetrics: bool) -> tuple[int, int]:
    found = _TOKEN.match(text, at)
    assert found is not None, "the caller looked"
    try:
        return instant(found[0], openmetrics), found.end()
    except Faulty as fault:
        raise Faulty("timestamp", fault.what, at + 1) from None


def _exemplar(text: str, at: int) -> None:
    """Check an exemplar and forget it."""
    if not text.startswith("#", at):
        raise Faulty("syntax", f"{text[at : at + 20]!r} is left over", at + 1)
    at = _skip(text, at + 1)
    if not text.startswith("{", at):
        raise Faulty("exemplar", "an exemplar begins with its labels", at + 1)
    at = _labels(text, at + 1, [])
    _, at = _number(text, _skip(text, at))
    at = _skip(text, at)
    if at < len(text):
        _, at = _instant(text, at, openmetrics=True)
    if _skip(text, at) != len(text):
        raise Faulty("exemplar", "something is left over behind the exemplar", at + 1)


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: _ESCAPED[found[1]], text)
