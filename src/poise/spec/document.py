"""YAML 1.2 text as typed nodes that keep their line and column.

The nodes are composed here from the parser's events, since a place, the number of nodes behind an alias
and the depth must be known before anything is built. Scalars follow YAML 1.2's core schema, so ``on``,
``yes`` and ``no`` stay words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from typing import Any, Final, Literal, NoReturn

from msgspec import Struct, structs
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from poise.spec import limits
from poise.spec.problems import (
    DUPLICATE_KEY,
    NOT_YAML,
    TOO_DEEP,
    TOO_LARGE,
    WRONG_TYPE,
    YAML_FEATURE,
    Report,
    shown,
)

Kind = Literal["text", "integer", "number", "flag", "null"]

_PLAIN: Final[tuple[tuple[Kind, re.Pattern[str]], ...]] = (
    ("null", re.compile(r"(?:~|null|Null|NULL)?")),
    ("flag", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("integer", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    (
        "number",
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?(?:\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"
        ),
    ),
)  # Source: YAML 1.2.2, 10.3.2 (core schema, tag resolution)


class Place(Struct, frozen=True):
    """A place in a text; both numbers count from 1."""

    line: int = 1
    column: int = 1


class Scalar(Struct, frozen=True, kw_only=True):
    """A single value as it was written; ``kind`` is what YAML 1.2 makes of it.

    ``start`` and ``end`` are offsets into the text, quotes and block header included.
    """

    text: str
    kind: Kind
    line: int
    column: int
    start: int
    end: int
    size: int = 1


class Items(Struct, frozen=True, kw_only=True):
    """A sequence."""

    items: tuple[Node, ...]
    line: int
    column: int
    size: int


class Mapping(Struct, frozen=True, kw_only=True):
    """A mapping in the order of the text; keys are unique."""

    entries: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int
    size: int

    def get(self, key: str) -> Node | None:
        """The value at ``key``, or None when the key is absent."""
        return next((value for name, value in self.entries if name.text == key), None)


Node = Scalar | Items | Mapping


def compose(text: str, filename: str) -> tuple[Node, ...]:
    """The documents of a YAML text; empty ones are left out. Raises ``Problems`` when it is not YAML.

    All duplicate keys are reported together; any other trouble ends the reading at once.
    """
    if len(text) > limits.TEXT_BYTES or len(text.encode(errors="replace")) > limits.TEXT_BYTES:
        report = Report(filename)
        report.add(
            TOO_LARGE,
            Place(),
            f"the file is larger than {limits.TEXT_BYTES // 1024} KiB",
            mend="Split it, or move data out of it.",
        )
        report.raise_if_any()
    return _Composer(text, filename).documents()


def kind_of(text: str) -> Kind:
    """What YAML 1.2 makes of a plain (unquoted) scalar.

    >>> [kind_of(word) for word in ("on", "8080", "1e3", "true", "~")]
    ['text', 'integer', 'number', 'flag', 'null']
    """
    return next((kind for kind, pattern in _PLAIN if pattern.fullmatch(text)), "text")


def scalars(node: Node) -> Iterator[Scalar]:
    """Every scalar of a tree, keys included, in the order of the text."""
    match node:
        case Scalar():
            yield node
        case Items(items=items):
            for item in items:
                yield from scalars(item)
        case Mapping(entries=entries):
            for key, value in entries:
                yield key
                yield from scalars(value)


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.kind == "null" and not node.text


class _Composer:
    """Builds nodes from the parser's events, counting as it goes."""

    def __init__(self, text: str, filename: str) -> None:
        self._report = Report(filename)
        self._text = text
        self._events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(StringIO(text)))
        self._anchors: dict[str, Node] = {}
        self._size = 0

    def documents(self) -> tuple[Node, ...]:
        found: list[Node] = []
        while not isinstance(event := self._next(), StreamEndEvent):
            if isinstance(event, DocumentStartEvent):
                if event.version not in (None, (1, 2)):
                    self._stop(YAML_FEATURE, event, "only YAML 1.2 is read", "Remove the %YAML line.")
                self._anchors = {}
                node = self._node(self._next(), 1)
                if not (isinstance(node, Scalar) and node.kind == "null"):
                    found.append(node)
                if len(found) > limits.DOCUMENTS:
                    self._stop(TOO_LARGE, event, f"more than {limits.DOCUMENTS} documents", "Split the file.")
        self._report.raise_if_any()
        return tuple(found)

    def _node(self, event: Any, depth: int) -> Node:
        if depth > limits.DEPTH:
            self._stop(TOO_DEEP, event, f"nested deeper than {limits.DEPTH} levels", "Flatten it.")
        if isinstance(event, AliasEvent):
            return self._alias(event)
        if event.tag is not None:
            self._stop(YAML_FEATURE, event, f"the tag {shown(str(event.tag))} is not read", "Remove the tag.")
        self._count(1, event)
        if isinstance(event, ScalarEvent):
            node: Node = self._scalar(event)
        elif isinstance(event, SequenceStartEvent):
            node = self._items(event, depth)
        else:
            node = self._mapping(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            self._stop(
                NOT_YAML, event, f"no anchor {shown(str(event.anchor))} before this alias", "Write the value."
            )
        self._count(node.size, event)
        return node

    def _scalar(self, event: Any) -> Scalar:
        plain = event.implicit[0]
        return Scalar(
            text=event.value,
            kind=kind_of(event.value) if plain else "text",
            line=event.start_mark.line + 1,
            column=event.start_mark.column + 1,
            start=event.start_mark.index,
            end=event.end_mark.index,
        )

    def _items(self, start: Any, depth: int) -> Items:
        before = self._size
        items: list[Node] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            item = self._node(event, depth + 1)
            if _is_empty(item):
                before_item = len(self._text[: event.start_mark.index].rstrip()) - 1
                place = self._place_at(before_item)
                item = structs.replace(item, line=place.line, column=place.column)
            items.append(item)
        line, column = start.start_mark.line + 1, start.start_mark.column + 1
        return Items(items=tuple(items), line=line, column=column, size=self._size - before + 1)

    def _mapping(self, start: Any, depth: int) -> Mapping:
        before = self._size
        entries: dict[str, tuple[Scalar, Node]] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(self._next(), depth + 1)
            if _is_empty(value):  # the parser places it where the next thing starts, often a line below
                value = structs.replace(value, line=key.line, column=key.column)
            if not isinstance(key, Scalar):
                self._stop(WRONG_TYPE, event, "a key must be a word", "Write 'key: value'.")
            elif (first := entries.get(key.text)) is not None:
                what = f"the key {shown(key.text)} stands twice"
                why = f"It is already on line {first[0].line}."
                self._report.add(DUPLICATE_KEY, key, what, why=why, mend="Keep one of the two.")
            else:
                entries[key.text] = (key, value)
        line, column = start.start_mark.line + 1, start.start_mark.column + 1
        size = self._size - before + 1
        return Mapping(entries=tuple(entries.values()), line=line, column=column, size=size)

    def _count(self, nodes: int, event: Any) -> None:
        self._size += nodes
        if self._size > limits.NODES:
            self._stop(
                TOO_LARGE, event, f"more than {limits.NODES} values, aliases followed", "Split the file."
            )

    def _next(self) -> Any:
        try:
            return next(self._events)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place()
            self._broken(place, error.problem or error.context or "unreadable", error.context)
        except Exception as error:  # the parser raises what it likes on odd text; none of it is ours
            position = getattr(error, "position", None)
            self._broken(self._place_at(position), getattr(error, "reason", None) or "unreadable", None)

    def _place_at(self, position: object) -> Place:
        before = self._text[:position] if isinstance(position, int) else ""
        return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))

    def _broken(self, place: Place, problem: str, context: str | None) -> NoReturn:
        why = f"The parser stopped {context}.".replace("\n", " ") if context and context != problem else ""
        what = f"this is not YAML: {problem.strip().splitlines()[0]}"
        self._report.add(NOT_YAML, place, what, why=why, mend="Check indentation, quotes and colons.")
        self._report.raise_if_any()
        raise AssertionError("a report with a problem raises")

    def _stop(self, code: str, event: Any, what: str, mend: str) -> NoReturn:
        place = Place(event.start_mark.line + 1, event.start_mark.column + 1)
        self._report.add(code, place, what, mend=mend)
        self._report.raise_if_any()
        raise AssertionError("a report with a problem raises")
