"""What expressions mean, over series written in Prometheus' own notation."""

from __future__ import annotations

import contextlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.adapters.memory_samples import MemorySamples
from poise.adapters.promql import Engine, QueryInvalid, QueryTimedOut, QueryTooLarge, Unsupported
from poise.adapters.promql.notation import series
from poise.model.samples import STALE, AnswerKind, Frame, Limits

STEP_MS = 60_000
SHOP = """
requests_total{job="shop",code="200"} 0+60x20
requests_total{job="shop",code="500"} 0+6x10 0+6x9
requests_total{job="pay",code="200"} 0+30x20
heat{room="a"} 1 2 3 4 5 _ _ 8 NaN 10
heat{room="b"} 5x9
gone 1 1 stale
lat_bucket{le="0.1"} 0+5x20
lat_bucket{le="0.5"} 0+9x20
lat_bucket{le="+Inf"} 0+10x20
"""


def loaded(text: str) -> MemorySamples:
    samples = MemorySamples()
    for line in text.strip().splitlines():
        labels, values = series(line)
        samples.add(labels, [(i * STEP_MS, value) for i, value in enumerate(values) if value is not None])
    return samples


def shown(frame: Frame) -> dict[str, float]:
    rows = zip(frame.series, frame.values[:, 0].tolist(), frame.present[:, 0].tolist(), strict=True)
    return {
        ",".join(f"{key}={value}" for key, value in labels): value for labels, value, there in rows if there
    }


def at(expression: str, minute: float = 10, text: str = SHOP, **options: object) -> dict[str, float]:
    return shown(Engine(loaded(text), **options).instant(expression, round(minute * STEP_MS)))  # type: ignore[arg-type]


TABLE = {
    "requests_total{code='500'}": {"__name__=requests_total,code=500,job=shop": 60},
    "sum by (job) (requests_total)": {"job=shop": 660, "job=pay": 300},
    "sum without (code) (rate(requests_total[4m]))": {"job=shop": 1.1, "job=pay": 0.5},
    "increase(requests_total{job='pay'}[4m])": {"code=200,job=pay": 120},
    "topk(1, requests_total)": {"__name__=requests_total,code=200,job=shop": 600},
    "requests_total{code='500'} / ignoring(code) requests_total{code='200',job='shop'}": {"job=shop": 0.1},
    "requests_total / on(job) group_left() sum by (job) (requests_total) > 0.95": {"code=200,job=pay": 1},
    "requests_total > 500": {"__name__=requests_total,code=200,job=shop": 600},
    "count(requests_total > bool 500)": {"": 3},
    "heat offset 5m and heat{room='a'}": {"__name__=heat,room=a": 5},
    "max_over_time(heat{room='a'}[10m])": {"room=a": 10},
    "count_over_time(heat{room='a'}[10m])": {"room=a": 7},
    "quantile_over_time(0.5, heat{room='b'}[5m])": {"room=b": 5},
    "histogram_quantile(0.7, rate(lat_bucket[5m]))": {"": 0.3},
    "histogram_fraction(0, 0.1, rate(lat_bucket[5m]))": {"": 0.5},
    "avg_over_time(sum(requests_total)[4m:1m])": {"": 816},
    "absent(nothing{job='x',code=~'.*'})": {"job=x": 1},
    "label_replace(heat{room='b'}, 'place', 'room-$1', 'room', '(.*)')": {
        "__name__=heat,place=room-b,room=b": 5
    },
    "gone": {},
    "last_over_time(gone[20m])": {"__name__=gone": 1},
    "scalar(sum(requests_total)) + 1": {"": 961},
    "timestamp(heat{room='b'})": {"room=b": 540},
    "resets(requests_total{code='500'}[20m])": {"code=500,job=shop": 0},
    "predict_linear(requests_total{job='pay'}[5m], 60)": {"code=200,job=pay": 330},
    "requests_total{job='pay'} @ 120": {"__name__=requests_total,code=200,job=pay": 60},
    "vector(1) unless vector(2)": {},
    "count_values('v', heat{room='b'})": {"v=5": 1},
    "sgn(-vector(3))": {"": -1},
}


@pytest.mark.parametrize("expression", TABLE)
def test_an_expression_has_its_answer(expression: str) -> None:
    """Each by hand from the series above, ten minutes in."""
    found = at(expression)
    assert found == pytest.approx(TABLE[expression], rel=1e-12)


