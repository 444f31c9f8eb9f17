"""What bad releases cost and how long good ones wait: the shipped canary beside a fixed one.

A thousand releases, one in ten bad: it fails 0.5 % to 50 % of its requests (log-uniform), everything else
fails as ``--baseline``. Each goes through the rollout room's own ``decide`` and the gate's own ``judge``,
with a reading every 2 s, default strategy and policy, and a budget of 99.9 % over 28 days, which bad canaries
eat. The fixed canary takes 10 % for 10 minutes and is judged by 99 % at the end; the impatient one is checked
each minute too and goes back at the fifth that fails. A good release that is rolled back is released again.
What a canary spends are its errors beyond the baseline's; what a bad one does after promotion is no canary's
cost, so missed ones are counted apart.
Run: python benchmarks/canary_budget.py [--json] [--releases 1000] [--seed 1]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec.structs import replace

from bench.report import Figure, Goal, Report, run
from poise.balance.gate.decide import judge
from poise.balance.gate.facts import Question
from poise.delivery.rollout.decide import decide
from poise.delivery.rollout.facts import Seen
from poise.delivery.rollout.sequential import Total
from poise.model.attestation import Outcome, Verification
from poise.model.balance import Budget, Verdict
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.fleet import Replica, Route
from poise.model.policy import BudgetPolicy
from poise.model.service import Service

START = datetime(2026, 1, 1, tzinfo=UTC)
SERVICE = Service(project="acme", environment="production", name="shop", command="run", port=80)
POLICY = BudgetPolicy()
OBJECTIVE_BAD, PERIOD_S, READING_S = 0.001, 28 * 86_400.0, 2.0
BAD_EVERY, BAD_LOW, BAD_HIGH = 10, 0.005, 0.5
FIXED_SHARE, FIXED_S, FIXED_BAD, STRIKES = 0.1, 600, 0.01, 5
GIVEN_UP_S = 4 * 3600  # a rollout that is still not over then waits for a person
RATES = (500.0, 50.0, 5.0, 0.5)


@dataclass
class Ended:
    """How one release went."""

    promoted: bool
    asked: bool
    took_s: float
    burned: float


def rolled(rate: float, base: float, ratio: float, left: float, random: np.random.Generator) -> Ended:
    """One release through the shipped rooms. ``left`` is the ratio of the budget left."""
    live = _rollout(1, RolloutState.LIVE)
    canary, now, route = _rollout(2, RolloutState.WAITING), START, Route(service=SERVICE.key)
    counted = {1: (0, 0), 2: (0, 0)}
    answer: Verdict | None = None
    while (now - START).total_seconds() < GIVEN_UP_S:
        for _ in range(8):
            seen = _seen(live, canary, answer, route, counted, now, rate)
            wrote = {w.body.n: w.body for w in decide(seen, now).writes if isinstance(w.body, Rollout)}
            if not wrote:
                break
            canary = wrote.get(2, canary)
            answer = _answer(canary, left, rate, now)
            route = _route(route, canary)
            if canary.state in (RolloutState.LIVE, RolloutState.ROLLED_BACK):
                took_s = (now - START).total_seconds()
                burned = max(0.0, counted[2][1] - base * counted[2][0])
                return Ended(canary.state is RolloutState.LIVE, False, took_s, burned)
        if canary.reason.startswith("asks: "):
            break
        for n, failing in ((1, base), (2, ratio)):
            requests = int(random.poisson(rate * READING_S * route.acked.get(n, 0) / 100))
            failed = int(random.binomial(requests, failing))
            counted[n] = (counted[n][0] + requests, counted[n][1] + failed)
        now += timedelta(seconds=READING_S)
    burned = max(0.0, counted[2][1] - base * counted[2][0])
    return Ended(False, True, (now - START).total_seconds(), burned)


def _rollout(n: int, state: RolloutState) -> Rollout:
    return Rollout(
        project="acme", environment="production", service="shop", n=n, release=n, digest=f"sha256:{n}",
        revision=str(n), commit="c", summary="s", change_class=ChangeClass.FEATURE, spec=SERVICE, state=state,
        weight_percent=100 if state is RolloutState.LIVE else 0, created_at=START,
    )  # fmt: skip


def _seen(
    live: Rollout, canary: Rollout, answer: Verdict | None, route: Route,
    counted: dict[int, tuple[int, int]], now: datetime, rate: float,
) -> Seen:  # fmt: skip
    verified = Verification(
        rollout=canary.key, release=canary.release, digest=canary.digest, outcome=Outcome.VERIFIED,
        rule="verified", text="it was built here", at=START,
    )  # fmt: skip
    replicas = [Replica(service=SERVICE.key, rollout=2, index=i, ready=True) for i in range(canary.replicas)]
    return Seen(
        key=SERVICE.key, service=SERVICE, rollouts=(live, canary), verdict=answer, route=route,
        replicas=tuple(replicas), verification=verified, measured_at=now, objective_bad_ratio=OBJECTIVE_BAD,
        budget_allowed=OBJECTIVE_BAD * rate * PERIOD_S,
        totals=tuple(Total(rollout=n, epoch="e", trials=t, failures=f) for n, (t, f) in counted.items()),
    )  # fmt: skip


def _route(route: Route, canary: Rollout) -> Route:
    """Envoy takes and confirms the weights at once."""
    weight = canary.weight_percent
    weights = {n: share for n, share in ((2, weight), (1, 100 - weight)) if share}
    if weights == route.acked:
        return route
    version = route.version + 1
    return replace(route, weights=weights, acked=weights, version=version, acked_version=version)


def _answer(canary: Rollout, left: float, rate: float, now: datetime) -> Verdict | None:
    """The gate's verdict on the current ask."""
    ask = canary.ask
    if ask is None:
        return None
    allowed = OBJECTIVE_BAD * rate * PERIOD_S
    budget = Budget(
        service=SERVICE.key, objective="availability", target_ratio=1 - OBJECTIVE_BAD, window_s=PERIOD_S,
        good=rate * PERIOD_S, bad=allowed * (1 - left), allowed=allowed, left_ratio=left, burns=(),
        coverage_ratio=1.0, bootstrap=False, since=START - timedelta(days=60), measured_at=now, at=now,
        rate_per_s=rate,
    )  # fmt: skip
    question = Question(
        change_class=ChangeClass.FEATURE, digest=canary.digest, step=ask.step,
        weight_percent=ask.weight_percent, from_percent=canary.weight_percent,
        excess_ratio_high=canary.trial.excess_ratio_high if canary.trial.canary_requests else None,
    )  # fmt: skip
    return judge(question, SERVICE, (budget,), POLICY, (), (), objectives=[budget.key], now=now)


