"""What the rollout room decides from, as values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from poise.delivery.rollout.sequential import Total
from poise.model.attestation import Verification
from poise.model.balance import Verdict
from poise.model.config import Config, Secret
from poise.model.delivery import ChangeClass, Order, Release, Rollout, RolloutState
from poise.model.fleet import Replica, RollbackRequest, Route, ScaleTarget, wanted_replicas
from poise.model.record import Read
from poise.model.service import Service


def focus(rollouts: Sequence[Rollout]) -> Rollout | None:
    """The one rollout to move: the active one, else the newest that waits."""
    open_ = [rollout for rollout in rollouts if not rollout.state.is_final]
    active = [rollout for rollout in open_ if rollout.state.is_active]
    waiting = [rollout for rollout in open_ if rollout.state is RolloutState.WAITING]
    return next(reversed(active or waiting), None)


def stumbles(replicas: Iterable[Replica], rollout: Rollout) -> list[datetime]:
    """When replicas ceased to be ready while they ran, since ``rollout`` was started; ascending."""
    since = rollout.started_at or rollout.created_at
    return sorted(at for one in replicas for at in one.losses if at >= since)


class Seen(Struct, frozen=True, kw_only=True):
    """One service as it is now. Lists are the newest ones, ascending by number.

    ``verdict`` answers the current ask of ``focus(rollouts)``, whose replicas are ``replicas``;
    ``totals`` are those of all rollouts known, read at ``measured_at``; ``probed``
    is what Poise asked itself; ``objective_bad_ratio`` is what the
    service's availability objective allows to fail, ``budget_allowed`` how many events that is in a period;
    ``override_at`` is when a person last said something that the gate goes by (an override, a grant,
    a lock); ``beside_lost`` is how often replicas of the live one ceased to be ready since the focus started;
    ``before`` are the rollouts in the environment that a release passes first
    (``environment_before``), None when there is none; ``reads`` are the references of all of these.
    """

    key: str
    service: Service | None = None
    rollouts: tuple[Rollout, ...] = ()
    releases: tuple[Release, ...] = ()
    orders: tuple[Order, ...] = ()
    verdict: Verdict | None = None
    route: Route | None = None
    replicas: tuple[Replica, ...] = ()
    totals: tuple[Total, ...] = ()
    probed: tuple[Total, ...] = ()
    measured_at: datetime | None = None
    beside_lost: int = 0
    objective_bad_ratio: float | None = None
    budget_allowed: float | None = None
    override_at: datetime | None = None
    target: ScaleTarget | None = None
    before: tuple[Rollout, ...] | None = None
    environment_before: str = ""
    configs: tuple[Config, ...] = ()
    secrets: tuple[Secret, ...] = ()
    request: RollbackRequest | None = None
    verification: Verification | None = None  # of the focus' release, once it starts
    moving_elsewhere: int = 0  # rollouts of other services that are under way in this environment
    reads: tuple[Read, ...] = ()

    @property
    def live(self) -> Rollout | None:
        """The stable revision; None before the first success."""
        return next((r for r in reversed(self.rollouts) if r.state is RolloutState.LIVE), None)

    @property
    def newest(self) -> Rollout | None:
        """The rollout with the highest number."""
        return self.rollouts[-1] if self.rollouts else None

    def full(self, rollout: Rollout) -> int:
        """How many replicas of ``rollout`` take the whole load, as scaling sizes it now."""
        return max(1, wanted_replicas(rollout.spec.replicas, self.target))

    @property
    def waiting(self) -> list[Rollout]:
        """Those that have not started."""
        return [r for r in self.rollouts if r.state is RolloutState.WAITING]

    @property
    def active(self) -> Rollout | None:
        """The one under way; None when none is."""
        return next((r for r in reversed(self.rollouts) if r.state.is_active), None)

    @property
    def ready(self) -> int:
        """How many of the focus' replicas may take traffic."""
        return sum(replica.ready and not replica.draining for replica in self.replicas)

    @property
    def requested_at(self) -> datetime | None:
        """When the newest rollback request that was answered was made."""
        return max((r.requested_at for r in self.rollouts if r.requested_at), default=None)

    @property
    def orders_seen(self) -> int:
        """The newest order that was handled."""
        return max((r.orders_seen for r in self.rollouts), default=0)

    def acked_percent(self, rollout: Rollout) -> int:
        """The weight of ``rollout`` that Envoy confirmed."""
        return self.route.acked.get(rollout.n, 0) if self.route else 0

    def is_drained(self, rollout: Rollout) -> bool:
        """Whether ``rollout`` has no traffic and none is on its way to it."""
        route = self.route
        if route is None:
            return True
        wanted, confirmed = route.weights.get(rollout.n, 0), route.acked.get(rollout.n, 0)
        return wanted == confirmed == 0 and route.acked_version >= route.version

    def rejected_by(self, digest: str) -> Rollout | None:
        """The rollout that rejected ``digest``; None when it never was, or was live since."""
        return rejected_by(self.rollouts, digest)

    def may_enter(self, digest: str) -> bool:
        """Whether a release may come here: it is or was live in the environment before, and not rejected."""
        return self.before is None or was_live(self.before, digest)