def test_a_reset_counts_from_zero() -> None:
    """What a counter had reached before is kept."""
    found = at("increase(requests_total{code='500'}[8m])", 14)  # 42 48 54 60 0 6 12 18
    assert found == pytest.approx({"code=500,job=shop": (18 - 42 + 60) * 480 / 420})


def test_a_window_is_open_on_its_left() -> None:
    """A sample exactly at its beginning belongs to the window before (Prometheus 3)."""
    assert at("count_over_time(heat{room='b'}[2m])", 5) == {"room=b": 2}


def test_a_stale_series_is_gone_at_once_and_a_silent_one_after_the_lookback() -> None:
    """The marker ends a series; silence alone waits five minutes."""
    assert at("gone", 1.5) == {"__name__=gone": 1}
    assert at("gone", 2) == {}
    assert at("heat{room='b'}", 13.9) == {"__name__=heat,room=b": 5}
    assert at("heat{room='b'}", 14) == {}


def test_a_range_has_a_value_at_every_step_that_has_one() -> None:
    """Gaps longer than the lookback stay gaps."""
    frame = Engine(loaded("x 1 2 _x8 3")).range("x", 0, 10 * STEP_MS, STEP_MS)
    assert frame.kind is AnswerKind.MATRIX
    assert frame.present[0].tolist() == [True] * 6 + [False] * 4 + [True]


def test_a_range_selector_answers_with_its_samples() -> None:
    """Each with its own instant, stale markers left out."""
    frame = Engine(loaded("x 1 stale 3")).instant("x[5m]", 2 * STEP_MS)
    assert frame.ragged is not None
    assert frame.ragged.flat.tolist() == [1, 3]
    assert frame.ragged.at_ms[0].tolist() == [0, 2 * STEP_MS]


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("sum(", "parse"),
        ("x[5m]", "scalar or an instant vector"),
        ("requests_total + on(job) requests_total", "many-to-many"),
        ("sum by (job)(requests_total) * on(job) requests_total", "duplicate series"),
        ("{job=~'.*'}", "non-empty"),
        ("x{job=~'('}", "regular expression|parse"),
        ("label_replace(heat, 'room', 'same', 'room', '.*')", "same labelset"),
    ],
)
def test_what_has_no_answer_says_why(expression: str, word: str) -> None:
    """As a value of four parts, never a trace."""
    with pytest.raises(QueryInvalid, match=word) as caught:
        Engine(loaded(SHOP)).range(expression, 0, 10 * STEP_MS, STEP_MS)
    assert caught.value.error_type in ("bad_data", "execution")


def test_limits_are_named() -> None:
    """A query over its limits is refused before it hurts."""
    for limits in (Limits(samples=10), Limits(series=2), Limits(points=5)):
        with pytest.raises(QueryTooLarge, match=r"\d"):
            Engine(loaded(SHOP), limits).range("rate(requests_total[5m])", 0, 10 * STEP_MS, STEP_MS)
    ticks = iter(range(0, 1000, 10))
    with pytest.raises(QueryTimedOut):
        Engine(loaded(SHOP), Limits(seconds=5), monotonic=lambda: float(next(ticks))).instant("1 + 1", 0)


def test_native_histograms_are_named_as_unsupported() -> None:
    """A loud refusal, never a silent zero."""
    with pytest.raises(Unsupported, match="native histograms"):
        series("x {{schema:0 sum:5}}")


def test_a_rate_of_no_counter_is_noted() -> None:
    """The answer stands; the hint is beside it."""
    frame = Engine(loaded(SHOP)).instant("rate(heat[5m])", 5 * STEP_MS)
    assert any("might not be a counter" in one for one in frame.infos)


points = st.lists(
    st.tuples(st.integers(1, 40_000), st.integers(0, 1000)), min_size=1, max_size=30, unique_by=lambda p: p[0]
)


@given(points, st.integers(1_000, 200_000), st.integers(1, 400))
def test_rate_is_prometheus_rate(found: list[tuple[int, int]], range_ms: int, at_s: int) -> None:
    """Against the definition, sample by sample."""
    samples = MemorySamples()
    samples.add((("__name__", "x_total"),), [(at * 10, float(value)) for at, value in sorted(found)])
    at_ms = at_s * 1000
    inside = [(at * 10, float(v)) for at, v in sorted(found) if at_ms - range_ms < at * 10 <= at_ms]
    got = shown(Engine(samples).instant(f"rate(x_total[{range_ms}ms])", at_ms))
    assert got == ({} if len(inside) < 2 else {"": pytest.approx(by_hand(inside, at_ms, range_ms), rel=1e-9)})


