"""Signals that live elsewhere: any server that speaks Prometheus' HTTP API, behind the SignalStore port.

It decides nothing. It reads Prometheus, Mimir, VictoriaMetrics and Thanos through ``query``, ``query_range``,
``series``, ``labels`` and ``metadata``, and writes by remote-write 1.0 where a write URL is configured. It
never follows redirects, never pulls long raw ranges, and never takes silence for a zero. VictoriaMetrics'
``rate`` does not extrapolate: a declared difference.
"""
