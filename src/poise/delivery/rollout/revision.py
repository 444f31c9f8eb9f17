"""What tells two running revisions of a service apart."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from poise.model.service import Resources, Service

HASHED_FROM_THE_FIRST: Final = frozenset(
    {"path", "interval_s", "timeout_s", "failures", "memory_bytes", "cpu"}
)
"""Fields that are in the hash at their default too: they always were, and what runs keeps its revision."""


def revision_of(digest: str, spec: Service, config: int = 0, secret: int = 0) -> str:
    """Digest plus a hash of what a running process and its route depend on, and the versions it runs with.

    How it is rolled out, how many run and where it was built from are left out: changing those needs no
    rollout. Versions are left out where there are none, and so is every key at its default that Poise has
    learnt since: an upgrade alone makes no revision.
    """
    running = (
        spec.command,
        spec.port,
        spec.hostname,
        spec.env,
        hashed(spec.health),
        spec.depends_on,
        spec.per_try_timeout_s,
        spec.request_timeout_s,
    )
    contained = (bool(spec.image), hashed(spec.resources), spec.read_only)
    # Left out where there is nothing of it, so that what runs since before it existed is not rolled out anew.
    bounded = contained if contained != (False, hashed(Resources()), False) else ()
    body = msgspec.json.encode((*running, *bounded), order="sorted")
    settings = f"+c{config}s{secret}" if config or secret else ""
    return f"{digest}+{hashlib.sha256(body).hexdigest()[:12]}{settings}"


def hashed(record: Struct) -> dict[str, Any]:
    """The fields of ``record`` by name, less those of newer versions of Poise that say nothing."""
    fields = structs.fields(record)
    return {
        one.name: getattr(record, one.name)
        for one in fields
        if one.name in HASHED_FROM_THE_FIRST or getattr(record, one.name) != one.default
    }
