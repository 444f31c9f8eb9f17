"""What must hold after every event, worked out apart from the code that it judges.

The watch keeps its own copy of every object, generation and counter, fed by what was written, applied and
read; it never asks a room.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from math import ceil, floor
from typing import Final

from msgspec import Struct

from poise.balance.budget.book import COARSE_S, GRAIN_S, TIERS_S
from poise.engine.limits import VERDICT_MAX_AGE_S
from poise.model import event_types
from poise.model.acts import ApplyTraffic
from poise.model.balance import Budget, Verdict, VerdictKind
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.fleet import HealOrder, Replica, Route
from poise.model.policy import BudgetPolicy
from poise.model.record import Event, Read, Ref
from poise.model.service import Heal, Service
from poise.model.signal import ERRORS_TOTAL, REQUESTS_TOTAL, Batch
from poise.ports.store import IntentState, Transaction
from poise.ports.traffic import TrafficPlan
from poise.simulation.book import Book
from poise.simulation.capacity import Capacity
from poise.simulation.clock import SimulatedClock
from poise.simulation.holds import HoldLaws
from poise.simulation.pace import PaceLaws
from poise.simulation.refusals import Refusals
from poise.simulation.response import Response
from poise.simulation.strategies import StrategyLaws
from poise.simulation.traffic import Envoy

ASKS_WITHIN_S: Final = 1500.0  # with a deaf gate, a dead control process and a clock set forward in between
HEAL_SETTLE_S: Final = 60.0
ONCE: Final = frozenset(
    {
        event_types.ROLLOUT_CREATED,
        event_types.ROLLOUT_STARTED,
        event_types.ROLLOUT_FAILED,
        event_types.ROLLOUT_SUPERSEDED,
        event_types.ROLLOUT_ROLLING_BACK,
        event_types.SERVICE_DEPLOYED,
        event_types.SERVICE_UPGRADED,
        event_types.SERVICE_ROLLED_BACK,
    }
)


class _Readings:
    """What one service's counters said, as running sums at each reading."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.total: list[float] = [0.0]
        self.bad: list[float] = [0.0]
        self.last: dict[str, tuple[float, float]] = {}

    def add(self, at: float, epoch: str, total: float, bad: float) -> None:
        before_total, before_bad = self.last.get(epoch, (0.0, 0.0))
        self.last[epoch] = (total, bad)
        self.at.append(at)
        self.total.append(self.total[-1] + total - before_total)
        self.bad.append(self.bad[-1] + bad - before_bad)

    def window(self, start: float, end: float) -> tuple[float, float]:
        """(total, bad) of the readings in (start, end]."""
        first, last = bisect_right(self.at, start), bisect_right(self.at, end)
        return self.total[last] - self.total[first], self.bad[last] - self.bad[first]


