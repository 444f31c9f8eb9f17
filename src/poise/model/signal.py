"""Measurements: monotone totals read from Envoy, and nothing inferred."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray


class Series(Struct, frozen=True, order=True):
    """A named series with sorted labels. Names follow Prometheus: ``*_total`` are monotone counters."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


class Sample(Struct, frozen=True):
    """One value of one series at the batch's instant."""

    series: Series
    value: float


class Batch(Struct, frozen=True, kw_only=True):
    """All samples of one reading of one source. ``epoch`` changes when the source's counters restart."""

    at: datetime
    epoch: str
    samples: tuple[Sample, ...]


class Points(Struct, frozen=True, kw_only=True):
    """A selected series: points ``(UTC epoch seconds, value)`` ascending, per epoch of its source."""

    series: Series
    epoch: str
    points: tuple[tuple[float, float], ...]


class Rows(Struct, frozen=True, eq=False, kw_only=True):
    """Consecutive readings of one epoch: ``values[T, n]`` of ``series[n]`` at ``at_s[T]``, ascending.

    Equal series are the same object as long as a process lives, so that whoever has understood them once
    recognises them by identity.
    """

    epoch: str
    series: tuple[Series, ...]
    at_s: NDArray[np.float64]
    values: NDArray[np.float64]


class Epoch(Struct, frozen=True, kw_only=True):
    """One life of a source's counters, as it was read. Instants are UTC epoch seconds.

    ``first_at`` is the first reading ever; ``kept_from`` the first that is still kept; ``last_at`` the
    newest.
    """

    name: str
    first_at: float
    kept_from: float
    last_at: float


# What users got, per service (labels: service): from vhost.<service>.route.<service>.upstream_rq_*
REQUESTS_TOTAL = "poise_requests_total"  # all completed requests; labels: service
ERRORS_TOTAL = "poise_errors_total"  # of these, 5xx; labels: service. With by="grpc-status": failed calls
BY_GRPC_STATUS = "grpc-status"
LATENCY_BUCKET = "poise_latency_ms_bucket"  # cumulative histogram; labels: service, le (ms)
# What each rollout answered, retries included, since retries hide a bad canary (labels: service, rollout)
TRIALS_TOTAL = "poise_rollout_trials_total"  # upstream_rq_completed + upstream_rq_retry
FAILURES_TOTAL = "poise_rollout_failures_total"  # upstream_rq_5xx + upstream_rq_retry; by as of errors
ROLLOUT_LATENCY_BUCKET = "poise_rollout_latency_ms_bucket"  # labels: service, rollout, le
IN_FLIGHT = "poise_rollout_in_flight"  # gauge: upstream_rq_active; labels: service, rollout
# What each replica uses, by its exact process and its children (labels: service, rollout, index)
REPLICA_CPU_TOTAL = "poise_replica_cpu_seconds_total"  # user and system time; begins anew with each process
REPLICA_MEMORY = "poise_replica_memory_bytes"  # gauge: resident, shared pages counted in each process
# What a data source said of an objective's counters (labels: objective, role, series, definition)
QUERY_TOTAL = "poise_query_events_total"
# When the newest of them was sampled: UTC epoch seconds (labels: objective, definition)
QUERY_AT = "poise_query_sampled_at_seconds"