def was_live(rollouts: Sequence[Rollout], digest: str) -> bool:
    """Whether ``digest`` reached all users of an environment (its ``rollouts``), not rejected since."""
    good = any(rollout.digest == digest and rollout.state in GOOD for rollout in rollouts)
    return good and rejected_by(rollouts, digest) is None


def rejected_by(rollouts: Sequence[Rollout], digest: str) -> Rollout | None:
    """The rollout that rejected ``digest``; None when it never was, or was live since."""
    for rollout in reversed(rollouts):
        if rollout.digest == digest:
            if rollout.state in GOOD:
                return None
            if "release" in blamed(rollout, rollouts):
                return rollout
    return None


def is_rejected(rollouts: Sequence[Rollout], kind: str, version: int) -> bool:
    """Whether this version of ``kind`` (config or secret) was rolled back and was not live since."""
    for rollout in reversed(rollouts):
        if version == (rollout.config if kind == "config" else rollout.secret):
            if rollout.state in GOOD:
                return False
            if kind in blamed(rollout, rollouts):
                return True
    return False


def blamed(rollout: Rollout, rollouts: Sequence[Rollout]) -> frozenset[str]:
    """Which of release, config and secret the end of ``rollout`` rejects.

    A canary that brought a new release answers for its digest alone: what else was new is tried again by
    itself. One of settings alone answers for those. Where a person went back, all that went back does.
    """
    back = _way_back(rollout, rollouts)
    if back is not None:
        names = (("release", "digest"), ("config", "config"), ("secret", "secret"))
        went = frozenset(kind for kind, field in names if getattr(rollout, field) != getattr(back, field))
        return went or frozenset(("release",))
    settings = frozenset(rollout.changes) - {"release"}
    is_release = "release" in rollout.changes
    if rollout.state in (RolloutState.ROLLED_BACK, RolloutState.ROLLING_BACK):
        return frozenset(("release",)) if is_release else settings
    ended = rollout.state is RolloutState.FAILED or rollout.aborted
    return settings if ended and not is_release else frozenset()


def _way_back(rollout: Rollout, rollouts: Sequence[Rollout]) -> Rollout | None:
    """The rollback that took the place of ``rollout`` when it was live; None when none did."""
    if rollout.state is not RolloutState.ROLLED_BACK:
        return None
    after = (r for r in reversed(rollouts) if r.baseline == rollout.n)
    return next((r for r in after if r.change_class is ChangeClass.ROLLBACK and r.state in _CAME), None)


GOOD: Final = (RolloutState.LIVE, RolloutState.RETIRED)
_CAME: Final = (*GOOD, RolloutState.ROLLED_BACK)
