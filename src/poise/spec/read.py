"""Nodes read by a shape: values where they fit, a problem with its place where they do not."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

from msgspec import Struct

from poise.spec.document import Items, Mapping, Node, Scalar
from poise.spec.durations import format_duration, format_size, parse_duration, parse_size
from poise.spec.problems import (
    BAD_VALUE,
    DECLARED_TWICE,
    MISSING_KEY,
    TOO_LARGE,
    UNKNOWN_KEY,
    UNSUPPORTED,
    WRONG_TYPE,
    Report,
    guess,
    nearest,
    shown,
)
from poise.spec.shape import (
    Anything,
    Choice,
    Duration,
    Field,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Number,
    Ratio,
    Record,
    Shape,
    Short,
    Size,
    Text,
)

INTEGER_DIGITS: Final = 18


class Unread:
    """The value of a node that did not fit; its problem is in the report."""


UNREAD: Final = Unread()
Values = dict[str, object]


class Found(Struct, frozen=True):
    """A record as read: values by target, and the node of every key, read or not, by its path of keys."""

    values: Values
    nodes: dict[str, Node]
    node: Mapping

    def at(self, *paths: str) -> Node:
        """The node of the first of ``paths`` that the text has, else the record itself."""
        return next((self.nodes[path] for path in paths if path in self.nodes), self.node)

    def text(self, target: str) -> str | None:
        """The value at ``target`` when it was read as a text."""
        value = self.values.get(target)
        return value if isinstance(value, str) else None


class Document(Struct, frozen=True, kw_only=True):
    """One document as read: its kind, its name and where that stands, and its ``spec``.

    ``clean`` means that every key could be read, so that what is absent is not in the text.
    """

    kind: str
    name: str
    place: Node
    spec: Found
    clean: bool


class ServiceDocument(Struct, frozen=True):
    """A service in its environment: values with the overrides upon them, and the nodes they are from.

    ``nodes`` are mappings with the keys of a service, the one that wins first; ``hostname`` is the default.
    """

    name: str
    place: Node
    environment: str
    values: Values
    nodes: tuple[Mapping, ...]
    hostname: str = ""

    @property
    def has_port(self) -> bool:
        """Whether a port is written, be it readable or not."""
        return any(node.get("port") is not None for node in self.nodes)

    def at(self, *path: str) -> Node:
        """The innermost node that ``path`` leads to; the service's name where it leads nowhere."""
        for start in self.nodes:
            node: Node | None = start
            last = None
            for key in path:
                node = node.get(key) if isinstance(node, Mapping) else None
                last = node if node is not None else last
            if last is not None:
                return last
        return self.place


def plain(value: object) -> object:
    """A value as read with every record as a dict of its values by target."""
    match value:
        case Found(values=values) | (dict() as values):
            return {key: plain(inner) for key, inner in values.items()}
        case list():
            return [plain(inner) for inner in value]
        case _:
            return value


def read_record(shape: Record, node: Node, what: str, report: Report) -> Found | None:
    """A mapping read by its keys; None when it is no mapping. Each problem goes to the report."""
    if not isinstance(node, Mapping):
        report.add(
            WRONG_TYPE,
            node,
            f"{what} must be a mapping, not {_described(node)}",
            mend=f"Write {'keys such as ' + shape.fields[0].key if shape.fields else 'it'} below {what}.",
        )
        return None
    found = Found({}, {}, node)
    fields = {field.key: field for field in shape.fields}
    meant: set[str | None] = set()
    for key, value in node.entries:
        field = fields.get(key.text)
        if field is None:
            _refuse_key(shape, key, report)
            meant.add(guess(key.text, fields))
            continue
        _take(field, key, value, found, report)
    for field in shape.fields:
        written = any(node.get(key) is not None for key in (field.key, field.unless))
        if field.required and not written and not meant & {field.key, field.unless}:
            mend = f"Add '{field.key}: ...'. {field.about}"
            report.add(MISSING_KEY, node, f"{what} has no '{field.key}'", mend=mend)
    return found


def read(shape: Shape, node: Node, what: str, report: Report) -> object:
    """The value of a node by its shape, or ``UNREAD`` after a problem went to the report."""
    match shape:
        case Record():
            found = read_record(shape, node, what, report)
            return UNREAD if found is None else found
        case Short():
            return _read_short(shape, node, what, report)
        case ListOf():
            return _read_list(shape, node, what, report)
        case MapOf():
            return _read_map(shape, node, what, report)
        case Anything():
            return None
        case _:
            return _read_scalar(shape, node, what, report)


