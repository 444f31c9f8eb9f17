"""What the rollout room decides from, as values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from poise.delivery.rollout.sequential import Total
from poise.model.balance import Verdict
from poise.model.delivery import Order, Release, Rollout, RolloutState
from poise.model.fleet import Replica, Route
from poise.model.record import Read
from poise.model.service import Service


def focus(rollouts: Sequence[Rollout]) -> Rollout | None:
    """The one rollout to move: the active one, else the newest that waits."""
    active = [rollout for rollout in rollouts if rollout.state.is_active]
    waiting = [rollout for rollout in rollouts if rollout.state is RolloutState.WAITING]
    return next(reversed(active or waiting), None)


class Seen(Struct, frozen=True, kw_only=True):
    """One service as it is now. Lists are the newest ones, ascending by number.

    ``verdict`` answers the current ask of ``focus(rollouts)``, whose replicas are ``replicas``;
    ``totals`` are those of all rollouts known, read at ``measured_at``; ``override_at`` is when the
    newest override was given; ``reads`` are the references of all of these.
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
    measured_at: datetime | None = None
    override_at: datetime | None = None
    reads: tuple[Read, ...] = ()

    @property
    def live(self) -> Rollout | None:
        """The stable revision; None before the first success."""
        return next((r for r in reversed(self.rollouts) if r.state is RolloutState.LIVE), None)

    @property
    def newest(self) -> Rollout | None:
        """The rollout with the highest number."""
        return self.rollouts[-1] if self.rollouts else None

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
        judged = (
            RolloutState.ROLLED_BACK,
            RolloutState.ROLLING_BACK,
            RolloutState.LIVE,
            RolloutState.RETIRED,
        )
        last = next((r for r in reversed(self.rollouts) if r.digest == digest and r.state in judged), None)
        if last is None or last.state in (RolloutState.LIVE, RolloutState.RETIRED):
            return None
        return last
