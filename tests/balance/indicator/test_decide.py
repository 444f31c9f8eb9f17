"""What is read for an objective, and quantiles for charts."""

from __future__ import annotations

from poise.balance.indicator.decide import deltas_by_bound, plan, quantile
from poise.model.objective import IndicatorKind, Objective
from poise.model.signal import LATENCY_BUCKET, REQUESTS_TOTAL, Points, Series

SERVICE = "acme/production/shop"
AVAILABILITY = Objective(
    service=SERVICE, name="availability", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999
)
TOTAL, ERRORS = plan(AVAILABILITY).wanted


def latency(threshold_ms: float) -> Objective:
    return Objective(
        service=SERVICE,
        name="latency",
        indicator=IndicatorKind.LATENCY,
        target_ratio=0.95,
        threshold_ms=threshold_ms,
    )


def test_what_lies_beyond_the_last_finite_bound_is_not_called_good() -> None:
    reading = plan(latency(2000), ["1000", "+Inf"])
    assert {want.labels["le"]: want.good_weight for want in reading.wanted} == {"1000": 1.0, "+Inf": 0.0}


def test_a_quantile_is_linear_within_its_bucket() -> None:
    counts = {10.0: 50.0, 20.0: 90.0, 100.0: 100.0, float("inf"): 100.0}
    assert quantile(counts, 0.5) == 10
    assert quantile(counts, 0.7) == 15
    assert quantile(counts, 0.95) == 60
    assert quantile({}, 0.5) is None
    assert quantile({10.0: 0.0}, 0.5) is None
    assert quantile({10.0: 1.0, float("inf"): 100.0}, 0.99) == 10


def test_bucket_deltas_are_summed_over_epochs() -> None:
    def bucket(le: str, name: str, *values: tuple[float, float]) -> Points:
        return Points(series=Series(LATENCY_BUCKET, (("le", le),)), epoch=name, points=values)

    found = [bucket("10", "e1", (0, 5), (10, 9)), bucket("10", "e2", (20, 1), (30, 4))]
    assert deltas_by_bound(found, 0) == {10.0: 7.0}


def test_requests_are_what_availability_is_of() -> None:
    assert TOTAL.name == REQUESTS_TOTAL and TOTAL.labels == {"service": SERVICE}
