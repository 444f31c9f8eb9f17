"""Durations and sizes mean what they say, and back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.spec.durations import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h", 3600), ("28d", 2_419_200), ("500ms", 0.5), ("1.5h", 5400), ("0s", 0)],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    """All windows and time-outs are read by this."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["30", "", "s", "-5s", "5 m", "5x", "1e3s", "٣s", "30s\n", "1M", "1Q"])
def test_a_number_without_a_unit_is_no_duration(text: str) -> None:
    """``30`` might mean minutes to its writer."""
    assert parse_duration(text) is None


@settings(deadline=None)
@given(st.integers(0, 10**11))
def test_a_formatted_duration_reads_the_same(millis: int) -> None:
    """``explain`` prints what may be pasted into the file."""
    text = format_duration(millis / 1000)
    assert parse_duration(text) == pytest.approx(millis / 1000, abs=1e-9)


@settings(deadline=None)
@given(st.integers(0, 10**11))
def test_a_formatted_size_reads_the_same(size_bytes: int) -> None:
    """Sizes in messages may be pasted too."""
    assert parse_size(format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize("text", ["1", "KiB", "-1B", "1 KiB", "1kib"])
def test_a_size_needs_its_unit(text: str) -> None:
    """``1`` might mean megabytes to its writer."""
    assert parse_size(text) is None
