"""A log body without what varies, so that records of one statement in the code come together.

**Source:** the masks are those of log parsers such as Drain3 (numbers, hex, addresses, quoted text).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

TEMPLATE_CHARS_MAX: Final = 1000  # of a body's first line; what follows rarely tells statements apart
OTHER: Final = "<other>"  # the template of all that come after a store's last number

_MASKS: Final = re.compile(
    r"""
      (?P<text>"(?:[^"\\]|\\.)*"|(?<![\w'])'[^']*'(?!\w))
    | (?P<url>\b[a-z][a-z0-9+.-]{1,15}://[^\s"'<>]+)
    | (?P<time>\b\d{4}-\d\d-\d\d[T\ ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)
    | (?P<uuid>\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b)
    | (?P<ip>\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d{1,5})?\b
        |(?<![\w:])(?:(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}
            |(?:[0-9a-fA-F]{1,4}:){1,6}(?::[0-9a-fA-F]{1,4}){1,6}
            |::(?:[0-9a-fA-F]{1,4}:){0,6}[0-9a-fA-F]{1,4})(?![\w:]))
    | (?P<path>(?<![\w.:/])(?:~|\.{1,2})?/[\w.@%+~-]+(?:/[\w.@%+~-]*)*(?:\?[^\s"']*)?)
    | (?P<hex>\b\d[xX][0-9a-fA-F]+\b|\b(?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]{8,}\b)
    | (?P<num>[+-]?\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?)
    """,
    re.VERBOSE,
)


_DIGITS: Final = str.maketrans("123456789", "0" * 9)


def template_of(body: str) -> str:
    """The first line of ``body`` with each variable token as its kind in angle brackets.

    >>> template_of("user 42 got '/a b' from 10.0.0.1:80 in 1.5ms")
    'user <num> got <text> from <ip> in <num>ms'
    >>> template_of("GET /items/7 4bf92f3577b34da6a3ce929d0e0e4736")
    'GET <path> <hex>'
    """
    line = body[:TEMPLATE_CHARS_MAX].split("\n", 1)[0]
    return _MASKS.sub(_masked, line)


def alike(bodies: Sequence[str]) -> list[str]:
    """Each body as a key: those with equal keys have equal templates.

    No mask tells one ASCII digit from another, so digits are made equal; that takes a fiftieth of masking.
    """
    cut = [body if len(body) <= TEMPLATE_CHARS_MAX else body[:TEMPLATE_CHARS_MAX] for body in bodies]
    keys = "\0".join(cut).translate(_DIGITS).split("\0") if cut else []
    return keys if len(keys) == len(cut) else [body.translate(_DIGITS) for body in cut]


def template_id(template: str) -> str:
    """Sixteen hex digits that any store gives the same template."""
    return blake2b(template.encode(errors="replace"), digest_size=8).hexdigest()


def _masked(found: re.Match[str]) -> str:
    return f"<{found.lastgroup}>"
