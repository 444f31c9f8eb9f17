"""A bounded load generator for loopback addresses: what the demo and the benchmarks measure users' pain with.

Decides nothing about the product: it sends requests on a fixed schedule (open loop: a slow answer never
slows the next request), and counts what came back. Reads a `LoadPlan`. Never sends to an address that is not
loopback, never retries, and never hides a slot of the schedule that it could not use.
"""

from poise.adapters.load.run import Load, OnSample, run_load
from poise.adapters.load.tally import LoadPlan, LoadResult, Sample

__all__ = ["Load", "LoadPlan", "LoadResult", "OnSample", "Sample", "run_load"]
