"""The effects that an intent may ask for. Each is absolute and idempotent: done twice, it is once.

An act says what shall be, never what to change by; its performer compares and does the difference.
"""

from __future__ import annotations

from msgspec import Struct

from poise.model.fleet import Identity


class SpawnReplica(Struct, frozen=True, kw_only=True, tag=True):
    """The replica ``replica`` of rollout ``rollout`` shall run."""

    replica: str
    rollout: str


class StopReplica(Struct, frozen=True, kw_only=True, tag=True):
    """The replica shall be gone, gently: out of rotation, SIGTERM, then SIGKILL after ``drain_s``."""

    replica: str
    drain_s: float


class RestartReplica(Struct, frozen=True, kw_only=True, tag=True):
    """Exactly this process shall be replaced; a process with another identity is left alone.

    ``drain_s`` 0 kills it at once (it hangs); more drains and stops it gently first.
    """

    replica: str
    identity: Identity
    reason: str
    drain_s: float = 0.0


class ApplyTraffic(Struct, frozen=True, kw_only=True, tag=True):
    """The service's route shall be as its Route object at ``version`` says.

    ``verdict`` is the key of the verdict that allows raising ``raises`` (a rollout number) above what
    was acknowledged; None where no weight of a canary rises.
    """

    service: str
    version: int
    raises: int | None = None
    verdict: str | None = None


class RunJob(Struct, frozen=True, kw_only=True, tag=True):
    """The steps of one job shall have run to an end, from the first that has no result."""

    run: str
    job: str


class PackRelease(Struct, frozen=True, kw_only=True, tag=True):
    """The workspace of a succeeded run shall be an artifact in the store of releases."""

    run: str


class VerifyRelease(Struct, frozen=True, kw_only=True, tag=True):
    """The release of the rollout at this key shall be verified, and the word be on record."""

    rollout: str


class SendPage(Struct, frozen=True, kw_only=True, tag=True):
    """The page at this key shall have reached its contact; sent again only after a crash between."""

    page: str


class SendEvent(Struct, frozen=True, kw_only=True, tag=True):
    """The event of the journal with this sequence shall have reached the sink, as a CloudEvent."""

    sequence: int
    sink: str
    project: str = ""


class FetchBranch(Struct, frozen=True, kw_only=True, tag=True):
    """The hosted repository shall hold the branch as the hook's remote has it now."""

    hook: str
    branch: str
    pushed_by: str


Act = (
    SpawnReplica
    | StopReplica
    | RestartReplica
    | ApplyTraffic
    | RunJob
    | PackRelease
    | VerifyRelease
    | SendPage
    | SendEvent
    | FetchBranch
)
