"""The simulation holds the real rooms to their invariants, finds planted bugs, and repeats itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from poise.cli.simulate import simulate as command
from poise.model.errors import Invalid
from poise.simulation.clock import SimulatedClock
from poise.simulation.plants import PLANTS
from poise.simulation.run import simulate, simulate_many

EXPECTED = {
    "unchecked-generation": {"no-stale-write"},
    "lost-intent": {"no-lost-intent"},
    "unfenced": {"zombies-change-nothing"},
    "stale-verdict": {"no-step-without-verdict"},
    "go-on-unknown": {"unknown-is-never-go"},
    "double-budget": {"budgets-are-what-was-counted"},
    "forgotten-rejection": {"a-rejected-digest-is-remembered"},
    "skipped-staging": {"nothing-skips-staging"},
    "forgotten-config": {"a-rejected-config-is-remembered"},
    "weights-off": {"weights-sum-to-100"},
    "healing-spree": {"no-heal-in-a-mass-failure", "heal-budget"},
    "two-live": {"one-live-one-active"},
    "new-page-id": {"a-page-keeps-its-id"},
    "forgetful-escalation": {"every-incident-is-escalated"},
    "everybody-summoned": {"a-dispute-is-told-once"},
    "dropped-page": {"no-page-lost"},
    "page-sent-twice": {"one-duplicate-per-crash"},
    "lonely-incidents": {"one-page-per-cause"},
    "blind-scale-in": {"no-scale-in-blind"},
    "unproven-review": {"each-sentence-has-evidence"},
    "own-approval": {"a-second-person-approves"},
    "flapping-level": {"a-level-lasts-its-dwell"},
    "cold-way-back": {"the-way-back-is-warm"},
    "leaky-freeze": {"in-a-freeze-no-feature-goes"},
    "unheard-lock": {"what-is-locked-waits"},
    "open-door": {"nobody-lets-in-their-own"},
    "restless-need": {"what-is-needed-rests"},
    "trusted-shadow": {"shadow-evidence-promotes-nobody"},
    "two-revisions": {"never-two-revisions"},
    "blind-batches": {"a-share-has-its-replicas"},
}

WORLDS = {
    "cold-way-back": 2,
    "everybody-summoned": 5,
    "leaky-freeze": 5,
    "unheard-lock": 1,
    "open-door": 4,
    "restless-need": 4,
    "blind-batches": 5,
    "two-revisions": 8,
    "trusted-shadow": 11,
}
"""The first world with what the bug is of."""

MET = {
    "forgotten-rejection": 2, "go-on-unknown": 2, "healing-spree": 2, "lonely-incidents": 12,
    "stale-verdict": 3, "unfenced": 3,
}  # fmt: skip
"""A world that meets a bug which many do not meet: looked into before the others."""


def test_every_invariant_holds_through_days_full_of_trouble() -> None:
    """What CI runs with 300 seeds, in small; each day is worth its name."""
    report = simulate_many(range(1, 5), 1.0, jobs=2)
    assert report.failures == ()
    assert report.rollouts_least >= 10 and report.faults_least >= 40
    assert report.days_per_second > 0


@pytest.mark.parametrize("seed", sorted(set(WORLDS.values())))
def test_every_invariant_holds_in_a_world_of_its_own(seed: int) -> None:
    """Strategies, freezes, locks, approvals have their worlds among the three hundred: one of each."""
    assert simulate(seed, 0.5).failures == ()


def test_a_seed_gives_the_same_bytes_every_time() -> None:
    """A failure that cannot be repeated cannot be mended."""
    first, second = simulate(8, 0.4), simulate(8, 0.4)
    assert first == second and first.events > 50
    assert simulate(9, 0.4).head_hash != first.head_hash


def test_every_plant_has_an_invariant_that_should_find_it() -> None:
    """A plant that nobody looks for proves nothing."""
    assert set(EXPECTED) == set(PLANTS) and len(PLANTS) >= 5


@pytest.mark.timeout(600)
@pytest.mark.parametrize("plant", sorted(EXPECTED))
def test_a_planted_bug_is_found_by_its_invariant_within_twenty_seeds(plant: str) -> None:
    """The simulation would see such a bug; and it is gone again afterwards."""
    first = WORLDS.get(plant, 1)
    for seed in (MET.get(plant, first), *range(first, first + 20, 3 if plant in WORLDS else 1)):
        outcome = simulate(seed, 1.0, plant)
        if outcome.failures:
            break
    assert {failure.invariant for failure in outcome.failures} <= EXPECTED[plant] and outcome.failures


def test_a_plant_that_does_not_exist_is_refused_with_the_names_of_those_that_do() -> None:
    """Before any process starts."""
    with pytest.raises(Invalid, match="there is no plant 'rose'"):
        simulate_many([1], 0.1, plant="rose")


def test_a_failing_seed_prints_the_command_that_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, and nothing to look up."""
    assert command(seeds=1, days=0.3, start=1, plant="two-live", jobs=1) == 1
    said = " ".join("".join(capsys.readouterr()).split())
    assert "poise simulate --seeds 1 --start 1 --days 0.3 --plant two-live" in said


def test_the_clock_that_the_code_reads_never_retreats() -> None:
    """Somebody sets the machine's clock back: time stands still until it has caught up."""
    clock = SimulatedClock()
    clock.advance(100.0)
    before = clock.now()
    clock.step(-30.0)
    clock.advance(110.0)
    assert clock.now() == before
    clock.advance(140.0)
    assert clock.now() == before + timedelta(seconds=10)
    assert clock.true_at(before + timedelta(seconds=20)) == 150.0


def test_a_step_asked_for_before_its_verdict_stood_is_not_lost() -> None:
    """Seed 293 once dropped each raise, for it came just before the gate's answer, until the day was over."""
    assert simulate(293, 1.0).failures == ()
