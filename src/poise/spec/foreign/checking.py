"""Places in a document, and queries checked where they stand."""

from __future__ import annotations

from typing import Final

from poise.spec.document import Items, Mapping, Node
from poise.spec.foreign.slo import WINDOW_SIGN, in_window
from poise.spec.problems import EXPRESSION, Report
from poise.spec.query import placed
from poise.spec.rules import Check

__all__ = ["Check", "check_query", "placed_at"]

_SAMPLE: Final = "5m"


def placed_at(node: Node, *path: str | int) -> Node:
    """The node at ``path``; where a key is absent, the next one is tried and the last node found is told.

    So ``("events", "error_query", "errorQuery")`` names either spelling.
    """
    for step in path:
        found: Node | None = None
        if isinstance(node, Mapping) and isinstance(step, str):
            found = node.get(step)
        elif isinstance(node, Items) and isinstance(step, int):
            found = node.items[step]
        node = node if found is None else found
    return node


def check_query(query: str, node: Node, report: Report, check: Check) -> None:
    """Tell what is wrong with an expression at its place in the file, whatever its windows will be."""
    fault = check(in_window(query, _SAMPLE))
    if fault is None:
        return
    offset = fault.offset
    for sign in WINDOW_SIGN.finditer(query):
        if sign.start() < offset:
            offset += len(sign[0]) - len(_SAMPLE)
    report.add(EXPRESSION, placed(node, query, offset), fault.what, mend=fault.mend)
