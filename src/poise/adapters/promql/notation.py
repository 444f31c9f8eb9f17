"""Prometheus' notation for series in test files: ``up{job="a"} 1 _x2 3+1x4 stale``.

Source: prometheus/docs/configuration/unit_testing_rules.md.
"""

from __future__ import annotations

import re
from typing import Final

from poise.adapters.promql.errors import QueryInvalid, Unsupported
from poise.model.samples import NAME, STALE, Labels

_NUMBER: Final = r"[+-]?(?:[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+\.|[iI]nf|[nN]a[nN])"
_ITEM: Final = re.compile(
    rf"(?P<absent>_)(?:x(?P<absent_times>[0-9]+))?$|(?P<stale>stale)(?:x(?P<stale_times>[0-9]+))?$"
    rf"|(?P<first>{_NUMBER})(?:(?P<step>[+-]{_NUMBER.removeprefix('[+-]?')}))?(?:x(?P<times>[0-9]+))?$"
)
_NAME: Final = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*")
_PAIR: Final = re.compile(
    r"""\s*(?:(?P<key>[a-zA-Z_][a-zA-Z0-9_.]*|"(?:\\.|[^"\\])*")\s*=\s*(?P<value>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)"""
    r"""|(?P<name>"(?:\\.|[^"\\])*"))\s*(?:,|(?=\}))"""
)
_ESCAPES: Final = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}
TIMES_LIMIT: Final = 1_000_000


def series(text: str) -> tuple[Labels, list[float | None]]:
    """A line's labels and values, None where no sample is. Raises ``QueryInvalid`` or ``Unsupported``."""
    labels, rest = labels_of(text)
    return labels, values(rest)


def labels_of(text: str) -> tuple[Labels, str]:
    """The labels at the beginning of a line, and what follows them."""
    found = _NAME.match(text)
    assert found is not None
    pairs = {NAME: found.group(1)} if found.group(1) else {}
    rest = text[found.end() :]
    if not rest.startswith("{") or rest.startswith("{{"):
        return tuple(sorted(pairs.items())), rest
    rest = rest[1:]
    while not rest.lstrip().startswith("}"):
        pair = _PAIR.match(rest)
        if pair is None:
            raise QueryInvalid(
                f"cannot read the labels at: {rest[:40]!r}", mend='Write name{label="value"}.', parsed=False
            )
        if pair["name"] is not None:
            pairs[NAME] = _unquoted(pair["name"])
        else:
            key = pair["key"]
            pairs[_unquoted(key) if key.startswith('"') else key] = _unquoted(pair["value"])
        rest = rest[pair.end() :]
    return tuple(sorted((key, value) for key, value in pairs.items() if value)), rest.lstrip()[1:]


def values(text: str) -> list[float | None]:
    """The samples of a line, in order."""
    if "{{" in text:
        raise Unsupported("native histograms in test series")
    found: list[float | None] = []
    for item in text.split():
        match = _ITEM.match(item)
        if match is None:
            raise QueryInvalid(
                f"cannot read the sample {item!r}", mend="Write 1, 1+2x3, _, _x5 or stale.", parsed=False
            )
        if match["absent"]:
            found += [None] * _times(match["absent_times"], 1)
        elif match["stale"]:
            found += [STALE] * _times(match["stale_times"], 1)
        else:
            first, step = float(match["first"]), float(match["step"] or "0")
            count = _times(match["times"], 0) + 1
            found += [first + step * i if i else first for i in range(count)]
    return found


def _times(text: str | None, otherwise: int) -> int:
    times = otherwise if text is None else int(text)
    if times > TIMES_LIMIT:
        raise QueryInvalid(f"a series repeats at most {TIMES_LIMIT:,} times", parsed=False)
    return times


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return re.sub(
        r"\\u([0-9a-fA-F]{4})|\\(.)",
        lambda m: chr(int(m[1], 16)) if m[1] else _ESCAPES.get(m[2], m[2]),
        text[1:-1],
    )
