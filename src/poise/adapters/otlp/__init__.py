"""OTLP as Poise's own records: metrics as Prometheus' series, spans and log records as they are.

Of metrics it decides names and labels as Prometheus does (units and ``_total`` as suffixes, ``service.name``
as job). Delta temporality is refused loudly: adding it up needs a memory that would be lost. Exponential
histograms become classic ones at fixed powers of two. It reads nothing but the request and keeps nothing.

**Source:** opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics; OTLP 1.x protocol.
"""

from poise.adapters.otlp.read import MetricsRequest, answered

__all__ = ["MetricsRequest", "answered"]
