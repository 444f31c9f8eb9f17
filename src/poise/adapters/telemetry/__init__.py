"""Spans and log records in one columnar file, which one process owns.

It decides how they lie on disk, how long they are kept and what a read may cost; it never decides what they
mean. DuckDB locks its file against every other process and takes 90 MB, so the file has an owner of its own:
started by the first use, killed by whoever likes, started again by the next use.

``owner`` is the asking side and plays both ports, ``__main__`` the process, ``jobs`` the table of what can be
asked, ``file`` what is written, ``reading`` what is read, ``rows`` records as columns and back, ``wire`` what
both sides know.
"""

from poise.adapters.telemetry.limits import Retention
from poise.adapters.telemetry.owner import TelemetryOwner

__all__ = ["Retention", "TelemetryOwner"]
