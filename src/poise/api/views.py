"""What the API answers: records made from the store's, for people and their tools."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

from msgspec import Struct

from poise.model.attestation import Verification
from poise.model.balance import Budget, Verdict
from poise.model.branch_preview import PreviewState, Stopped
from poise.model.delivery import Rollout
from poise.model.fleet import Replica, Route, ScaleTarget, wanted_replicas
from poise.model.objective import Objective
from poise.model.service import Service

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """A page of a list; ``next`` is the cursor of the page after, None on the last."""

    items: list[T]
    next: str | None = None


class ReplicaUsage(Struct, frozen=True, kw_only=True):
    """What one replica uses: cores (1 is a whole one) and resident bytes; None: not measured yet."""

    rollout: int
    index: int
    cpu_ratio: float | None = None
    memory_bytes: float | None = None


class ServiceStatus(Struct, frozen=True, kw_only=True):
    """One service now: what is live, how it is, how much budget is left, what the gate says."""

    key: str
    service: Service
    live: Rollout | None
    active: Rollout | None
    replicas: tuple[Replica, ...]
    route: Route | None
    objectives: tuple[Objective, ...]
    budgets: tuple[Budget, ...]
    verdict: Verdict
    sentence: str
    url: str | None
    target: ScaleTarget | None = None
    usage: tuple[ReplicaUsage, ...] = ()
    verification: Verification | None = None  # of the newest release that was to start
    notices: tuple[str, ...] = ()  # what the sentence tells first

    @property
    def replicas_wanted(self) -> int:
        """How many replicas the live release shall have."""
        return wanted_replicas(self.service.replicas, self.target)

    @property
    def replicas_ready(self) -> int:
        """How many replicas answer their probe."""
        return sum(replica.ready for replica in self.replicas)


class PreviewStatus(Struct, frozen=True, kw_only=True):
    """A branch preview and where it is reached; ``address`` is empty while nothing of it runs.

    ``key`` is what its logs are asked for by.
    """

    key: str
    branch: str
    label: str
    service: str
    address: str
    state: PreviewState
    stopped: Stopped | None
    commit: str
    summary: str
    pushed_by: str
    run: int
    until: datetime
    sentence: str

    @property
    def told(self) -> str:
        """Its sentence as it stands alone: on pages, below tables and in errors."""
        return f"{self.sentence[:1].upper()}{self.sentence[1:]}."


class Status(Struct, frozen=True, kw_only=True):
    """The whole house at one instant; ``open_incidents`` counts those that the asker may see."""

    at: datetime
    version: str
    leader: bool
    keeper: bool
    traffic: bool
    services: tuple[ServiceStatus, ...]
    sentence: str
    open_incidents: int = 0
    previews: tuple[PreviewStatus, ...] = ()  # of branches; those that are not stopped


class LogLine(Struct, frozen=True, kw_only=True):
    """One line of a step's or a replica's log."""

    source: str
    n: int
    text: str


class Created(Struct, frozen=True, kw_only=True):
    """The key of what was made, and one sentence about it."""

    key: str
    sentence: str


class Minted(Struct, frozen=True, kw_only=True):
    """A credential, shown this once."""

    id: str
    credential: str
    expires_at: datetime


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that apply would create, change or delete."""

    action: str
    kind: str
    key: str
    fields: dict[str, tuple[str, str]] = {}


class Plan(Struct, frozen=True, kw_only=True):
    """What apply would do; ``etag`` is what apply must be given in ``If-Match``."""

    etag: str
    differences: tuple[Difference, ...]
    sentence: str
    notes: tuple[str, ...] = ()  # what of the named files has no effect here


class Address(Struct, frozen=True, kw_only=True):
    """Where the control process listens; kept in ``run/api.json`` while it runs."""

    url: str
    ingress_port: int
    pid: int
