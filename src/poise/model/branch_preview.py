"""A branch preview: what a branch other than the released one looks like, under a host name of its own.

It is no release and no rollout: nothing judges it, nobody is asked, and no user reaches it by chance.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.service import Replicas, Service, Strategy

MARK: Final = "~"  # no declared environment begins with it
LABEL_CHARS: Final = 63  # of a label of a host name (RFC 1035, 2.3.4)


class PreviewState(StrEnum):
    """Where a branch preview is."""

    BUILDING = "building"  # its branch's newest commit is being built
    STARTING = "starting"  # its replica comes up
    READY = "ready"
    FAILED = "failed"  # the newest commit could not be built, or never became ready
    STOPPED = "stopped"  # nothing of it runs


class Stopped(StrEnum):
    """Why one is stopped."""

    DELETED = "deleted"  # the branch is gone
    UNDECLARED = "undeclared"  # previews are not declared for it any more
    EXPIRED = "expired"
    ORDERED = "ordered"  # a person did
    CROWDED = "crowded"  # it was the oldest of too many
    HOST = "host"  # a service is declared under its host name

    @property
    def is_lifted_by_itself(self) -> bool:
        """Whether it comes back as soon as that is no longer so; else only with another commit."""
        return self in (Stopped.DELETED, Stopped.UNDECLARED, Stopped.HOST)


class PreviewRevision(Struct, frozen=True, kw_only=True):
    """One commit of the branch as it is started: revision ``n`` of the preview."""

    n: int
    run: int
    commit: str
    digest: str
    spec: Service
    since: datetime


class BranchPreview(Struct, frozen=True, kw_only=True):
    """A service as one branch has it; key ``project/~label/service``. Written by branch_preview.

    ``label`` is the branch as one label of a host name. ``revisions`` are those that may run, the newest
    last; the one numbered ``served`` was ready, and answers until a newer one is. ``run`` is the run that
    was looked at last. ``until`` is the end of its life, counted from its newest commit.
    """

    project: str
    branch: str
    label: str
    service: str
    host: str
    state: PreviewState
    commit: str
    run: int
    summary: str = ""
    pushed_by: str = ""
    taken_at: datetime  # when the newest commit was
    until: datetime
    revisions: tuple[PreviewRevision, ...] = ()
    served: int = 0
    last: int = 0  # the highest revision ever
    stopped: Stopped | None = None
    reason: str = ""
    changed_at: datetime

    @property
    def key(self) -> str:
        """``project/~label/service``."""
        return f"{self.project}/{MARK}{self.label}/{self.service}"

    @property
    def newest(self) -> PreviewRevision | None:
        """The revision that shall answer."""
        return self.revisions[-1] if self.revisions else None

    @property
    def declared(self) -> Service | None:
        """What is to run, in fleet's words; None when nothing is."""
        return None if self.newest is None else _alone(self.newest.spec, self.host)

    @property
    def rollouts(self) -> tuple[Rollout, ...]:
        """Its revisions in fleet's words: the newest is live, the one before it is on its way out."""
        return tuple(self._rollout(one, one is self.newest) for one in self.revisions)

    def _rollout(self, one: PreviewRevision, is_newest: bool) -> Rollout:
        return Rollout(
            project=self.project,
            environment=f"{MARK}{self.label}",
            service=self.service,
            n=one.n,
            release=0,
            digest=one.digest,
            revision=f"{self.key}/{one.n}",
            commit=one.commit,
            summary=self.summary,
            change_class=ChangeClass.FEATURE,
            spec=_alone(one.spec, self.host),
            state=RolloutState.LIVE if is_newest else RolloutState.RETIRED,
            weight_percent=100 if is_newest else 0,
            created_at=one.since,
        )


class PreviewOrder(Struct, frozen=True, kw_only=True):
    """A person's word that a branch's previews shall stop; key ``project/label``. Written by the API.

    It concerns the commits that were taken before ``at``: the next one brings the preview back.
    """

    project: str
    label: str
    by: str
    reason: str = ""
    at: datetime

    @property
    def key(self) -> str:
        """``project/label``."""
        return f"{self.project}/{self.label}"


def is_branch_preview(key: str) -> bool:
    """Whether a key ``project/environment/service`` (or one under it) is that of a branch preview.

    >>> is_branch_preview("shop/~login/shop"), is_branch_preview("shop/production/shop")
    (True, False)
    """
    return f"/{MARK}" in key


def _alone(spec: Service, host: str) -> Service:
    """One replica under its own host name; of the strategy only what starting and stopping go by."""
    times = Strategy(start_timeout_s=spec.strategy.start_timeout_s, drain_s=spec.strategy.drain_s)
    return replace(spec, replicas=Replicas(min=1, max=1), hostname=host, strategy=times)
