"""By what a canary is judged, and what follows while nothing is proven."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from tests.delivery.rollout import world as world_module
from tests.delivery.rollout.world import KEY, World

from poise.delivery.rollout import judging
from poise.delivery.rollout.analysis import evidence
from poise.delivery.rollout.facts import Seen
from poise.delivery.rollout.sequential import ERRORS, LATENCY, Total
from poise.model import event_types
from poise.model.delivery import ChangeClass, Rollout, RolloutState, Trial, Verb
from poise.model.service import JudgedBy, Mirror, OnUnproven, Service, Strategy, StrategyKind

S = RolloutState
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEB = Service(project="acme", environment="production", name="shop", command="run", port=80)


def rollout(trial: Trial | None = None, spec: Service = WEB, **strategy: object) -> Rollout:
    return Rollout(
        project="acme", environment="production", service="shop", n=2, release=2, digest="sha256:b",
        revision="b", commit="c", summary="s", change_class=ChangeClass.FEATURE, created_at=NOW,
        started_at=NOW, step_started_at=NOW, state=S.STEPPING, baseline=1, trial=trial or Trial(),
        spec=replace(spec, strategy=replace(spec.strategy, **strategy)),
    )  # fmt: skip


def both(canary: tuple[int, int], baseline: tuple[int, int], **kind: object) -> tuple[Total, ...]:
    return tuple(
        Total(rollout=n, epoch="e", trials=trials, failures=failures, **kind)  # type: ignore[arg-type]
        for n, (trials, failures) in ((2, canary), (1, baseline))
    )


def observed(found: Rollout, at: datetime, *totals: Total, bad_ratio: float | None = None) -> Rollout:
    seen = Seen(key=KEY, totals=totals, measured_at=at, objective_bad_ratio=bad_ratio)
    return replace(found, trial=judging.observe(seen, found, at))


def slow(canary: tuple[int, int], baseline: tuple[int, int]) -> tuple[Total, ...]:
    answered = both((canary[0], 0), (baseline[0], 0))
    return (*answered, *both(canary, baseline, metric=LATENCY, bound_ms=250.0))


LATER = NOW + timedelta(seconds=40)


def test_a_slower_canary_goes_back_and_the_bound_is_named() -> None:
    """Errors are not all that users feel."""
    found = observed(rollout(), NOW, *slow((0, 0), (1000, 10)))
    found = observed(found, LATER, *slow((0, 0), (1000, 10)))
    found = observed(found, LATER, *slow((500, 100), (5500, 55)))
    assert "100 of 500 canary requests took longer than 250 ms against 45 of 4500" in judging.harm(found)
    metrics = {one["metric"]: one for one in evidence(found, LATER)["metrics"]}
    assert metrics[LATENCY]["culprit"] and not metrics[ERRORS]["culprit"]
    assert 'le="250"' in metrics[LATENCY]["query"] and 'rollout=~"2|1"' in metrics[LATENCY]["query"]


def test_latency_is_not_judged_while_the_canary_is_cold() -> None:
    """The first requests of any process are slow; that is nobody's regression."""
    found = observed(rollout(), NOW, *slow((0, 0), (1000, 10)))
    found = observed(found, NOW + timedelta(seconds=20), *slow((500, 400), (5500, 55)))
    assert not judging.harm(found)
    assert all(not one.canary_requests for one in found.trial.splits)
    found = observed(found, LATER, *slow((1000, 402), (9000, 90)))
    assert [one.canary_bad for one in found.trial.splits] == [2]


def test_both_sides_slow_is_the_worlds_fault() -> None:
    found = observed(rollout(), LATER, *slow((0, 0), (1000, 10)))
    found = observed(found, LATER, *slow((500, 300), (5500, 3010)))
    assert not judging.harm(found)
    assert found.trial.splits[0].baseline_bad == 3000


def test_the_same_counters_again_change_nothing() -> None:
    found = observed(rollout(), LATER, *slow((0, 0), (1000, 10)))
    found = observed(found, LATER, *slow((500, 100), (5500, 55)))
    assert observed(found, LATER, *slow((500, 100), (5500, 55))).trial is found.trial


def test_a_worker_is_judged_by_the_jobs_that_its_objective_counts() -> None:
    """Queues have no requests; what they fail is counted all the same."""
    judges = (JudgedBy(objective="jobs"), JudgedBy(objective="mail"))
    worker = replace(WEB, port=None, strategy=Strategy(judged_by=judges))
    assert judging.metrics_of(worker) == (ERRORS, "mail")
    assert judging.metrics_of(replace(worker, port=80)) == (ERRORS, LATENCY, "jobs", "mail")
    found = observed(rollout(spec=worker), NOW, *both((0, 0), (50, 1)), *both((0, 0), (50, 1), metric="mail"))
    found = observed(found, LATER, *both((20, 0), (230, 1)), *both((20, 12), (230, 1), metric="mail"))
    assert "12 of 20 canary events were bad for objective 'mail' against 0 of 180" in judging.harm(found)


