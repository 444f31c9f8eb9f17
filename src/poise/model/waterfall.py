"""A trace in the order in which it is read: each span below its parent, and the path that took the time.

**Source:** the critical path is walked backwards from the last end, as in Zhang et al., "CRISP: critical path
analysis of large-scale microservice architectures", USENIX ATC 2022.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from poise.model.telemetry import Span, SpanStatus


class WaterfallRow(Struct, frozen=True, kw_only=True):
    """A span at its place. ``critical_ns`` is what of the critical path was its own, not a child's."""

    span: Span
    depth: int
    offset_ns: int
    children: int
    critical: bool = False
    critical_ns: int = 0
    orphan: bool = False  # it names a parent that is not here


class Waterfall(Struct, frozen=True, kw_only=True):
    """A whole trace; ``rows`` begin with the root. ``root`` is the row that the critical path is of."""

    rows: tuple[WaterfallRow, ...]
    start_ns: int
    duration_ns: int
    errors: int
    services: tuple[str, ...]

    @property
    def root(self) -> WaterfallRow:
        """The first row."""
        return self.rows[0]

    @property
    def slowest(self) -> WaterfallRow:
        """The row that had most of the critical path to itself."""
        return max(self.rows, key=lambda row: row.critical_ns)


def waterfall(spans: Sequence[Span]) -> Waterfall:
    """At least one span, of one trace. Parents that are missing or go in circles make roots of their own.

    O(n log n).
    """
    by_id = {one.span_id: one for one in spans}
    ordered = sorted(by_id.values(), key=lambda one: (one.start_ns, one.span_id))
    children: dict[str, list[Span]] = {}
    roots: list[Span] = []
    for one in ordered:
        if one.parent_id in by_id and one.parent_id != one.span_id:
            children.setdefault(one.parent_id, []).append(one)
        else:
            roots.append(one)
    roots.sort(key=lambda one: (bool(one.parent_id), one.start_ns))
    placed = _placed(ordered, roots, children)
    path = _critical(placed[0][0], children)
    start = ordered[0].start_ns
    rows = tuple(
        WaterfallRow(
            span=one,
            depth=depth,
            offset_ns=one.start_ns - start,
            children=len(children.get(one.span_id, ())),
            critical=one.span_id in path,
            critical_ns=path.get(one.span_id, 0),
            orphan=bool(one.parent_id) and one.parent_id not in by_id,
        )
        for one, depth in placed
    )
    return Waterfall(
        rows=rows,
        start_ns=start,
        duration_ns=max(one.end_ns for one in ordered) - start,
        errors=sum(one.status is SpanStatus.ERROR for one in ordered),
        services=tuple(sorted({one.service for one in ordered})),
    )


def _placed(
    ordered: Sequence[Span], roots: Sequence[Span], children: dict[str, list[Span]]
) -> list[tuple[Span, int]]:
    """Each span once, with its depth; what only a circle leads to comes last."""
    placed: list[tuple[Span, int]] = []
    seen: set[str] = set()
    for first in (*roots, *ordered):
        waiting = [(first, 0)]
        while waiting:
            one, depth = waiting.pop()
            if one.span_id in seen:
                continue
            seen.add(one.span_id)
            placed.append((one, depth))
            waiting += [(child, depth + 1) for child in reversed(children.get(one.span_id, ()))]
    return placed


def _critical(root: Span, children: dict[str, list[Span]]) -> dict[str, int]:
    """Span ids on the path, each with its own nanoseconds on it. A child counts within its parent only."""
    path: dict[str, int] = {}
    waiting = [(root, root.start_ns, root.end_ns)]
    while waiting:
        one, since, until = waiting.pop()
        if one.span_id in path:
            continue
        own, at = 0, until
        for child in sorted(children.get(one.span_id, ()), key=lambda each: each.end_ns, reverse=True):
            begin, end = max(child.start_ns, since), min(child.end_ns, until)
            if end > at or begin >= end:
                continue
            own += at - end
            waiting.append((child, begin, end))
            at = begin
        path[one.span_id] = own + at - since
    return path
