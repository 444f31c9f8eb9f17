"""Totals of both arms, out of what was read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
from msgspec.structs import replace
from tests.delivery.rollout.test_judging import KEY, NOW, WEB, rollout

from poise.adapters.memory_totals import MemoryTotals
from poise.delivery.rollout.counters import rollout_in, slower, strictest, totals_of
from poise.delivery.rollout.sequential import ERRORS, LATENCY
from poise.model.counting import definition
from poise.model.objective import IndicatorKind, Objective, Queries
from poise.model.service import JudgedBy, Service, Strategy
from poise.model.signal import (
    BY_GRPC_STATUS,
    FAILURES_TOTAL,
    QUERY_TOTAL,
    ROLLOUT_LATENCY_BUCKET,
    TRIALS_TOTAL,
    Batch,
    Points,
    Sample,
    Series,
)

JOBS = Objective(
    service=KEY, name="jobs", indicator=IndicatorKind.QUERY, target_ratio=0.99,
    queries=Queries(bad='jobs_total{outcome="failed"}', total="jobs_total"),
)  # fmt: skip
UP = Objective(service=KEY, name="up", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999)


def bucket(le: str, count: float) -> Points:
    labels = (("le", le), ("rollout", "2"), ("service", KEY))
    return Points(series=Series(ROLLOUT_LATENCY_BUCKET, labels), epoch="e", points=((0.0, count),))


def test_slower_is_what_the_histogram_itself_has_above_a_bound() -> None:
    """What is in no bucket took longer than all of them."""
    found = slower(2, [bucket("100", 60), bucket("250", 90), bucket("+Inf", 100)])
    assert [(one.bound_ms, one.trials, one.failures) for one in found] == [(100, 100, 40), (250, 100, 10)]
    assert {one.metric for one in found} == {LATENCY}
    assert slower(2, []) == []


def test_a_series_names_its_rollout_in_the_label() -> None:
    assert rollout_in("outcome='ok',rollout='12'", "rollout") == 12
    assert rollout_in("myrollout='12'", "rollout") is None
    assert rollout_in("rollout='1x'", "rollout") is None


def test_the_strictest_objective_bounds_what_may_fail() -> None:
    worker = replace(WEB, port=None, strategy=Strategy(judged_by=(JudgedBy(objective="jobs"),)))
    assert strictest(WEB, [UP, replace(UP, name="easy", target_ratio=0.9), JOBS]) is UP
    assert strictest(worker, [UP, JOBS]) is JOBS
    assert strictest(Service(project="a", environment="b", name="c"), [UP]) is None


def test_the_jobs_of_a_worker_are_counted_per_rollout() -> None:
    """A restart of one replica loses none of its sisters' jobs and counts none twice."""

    async def scenario() -> None:
        signals = MemoryTotals()
        worker = replace(WEB, port=None, strategy=Strategy(judged_by=(JudgedBy(objective="jobs"),)))

        def reading(series: str, role: str, value: float) -> Sample:
            counted = (("definition", definition(JOBS)), ("objective", JOBS.key))
            labels = tuple(sorted((*counted, ("role", role), ("series", series))))
            return Sample(Series(QUERY_TOTAL, labels), value)

        for second, (old, new, bad) in enumerate([(100, 0, 0), (150, 20, 2), (190, 5, 1)], start=1):
            await signals.append(
                Batch(
                    at=NOW + timedelta(seconds=10 * second), epoch="query/acme//0",
                    samples=(
                        reading("rollout='1'", "total", old), reading("rollout='2'", "total", new),
                        reading("outcome='failed',rollout='2'", "bad", bad),
                        reading("rollout='7'", "total", 999),
                    ),
                )
            )  # fmt: skip
        found, at = await totals_of(signals, rollout(spec=worker), [JOBS], NOW + timedelta(seconds=40))
        assert at == datetime.fromtimestamp(NOW.timestamp() + 30, UTC)
        assert {one.metric for one in found} == {ERRORS}
        assert {one.rollout: (one.trials, one.failures) for one in found} == {1: (90, 0), 2: (25, 3)}

    anyio.run(scenario)


def test_requests_errors_and_latency_of_both_arms_are_read_together() -> None:
    async def scenario() -> None:
        signals = MemoryTotals()
        samples = []
        for n, answered, failed in (("1", 900, 3), ("2", 100, 2)):
            both = (("rollout", n), ("service", KEY))
            samples.append(Sample(Series(TRIALS_TOTAL, both), answered))
            samples.append(Sample(Series(FAILURES_TOTAL, both), failed - 1))
            by_status = (("by", BY_GRPC_STATUS), *both)  # gRPC calls that failed are counted apart
            samples.append(Sample(Series(FAILURES_TOTAL, by_status), 1.0))
            for le, count in (("250", answered - 10), ("3600000", answered)):
                labels = tuple(sorted((*both, ("le", le))))
                samples.append(Sample(Series(ROLLOUT_LATENCY_BUCKET, labels), count))
        await signals.append(Batch(at=NOW, epoch="envoy", samples=tuple(samples)))
        found, at = await totals_of(signals, rollout(), [UP], NOW)
        assert at == NOW
        by = {(one.rollout, one.metric): (one.trials, one.failures) for one in found}
        assert by[1, ERRORS] == (900, 3) and by[2, ERRORS] == (100, 2)
        assert by[1, LATENCY] == (900, 10) and by[2, LATENCY] == (100, 10)

    anyio.run(scenario)
