"""Prometheus' regular expressions: RE2, matched against the whole value, with Go's templates."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import re2  # type: ignore[import-untyped]

RegexError: Final = re2.error
_TEMPLATE: Final = re.compile(r"\$\$|\$([0-9A-Za-z_]+)|\$\{([0-9A-Za-z_]+)\}")


def anchored(text: str) -> re2.Pattern[str]:
    """An expression that must match all of a value; a dot matches every character. Raises ``RegexError``."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(f"^(?s:{text})$", options)


def matching(text: str) -> Callable[[str], bool]:
    """A test whether a value matches, anchored. Raises ``ValueError`` for what is no regular expression."""
    try:
        regex = anchored(text)
    except RegexError as error:
        raise ValueError(str(error)) from error
    return lambda value: regex.search(value) is not None


def expanded(regex: re2.Pattern[str], template: str, value: str) -> str | None:
    """The template filled with what the expression captures in ``value``; None where it does not match."""
    match = regex.search(value)
    return None if match is None else expand(match, template)


def expand(match: re2.Match[str], template: str) -> str:
    """The template filled with what a match captured.

    **Source:** Go's ``regexp.Expand``: ``$name`` is as long as it can be, ``$$`` is a dollar sign, and an
    unknown group is empty.
    """
    named = match.groupdict()

    def fill(part: re.Match[str]) -> str:
        name = part.group(1) or part.group(2)
        if name is None:
            return "$"
        if name.isdigit():
            return (match.group(int(name)) or "") if int(name) <= match.re.groups else ""
        return named.get(name) or ""

    return _TEMPLATE.sub(fill, template)