def _take(field: Field, key: Scalar, value: Node, found: Found, report: Report) -> None:
    found.nodes[field.key] = key if isinstance(value, Mapping) else value
    result = read(field.shape, value, f"'{field.key}'", report)
    if result is UNREAD:
        return
    if isinstance(result, Found):
        found.nodes.update({f"{field.key}.{path}": node for path, node in result.nodes.items()})
        result = result.values
    if field.target:
        found.values[field.target] = result
    elif isinstance(result, dict):
        found.values.update(result)


def _refuse_key(shape: Record, key: Scalar, report: Report) -> None:
    if key.text in shape.refused:
        what = f"{shown(key.text)} is not supported yet"
        report.add(UNSUPPORTED, key, what, mend=shape.refused[key.text])
    else:
        mend = nearest(key.text, (field.key for field in shape.fields))
        report.add(UNKNOWN_KEY, key, f"unknown key {shown(key.text)}", mend=mend)


def _read_short(shape: Short, node: Node, what: str, report: Report) -> object:
    if not isinstance(node, Scalar):
        return read(shape.record, node, what, report)
    value = read(shape.scalar, node, what, report)
    return UNREAD if value is UNREAD else dict.fromkeys(shape.into, value)


def _read_list(shape: ListOf, node: Node, what: str, report: Report) -> object:
    if shape.alone and isinstance(node, Scalar):
        node = Items(items=(node,), line=node.line, column=node.column, size=2)
    if not isinstance(node, Items):
        kind = _described(node)
        report.add(WRONG_TYPE, node, f"{what} must be a list, not {kind}", mend="Write [one, two].")
        return UNREAD
    if len(node.items) > shape.high:
        report.add(TOO_LARGE, node, f"{what} has more than {shape.high} items", mend="Remove some.")
        return UNREAD
    if len(node.items) < shape.low:
        report.add(BAD_VALUE, node, f"{what} needs at least {shape.low} item(s)", mend="Add one.")
        return UNREAD
    values = [read(shape.item, item, f"an item of {what}", report) for item in node.items]
    if any(value is UNREAD for value in values):
        return UNREAD
    return values if _ordered(shape, node, values, what, report) else UNREAD


def _ordered(shape: ListOf, node: Items, values: list[object], what: str, report: Report) -> bool:
    """Whether the items ascend or differ as the shape wants; tells of the first that does not."""
    for index in range(1, len(values)):
        last, value, item = values[index - 1], values[index], node.items[index]
        if shape.unique and value in values[:index]:
            report.add(DECLARED_TWICE, item, f"{what} names {value!r} twice", mend="Remove one.")
            return False
        if shape.ascending and isinstance(last, int) and isinstance(value, int) and value <= last:
            mend = f"Write e.g. {sorted({number for number in values if isinstance(number, int)})}."
            report.add(BAD_VALUE, item, f"{what} must ascend, but {value} follows {last}", mend=mend)
            return False
    return True


def _read_map(shape: MapOf, node: Node, what: str, report: Report) -> object:
    if not isinstance(node, Mapping):
        kind = _described(node)
        report.add(WRONG_TYPE, node, f"{what} must be a mapping, not {kind}", mend="Write 'NAME: value'.")
        return UNREAD
    if len(node.entries) > shape.high:
        report.add(TOO_LARGE, node, f"{what} has more than {shape.high} entries", mend="Remove some.")
        return UNREAD
    values: Values = {}
    for key, value in node.entries:
        name = _read_scalar(shape.name, key, f"a name in {what}", report)
        result = read(shape.value, value, f"'{key.text[:60]}' in {what}", report)
        if name is not UNREAD and result is not UNREAD:
            values[key.text] = result
    return values


def _read_scalar(shape: Shape, node: Node, what: str, report: Report) -> object:
    if not isinstance(node, Scalar):
        wanted = f"{what} must be {_wanted(shape)}, not {_described(node)}"
        report.add(WRONG_TYPE, node, wanted, mend=_example(shape))
        return UNREAD
    match shape:
        case Text():
            return _read_text(shape, node, what, report)
        case Choice():
            return _read_choice(shape, node, what, report)
        case Flag():
            return _read_flag(shape, node, what, report)
        case Integer(low=low, high=high):
            value: float | None = _integer(node)
        case Number(low=low, high=high):
            value = _number(node)
        case Ratio(low=low, high=high):
            value = _ratio(node)
        case Duration(low_s=low, high_s=high):
            value = parse_duration(node.text) if node.kind == "text" else None
        case Size(low_bytes=low, high_bytes=high):
            value = parse_size(node.text) if node.kind == "text" else None
        case _:
            raise AssertionError(f"no scalar shape: {shape}")
    if value is None:
        what_is = f"{what}: {shown(node.text)} is not {_wanted(shape)}"
        report.add(WRONG_TYPE, node, what_is, mend=_example(shape))
        return UNREAD
    open_ends = isinstance(shape, Number | Ratio) and shape.open_ends
    if not (low < value < high if open_ends else low <= value <= high):
        what_is = f"{what}: {shown(node.text)} is out of range"
        report.add(BAD_VALUE, node, what_is, why=f"It must be {_wanted(shape)}.", mend=_example(shape))
        return UNREAD
    if isinstance(shape, Duration) and shape.unit_s != 1.0:
        return round(value / shape.unit_s, 9)
    return value


