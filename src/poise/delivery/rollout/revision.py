"""What tells two running revisions of a service apart."""

from __future__ import annotations

import hashlib

import msgspec

from poise.model.service import Resources, Service


def revision_of(digest: str, spec: Service, config: int = 0, secret: int = 0) -> str:
    """Digest plus a hash of what a running process and its route depend on, and the versions it runs with.

    How it is rolled out, how many run and where it was built from are left out: changing those needs no
    rollout. Versions are left out where there are none.
    """
    running = (
        spec.command,
        spec.port,
        spec.hostname,
        spec.env,
        spec.health,
        spec.depends_on,
        spec.per_try_timeout_s,
        spec.request_timeout_s,
    )
    contained = (bool(spec.image), spec.resources, spec.read_only)
    # Left out where there is nothing of it, so that what runs since before it existed is not rolled out anew.
    bounded = contained if contained != (False, Resources(), False) else ()
    body = msgspec.json.encode((*running, *bounded), order="sorted")
    settings = f"+c{config}s{secret}" if config or secret else ""
    return f"{digest}+{hashlib.sha256(body).hexdigest()[:12]}{settings}"
