"""The functions of templates, Prometheus' and Go's own, over plain values and samples.

Source: prometheus.io/docs/prometheus/latest/configuration/template_reference; pkg.go.dev/text/template.
"""

from __future__ import annotations

import html
import math
import operator
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote_plus

import re2  # type: ignore[import-untyped]

from poise.adapters.regex import RegexError, expand
from poise.adapters.rules import gofmt, humanized
from poise.spec.durations import parse_span


class Unfit(ValueError):
    """An argument that the function cannot take."""


def _number(value: Any) -> float:
    """As Prometheus' ``convertToFloat``: numbers, and texts of numbers."""
    match value:
        case bool():
            raise Unfit("can't convert bool to float")
        case float() | int():
            return float(value)
        case str():
            if re.fullmatch(r"[+-]?([0-9.]+([eE][+-]?[0-9]+)?|[iI]nf(inity)?|[nN]a[nN])", value):
                try:
                    return float(value)
                except ValueError:
                    pass
            raise Unfit(f"{value!r} is no number")
    raise Unfit("can't convert it to float")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit(f"a text is needed, not {gofmt.text(value) if not isinstance(value, list) else 'a list'}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unfit("a query's result is needed")
    return value


def _humanized(write: Callable[[float], str]) -> Callable[[Any], str]:
    return lambda value: write(_number(value))


def _first(value: Any) -> Any:
    found = _list(value)
    if not found:
        raise Unfit("first() called on vector with no elements")
    return found[0]


def _label(name: Any, sample: Any) -> str:
    return str(dict(_sample(sample).labels).get(_text(name), ""))


def _sample(value: Any) -> Any:
    if not hasattr(value, "labels"):
        raise Unfit("a series of a query's result is needed")
    return value


def _sort_by_label(name: Any, value: Any) -> list[Any]:
    wanted = _text(name)
    return sorted(_list(value), key=lambda one: dict(_sample(one).labels).get(wanted, ""))


def _regex(pattern: Any) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(_text(pattern), options)
    except RegexError as error:
        raise Unfit(f"the expression {pattern!r} cannot be read: {error}") from None


def _re_replace_all(pattern: Any, replacement: Any, value: Any) -> str:
    found, form, text = _regex(pattern), _text(replacement), _text(value)
    made, at = [], 0
    for match in found.finditer(text):
        made += [text[at : match.start()], expand(match, form)]
        at = match.end()
    return "".join([*made, text[at:]])


def _title(value: Any) -> str:
    """Go's ``strings.Title``: the first letter of each word, the rest as it is."""
    made, before = [], " "
    for sign in _text(value):
        in_word = before.isalnum() or before == "_" or (ord(before) > 127 and not before.isspace())
        made.append(sign if in_word else sign.title())
        before = sign
    return "".join(made)


def _strip_port(value: Any) -> str:
    text = _text(value)
    found = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*)):([^:\[\]]*)", text)
    return text if found is None else found[1] or found[2] or ""


def _strip_domain(value: Any) -> str:
    text = _text(value)
    found = re.fullmatch(r"(.*?)(:[^:\[\]]*)?", text, re.DOTALL)
    host, port = (found[1], found[2] or "") if found else (text, "")
    if re.fullmatch(r"[0-9.]+|\[?[0-9a-fA-F:]*:[0-9a-fA-F:.]*\]?", host) or ":" in host:
        return text
    return host.split(".", 1)[0] + port


def _parse_duration(value: Any) -> float:
    found = parse_span(_text(value))
    if found is None:
        raise Unfit(f"{value!r} is no duration")
    return found


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | dict):
        return len(value)
    raise Unfit("it has no length")


def _index(value: Any, *places: Any) -> Any:
    for place in places:
        if isinstance(value, dict):
            value = value.get(_text(place), "")
        elif isinstance(value, list) and isinstance(place, int) and not isinstance(place, bool):
            if not 0 <= place < len(value):
                raise Unfit(f"index out of range: {place}")
            value = value[place]
        else:
            raise Unfit("it cannot be indexed so")
    return value


def _kind(value: Any) -> type:
    if type(value) not in (bool, int, float, str):
        raise Unfit("invalid type for comparison")
    return type(value)


def _equal(value: Any, *others: Any) -> bool:
    """Go tells a whole number from a float: ``eq $value 1`` is a mistake there, and so it is here."""
    found = False
    for other in others:
        if _kind(value) is not _kind(other):
            raise Unfit("incompatible types for comparison (write 1.0 beside a float)")
        found = found or value == other
    return found


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def made(left: Any, right: Any) -> bool:
        if _kind(left) is not _kind(right):
            raise Unfit("incompatible types for comparison (write 1.0 beside a float)")
        if isinstance(left, bool):
            raise Unfit("invalid type for comparison")
        return compare(left, right)

    return made


def _printed(form: Any, *values: Any) -> str:
    return gofmt.formatted(_text(form), values)


def _line(*values: Any) -> str:
    return " ".join(map(gofmt.text, values)) + "\n"


def _safe(value: Any) -> Any:
    return _text(value)


def _value(sample: Any) -> float:
    found = _sample(sample).value
    return math.nan if found is None else float(found)


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "first": _first,
    "label": _label,
    "value": _value,
    "strvalue": lambda sample: dict(_sample(sample).labels).get("__value__", ""),
    "sortByLabel": _sort_by_label,
    "reReplaceAll": _re_replace_all,
    "match": lambda pattern, text: _regex(pattern).search(_text(text)) is not None,
    "title": _title,
    "toUpper": lambda text: _text(text).upper(),
    "toLower": lambda text: _text(text).lower(),
    "safeHtml": _safe,
    "stripPort": _strip_port,
    "stripDomain": _strip_domain,
    "humanize": _humanized(humanized.humanize),
    "humanize1024": _humanized(humanized.humanize_1024),
    "humanizeDuration": _humanized(humanized.humanize_duration),
    "humanizePercentage": _humanized(humanized.humanize_percentage),
    "humanizeTimestamp": _humanized(humanized.humanize_timestamp),
    "parseDuration": _parse_duration,
    "len": _length,
    "index": _index,
    "print": lambda *values: gofmt.spaced(values),
    "println": _line,
    "printf": _printed,
    "urlquery": lambda *values: quote_plus(gofmt.spaced(values), safe="-_.~"),
    "html": lambda *values: html.escape(gofmt.spaced(values)).replace("&quot;", "&#34;"),
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _ordered(operator.lt),
    "le": _ordered(operator.le),
    "gt": _ordered(operator.gt),
    "ge": _ordered(operator.ge),
}