def fixed(rate: float, base: float, ratio: float, strikes: int, random: np.random.Generator) -> Ended:
    """10 % for 10 minutes; judged at the end, and (``strikes``) at the fifth bad minute."""
    requests = random.poisson(rate * FIXED_SHARE * 60, FIXED_S // 60)
    bad = random.binomial(requests, ratio)
    failing = np.cumsum(bad > FIXED_BAD * requests)
    minutes = len(requests)
    if strikes and failing[-1] >= strikes:
        minutes = int(np.argmax(failing >= strikes)) + 1
    n, x = int(requests[:minutes].sum()), int(bad[:minutes].sum())
    promoted = minutes == len(requests) and x <= FIXED_BAD * n
    return Ended(promoted, False, 60.0 * minutes, max(0.0, x - base * n))


def compared(rate: float, asked: argparse.Namespace) -> dict[str, dict[str, Figure]]:
    """Sums over all releases by strategy."""
    random = np.random.default_rng([asked.seed, int(10 * rate)])
    allowed = OBJECTIVE_BAD * rate * PERIOD_S
    healthy = 1 - asked.baseline / OBJECTIVE_BAD
    spent = {"poise": 0.0, "fixed": 0.0, "impatient": 0.0}
    found: dict[str, dict[str, float]] = {
        name: {"bad_burned": 0.0, "good_hours": 0.0, "missed": 0, "false_rollbacks": 0, "asked": 0}
        for name in spent
    }
    for number in range(asked.releases):
        is_bad = number % BAD_EVERY == BAD_EVERY - 1
        ratio = float(np.exp(random.uniform(np.log(BAD_LOW), np.log(BAD_HIGH)))) if is_bad else asked.baseline
        for name, sums in found.items():
            for _ in range(3):  # a good one that is sent back is released again
                if name == "poise":
                    left = healthy - spent[name] / allowed
                    ended = rolled(rate, asked.baseline, ratio, left, random)
                else:
                    strikes = STRIKES if name == "impatient" else 0
                    ended = fixed(rate, asked.baseline, ratio, strikes, random)
                spent[name] += ended.burned
                sums["asked"] += ended.asked
                if is_bad:
                    sums["bad_burned"] += ended.burned
                    sums["missed"] += ended.promoted
                else:
                    sums["good_hours"] += ended.took_s / 3600
                    sums["false_rollbacks"] += not ended.promoted and not ended.asked
                if is_bad or ended.promoted or ended.asked:
                    break
    return {name: {key: round(value, 2) for key, value in sums.items()} for name, sums in found.items()}


def measure(asked: argparse.Namespace) -> Report:
    report = Report()
    report.remarks += [
        f"{asked.releases} releases a rate, 1 in {BAD_EVERY} bad, seed {asked.seed}",
        f"what is live fails {asked.baseline:g} of its requests",
        "asked: neither harmful nor proven under 300 canary requests; counted until a person is asked",
    ]
    for rate in asked.rates:
        sums = compared(rate, asked)
        at = f"{rate:g}/s"
        for name, one in sums.items():
            report.figures[f"{at} {name}"] = one
        mine, theirs = sums["poise"], sums["fixed"]
        report.figures[f"{at} spent_ratio"] = round(
            float(str(mine["bad_burned"])) / max(1e-9, float(str(theirs["bad_burned"]))), 4
        )
        report.figures[f"{at} delay_ratio"] = round(
            float(str(mine["good_hours"])) / float(str(theirs["good_hours"])), 4
        )
        if rate >= 50:
            report.goals.append(Goal(f"{at} spent_ratio", at_most=0.2))
            report.goals.append(Goal(f"{at} delay_ratio", at_most=1.0))
        print(f"  {at}: {sums}", file=sys.stderr)
    return report


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--releases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--baseline", type=float, default=0.0001, help="the error ratio of what is live")
    parser.add_argument("--rates", type=float, nargs="*", default=list(RATES))


if __name__ == "__main__":
    sys.exit(run("canary_budget", measure, options))
