"""Names and labels of OTLP in Prometheus' words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from poise.model.samples import Labels

_UNITS: Final = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
    "Cel": "celsius", "Hz": "hertz", "%": "percent",
}  # fmt: skip
_PER: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
_ODD: Final = re.compile(r"[^a-zA-Z0-9_:]")
_ODD_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")
_NOTE: Final = re.compile(r"\{[^}]*\}")


def metric_name(name: str, unit: str, *, counter: bool, gauge: bool) -> str:
    """The family's name, its unit and ``_total`` or ``_ratio`` as suffixes where they are not there yet.

    >>> metric_name("http.server.duration", "ms", counter=False, gauge=False)
    'http_server_duration_milliseconds'
    >>> metric_name("requests", "{request}", counter=True, gauge=False)
    'requests_total'
    """
    words = [word for word in _ODD.sub("_", name).split("_") if word]
    suffixes = [*_unit_words(unit), *(["total"] if counter else [])]
    suffixes += ["ratio"] if gauge and unit == "1" else []
    if counter:
        words = [word for word in words if word != "total"]
    made = "_".join([*words, *(word for word in suffixes if word not in words)])
    return f"_{made}" if made[:1].isdigit() else made


def _unit_words(unit: str) -> list[str]:
    above, slash, below = _NOTE.sub("", unit).strip().partition("/")
    words = [_UNITS.get(above, _ODD.sub("_", above).strip("_"))] if above not in ("", "1") else []
    if slash and below:
        words += ["per", _PER.get(below, _ODD.sub("_", below).strip("_"))]
    return [word for word in words if word]


def label_name(name: str) -> str:
    """A label's name; what begins with a digit gets ``key_`` before it."""
    made = _ODD_LABEL.sub("_", name)
    return f"key_{made}" if made[:1].isdigit() else made


def labels_of(attributes: Iterable[Any]) -> dict[str, str]:
    """Attributes as labels; two that become one name are joined by ``;`` in the order of their names."""
    found: dict[str, list[tuple[str, str]]] = {}
    for one in attributes:
        found.setdefault(label_name(one.key), []).append((one.key, text_of(one.value)))
    return {name: ";".join(text for _, text in sorted(texts)) for name, texts in found.items()}


def text_of(value: Any) -> str:
    """An AnyValue as text; lists and maps as JSON."""
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    found = getattr(value, kind)
    if kind == "bool_value":
        return "true" if found else "false"
    if kind in ("array_value", "kvlist_value", "bytes_value"):
        return msgspec.json.encode(plain(value)).decode()
    return str(found)


def plain(value: Any, depth: int = 0) -> Any:
    """An AnyValue as plain data; what is nested deeper than eight is cut."""
    kind = value.WhichOneof("value")
    if kind is None or depth > 8:
        return None
    if kind == "array_value":
        return [plain(one, depth + 1) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {one.key: plain(one.value, depth + 1) for one in value.kvlist_value.values}
    return getattr(value, kind)


def resource_labels(resource: Any) -> tuple[dict[str, str], Labels]:
    """(job and instance, the rest of what the resource says of itself)."""
    texts = {one.key: text_of(one.value) for one in resource.attributes}
    name, space = texts.get("service.name", ""), texts.get("service.namespace", "")
    own = {
        "job": f"{space}/{name}" if space and name else name,
        "instance": texts.get("service.instance.id", ""),
    }
    identity = {"service.name", "service.namespace", "service.instance.id"}
    rest = labels_of(one for one in resource.attributes if one.key not in identity)
    return {key: text for key, text in own.items() if text}, tuple(sorted(rest.items()))
