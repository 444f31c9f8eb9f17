"""Values as Go's ``fmt`` writes them: ``print``, ``printf`` and what an action shows.

Source: pkg.go.dev/fmt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

_VERB: Final = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:\.(?P<digits>\d*))?(?P<verb>.|$)", re.DOTALL)
_FLOATS: Final = "eEfFgG"
WIDTH_MAX: Final = 10_000
SHORTEST_DIGITS: Final = 6  # Source: strconv/ftoa.go, %e from this exponent on


class Unwritable(ValueError):
    """A value of a kind that has no text here, such as a list of series."""


def text(value: object) -> str:
    """``%v``.

    >>> text(0.05), text(1e6), text(123456.0), text(True), text(3)
    ('0.05', '1e+06', '123456', 'true', '3')
    """
    match value:
        case None:
            return "<no value>"
        case bool():
            return "true" if value else "false"
        case float():
            return shortest(value)
        case str() | int():
            return str(value)
        case dict() if all(isinstance(one, str) for one in value.values()):
            return f"map[{' '.join(f'{name}:{value[name]}' for name in sorted(value))}]"
    raise Unwritable("a series or a list of them has no text: use its .Value, or range over it")


def shortest(value: float) -> str:
    """``strconv.FormatFloat(value, 'g', -1, 64)``, as ``%v`` and ``%g`` have it."""
    if not math.isfinite(value):
        return _odd(value)
    digits, exponent = _digits(value)
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    if exponent < -4 or exponent >= SHORTEST_DIGITS:
        mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
        return f"{sign}{mantissa}e{exponent:+03d}"
    return sign + _positional(digits, exponent)


def spaced(values: Sequence[object]) -> str:
    """``fmt.Sprint``: a space between two values of which neither is a string."""
    parts: list[str] = []
    for place, value in enumerate(values):
        if place and not (isinstance(value, str) or isinstance(values[place - 1], str)):
            parts.append(" ")
        parts.append(text(value))
    return "".join(parts)


def formatted(form: str, values: Sequence[object]) -> str:
    """``fmt.Sprintf``; what does not fit is told in the text, as Go tells it."""
    left = list(values)

    def one(match: re.Match[str]) -> str:
        verb = match["verb"]
        if verb == "%":
            return "%"
        if not verb:
            return "%!(NOVERB)"
        if not left:
            return f"%!{verb}(MISSING)"
        return _one(match, verb, left.pop(0))

    made = _VERB.sub(one, form)
    if left:
        made += f"%!(EXTRA {', '.join(f'{_kind(value)}={text(value)}' for value in left)})"
    return made


def quoted(value: str) -> str:
    """``strconv.Quote``."""
    made = []
    for sign in value:
        plain = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(sign)
        if plain is not None:
            made.append(plain)
        elif sign.isprintable():
            made.append(sign)
        else:
            code = ord(sign)
            made.append(
                f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
            )
    return f'"{"".join(made)}"'


def _one(match: re.Match[str], verb: str, value: object) -> str:
    flags, width = match["flags"], int(match["width"] or 0)
    digits = None if match["digits"] is None else int(match["digits"] or 0)
    if max(width, digits or 0) > WIDTH_MAX:
        return "%!(BADWIDTH)"
    made = _body(verb, flags, digits, value)
    if made is None:
        return f"%!{verb}({_kind(value)}={text(value)})"
    if "-" in flags:
        return made.ljust(width)
    if "0" in flags and not isinstance(value, str) and made[-1:].isalnum() and "n" not in made.lower():
        sign = made[0] if made[:1] in ("+", "-", " ") else ""
        return sign + made[len(sign) :].rjust(width - len(sign), "0")
    return made.rjust(width)


def _body(verb: str, flags: str, digits: int | None, value: object) -> str | None:
    """The value without its width; None where the verb is not for it."""
    match value:
        case bool():
            return text(value) if verb in "tv" else None
        case int():
            made = {"d": "d", "v": "d", "x": "x", "X": "X", "o": "o", "b": "b"}.get(verb)
            return None if made is None else _signed(format(value, made), flags)
        case float():
            return _float(verb, flags, digits, value)
        case str():
            if verb in "sv":
                return value if digits is None else value[:digits]
            if verb == "q":
                return quoted(value)
            return (
                value.encode().hex() if verb == "x" else value.encode().hex().upper() if verb == "X" else None
            )
    return text(value) if verb in "vs" else None


def _float(verb: str, flags: str, digits: int | None, value: float) -> str | None:
    if verb not in (*_FLOATS, "v"):
        return None
    if not math.isfinite(value):
        return _odd(value) if value != math.inf or "+" in flags else "+Inf"
    if verb in "vgG" and digits is None:
        made = shortest(value)
        return _signed(made.upper() if verb == "G" else made, flags)
    kind = "g" if verb == "v" else verb
    return _signed(f"%{'#' if '#' in flags else ''}.{6 if digits is None else digits}{kind}" % value, flags)


def _signed(made: str, flags: str) -> str:
    if made.startswith("-"):
        return made
    return f"+{made}" if "+" in flags else f" {made}" if " " in flags else made


def _odd(value: float) -> str:
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _kind(value: object) -> str:
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
    return "map[string]string"


def _digits(value: float) -> tuple[str, int]:
    """The shortest digits that read back as the value, and the decimal exponent of the first."""
    _, digits, exponent = Decimal(repr(abs(value))).as_tuple()
    assert isinstance(exponent, int)  # it is finite
    found = "".join(map(str, digits)).lstrip("0") or "0"
    first = len(found) - 1 + exponent if value else 0
    return found.rstrip("0") or "0", first


def _positional(digits: str, exponent: int) -> str:
    if exponent < 0:
        return f"0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    rest = digits[exponent + 1 :]
    return f"{whole}.{rest}" if rest else whole
