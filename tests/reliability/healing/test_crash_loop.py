"""A crash loop soon after a release asks for the way back, once, and only where there is one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from poise.model import event_types
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.fleet import Identity, Replica, RollbackRequest
from poise.model.service import Service
from poise.reliability.healing.decide import Seen, decide

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = "acme/production/shop"
SPEC = Service(project="acme", environment="production", name="shop", command="run", port=8080)
LIVE, STEPPING, RETIRED = RolloutState.LIVE, RolloutState.STEPPING, RolloutState.RETIRED


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def rollout(n: int, state: RolloutState, age_s: float, **changes: object) -> Rollout:
    made = Rollout(
        project="acme", environment="production", service="shop", n=n, release=n, digest=f"sha256:{n}",
        revision=str(n), commit="c", summary="s", change_class=ChangeClass.FEATURE, spec=SPEC, state=state,
        created_at=ago(age_s), started_at=ago(age_s), finished_at=ago(age_s) if state is LIVE else None,
    )  # fmt: skip
    return replace(made, **changes)


def crashing(n: int, *ages_s: float, index: int = 0) -> Replica:
    return Replica(
        service=KEY, rollout=n, index=index, identity=Identity(pid=9, start_ticks=9), ready=True,
        crashes=tuple(ago(age) for age in ages_s),
    )  # fmt: skip


def asked(
    *rollouts: Rollout, replicas: tuple[Replica, ...], request: RollbackRequest | None = None
) -> RollbackRequest | None:
    seen = Seen(service=KEY, failures=3, replicas=replicas, rollouts=rollouts, request=request)
    decision = decide(seen, NOW)
    found = [write.body for write in decision.writes if isinstance(write.body, RollbackRequest)]
    told = [event for event in decision.events if event.type == event_types.ROLLBACK_REQUESTED]
    assert len(found) == len(told) <= 1
    return found[0] if found else None


OLD = rollout(1, RETIRED, 9000)
CRASHES = (crashing(2, 30, 20), crashing(2, 10, index=1))


def test_three_crashes_of_its_replicas_soon_after_a_promotion_ask_for_a_rollback() -> None:
    request = asked(OLD, rollout(2, LIVE, 60), replicas=CRASHES)
    assert request is not None and request.rollout == 2
    assert "crashed 3 times in the 60 s since its promotion" in request.reason


def test_it_is_asked_for_once() -> None:
    request = asked(OLD, rollout(2, LIVE, 60), replicas=CRASHES)
    assert asked(OLD, rollout(2, LIVE, 60), replicas=CRASHES, request=request) is None


def test_a_canary_that_crashes_goes_back_to_the_live_one() -> None:
    canary = rollout(2, STEPPING, 60, baseline=1)
    request = asked(rollout(1, LIVE, 9000), canary, replicas=CRASHES)
    assert request is not None and request.rollout == 2 and "start" in request.reason


@pytest.mark.parametrize(
    ("rollouts", "replicas"),
    [
        ((rollout(2, LIVE, 60),), CRASHES),  # nothing to go back to
        ((OLD, rollout(2, LIVE, 60)), CRASHES[:1]),  # two are bad luck
        ((OLD, rollout(2, LIVE, 600)), (crashing(2, 30, 20, 10),)),  # long after its promotion
        ((OLD, rollout(2, LIVE, 60, change_class=ChangeClass.ROLLBACK)), CRASHES),  # a rollback
        ((OLD, rollout(2, LIVE, 5)), CRASHES),  # before its promotion it was judged as a canary
        ((OLD, rollout(2, LIVE, 60)), (crashing(1, 30, 20, 10),)),  # of another rollout
        ((rollout(1, LIVE, 9000), rollout(2, RolloutState.STARTING, 60, baseline=1)), CRASHES),
    ],
)
def test_elsewhere_no_rollback_is_asked_for(
    rollouts: tuple[Rollout, ...], replicas: tuple[Replica, ...]
) -> None:
    assert asked(*rollouts, replicas=replicas) is None


def test_the_reason_says_how_the_last_one_ended() -> None:
    """A leak is told as a leak."""
    *others, last = CRASHES
    killed = replace(last, exited_at=last.crashes[-1], ended="killed by the kernel: over its memory limit")
    request = asked(OLD, rollout(2, LIVE, 60), replicas=(*others, killed))
    assert request is not None
    assert request.reason.endswith("; the last end: killed by the kernel: over its memory limit")
