"""Signals in SQLite: one row a reading, thinned by age.

It keeps what was measured and selects it again; it reads and writes ``signals.db`` alone; it never
interprets a value. Edge error: a sum over a window that ends where points are thinned may miss or
include the events of one step there (1 min after a day, 5 min after a week); sums between kept points
stay exact because counters are monotone and readings around a reset are never thinned.
"""

from poise.adapters.totals.checkpoints import StoredCheckpoints
from poise.adapters.totals.store import StoredTotals
from poise.adapters.totals.thinning import Retention

__all__ = ["Retention", "StoredCheckpoints", "StoredTotals"]
