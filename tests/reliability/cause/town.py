"""Seeded incidents in random graphs of services, counted as Envoy would: for the tests of cause.

A town has 4 to 12 services in a random acyclic graph, 5 to 20 changes in the two hours before the onset, and
one thing that goes wrong: a change (a bad version, canaried or straight) or none (a service fails by itself).
Failures pass to callers; every service also fails a little without a reason; some have hardly any traffic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from poise.model.incident import Incident, Severity, SuspectKind
from poise.reliability.cause.evidence import Flow
from poise.reliability.cause.scene import Candidate, Measure, Seen

ONSET = datetime(2026, 11, 20, 12, tzinfo=UTC)
BIN_S = 5.0
BACK_S = 2700.0
ENV = "acme/production"


@dataclass
class Version:
    """One rollout: since when it takes which weight, and what share of its own requests it fails."""

    n: int
    began_s: float  # relative to the moment at which things go wrong
    steps: list[tuple[float, float]] = field(default_factory=list)  # (seconds after began_s, weight)
    bad_ratio: float = 0.0


@dataclass
class Town:
    """A graph with traffic, changes and one thing that goes wrong at second 0."""

    depends_on: dict[int, list[int]]
    rates: dict[int, float]
    calls: dict[tuple[int, int], float]
    passes_on: dict[tuple[int, int], float]
    noise: dict[int, float]
    versions: dict[int, list[Version]]
    sick: int
    by_itself: float
    undone_s: float | None = None


def key(service: int) -> str:
    return f"{ENV}/s{service:02d}"


def build(rng: np.random.Generator, with_cause: bool) -> tuple[Town, str | None]:
    """A town, and the subject of the change that did it."""
    size = int(rng.integers(4, 13))
    depends_on = {i: [j for j in range(i + 1, size) if rng.random() < 2.0 / size] for i in range(size)}
    called = {j for below in depends_on.values() for j in below}
    pairs = [(i, j) for i, below in depends_on.items() for j in below]
    town = Town(
        depends_on=depends_on,
        rates={
            i: float(10 ** rng.uniform(-0.3, 1.3)) if i not in called or rng.random() < 0.2 else 0.0
            for i in range(size)
        },
        calls={pair: float(rng.uniform(0.3, 1.0)) for pair in pairs},
        passes_on={pair: float(rng.choice([0.3, 1.0])) for pair in pairs},
        noise={i: float(rng.choice([0.0, 0.001, 0.005, 0.02])) for i in range(size)},
        versions={i: [Version(1, -1e9, [(0.0, 1.0)])] for i in range(size)},
        sick=int(rng.integers(0, size)),
        by_itself=0.0,
    )
    changes = sorted((float(rng.uniform(-7200, 60)), int(rng.integers(0, size))) for _ in range(_many(rng)))
    for at, service in changes:
        busy = with_cause and service == town.sick and at > -240.0
        if not busy and at > town.versions[service][-1].began_s + 240.0:
            _release(rng, town, service, at, 0.0)
    ratio = float(10 ** rng.uniform(-1.2, -0.05))
    if not with_cause:
        town.by_itself = ratio
        return town, None
    bad = _release(rng, town, town.sick, 0.0, ratio)
    if len(bad.steps) > 1 and rng.random() < 0.4:
        town.undone_s = bad.steps[1][0] + 40.0
    return town, f"{key(town.sick)}/{bad.n:06d}"


def _many(rng: np.random.Generator) -> int:
    return int(rng.integers(5, 21))


def _release(rng: np.random.Generator, town: Town, service: int, at: float, bad: float) -> Version:
    step_s = float(rng.choice([20.0, 45.0]))
    weights = [0.2, 0.5, 1.0] if rng.random() < 0.5 else [1.0]
    steps = [(i * step_s, weight) for i, weight in enumerate(weights)]
    made = Version(town.versions[service][-1].n + 1, at, steps, bad)
    town.versions[service].append(made)
    return made


def _weights(town: Town, service: int, at: float) -> list[tuple[Version, float]]:
    """Who takes which share at an instant: the newest its weight, the one before it the rest."""
    begun = [one for one in town.versions[service] if one.began_s <= at]
    newest = begun[-1]
    mine = [weight for after, weight in newest.steps if newest.began_s + after <= at][-1]
    if town.undone_s is not None and newest.bad_ratio and at > newest.began_s + town.undone_s:
        mine = 0.0
    return [(newest, mine), *([(begun[-2], 1.0 - mine)] if len(begun) > 1 else [])]


Counted = dict[int, dict[int, list[tuple[float, float, float]]]]


def run(rng: np.random.Generator, town: Town, until_s: float) -> Counted:
    """Every request, bin by bin: ``(second, trials, bad)`` by service and rollout."""
    found: Counted = {service: {} for service in town.depends_on}
    for at in np.arange(-BACK_S, until_s, BIN_S):
        trials = {i: float(rng.poisson(rate * BIN_S)) for i, rate in town.rates.items()}
        asked: dict[tuple[int, int], float] = {}
        for i, below in town.depends_on.items():
            for j in below:
                asked[i, j] = float(rng.binomial(int(trials[i]), town.calls[i, j]))
                trials[j] += asked[i, j]
        failed: dict[int, float] = {}
        for i in sorted(town.depends_on, reverse=True):
            from_below = 0.0
            for j in town.depends_on[i]:
                mine = round(failed[j] * asked[i, j] / max(1.0, trials[j]))
                from_below += float(rng.binomial(mine, town.passes_on[i, j]))
            failed[i] = _serve(rng, town, i, float(at), trials[i], from_below, found[i])
    return found


def _serve(
    rng: np.random.Generator,
    town: Town,
    service: int,
    at: float,
    trials: float,
    from_below: float,
    found: dict[int, list[tuple[float, float, float]]],
) -> float:
    total, left = 0.0, int(trials)
    shares = _weights(town, service, at)
    for place, (version, weight) in enumerate(shares):
        mine = left if place == len(shares) - 1 else int(rng.binomial(int(trials), weight))
        left -= mine
        own = town.noise[service] + version.bad_ratio
        if service == town.sick and at >= 0.0:
            own += town.by_itself
        bad = float(rng.binomial(mine, min(1.0, own)))
        if trials:
            bad = min(float(mine), bad + round(from_below * mine / trials))
        found.setdefault(version.n, []).append((at + BIN_S, float(mine), bad))
        total += bad
    return total


def incident(seed: int, with_cause: bool) -> tuple[Seen, datetime, str | None]:
    """What cause sees of a seeded incident, when it looks, and what did it.

    Trouble that nobody could see (a handful of failed requests) opens no incident: another is drawn.
    """
    rng = np.random.default_rng(seed)
    while True:
        town, culprit = build(rng, with_cause)
        late_s = float(rng.uniform(0.0, 45.0))  # the alert's onset is not the true one
        looked_s = float(rng.choice([60.0, 300.0]))
        counted = run(rng, town, late_s + looked_s)
        if _shows(town, counted[town.sick]):
            break
    began = ONSET - timedelta(seconds=late_s)
    alerting = [i for i in town.depends_on if _ratio(counted[i]) > 0.03] or [town.sick]
    deepest = town.sick if town.sick in alerting and rng.random() < 0.8 else alerting[0]
    seen = Seen(
        incident=Incident(
            project="acme", environment="production", n=1, title="failing", severity=Severity.SEV1,
            service=key(deepest), services=tuple(key(i) for i in alerting), onset_at=ONSET,
            opened_at=ONSET + timedelta(seconds=10),
        ),
        depends_on={key(i): tuple(key(j) for j in below) for i, below in town.depends_on.items()},
        candidates=tuple(_candidates(town, began)),
        flows={Measure.FAILED: {key(i): _flows(versions, began) for i, versions in counted.items()}},
    )  # fmt: skip
    return seen, ONSET + timedelta(seconds=looked_s), culprit


def _shows(town: Town, versions: dict[int, list[tuple[float, float, float]]]) -> bool:
    """Whether an alert would see it: at least 8 failed requests more than usual, and twice as many."""
    rows = [row for one in versions.values() for row in one if row[0] > 0]
    usual = town.noise[town.sick] * sum(row[1] for row in rows)
    return sum(row[2] for row in rows) > max(8.0 + usual, 2.0 * usual)


def _ratio(versions: dict[int, list[tuple[float, float, float]]]) -> float:
    rows = [row for one in versions.values() for row in one if row[0] > 0]
    return sum(row[2] for row in rows) / max(1.0, sum(row[1] for row in rows))


def _flows(versions: dict[int, list[tuple[float, float, float]]], began: datetime) -> dict[int, Flow]:
    zero = began.timestamp()
    return {
        n: Flow(tuple(zero + r[0] for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows))
        for n, rows in versions.items()
    }


def _candidates(town: Town, began: datetime) -> list[Candidate]:
    found = []
    for service, versions in town.versions.items():
        for version in versions[1:]:
            undone = town.undone_s if version.bad_ratio else None
            found.append(
                Candidate(
                    kind=SuspectKind.DEPLOY,
                    subject=f"{key(service)}/{version.n:06d}",
                    service=key(service),
                    summary=f"rollout {version.n} of {key(service)}",
                    began_at=began + timedelta(seconds=version.began_s),
                    n=version.n,
                    old=version.n - 1,
                    undone_at=None if undone is None else began + timedelta(seconds=undone),
                )
            )
    return found