def by_hand(inside: list[tuple[int, float]], at_ms: int, range_ms: int) -> float:
    gained = inside[-1][1] - inside[0][1]
    gained += sum(a for (_, a), (_, b) in itertools.pairwise(inside) if b < a)
    sampled = (inside[-1][0] - inside[0][0]) / 1000
    average = sampled / (len(inside) - 1)
    to_start = (inside[0][0] - (at_ms - range_ms)) / 1000
    to_end = (at_ms - inside[-1][0]) / 1000
    to_start = average / 2 if to_start >= average * 1.1 else to_start
    if gained > 0:
        to_start = min(to_start, sampled * inside[0][1] / gained)
    to_end = average / 2 if to_end >= average * 1.1 else to_end
    return gained * (sampled + to_start + to_end) / sampled / (range_ms / 1000)


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=5), min_size=1, max_size=6))
def test_a_sum_of_sums_is_the_sum(rows: list[list[float]]) -> None:
    """Grouping first changes nothing but rounding."""
    samples = MemorySamples()
    for i, row in enumerate(rows):
        labels = (("__name__", "x"), ("a", str(i % 2)), ("b", str(i)))
        samples.add(labels, [(j * STEP_MS, value) for j, value in enumerate(row)])
    engine = Engine(samples)
    whole = engine.range("sum(x)", 0, 4 * STEP_MS, STEP_MS)
    parts = engine.range("sum(sum by (a) (x))", 0, 4 * STEP_MS, STEP_MS)
    np.testing.assert_allclose(whole.values, parts.values, rtol=1e-9, atol=1e-6)


@given(st.lists(st.sampled_from([1e308, -1e308, 1.0, 1e-300, 0.1]), min_size=1, max_size=12))
def test_a_mean_survives_sums_that_overflow_or_cancel(values: list[float]) -> None:
    """Within rounding of the exact mean."""
    samples = MemorySamples()
    samples.add((("__name__", "x"),), [(i * 1000, value) for i, value in enumerate(values)])
    got = shown(Engine(samples).instant("avg_over_time(x[1h])", len(values) * 1000))[""]
    exact = math.fsum(value / len(values) for value in values)
    assert got == pytest.approx(exact, rel=1e-9, abs=max(map(abs, values)) * 1e-13)


@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused(text: str) -> None:
    """Whatever is typed, there is an answer or a named error."""
    with contextlib.suppress(QueryInvalid, QueryTooLarge, Unsupported):
        Engine(MemorySamples()).instant(text, 0)


def test_the_stale_marker_is_told_from_other_nans() -> None:
    """A NaN is a value."""
    assert math.isnan(at("x", 1, "x 1 NaN")["__name__=x"])
    assert at("x", 1, "x 1 stale") == {}
    assert math.isnan(STALE)


def test_rows_of_one_label_set_are_one_row_after_or() -> None:
    """What takes turns at the steps is one series to whoever reads on."""
    text = "x 1 _x10\ny 2x12"
    frame = Engine(loaded(text)).range(
        'count_over_time((label_replace(x, "__name__", "y", "", "") or y)[10m:1m])',
        0,
        12 * STEP_MS,
        6 * STEP_MS,
    )
    assert len(frame.series) == 1


def test_a_date_before_1970_and_one_that_is_none() -> None:
    """Fractions go towards zero; what has no date is NaN."""
    assert at("hour(vector(-0.5))") == {"": 0}
    assert at("year(vector(-86400))") == {"": 1969}
    assert math.isnan(at("hour(vector(1e30))")[""])


def test_minus_zero_keeps_its_sign_in_a_sum() -> None:
    """Absent rows add nothing, not even a sign."""
    assert math.copysign(1, at("sum(-x)", 0, "x 0\ny 1")[""]) == -1


@pytest.mark.parametrize("expression", ["sort(m)", "sort_by_label_desc(m)", "sum(sort_desc(m))"])
def test_sorting_a_range_is_warned_of_in_prometheus_own_words(expression: str) -> None:
    """A range's series are always in the order of their labels; silence would let a dashboard lie."""
    samples = MemorySamples()
    samples.add((("__name__", "m"),), [(0, 1.0), (60_000, 2.0)])
    said = "PromQL warning: sort is ineffective for range queries since results are always ordered by labels"
    assert Engine(samples).range(expression, 0, 60_000, 60_000).warnings == (said,)
    assert Engine(samples).instant(expression, 60_000).warnings == ()
