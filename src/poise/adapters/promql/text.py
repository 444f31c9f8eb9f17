"""Numbers and labels as Prometheus writes them."""

from __future__ import annotations

import math

from poise.model.samples import NAME, Labels


def number(value: float) -> str:
    """The shortest decimal text that reads back as the same float64, never in exponent form."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, exponent = text.split("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, part = mantissa.lstrip("-").partition(".")
    digits, point = whole + part, len(whole) + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}".rstrip("0") if digits.strip("0") else f"{sign}0"
    if point >= len(digits):
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"


def shown(labels: Labels) -> str:
    """``name{label="value", ...}``."""
    name = dict(labels).get(NAME, "")
    rest = ", ".join(f'{key}="{escaped(value)}"' for key, value in labels if key != NAME)
    return f"{name}{{{rest}}}" if rest or not name else name


def escaped(value: str) -> str:
    """A label value as it stands between double quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
