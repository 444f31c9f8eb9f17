"""A template's text as words and actions, each action as tokens that know where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

_OPEN: Final = re.compile(r"\{\{(-(?=\s))?")
_COMMENT: Final = re.compile(r"\s*/\*.*?\*/\s*?(\s-)?\}\}", re.DOTALL)
_CLOSE: Final = re.compile(r"(?:\s-)?\}\}")
_SPACE: Final = re.compile(r"\s*")
_TOKEN: Final = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)"""
    r"|(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))"
    r"|(?P<variable>\$(?:[A-Za-z_]\w*)?(?:\.[A-Za-z_]\w*)*)"
    r"|(?P<dot>(?:\.[A-Za-z_]\w*)+|\.)"
    r"|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign>:=|=|\||,|\(|\))"
)
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_ESCAPES: Final = {
    "n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f",
    "v": "\v",
}  # fmt: skip


class TemplateFault(ValueError):
    """A template cannot be read: what stands at ``offset``, and a mend."""

    def __init__(self, offset: int, what: str, mend: str) -> None:
        super().__init__(what)
        self.offset = offset
        self.what = what
        self.mend = mend


class Token(Struct, frozen=True, kw_only=True):
    """One token. ``joined``: no space stands before it. ``value`` is a constant's."""

    kind: str  # string, number, variable, dot, word, sign
    text: str
    offset: int
    joined: bool = False
    value: str | int | float | None = None


class Lexed(Struct, frozen=True, kw_only=True):
    """Text up to an action, and its tokens (None where no action or a comment follows)."""

    text: str
    tokens: tuple[Token, ...] | None = None
    end: int


def actions(text: str) -> Iterator[Lexed]:
    """The parts of a template in order. Raises ``TemplateFault``."""
    at, trims = 0, False
    while True:
        found = _OPEN.search(text, at)
        words = text[at : found.start()] if found else text[at:]
        words = words.lstrip() if trims else words
        if found is None:
            yield Lexed(text=words, end=len(text))
            return
        words = words.rstrip() if found[1] else words
        comment = _COMMENT.match(text, found.end())
        if comment is not None:
            yield Lexed(text=words, end=comment.end())
            at, trims = comment.end(), comment[1] is not None
            continue
        tokens, close = _tokens(text, found.end())
        yield Lexed(text=words, tokens=tokens, end=close.start())
        at, trims = close.end(), "-" in close[0]


def _tokens(text: str, at: int) -> tuple[tuple[Token, ...], re.Match[str]]:
    found: list[Token] = []
    begin = at
    while True:
        if (close := _CLOSE.match(text, at)) is not None:
            return tuple(found), close
        space = _SPACE.match(text, at)
        after = space.end() if space else at
        if (close := _CLOSE.match(text, after)) is not None:
            return tuple(found), close
        token = _TOKEN.match(text, after)
        if token is None:
            if after >= len(text):
                raise TemplateFault(begin - 2, "an action is not closed", "Add '}}'.")
            what = f"{text[after]!r} is not expected here"
            raise TemplateFault(after, what, "Write a field, a variable, a function or a constant.")
        found.append(_token(token, joined=after == at and bool(found)))
        at = token.end()
        if text[token.start() : token.end()][-1:].isalnum() and text[at : at + 1] in ('"', "`", "$"):
            raise TemplateFault(at, "a space is missing here", "Add one.")


def _token(match: re.Match[str], *, joined: bool) -> Token:
    kind, text = match.lastgroup or "", match[0]
    value: str | int | float | None = None
    if kind == "string":
        value = text[1:-1] if text[0] == "`" else _ESCAPE.sub(_unescaped, text[1:-1])
    elif kind == "number":
        value = _number(text, match.start())
    return Token(kind=kind, text=text, offset=match.start(), joined=joined, value=value)


def _number(text: str, offset: int) -> int | float:
    try:
        return (
            int(text, 0) if re.fullmatch(r"[+-]?(0[xX][0-9a-fA-F]+|[1-9][0-9]*|0)", text) else _decimal(text)
        )
    except ValueError:
        raise TemplateFault(offset, f"{text!r} is no number", "Write e.g. 100 or 0.5.") from None


def _decimal(text: str) -> int | float:
    if re.fullmatch(r"[+-]?0[0-9]+", text):
        return int(text, 8)  # as Go reads it
    return float(text)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "xuU":
        return chr(int(code[1:], 16)) if len(code) > 1 else code
    if code.isdigit() and len(code) == 3:
        return chr(int(code, 8))
    return _ESCAPES.get(code, code)
