"""The order and the critical path of a trace: each span once, whatever parents say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poise.model.telemetry import Span, SpanStatus
from poise.model.waterfall import waterfall


def span(n: int, parent: int, start: int, end: int, **rest: object) -> Span:
    return Span(
        trace_id=f"{1:032x}", span_id=f"{n:016x}", parent_id=f"{parent:016x}" if parent else "",
        name=f"op {n}", service=f"s{n}", start_ns=start, duration_ns=end - start, **rest,  # type: ignore[arg-type]
    )  # fmt: skip


def test_children_follow_their_parent_by_start() -> None:
    """A waterfall is read from top to bottom, as the request went."""
    found = waterfall([span(3, 1, 5, 9), span(4, 2, 2, 3), span(2, 1, 1, 4), span(1, 0, 0, 10)])
    assert [(int(row.span.span_id, 16), row.depth, row.offset_ns) for row in found.rows] == [
        (1, 0, 0), (2, 1, 1), (4, 2, 2), (3, 1, 5),
    ]  # fmt: skip
    assert (found.duration_ns, found.errors, found.root.children) == (10, 0, 2)


def test_the_critical_path_is_what_could_have_made_it_faster() -> None:
    """Two calls side by side: only the longer one is on it, and each nanosecond is counted once."""
    found = waterfall(
        [span(1, 0, 0, 100), span(2, 1, 10, 40), span(3, 1, 10, 70), span(4, 3, 20, 60), span(5, 1, 80, 90)]
    )
    own = {int(row.span.span_id, 16): row.critical_ns for row in found.rows if row.critical}
    assert own == {1: 10 + 10 + 10, 3: 10 + 10, 4: 40, 5: 10}
    assert found.slowest.span.name == "op 4"


def test_a_child_that_outlives_its_parent_counts_within_it() -> None:
    """Work that goes on after the answer did not keep the user waiting."""
    found = waterfall([span(1, 0, 0, 10), span(2, 1, 5, 50), span(3, 1, 20, 60)])
    own = {int(row.span.span_id, 16): row.critical_ns for row in found.rows if row.critical}
    assert own == {1: 5, 2: 5}
    assert found.duration_ns == 60


def test_a_missing_parent_and_a_circle_are_shown_all_the_same() -> None:
    """Spans are other people's: a lost root or a loop must not hide the rest, nor hang the page."""
    found = waterfall([span(2, 9, 1, 2), span(3, 4, 0, 1), span(4, 3, 0, 1), span(5, 5, 3, 4)])
    assert sorted(int(row.span.span_id, 16) for row in found.rows) == [2, 3, 4, 5]
    assert {row.span.name for row in found.rows if row.orphan} == {"op 2"}


SPANS = st.lists(
    st.tuples(st.integers(1, 12), st.integers(0, 12), st.integers(0, 50), st.integers(0, 50)),
    min_size=1,
    max_size=20,
)


@given(SPANS)
def test_every_span_is_there_once_and_the_path_is_no_longer_than_its_root(
    given_: list[tuple[int, int, int, int]],
) -> None:
    """Whatever parents and times are sent."""
    spans = [span(n, parent, start, start + took) for n, parent, start, took in given_]
    found = waterfall(spans)
    assert sorted(row.span.span_id for row in found.rows) == sorted({one.span_id for one in spans})
    assert found.root.critical
    assert sum(row.critical_ns for row in found.rows) <= found.root.span.duration_ns
    assert all(row.critical_ns >= 0 and row.offset_ns >= 0 for row in found.rows)


def test_a_deep_trace_is_read_without_recursion() -> None:
    """A loop that calls itself makes a trace thousands deep."""
    spans = [span(n, n - 1, n, 20_000 - n, status=SpanStatus.ERROR) for n in range(1, 5001)]
    found = waterfall(spans)
    assert found.rows[-1].depth == 4999
    assert found.errors == 5000
