"""The shapes that a value may have, as data: one table drives reading, messages and the JSON Schema."""

from __future__ import annotations

from msgspec import Struct

from poise.spec import limits


class Text(Struct, frozen=True, kw_only=True):
    """A text. ``pattern`` must match all of it; ``hint`` says the pattern in words.

    ``any_scalar`` also takes numbers, flags and nothing, letter by letter as they are written. Of a
    ``private`` text no message shows what was written: it may be a secret.
    """

    pattern: str = ""
    hint: str = ""
    max_chars: int = limits.VALUE_CHARS
    any_scalar: bool = False
    private: bool = False


class Integer(Struct, frozen=True, kw_only=True):
    """A whole number from ``low`` to ``high``."""

    low: int
    high: int


class Number(Struct, frozen=True, kw_only=True):
    """A number from ``low`` to ``high``; with ``open_ends`` neither bound itself is allowed."""

    low: float
    high: float
    open_ends: bool = False


class Ratio(Struct, frozen=True, kw_only=True):
    """A share, as a ratio (``0.4``) or a percent (``40%``); bounds are ratios."""

    low: float = 0.0
    high: float = 1.0
    open_ends: bool = False


class Duration(Struct, frozen=True, kw_only=True):
    """A duration with its unit, ``30s``; read as so many ``unit_s``. Bounds are seconds, both allowed."""

    low_s: float = 0.0
    high_s: float = limits.DURATION_S
    unit_s: float = 1.0


class Size(Struct, frozen=True, kw_only=True):
    """A size with its unit, ``64MiB``; read as bytes. Both bounds are allowed."""

    low_bytes: int
    high_bytes: int


class Flag(Struct, frozen=True, kw_only=True):
    """``true`` or ``false``; with ``only`` set, just that one is supported."""

    only: bool | None = None


class Choice(Struct, frozen=True, kw_only=True):
    """One of some words. ``refused`` maps words that mean something elsewhere to a mend."""

    words: tuple[str, ...]
    refused: dict[str, str] = {}


class ListOf(Struct, frozen=True, kw_only=True):
    """A list. ``alone`` also takes one item without a list; ``ascending`` wants each above the last."""

    item: Shape
    low: int = 0
    high: int = 100
    alone: bool = False
    ascending: bool = False
    unique: bool = False


class MapOf(Struct, frozen=True, kw_only=True):
    """A mapping with names of the user's choice."""

    name: Text
    value: Shape
    high: int


class Record(Struct, frozen=True, kw_only=True):
    """A mapping with known keys. ``refused`` maps keys known elsewhere but not honoured to a mend."""

    fields: tuple[Field, ...]
    refused: dict[str, str] = {}


class Short(Struct, frozen=True, kw_only=True):
    """A record, or one scalar that stands for the same value at each target in ``into``."""

    scalar: Shape
    into: tuple[str, ...]
    record: Record


class Anything(Struct, frozen=True, kw_only=True):
    """A part that is allowed and has no effect here, whatever it holds."""


Shape = (
    Text
    | Integer
    | Number
    | Ratio
    | Duration
    | Size
    | Flag
    | Choice
    | ListOf
    | MapOf
    | Record
    | Short
    | Anything
)


class Field(Struct, frozen=True):
    """One key of a record: its shape, the name of the value it becomes, and a sentence for editors.

    An empty ``target`` puts the fields of a nested record beside this one's. A ``required`` key may be left
    out where the one named ``unless`` is there.
    """

    key: str
    shape: Shape
    target: str
    about: str
    required: bool = False
    unless: str = ""
