"""What was unusual stands on the chart, in its table and in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from poise.model.anomaly import GoldenSignal, Stretch, Usual
from poise.web.chart import service_chart, usual_sentence
from poise.web.service_views import PolicyView
from poise.web.views import Chart, ChartPoint

T0 = datetime(2026, 11, 24, 12, tzinfo=UTC)
BAD = Stretch(
    signal=GoldenSignal.ERRORS, since=T0 + timedelta(minutes=3), until=T0 + timedelta(minutes=6), score=0.997
)


def drawn(usual: Usual | None) -> str:
    points = tuple(
        ChartPoint(at=T0 + timedelta(minutes=n), budget_left_ratio=0.9, error_ratio=0.01) for n in range(10)
    )
    chart = Chart(since=T0, until=T0 + timedelta(minutes=10), window="15m", points=points, usual=usual)
    policy = PolicyView(name="default", slow_below_ratio=0.25, hold_below_ratio=0.0)
    return str(service_chart(chart, policy, "shop"))


def test_an_unusual_stretch_is_marked_told_and_in_the_table() -> None:
    page = drawn(Usual(known=(GoldenSignal.ERRORS,), stretches=(BAD,)))
    assert page.count('class="unusual"') == 1
    assert "errors 24 Nov 12:03 to 24 Nov 12:06 UTC (further out than 99.7 % of earlier values)" in page
    assert page.count(">errors</td>") == 4  # the rows of 12:03 to 12:06


def test_nothing_unusual_and_too_little_history_are_told_apart() -> None:
    known = (GoldenSignal.RATE, GoldenSignal.ERRORS, GoldenSignal.LATENCY)
    assert usual_sentence(Usual(known=known)) == "Nothing unusual for this time in rate, errors and latency."
    assert usual_sentence(Usual()).startswith("Too little history yet")
    assert 'id="usual"' not in drawn(None)
