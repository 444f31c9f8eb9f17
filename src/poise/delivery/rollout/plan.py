"""What a rollout's strategy wants next: the table that ``decide`` consults. Pure.

A strategy is a function from where a rollout stands to a ``Plan``. It asks nobody and touches nothing: the
gate, readiness, the evidence and the way back are the same for all of them, in ``decide``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from poise.model.delivery import ChangeClass, Rollout
from poise.model.service import Promotion, StrategyKind

FULL_FROM_PERCENT: Final = 50  # from this weight on a canary needs all its replicas


class Plan(Struct, frozen=True, kw_only=True):
    """The share of the users that comes next, and what must hold before it may.

    ``replicas`` of the new revision must be ready; of the old one ``beside`` stay meanwhile (None: all).
    Where it stands now it stays for ``hold_s``, counted from Envoy's acknowledgement; at 100 percent that is
    how long the old revision is kept. Meanwhile copies of ``mirror_percent`` of the requests go to it.
    ``judged``: it goes on only with evidence. ``asks``: only a person lets it go on.
    """

    weight_percent: int
    replicas: int
    beside: int | None = None
    mirror_percent: int = 0
    hold_s: float = 0.0
    judged: bool = False
    asks: bool = False


def plan_of(rollout: Rollout, full: int, live: Rollout | None) -> Plan:
    """Where ``rollout`` goes next by its strategy; ``full`` replicas take the whole load.

    Straight (a first release, a rollback, a person's promote) is to all users in one step. What is ``live``
    and cannot run twice is stopped first whatever comes after it.
    """
    kinds = [one.spec.strategy.kind for one in (live, rollout) if one is not None]
    kind = StrategyKind.RECREATE if StrategyKind.RECREATE in kinds else rollout.spec.strategy.kind
    return PLANS[kind](rollout, full)


def _canary(rollout: Rollout, full: int) -> Plan:
    """A share of the users at a time; more only on evidence."""
    if rollout.straight:
        return Plan(weight_percent=100, replicas=full)
    strategy, now = rollout.spec.strategy, rollout.weight_percent
    weight = above(rollout.steps_percent or strategy.steps_percent, now)
    few = max(1, math.ceil(full * weight / 100))
    serves_some = 0 < now < 100
    return Plan(
        weight_percent=weight,
        replicas=full if weight >= FULL_FROM_PERCENT else few,
        hold_s=strategy.step_s * rollout.bake_factor if serves_some else 0.0,
        judged=serves_some,
    )


def _mirror(rollout: Rollout, full: int) -> Plan:
    """Copies of requests while it takes no user; then as a canary, with evidence of its own."""
    plan, mirror = _canary(rollout, full), rollout.spec.strategy.mirror
    if rollout.baseline is None or rollout.straight or rollout.shadow is not None:
        return plan
    return Plan(
        weight_percent=plan.weight_percent,
        replicas=max(plan.replicas, math.ceil(full * mirror.percent / 100)),
        mirror_percent=mirror.percent,
        hold_s=mirror.time_s,
        judged=True,
    )


def _blue_green(rollout: Rollout, full: int) -> Plan:
    """Whole beside the old one, then all users at once; the old one stays warm for a while."""
    strategy = rollout.spec.strategy
    returns = rollout.change_class is ChangeClass.ROLLBACK  # what it came from is not to be gone back to
    keeps = rollout.weight_percent == 100 and rollout.baseline is not None and not returns
    return Plan(
        weight_percent=100,
        replicas=full,
        hold_s=strategy.keep_warm_s if keeps else 0.0,
        asks=strategy.promotion is Promotion.MANUAL and not rollout.straight,
    )


def _rolling(rollout: Rollout, full: int) -> Plan:
    """The next batch, which takes the users' share that its replicas are of all that then stay."""
    if rollout.baseline is None:
        return Plan(weight_percent=100, replicas=full)
    strategy, now = rollout.spec.strategy, rollout.weight_percent
    surge = share_of(strategy.max_surge, full, up=True)
    lacking = share_of(strategy.max_unavailable, full, up=False)
    ahead = (one for one in batches(full, surge, lacking) if one.weight_percent > now)
    batch = next(ahead, Batch(replicas=full, beside=None, weight_percent=100))
    return Plan(
        weight_percent=batch.weight_percent,
        replicas=batch.replicas,
        beside=batch.beside,
        hold_s=strategy.min_ready_s if now > 0 and not rollout.straight else 0.0,
    )


def _recreate(rollout: Rollout, full: int) -> Plan:
    """The old one stops, then the new one starts; nobody is served in between."""
    return Plan(weight_percent=100, replicas=full, beside=None if rollout.baseline is None else 0)


class Batch(Struct, frozen=True, kw_only=True):
    """One batch of a rolling update: so many new replicas beside so many old ones, then this share."""

    replicas: int
    beside: int | None
    weight_percent: int


def batches(full: int, surge: int, lacking: int) -> tuple[Batch, ...]:
    """How ``full`` replicas are replaced with at most ``surge`` more and at most ``lacking`` fewer ready.

    One old replica stays until the new ones take all users, so where nothing may be added the last batch
    adds one all the same.

    >>> [(one.replicas, one.beside, one.weight_percent) for one in batches(4, 1, 1)]
    [(2, 3, 67), (4, 1, 100)]

    Source: maxSurge and maxUnavailable of a Deployment, kubernetes.io/docs/concepts/workloads/controllers.
    """
    if surge + lacking == 0:
        lacking = 1  # both rounded to nothing; Kubernetes does the same
    new, weight = 0, 0
    found: list[Batch] = []
    while new < full:
        beside = max(1, full - lacking - new)
        new = max(new + 1, min(full, full + surge - beside))
        stay = max(1, full - lacking - new) if new < full else 0
        weight = max(weight + 1, round(100 * new / (new + stay)))  # two batches must not look alike
        found.append(Batch(replicas=new, beside=beside, weight_percent=weight))
    return tuple(found)


def share_of(text: str, full: int, *, up: bool) -> int:
    """A number of replicas, or a percent of ``full`` rounded ``up`` or down.

    >>> share_of("25%", 2, up=True), share_of("25%", 2, up=False), share_of("3", 2, up=True)
    (1, 0, 3)
    """
    if not text.endswith("%"):
        return int(text)
    exact = full * int(text[:-1]) / 100
    return math.ceil(exact) if up else math.floor(exact)


PLANS: Final[Mapping[StrategyKind, Callable[[Rollout, int], Plan]]] = {
    StrategyKind.CANARY: _canary,
    StrategyKind.BLUE_GREEN: _blue_green,
    StrategyKind.ROLLING: _rolling,
    StrategyKind.MIRROR: _mirror,
    StrategyKind.RECREATE: _recreate,
}


def above(steps: tuple[int, ...], weight: int) -> int:
    """The first of ``steps`` above ``weight``; 100 when there is none.

    >>> above((5, 20, 50), 20), above((5, 20, 50), 50)
    (50, 100)
    """
    return min((step for step in steps if weight < step <= 100), default=100)
