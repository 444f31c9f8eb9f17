"""Documents as YAML text that people read: keys in our order, queries of several lines as blocks."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

WIDTH: Final = 4096  # a query is never broken at a space


def as_yaml(documents: Sequence[Any]) -> str:
    """One text of all documents; ends with a line feed."""
    writer = YAML()
    writer.width = WIDTH
    writer.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    writer.dump_all([_readable(one) for one in documents], out)
    return out.getvalue()


def _readable(value: Any) -> Any:
    match value:
        case dict():
            return {key: _readable(inner) for key, inner in value.items()}
        case list():
            return [_readable(inner) for inner in value]
        case str() if "\n" in value:
            return LiteralScalarString(value)
        case _:
            return value
