"""Many seeded worlds, on several processes, and what broke in which."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import structlog
from msgspec import Struct

from poise.simulation.book import Failure
from poise.simulation.plants import planted
from poise.simulation.world import Outcome, World


class Report(Struct, frozen=True, kw_only=True):
    """What ``poise simulate`` says. ``seeds`` is how many; ``days`` of each."""

    seeds: int
    days: float
    rollouts: int
    faults: int
    days_per_second: float
    failures: tuple[Failure, ...]
    rollouts_least: int = 0  # in any one seed
    faults_least: int = 0

    @property
    def ok(self) -> bool:
        """Whether every invariant held in every seed."""
        return not self.failures


def simulate_many(
    seeds: Iterable[int],
    days: float,
    *,
    plant: str | None = None,
    jobs: int = 2,
    told: Callable[[float], None] = lambda share: None,
) -> Report:
    """Run each seed's world for ``days``; failures ascending by seed. ``told`` hears the share that is done.

    ``plant`` names a bug of ``plants.PLANTS`` to put in first; ``Invalid`` when there is none such.
    """
    numbers = list(seeds)
    with planted(plant):
        pass  # refuse an unknown name before any process starts
    began = time.monotonic()
    one = partial(simulate, days=days, plant=plant)
    outcomes: list[Outcome] = []
    with _each(one, numbers, jobs) as each:
        for outcome in each:
            outcomes.append(outcome)
            told(len(outcomes) / len(numbers))
    took_s = max(1e-9, time.monotonic() - began)
    return _report(sorted(outcomes, key=lambda outcome: outcome.seed), days, took_s)


def simulate(seed: int, days: float, plant: str | None = None) -> Outcome:
    """One seed's world. Same seed, same bytes."""
    with planted(plant) if plant else nullcontext(), _silence(), _unswept():
        return asyncio.run(World(seed, days).live())


@contextmanager
def _each(one: Callable[[int], Outcome], seeds: Sequence[int], jobs: int) -> Iterator[Iterable[Outcome]]:
    """Outcomes as they come, in no order."""
    if jobs <= 1 or len(seeds) <= 1:
        yield map(one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(min(jobs, len(seeds))) as pool:
        yield pool.imap_unordered(one, seeds)


def _report(outcomes: list[Outcome], days: float, took_s: float) -> Report:
    faults = [sum(outcome.faults.values()) for outcome in outcomes]
    return Report(
        seeds=len(outcomes),
        days=days,
        rollouts=sum(outcome.rollouts for outcome in outcomes),
        faults=sum(faults),
        days_per_second=len(outcomes) * days / took_s,
        failures=tuple(failure for outcome in outcomes for failure in outcome.failures),
        rollouts_least=min((outcome.rollouts for outcome in outcomes), default=0),
        faults_least=min(faults, default=0),
    )


@contextmanager
def _unswept() -> Iterator[None]:
    """One world's objects live as long as it does: looking for garbage among them is a sixth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
            gc.collect()


@contextmanager
def _silence() -> Iterator[None]:
    """What goes wrong here was meant to: the log says nothing of it."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
