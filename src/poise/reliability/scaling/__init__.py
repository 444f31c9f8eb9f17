"""Scaling: how many replicas the load of a service needs.

Decides: the scale target, by offered rate (Erlang C) and by requests in flight, between min and max.
Reads: Service, Rollout, and from the Totals port the service's requests and requests in flight. Writes
ScaleTarget.
Never: starts or stops a replica (fleet does), sizes a canary (rollout does), scales on CPU or latency, or
goes in on missing, stale, doubtful or too short data.
"""