def test_the_objective_is_fixed_for_the_whole_trial() -> None:
    """A null that moves with what is seen would prove nothing."""
    found = observed(rollout(), NOW, *both((0, 0), (10, 0)), bad_ratio=0.01)
    found = observed(found, LATER, *both((900, 0), (9000, 90)), bad_ratio=0.2)
    assert found.trial.objective_bad_ratio == 0.01
    assert found.trial.e_value_kept >= 20 and evidence(found, LATER)["proof"] is not None


def test_without_errors_the_objective_proves_what_the_comparison_cannot() -> None:
    found = observed(rollout(), NOW, *both((0, 0), (10, 0)), bad_ratio=0.01)
    found = observed(found, LATER, *both((900, 0), (9000, 0)), bad_ratio=0.01)
    assert found.trial.e_value_safe == 1.0
    assert evidence(found, LATER)["proof"] == "objective"
    assert judging.unproven(found, LATER) == ""


def trial_of(requests: int) -> Trial:
    return Trial(canary_requests=requests, baseline_requests=10 * requests, first_request_at=NOW)


@pytest.mark.parametrize(
    ("policy", "requests", "bakes", "said"),
    [
        (OnUnproven.AUTO, 500, 0.5, "goes on unproven after 900 s"),
        (OnUnproven.AUTO, 500, 1.0, ""),
        (OnUnproven.AUTO, 299, 0.5, "asks a person after 900 s"),
        (OnUnproven.AUTO, 299, 1.0, "asks: "),
        (OnUnproven.AUTO, 0, 1.0, ""),  # nobody on either side: no one to harm, nothing to wait for
        (OnUnproven.PROMOTE, 5, 1.0, ""),
        (OnUnproven.ASK, 5000, 1.0, "asks: "),
        (OnUnproven.EXTEND, 5000, 1.0, "extended to 3600 s"),
        (OnUnproven.EXTEND, 5000, 4.0, "asks: "),
    ],
)
def test_what_max_bake_means_without_proof(
    policy: OnUnproven, requests: int, bakes: float, said: str
) -> None:
    now = NOW + timedelta(seconds=900 * bakes)
    found = judging.unproven(rollout(trial_of(requests), on_unproven=policy), now)
    assert said in found if said else not found


def test_a_canary_with_few_requests_asks_once_and_a_person_promotes() -> None:
    """What a handful of requests can show is for a person to judge, and to be told of once."""
    world = World(requests_per_s=20).settled()
    world.release("sha256:b", strategy=replace(world_module.STRATEGY, on_unproven=OnUnproven.ASK))
    world.until(S.STEPPING, 2)
    world.run(80)
    assert world.rollouts[2].state is S.STEPPING and world.rollouts[2].reason.startswith("asks: ")
    told = [event for event in world.told(event_types.ROLLOUT_HELD) if event.data["rule"] == "unproven"]
    assert len(told) == 1 and "poise promote" in told[0].summary
    world.order(Verb.PROMOTE, rollout=2)
    world.until(S.LIVE, 2)


def test_a_canary_that_asks_still_goes_back_when_it_harms() -> None:
    world = World(requests_per_s=20).settled()
    world.release("sha256:b", strategy=replace(world_module.STRATEGY, on_unproven=OnUnproven.ASK))
    world.until(S.STEPPING, 2)
    world.run(80)
    world.errors[2] = 0.9
    world.until(S.ROLLED_BACK, 2)


def alone(**changes: object) -> Rollout:
    """Blue-green before its switch: the old one answers a thousand requests, ten of them slowly."""
    fields: dict[str, object] = {"kind": StrategyKind.BLUE_GREEN} | changes
    found = replace(rollout(**fields), step_started_at=None, state=S.STARTING)
    found = observed(found, NOW, *slow((0, 0), (0, 0)))
    return observed(found, NOW + timedelta(seconds=5), *slow((0, 0), (1000, 10)))


def switched(found: Rollout, canary: tuple[int, int]) -> Rollout:
    found = replace(found, state=S.PROMOTING, weight_percent=100, step_started_at=NOW)
    found = observed(found, NOW + timedelta(seconds=10), *slow((100, 90), (1000, 10)))  # it is cold
    return observed(found, LATER, *slow((100 + canary[0], 90 + canary[1]), (1000, 10)))


def test_what_is_slower_after_the_switch_goes_back() -> None:
    """Nobody is beside it, so what the old one answered while it was getting ready stands for the others."""
    assert "300 of 1000 requests took longer than 250 ms" in judging.harm(switched(alone(), (1000, 300)))
    assert not judging.harm(switched(alone(), (1000, 20)))
    assert not judging.harm(switched(alone(latency=False), (1000, 300)))
    assert not judging.harm(alone())


def test_copies_of_some_kinds_of_requests_tell_no_latency() -> None:
    """Reads alone are faster or slower than reads and writes, whatever the release does."""
    for mirror, harms in (
        (Mirror(percent=100, writes=True), True),
        (Mirror(percent=100), False),
        (Mirror(percent=50, writes=True), False),
    ):
        found = replace(
            rollout(kind=StrategyKind.MIRROR, mirror=mirror), mirror_percent=mirror.percent, weight_percent=0
        )
        found = observed(found, LATER, *slow((0, 0), (1000, 10)))
        found = observed(found, LATER, *slow((1000, 300), (2000, 20)))
        assert bool(judging.harm(found)) is harms
