"""OTLP metrics as Prometheus' series: an ExportMetricsServiceRequest in, an ``Intake`` out.

It decides names and labels as Prometheus does (units and ``_total`` as suffixes, ``service.name`` as job) and
reads nothing but the request. Delta temporality is refused loudly: adding it up needs a memory that would be
lost. Exponential histograms become classic ones at fixed powers of two.

**Source:** opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics; OTLP 1.x protocol.
"""

from poise.adapters.otlp.read import MetricsRequest, answered

__all__ = ["MetricsRequest", "answered"]
