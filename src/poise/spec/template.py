"""Templates of labels and annotations: the part of Go's ``text/template`` that rule files use, as a tree.

It decides what a template means as far as the text alone tells. What is not in the tree (``define``, methods,
functions that need Prometheus' own pages) is refused here, so that it is never rendered wrong.

Source: pkg.go.dev/text/template; prometheus.io/docs/prometheus/latest/configuration/template_reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NoReturn

from msgspec import Struct

from poise.spec.problems import nearest
from poise.spec.template_text import Lexed, TemplateFault, Token, actions

ANY: Final = 1000
FUNCTIONS: Final[dict[str, tuple[int, int]]] = {  # name: fewest and most arguments, the piped one included
    "query": (1, 1), "first": (1, 1), "label": (2, 2), "value": (1, 1), "strvalue": (1, 1),
    "sortByLabel": (2, 2), "reReplaceAll": (3, 3), "match": (2, 2), "title": (1, 1), "toUpper": (1, 1),
    "toLower": (1, 1), "safeHtml": (1, 1), "stripPort": (1, 1), "stripDomain": (1, 1), "humanize": (1, 1),
    "humanize1024": (1, 1), "humanizeDuration": (1, 1), "humanizePercentage": (1, 1),
    "humanizeTimestamp": (1, 1), "parseDuration": (1, 1), "pathPrefix": (0, 0), "externalURL": (0, 0),
    "and": (1, ANY), "or": (1, ANY), "not": (1, 1), "len": (1, 1), "index": (1, ANY), "print": (0, ANY),
    "println": (0, ANY), "printf": (1, ANY), "urlquery": (1, ANY), "html": (1, ANY),
    "eq": (2, ANY), "ne": (2, 2), "lt": (2, 2), "le": (2, 2), "gt": (2, 2), "ge": (2, 2),
}  # fmt: skip
_REFUSED: Final = {
    "graphLink": "Poise has no expression browser. Write the link out.",
    "tableLink": "Poise has no expression browser. Write the link out.",
    "tmpl": "Write the text out.",
    "args": "Write the text out.",
    "toTime": "Use humanizeTimestamp.",
    "toDuration": "Use humanizeDuration.",
    "now": "Use {{ query \"time()\" | first | value }}.",
    "js": "Remove it: nothing here is JavaScript.",
    "call": "Remove it.",
    "slice": "Use reReplaceAll.",
}  # fmt: skip
_BLOCKS: Final = frozenset({"define", "template", "block"})
GIVEN: Final = ("$", "$labels", "$externalLabels", "$externalURL", "$value")
DEPTH: Final = 32


class Constant(Struct, frozen=True):
    """A string, a whole number, a float, a boolean, or nil."""

    value: str | int | float | bool | None


class Dot(Struct, frozen=True):
    """``.`` or ``.Labels.instance``."""

    fields: tuple[str, ...] = ()


class Variable(Struct, frozen=True):
    """``$value`` or ``$labels.instance``."""

    name: str
    fields: tuple[str, ...] = ()


class Group(Struct, frozen=True):
    """A pipeline in parentheses, perhaps with fields of its result."""

    pipeline: Pipeline
    fields: tuple[str, ...] = ()


class Call(Struct, frozen=True):
    """A function of arguments; the value piped in is the last one."""

    name: str
    arguments: tuple[Operand, ...] = ()


Operand = Constant | Dot | Variable | Group | Call


class Pipeline(Struct, frozen=True):
    """Operands, each fed the one before; ``names`` are variables it is kept in (``declares``: new ones)."""

    steps: tuple[Operand, ...]
    names: tuple[str, ...] = ()
    declares: bool = False


class Words(Struct, frozen=True):
    """Text as it is."""

    text: str


class Show(Struct, frozen=True):
    """A pipeline whose value is written, unless it only sets a variable."""

    pipeline: Pipeline


class Branch(Struct, frozen=True):
    """``if``, ``with`` and ``range``."""

    kind: Literal["if", "with", "range"]
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


class Leave(Struct, frozen=True):
    """``break`` or ``continue``."""

    word: str


Node = Words | Show | Branch | Leave


def parse_template(text: str) -> tuple[Node, ...]:
    """The tree of a template. Raises ``TemplateFault`` with the place and a mend.

    >>> parse_template("{{ $value | humanize }} errors")[0]
    Show(pipeline=Pipeline(steps=(Variable(name='$value', fields=()), Call(name='humanize', arguments=())), \
names=(), declares=False))
    """
    return _Parser(actions(text)).whole()


class _Parser:
    """Blocks out of actions; within one, pipelines out of tokens."""

    def __init__(self, parts: Iterator[Lexed]) -> None:
        self._parts = parts
        self._scopes: list[set[str]] = [set(GIVEN)]
        self._loops = 0
        self._tokens: list[Token] = []
        self._end = 0  # of the action, for faults

    def whole(self) -> tuple[Node, ...]:
        nodes, word = self._block("")
        if word:
            self._stop(self._end, f"'{word}' without 'if', 'with' or 'range'", "Remove it.")
        return nodes

    # -- blocks -----------------------------------------------------------------------------------

    def _block(self, opened: str) -> tuple[tuple[Node, ...], str]:
        """Nodes up to the word (``end`` or ``else``) that ends them; empty at the end of the text."""
        nodes: list[Node] = []
        if len(self._scopes) > DEPTH:
            self._stop(self._end, f"nested deeper than {DEPTH} levels", "Flatten it.")
        for part in self._parts:
            if part.text:
                nodes.append(Words(part.text))
            if part.tokens is None:
                continue
            self._tokens, self._end = list(part.tokens), part.end
            if not self._tokens:
                self._stop(part.end, "an action without a value", "Write e.g. {{ $value }}.")
            word = self._tokens[0].text if self._tokens[0].kind == "word" else ""
            if word in ("end", "else"):
                self._tokens.pop(0)
                return tuple(nodes), word
            nodes.append(self._node(word))
        if opened:
            self._stop(self._end, f"'{opened}' is not ended", "Add {{ end }}.")
        return tuple(nodes), ""

    def _node(self, word: str) -> Node:
        first = self._tokens[0]
        if word in _BLOCKS:
            self._stop(first.offset, f"'{word}' is not supported in a rule", "Write the text out.")
        if word in ("break", "continue"):
            if not self._loops:
                self._stop(first.offset, f"'{word}' outside of 'range'", "Remove it.")
            self._tokens.pop(0)
            self._ended()
            return Leave(word)
        if word in ("if", "with", "range"):
            self._tokens.pop(0)
            return self._branch(word)
        pipeline = self._pipeline(is_range=False)
        self._ended()
        return Show(pipeline)

    def _branch(self, word: str) -> Branch:
        self._scopes.append(set())
        pipeline = self._pipeline(is_range=word == "range")
        self._ended()
        self._loops += word == "range"
        body, ended = self._block(word)
        self._loops -= word == "range"
        otherwise: tuple[Node, ...] = ()
        if ended == "else":
            again = self._tokens[0].text if self._tokens and self._tokens[0].kind == "word" else ""
            if again and again == word and word != "range":
                self._tokens.pop(0)
                otherwise = (self._branch(again),)  # its end ends both
            else:
                self._ended()
                otherwise, ended = self._block(word)
                if ended != "end":
                    self._stop(self._end, "a second 'else'", "Keep one of the two.")
        else:
            self._ended()
        self._scopes.pop()
        kind: Literal["if", "with", "range"] = "if" if word == "if" else "with" if word == "with" else "range"
        return Branch(kind, pipeline, body, otherwise)

    # -- pipelines --------------------------------------------------------------------------------

    def _pipeline(self, *, is_range: bool) -> Pipeline:
        names, declares = self._names(is_range)
        steps = [self._step(piped=False)]
        while self._taken("|"):
            steps.append(self._step(piped=True))
            last = steps[-1]
            if not isinstance(last, Call):
                self._stop(self._place(), "only a function can follow '|'", "Write e.g. | humanize.")
        if declares:
            self._scopes[-1].update(names)
        return Pipeline(tuple(steps), names, declares)

    def _names(self, is_range: bool) -> tuple[tuple[str, ...], bool]:
        """``$x :=``, ``$x =`` and ``$i, $x :=`` at the beginning."""
        kinds = [token.kind for token in self._tokens[:4]]
        texts = [token.text for token in self._tokens[:4]]
        if kinds[:1] == ["variable"] and texts[1:2] in ([":="], ["="]):
            found, sign = self._tokens[:1], texts[1]
        elif (
            is_range
            and kinds[:1] + kinds[2:3] == ["variable"] * 2
            and texts[1] == ","
            and texts[3:] == [":="]
        ):
            found, sign = [self._tokens[0], self._tokens[2]], ":="
        else:
            return (), False
        del self._tokens[: 2 * len(found)]
        for one in found:
            if "." in one.text:
                self._stop(one.offset, f"'{one.text}' cannot be set", "Name a variable without fields.")
            if sign == "=":
                self._known(one)
        return tuple(one.text for one in found), sign == ":="

    def _step(self, *, piped: bool) -> Operand:
        if not self._tokens:
            self._stop(self._end, "a value is missing", "Write e.g. {{ $value }}.")
        first = self._tokens[0]
        if first.kind == "word" and first.text not in ("true", "false", "nil"):
            return self._call(piped=piped)
        operand = self._operand()
        if self._tokens and self._tokens[0].text not in ("|", ")"):
            what = f"'{first.text}' takes no argument"
            self._stop(self._tokens[0].offset, what, "Only functions take arguments.")
        return operand

    def _call(self, *, piped: bool) -> Call:
        name = self._tokens.pop(0)
        arguments: list[Operand] = []
        while self._tokens and self._tokens[0].text not in ("|", ")"):
            arguments.append(self._operand())
        self._check(name, len(arguments) + piped)
        return Call(name.text, tuple(arguments))

    def _operand(self) -> Operand:
        token = self._tokens.pop(0)
        match token.kind:
            case "string":
                return Constant(token.value)
            case "number":
                return Constant(token.value)
            case "dot":
                return Dot(tuple(part for part in token.text.split(".") if part))
            case "variable":
                self._known(token)
                name, *fields = token.text.split(".")
                return Variable(name, tuple(fields))
            case "word":
                if token.text in ("true", "false", "nil"):
                    return Constant({"true": True, "false": False}.get(token.text))
                self._check(token, 0)
                return Call(token.text)
        if token.text == "(":
            inner = self._pipeline(is_range=False)
            if not self._taken(")"):
                self._stop(token.offset, "'(' is not closed", "Add ')'.")
            below: tuple[str, ...] = ()
            if self._tokens and self._tokens[0].kind == "dot" and self._tokens[0].joined:
                below = tuple(part for part in self._tokens.pop(0).text.split(".") if part)
            return Group(inner, below)
        mend = "Write a field, a variable or a constant."
        raise TemplateFault(token.offset, f"'{token.text}' is not a value", mend)

    # -- checks -----------------------------------------------------------------------------------

    def _check(self, name: Token, count: int) -> None:
        if name.text in _REFUSED:
            self._stop(name.offset, f"'{name.text}' is not supported", _REFUSED[name.text])
        if name.text not in FUNCTIONS:
            self._stop(name.offset, f"there is no function '{name.text}'", nearest(name.text, FUNCTIONS))
        fewest, most = FUNCTIONS[name.text]
        if not fewest <= count <= most:
            wants = f"{fewest}" if fewest == most else f"at least {fewest}"
            self._stop(name.offset, f"'{name.text}' takes {wants} argument(s), not {count}", "Change it.")

    def _known(self, token: Token) -> None:
        name = token.text.split(".")[0]
        if not any(name in scope for scope in self._scopes):
            known = [one for scope in self._scopes for one in sorted(scope)]
            self._stop(token.offset, f"there is no variable '{name}'", nearest(name, known))

    def _ended(self) -> None:
        if self._tokens:
            token = self._tokens[0]
            self._stop(token.offset, f"'{token.text}' is not expected here", "Remove it.")

    def _taken(self, text: str) -> bool:
        if self._tokens and self._tokens[0].kind == "sign" and self._tokens[0].text == text:
            self._tokens.pop(0)
            return True
        return False

    def _place(self) -> int:
        return self._tokens[0].offset if self._tokens else self._end

    def _stop(self, offset: int, what: str, mend: str) -> NoReturn:
        raise TemplateFault(offset, what, mend)
