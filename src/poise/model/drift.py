"""Drift: what is, where it differs from what was declared or recorded."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from msgspec import Struct


class DriftKind(StrEnum):
    """What was changed outside."""

    DECLARATION = "declaration"  # applied by hand: the record differs from the branch head's poise.yaml
    RELEASE = "release"  # a file of a release is not what was packed
    TRAFFIC = "traffic"  # a file of the proxy is not what was written
    WORKLOAD = "workload"  # a process that no record asks for, or a record without its process


class Finding(Struct, frozen=True, kw_only=True):
    """One difference as it was seen. ``by`` and ``at`` are who made it and when, where that is known."""

    kind: DriftKind
    subject: str
    path: str = ""
    what: str
    by: str | None = None
    at: datetime | None = None


class Drift(Struct, frozen=True, kw_only=True):
    """A finding that stands; key ``project/kind/id``. Written by infrastructure; deleted when it is gone."""

    project: str
    finding: Finding
    found_at: datetime

    @property
    def key(self) -> str:
        """The same subject and path are the same finding, whatever is said of them."""
        return drift_key(self.project, self.finding)


def drift_key(project: str, finding: Finding) -> str:
    """``project/kind/id``: the id is a hash, since subjects and paths hold what keys may not."""
    named = sha256(f"{finding.subject}\0{finding.path}".encode(errors="surrogateescape")).hexdigest()[:16]
    return f"{project}/{finding.kind.value}/{named}"