def _read_text(shape: Text, node: Scalar, what: str, report: Report) -> object:
    if node.kind != "text" and not shape.any_scalar:
        mend = (
            f"Quote it: '{node.text[:60]}'."
            if node.text and not shape.private
            else "Write a value, or remove the key."
        )
        report.add(WRONG_TYPE, node, f"{what} must be a text, not {_described(node)}", mend=mend)
        return UNREAD
    text = "" if node.kind == "null" else node.text
    if len(text) > shape.max_chars:
        report.add(TOO_LARGE, node, f"{what} is longer than {shape.max_chars} characters", mend="Shorten it.")
        return UNREAD
    if "\0" in text or (shape.pattern and not re.fullmatch(shape.pattern, text)):
        hint = shape.hint or "It must hold no NUL character."
        written = "what stands here" if shape.private else shown(text)
        report.add(BAD_VALUE, node, f"{what}: {written} is not allowed", why=hint, mend="Change it.")
        return UNREAD
    return text


def _read_choice(shape: Choice, node: Scalar, what: str, report: Report) -> object:
    if node.text in shape.words:
        return node.text
    if node.text in shape.refused:
        refused = f"{what}: {shown(node.text)} is not supported yet"
        report.add(UNSUPPORTED, node, refused, mend=shape.refused[node.text])
        return UNREAD
    what_is = f"{what}: {shown(node.text)} is not {_wanted(shape)}"
    report.add(BAD_VALUE, node, what_is, mend=nearest(node.text, shape.words))
    return UNREAD


def _read_flag(shape: Flag, node: Scalar, what: str, report: Report) -> object:
    if node.kind != "flag":
        report.add(WRONG_TYPE, node, f"{what} must be true or false", mend="Write true or false.")
        return UNREAD
    value = node.text.lower() == "true"
    if shape.only is not None and value is not shape.only:
        mend = f"Write {str(shape.only).lower()}."
        report.add(UNSUPPORTED, node, f"{what}: {node.text} is not supported yet", mend=mend)
        return UNREAD
    return value


def _integer(node: Scalar) -> int | None:
    digits = len(node.text) <= INTEGER_DIGITS
    if node.kind != "integer" or not digits:
        return None
    return int(node.text, 10) if node.text[:2] not in ("0o", "0x") else int(node.text, 0)


def _number(node: Scalar) -> float | None:
    if node.kind == "integer":
        return _integer(node)
    if node.kind != "number" or node.text.lower().endswith(("inf", "nan")):
        return None
    value = float(node.text)
    return value if math.isfinite(value) else None


_PERCENT: Final = re.compile(r"(-?[0-9]{1,6}(?:\.[0-9]{1,9})?) ?%")


def _ratio(node: Scalar) -> float | None:
    if found := _PERCENT.fullmatch(node.text):
        return float(Decimal(found[1]) / 100)
    return _number(node)


def _wanted(shape: Shape) -> str:
    match shape:
        case Integer(low=low, high=high):
            return f"a whole number from {low} to {high}"
        case Number(low=low, high=high, open_ends=ends):
            return f"a number {'between' if ends else 'from'} {low:g} {'and' if ends else 'to'} {high:g}"
        case Ratio(low=low, high=high):
            return f"a ratio from {low:g} to {high:g} or a percent"
        case Duration(low_s=low, high_s=high):
            return f"a duration from {format_duration(low)} to {format_duration(high)}"
        case Size(low_bytes=low, high_bytes=high):
            return f"a size from {format_size(low)} to {format_size(high)}"
        case Flag():
            return "true or false"
        case Choice(words=words):
            return f"one of {', '.join(words)}"
        case _:
            return "a text"


def _example(shape: Shape) -> str:
    match shape:
        case Duration():
            return "Use a number with a unit, e.g. '30s', '5m', '28d'."
        case Size():
            return "Use a number with a unit, e.g. '64MiB'."
        case Ratio():
            return "Use e.g. 0.4 or '40%'."
        case _:
            return f"Write {_wanted(shape)}."


def _described(node: Node) -> str:
    match node:
        case Mapping():
            return "a mapping"
        case Items():
            return "a list"
        case Scalar(kind="null"):
            return "nothing"
        case Scalar(kind="text"):
            return f"the text {shown(node.text)}"
        case Scalar():
            return f"the {node.kind} {shown(node.text)}"
