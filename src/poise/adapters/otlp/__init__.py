"""OTLP as Poise's own records: metrics as Prometheus' series, spans and log records as they are.

Of metrics it decides names and labels as Prometheus does (units and ``_total`` as suffixes, ``service.name``
as job). Deltas are added up, series by series; a restart of Poise is a restart of the counter. Exponential
histograms become classic ones at fixed powers of two. It reads nothing but requests, remembers series
and sums within bounds (``memory``), and stores nothing.

**Source:** opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics; OTLP 1.x protocol.
"""

from poise.adapters.otlp.read import MetricsRequest, answered

__all__ = ["MetricsRequest", "answered"]
