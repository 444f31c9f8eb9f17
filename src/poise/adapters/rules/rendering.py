"""Templates filled: a tree of ``spec.template`` and one result of a rule's expression give a text.

What cannot be done gives ``<error expanding template: why>``, as Prometheus has it: whoever is paged sees
that something is missing, and never a wrong number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from poise.adapters.rules import gofmt
from poise.adapters.rules.functions import FUNCTIONS, Unfit
from poise.model.errors import PoiseError
from poise.model.samples import Labels
from poise.spec.template import (
    Branch,
    Call,
    Constant,
    Dot,
    Group,
    Leave,
    Node,
    Operand,
    Pipeline,
    Show,
    Variable,
    Words,
    parse_template,
)
from poise.spec.template_text import TemplateFault

TEXT_MAX: Final = 65_536
STEPS_MAX: Final = 100_000  # nodes visited for one text, so that nested ranges end


class Sample(Struct, frozen=True):
    """One series' value at the instant."""

    labels: Labels
    value: float


class Given(Struct, frozen=True, kw_only=True):
    """What a template may read. What went wrong is added to ``faults``."""

    labels: dict[str, str]
    value: float
    external_labels: dict[str, str] = {}
    external_url: str = ""
    query: Callable[[str], list[Sample]]
    faults: dict[str, None]


def filled(template: str, given: Given) -> str:
    """The text. A template without actions is itself."""
    if "{{" not in template:
        return template
    try:
        text = _Filler(given).text(_parsed(template))
    except (Unfit, TemplateFault, gofmt.Unwritable, OverflowError, PoiseError) as error:
        why = getattr(error, "what", "") or str(error)
        text = f"<error expanding template: {why}>"
        given.faults[f"{template[:80]!r}: {why}"] = None
    return text


@lru_cache(maxsize=4096)
def _parsed(template: str) -> tuple[Node, ...]:
    return parse_template(template)


class _Leaving(Exception):
    def __init__(self, word: str) -> None:
        self.word = word


class _Filler:
    """Walks the tree with the dot and the variables in scope."""

    def __init__(self, given: Given) -> None:
        self._given = given
        root = {
            "Labels": given.labels,
            "Value": given.value,
            "ExternalLabels": given.external_labels,
            "ExternalURL": given.external_url,
        }
        self._root = root
        self._scopes: list[dict[str, Any]] = [
            {
                "$": root,
                "$labels": given.labels,
                "$value": given.value,
                "$externalLabels": given.external_labels,
                "$externalURL": given.external_url,
            }
        ]
        self._steps = 0
        self._size = 0

    def text(self, nodes: Sequence[Node]) -> str:
        return "".join(self._walk(nodes, self._root))

    def _walk(self, nodes: Sequence[Node], dot: Any) -> Iterator[str]:
        for node in nodes:
            self._steps += 1
            if self._steps > STEPS_MAX:
                raise Unfit(f"it takes over {STEPS_MAX:,} steps")
            match node:
                case Words(text):
                    yield self._counted(text)
                case Show(pipeline):
                    value = self._pipeline(pipeline, dot)
                    if not pipeline.names:
                        yield self._counted(gofmt.text(value))
                case Branch():
                    yield from self._branch(node, dot)
                case Leave(word):
                    raise _Leaving(word)

    def _counted(self, text: str) -> str:
        self._size += len(text)
        if self._size > TEXT_MAX:
            raise Unfit(f"it is longer than {TEXT_MAX:,} characters")
        return text

    def _branch(self, node: Branch, dot: Any) -> Iterator[str]:
        self._scopes.append({})
        try:
            if node.kind == "range":
                yield from self._range(node, dot)
                return
            value = self._pipeline(node.pipeline, dot)
            body = node.body if truth(value) else node.otherwise
            yield from self._walk(body, value if node.kind == "with" and truth(value) else dot)
        finally:
            self._scopes.pop()

    def _range(self, node: Branch, dot: Any) -> Iterator[str]:
        names = node.pipeline.names
        found = self._pipeline(Pipeline(node.pipeline.steps), dot)
        if isinstance(found, dict):
            pairs: list[tuple[Any, Any]] = [(key, found[key]) for key in sorted(found)]
        elif isinstance(found, list):
            pairs = list(enumerate(found))
        else:
            raise Unfit("only a list or labels can be ranged over")
        if not pairs:
            yield from self._walk(node.otherwise, dot)
        for key, value in pairs:
            if names:
                self._scopes[-1][names[-1]] = value
            if len(names) == 2:
                self._scopes[-1][names[0]] = key
            depth = len(self._scopes)
            try:
                yield from self._walk(node.body, value)
            except _Leaving as leaving:
                del self._scopes[depth:]
                if leaving.word == "break":
                    return

    # -- values -----------------------------------------------------------------------------------

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        value: Any = None
        for place, step in enumerate(pipeline.steps):
            value = self._operand(step, dot, (value,) if place else ())
        for name in pipeline.names:
            scope = next((one for one in reversed(self._scopes) if name in one), self._scopes[-1])
            (self._scopes[-1] if pipeline.declares else scope)[name] = value
        return value

    def _operand(self, operand: Operand, dot: Any, piped: tuple[Any, ...] = ()) -> Any:
        match operand:
            case Constant(value):
                return value
            case Dot(fields):
                return _below(dot, fields)
            case Variable(name, fields):
                scope = next(one for one in reversed(self._scopes) if name in one)
                return _below(scope[name], fields)
            case Group(pipeline, fields):
                return _below(self._pipeline(pipeline, dot), fields)
            case Call(name, arguments):
                return self._called(name, arguments, dot, piped)

    def _called(self, name: str, arguments: tuple[Operand, ...], dot: Any, piped: tuple[Any, ...]) -> Any:
        if name in ("and", "or"):
            value: Any = None
            for argument in arguments:
                value = self._operand(argument, dot)
                if truth(value) is (name == "or"):
                    return value
            return piped[0] if piped else value
        values = (*(self._operand(one, dot) for one in arguments), *piped)
        match name:
            case "query":
                if not isinstance(values[0], str):
                    raise Unfit("query needs a text")
                return self._given.query(values[0])
            case "externalURL":
                return self._given.external_url
            case "pathPrefix":
                return "/" + self._given.external_url.partition("://")[2].partition("/")[2].rstrip("/")
            case "not":
                return not truth(values[0])
        return FUNCTIONS[name](*values)


def truth(value: Any) -> bool:
    """Go's: what is empty or zero is false."""
    return value is not None and (isinstance(value, Sample) or bool(value))


def _below(value: Any, fields: tuple[str, ...]) -> Any:
    for field in fields:
        if isinstance(value, Sample):
            if field not in ("Labels", "Value"):
                raise Unfit(f"a series has .Labels and .Value, no .{field}")
            value = dict(value.labels) if field == "Labels" else value.value
        elif isinstance(value, dict):
            if field not in value and "Labels" in value and "ExternalURL" in value:
                raise Unfit(f"there is no .{field}")
            value = value.get(field, "")
        else:
            raise Unfit(f"there is no .{field} of {gofmt.text(value)!r}" if not isinstance(value, list)
                        else f"there is no .{field} of a list")  # fmt: skip
    return value