def _edges(start: float, since: float) -> list[float]:
    """Just before where a window may start: at ``since``, or on one of the grains of the book of budgets."""
    steps = (GRAIN_S, *(step for step, _ in TIERS_S), COARSE_S)
    return [max(since, start // step * step - 1e-6) for step in dict.fromkeys(steps)]


class Watch(Book):
    """Holds the world to its invariants; ``failures`` is what broke."""

    def __init__(self, seed: int, clock: SimulatedClock, envoy: Envoy, policy: BudgetPolicy) -> None:
        super().__init__(seed, clock)
        self._envoy, self._policy = envoy, policy
        self.response = Response(self)
        self._capacity = Capacity(self)
        self._refusals = Refusals(self)
        self._pace = PaceLaws(self, policy)
        self._strategies = StrategyLaws(self, envoy.machine)
        self._holds = HoldLaws(self)
        self.performed: set[str] = set()
        self.token = 0
        self._generations: dict[tuple[str, str], int] = {}
        self._written: dict[str, tuple[list[int], list[str]]] = {}
        self._sequence = 0
        self._told: set[tuple[str, str]] = set()
        self._asks: dict[str, list[Verdict]] = {}
        self._readings: dict[str, _Readings] = {}
        self._read_at: dict[str, float] = {}
        self._newest_read: float | None = None
        self._was_live: set[str] = set()
        self._moving: set[str] = set()
        self._splits: dict[tuple[str, int], dict[int, int]] = {}
        self._kinds: dict[str, Callable[[str, Struct | None], None]] = {
            "Route": self._route,
            "Rollout": self._rollout,
            "Verdict": self._verdict,
            "Budget": self._budget,
            "PolicyState": self._pace.state,
            "HealOrder": self._heal,
            "Incident": self.response.incident,
            "Grant": self.response.grant,
            "Page": self.response.page,
            "Review": self.response.review,
            "ScaleTarget": self._capacity.target,
        }

    def moving(self) -> set[str]:
        """Services with a rollout under way."""
        return self._moving

    # -- the store ------------------------------------------------------------------------------------

    def changed_since(self, reads: tuple[Read, ...]) -> str:
        """What of ``reads`` is not as it was read; empty when all is."""
        for read in reads:
            if isinstance(read, Ref):
                if self._generations.get((read.kind, read.key), 0) != read.generation:
                    return f"{read.kind} {read.key}"
                continue
            sequences, keys = self._written.get(read.kind, ([], []))
            for key in keys[bisect_left(sequences, read.sequence + 1) :]:
                if key.startswith(read.prefix):
                    return f"{read.kind} {key}"
        return ""

    def committed(self, transaction: Transaction, stale: str) -> None:
        """A transaction was accepted; ``stale`` is what had changed before it."""
        if stale:
            self.breach("no-stale-write", f"a decision was recorded though {stale} had changed since")
        if transaction.fence is not None and transaction.fence < self.token:
            self.breach("zombies-change-nothing", f"token {transaction.fence} wrote after {self.token}")
        for write in transaction.writes:
            self._sequence += 1
            place = (write.kind, write.key)
            self._generations[place] = self._generations.get(place, 0) + 1
            sequences, keys = self._written.setdefault(write.kind, ([], []))
            sequences.append(self._sequence)
            keys.append(write.key)
        self.events += len(transaction.events)
        before = {}
        for write in transaction.writes:
            rows = self.objects.setdefault(write.kind, {})
            before[(write.kind, write.key)] = rows.get(write.key)
            if write.body is None:
                rows.pop(write.key, None)
            else:
                rows[write.key] = write.body
        for write in transaction.writes:
            check = self._kinds.get(write.kind)
            if check is not None and write.body is not None:
                check(write.key, before[(write.kind, write.key)])
        for event in transaction.events:
            self._event(event)

    def settled(self, key: str, state: IntentState) -> None:
        """An intent ended."""
        if state is IntentState.DONE and key not in self.performed:
            self.breach("no-lost-intent", f"{key} is done, but nobody performed it")
        self.response.settled(key, state)

    def _event(self, event: Event) -> None:
        if event.type not in ONCE:
            return
        mark = (event.type, event.subject)
        if mark in self._told:
            self.breach("told-once", f"{event.type} of {event.subject} is in the journal twice")
        self._told.add(mark)

    # -- delivery and fleet ---------------------------------------------------------------------------

    def _route(self, key: str, before: Struct | None) -> None:
        route = self.one(Route, key)
        assert route is not None
        for weights in (route.weights, route.acked):
            if weights and sum(weights.values()) != 100:
                self.breach("weights-sum-to-100", f"{key} wants {weights}")
        served = self._envoy.weights.get(key, {})
        known = before.acked_version if isinstance(before, Route) else 0
        if route.acked_version > known and served != {f"{key}.{n}": w for n, w in route.acked.items()}:
            self.breach("acknowledged-is-served", f"{key} has acked {route.acked}, Envoy serves {served}")
        split = self._splits.setdefault((key, route.version), route.weights)
        if split != route.weights:
            self.breach("one-split-per-version", f"{key} {route.version} is {split} and {route.weights}")
        self._strategies.route(route, before)

    def _rollout(self, key: str, before: Struct | None) -> None:
        rollout = self.one(Rollout, key)
        assert rollout is not None
        service = rollout.service_key
        siblings = self.all(Rollout, f"{service}/")
        live = [one.n for one in siblings if one.state is RolloutState.LIVE]
        active = [one.n for one in siblings if one.state.is_active]
        if live:
            self._was_live.add(service)
        (self._moving.add if active else self._moving.discard)(service)
        if len(live) > 1 or len(active) > 1 or (not live and service in self._was_live):
            self.breach("one-live-one-active", f"{service} has live {live} and active {active}")
        if isinstance(before, Rollout) and before.state.is_final and before.state is not rollout.state:
            self.breach("final-is-final", f"{key} went from {before.state.value} to {rollout.state.value}")
        self._refusals.rollout(rollout, before)
        self._strategies.rollout(rollout, before)

    def applying(self, plan: TrafficPlan, token: int, newest_token: int) -> None:
        """Envoy is about to serve this plan, at the word of the leader with ``token``."""
        if token < newest_token:
            self.breach("zombies-change-nothing", f"token {token} set traffic after {newest_token}")
        known = self._envoy.plan
        if known is not None and plan.version < known.version:
            self.breach("plans-move-on", f"plan {plan.version} came after {known.version}")
        weights = {host.service: host.weights for host in plan.hosts}
        for service, asked in weights.items():
            self._applying(service, dict(asked))

    def _applying(self, service: str, weights: dict[str, int]) -> None:
        serving = self._envoy.weights.get(service, {})
        if weights and sum(weights.values()) != 100:
            self.breach("weights-sum-to-100", f"{service} splits {weights}")
        if serving and not weights and not self._strategies.is_interrupted(service):
            self.breach("traffic-is-kept", f"{service} served {serving} and now nothing")
        self._strategies.applying(service, weights, serving)
        for name, weight in weights.items():
            if weight <= serving.get(name, 0):
                continue
            rollout = self.one(Rollout, f"{service}/{int(name.rpartition('.')[2]):06d}")
            if rollout is None:
                self.breach("traffic-is-kept", f"{name} gets {weight} % and is no rollout")
                continue
            self._refusals.passed(rollout)
            if rollout.state is not RolloutState.LIVE and not self._is_allowed(rollout, weight):
                detail = f"{name} rises from {serving.get(name, 0)} % to {weight} % with no fresh verdict"
                self.breach("no-step-without-verdict", detail)

    def _is_allowed(self, rollout: Rollout, weight: int) -> bool:
        now = self._clock.now()
        return any(
            verdict.kind is not VerdictKind.HOLD
            and (verdict.digest, verdict.step) == (rollout.digest, rollout.step)
            and 0 <= (now - verdict.at).total_seconds() <= VERDICT_MAX_AGE_S
            and weight <= verdict.max_weight_percent
            for verdict in self._asks.get(rollout.key, [])[-4:]
        )

    def mutated(self, what: str, token: int, key: str) -> None:
        """The keeper accepted a mutation."""
        if what == "spawn":
            self._strategies.spawning(key)
        if what == "stop" and key:
            service, n = key.rsplit("/", 2)[0], int(key.rsplit("/", 2)[1])
            rollout = self.one(Rollout, f"{service}/{n:06d}")
            weight = self._envoy.weights.get(service, {}).get(rollout.cluster, 0) if rollout else 0
            replicas = self.all(Replica, f"{service}/{n:06d}/")
            others = [one for one in replicas if one.key != key and not one.draining]
            if weight and not others:
                self.breach("traffic-is-kept", f"{key} is stopped while its rollout takes {weight} %")

    # -- balance --------------------------------------------------------------------------------------

    def _verdict(self, key: str, _before: Struct | None) -> None:
        verdict = self.one(Verdict, key)
        assert verdict is not None
        self._asks.setdefault(key.rpartition("/ask/")[0], []).append(verdict)
        if self._strategies.is_interrupted(verdict.service):
            return  # it was let in when what was live was stopped for it
        self._pace.verdict(key, verdict)
        self._holds.verdict(key, verdict)
        if verdict.kind is VerdictKind.HOLD or verdict.override is not None:
            return
        others = self.all(Rollout, f"{verdict.service}/")
        is_first = not any(one.state is RolloutState.LIVE for one in others)
        if verdict.change_class is ChangeClass.ROLLBACK or is_first:
            return
        age_s = None if self._newest_read is None else self._clock.now().timestamp() - self._newest_read
        if age_s is None or age_s > self._policy.stale_after_s:
            self.breach("unknown-is-never-go", f"{key} says {verdict.kind.value}, data is {age_s} s old")
        budgets = self.all(Budget, f"{verdict.service}/")
        spent = [one.key for one in budgets if one.left_ratio <= self._policy.hold_below_ratio]
        if spent and verdict.change_class is ChangeClass.FEATURE:
            self.breach("a-spent-budget-holds", f"{key} says {verdict.kind.value} though {spent} is spent")

    def read(self, batch: Batch) -> None:
        """A reading is durable."""
        at = batch.at.timestamp()
        self._newest_read = at
        if self._read_at.get(batch.epoch) == at:
            return  # the machine's clock stands still: the same instant twice is one reading
        self._read_at[batch.epoch] = at
        self._capacity.read(batch)
        totals: dict[str, list[float]] = {}
        for sample in batch.samples:
            if sample.series.name in (REQUESTS_TOTAL, ERRORS_TOTAL):
                both = totals.setdefault(sample.series.labels[0][1], [0.0, 0.0])
                both[sample.series.name == ERRORS_TOTAL] = sample.value
        for service, (total, bad) in totals.items():
            self._readings.setdefault(service, _Readings()).add(at, batch.epoch, total, bad)

    def _budget(self, key: str, _before: Struct | None) -> None:
        budget = self.one(Budget, key)
        assert budget is not None
        readings = self._readings.get(budget.service)
        end = budget.at.timestamp()
        said = (budget.good + budget.bad, budget.bad)
        starts = _edges(end - budget.window_s, budget.since.timestamp())
        truths = [readings.window(start, end) if readings else (0.0, 0.0) for start in starts]
        if not any(abs(said[0] - total) <= 0.5 and abs(said[1] - bad) <= 0.5 for total, bad in truths):
            self.breach("budgets-are-what-was-counted", f"{key} says {said} (all, bad), counted {truths}")
        if budget.bad > self._envoy.happened_bad.get(budget.service, 0):
            self.breach("budgets-are-what-was-counted", f"{key} says {budget.bad} bad, more than happened")

    def waits(self, service: str) -> None:
        """A waiting release that nobody paused asks the gate again and again, so that it can start.

        It can ask from when the rollout before it has made room.
        """
        if service in self._moving:
            return
        rollouts = self.all(Rollout, f"{service}/")
        made_room = [other.finished_at for other in rollouts[:-1] if other.finished_at is not None]
        for rollout in rollouts[-1:]:
            if rollout.state is not RolloutState.WAITING or rollout.paused:
                continue
            verdicts = self._asks.get(rollout.key, ())
            answered = max([rollout.created_at, *made_room, *(verdict.at for verdict in verdicts)])
            age_s = (self._clock.now() - answered).total_seconds()
            if age_s > ASKS_WITHIN_S:
                self.breach("a-waiting-release-asks", f"{rollout.key} was last answered {age_s:.0f} s ago")

    # -- reliability ----------------------------------------------------------------------------------

    def _heal(self, key: str, before: Struct | None) -> None:
        order = self.one(HealOrder, key)
        assert order is not None
        if order.mass or order.gentle:
            return
        if isinstance(before, HealOrder) and (before.identity, before.at) == (order.identity, order.at):
            return  # how the replica did since was noted: nobody is healed anew
        service = key.rsplit("/", 2)[0]
        declared = self.one(Service, service)
        replicas = self.all(Replica, f"{service}/")
        running = [one for one in replicas if one.identity is not None and not one.draining]
        most = declared.health.failures if declared else 1
        failing = [one for one in running if one.failures >= most]
        if len(failing) >= max(2, ceil(Heal().mass_failure_ratio * len(running))):
            self.breach(
                "no-heal-in-a-mass-failure", f"{len(failing)} of {len(running)} fail; {key} is healed"
            )
        under_way = [
            one.key
            for one in running
            if (other := self.one(HealOrder, one.key)) is not None
            and not other.mass
            and (order.at - other.at).total_seconds() < HEAL_SETTLE_S
            and (other.identity == one.identity or not one.ready)
        ]
        if len(under_way) > max(1, floor(Heal().share_ratio * len(running))):
            self.breach("heal-budget", f"{under_way} of {len(running)} are healed at once")


def raises_of(transaction: Transaction) -> bool:
    """Whether a canary is about to rise by it."""
    acts = (intent.act for intent in transaction.intents)
    return any(isinstance(act, ApplyTraffic) and act.raises is not None for act in acts)
