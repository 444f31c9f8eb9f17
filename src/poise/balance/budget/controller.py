"""The shell of the budget room: selects what is new, counts it, lets ``decide`` say what to write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from msgspec import Struct, structs

from poise.balance.budget.decide import Seen, decide, horizon_s
from poise.balance.budget.ledger import Ledger
from poise.model.balance import Budget
from poise.model.counting import QUERIED, Plan, Span, Steps, Tally, Wanted, epochs_of
from poise.model.objective import IndicatorKind, Objective
from poise.model.record import Decision, Ref, Write
from poise.model.service import Project
from poise.model.signal import LATENCY_BUCKET, Epoch, Points
from poise.ports.store import Store
from poise.ports.totals import Totals

TICK_S = 5.0


class Indicator(Protocol):
    """What the room needs of the indicator's: the module ``poise.balance.indicator.decide`` is one."""

    def plan(self, objective: Objective, bounds: Iterable[str] = ()) -> Plan: ...

    def advance(
        self,
        tally: Tally,
        found: Sequence[tuple[Wanted, Points]],
        epochs: Sequence[Epoch],
        *,
        start: float,
        since: float,
    ) -> tuple[Tally, Steps]: ...

    def measured(self, tally: Tally, epochs: Sequence[Epoch]) -> tuple[Span, ...]: ...


class _Count(Struct, kw_only=True):
    """One objective's running totals: derived from the signal store, rebuilt from it at start."""

    objective: Objective
    since: datetime
    ledger: Ledger
    plan: Plan
    tally: Tally = Tally()
    until: float


class BudgetController:
    """Keys are objective keys. Nothing here is lost with the process.

    ``problem_of`` tells why an objective's counters (by key) cannot be read; empty while they can.
    """

    name = "budget"

    def __init__(
        self,
        store: Store,
        signals: Totals,
        indicator: Indicator,
        *,
        tick_s: float = TICK_S,
        problem_of: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._store = store
        self._signals = signals
        self._indicator = indicator
        self._tick_s = tick_s
        self._problem_of = problem_of
        self._counts: dict[str, _Count] = {}

    async def keys(self) -> Iterable[str]:
        """Every objective, and every budget whose objective may be gone."""
        keys: set[str] = set()
        for kind in ("Objective", "Budget"):
            after = ""
            while found := await self._store.objects(kind, "", after=after):
                keys |= {one.key for one in found}
                after = found[-1].key
        return sorted(keys)

    def wakes(self, ref: Ref) -> str | None:
        """An objective was declared, changed or removed."""
        return ref.key if ref.kind == "Objective" else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Count what is new and decide; again in ``tick_s``."""
        objective, objective_ref = await self._store.get(Objective, key)
        before, ref = await self._store.get(Budget, key)
        if objective is None:
            self._counts.pop(key, None)
            gone = () if before is None else (Write(kind="Budget", key=key, body=None),)
            return Decision(reads=(objective_ref, ref), writes=gone)
        project, project_ref = await self._store.get(Project, key.split("/", 1)[0])
        policy = (project or Project(name="")).policy
        known = await self._signals.epochs()
        epochs = epochs_of(objective, known)
        since = _since(before, epochs, now)
        if objective.indicator is IndicatorKind.QUERY:
            since = _since_defined(objective, since, epochs, known, now)
            epochs = _begun_alike(epochs)
        count = await self._count(objective, since, horizon_s(objective, policy), epochs, now)
        seen = Seen(
            objective=objective,
            policy=policy,
            ledger=count.ledger,
            spans=_after(self._indicator.measured(count.tally, epochs), now),
            since=since,
            before=before,
            ref=ref,
            interpolated=count.plan.interpolated,
            problem=self._problem_of(key),
        )
        decision = decide(seen, now)
        return structs.replace(
            decision,
            reads=(*decision.reads, objective_ref, project_ref),
            wake_at=now + timedelta(seconds=self._tick_s),
        )

    async def _count(
        self, objective: Objective, since: datetime, horizon: float, epochs: list[Epoch], now: datetime
    ) -> _Count:
        """The running totals up to ``now``: only points newer than the last look are read."""
        count = self._counts.get(objective.key)
        reading = await self._plan(objective)
        if count is None or (count.objective, count.since, count.plan) != (objective, since, reading):
            start = max(since.timestamp(), now.timestamp() - horizon)
            count = _Count(
                objective=objective, since=since, ledger=Ledger(horizon), plan=reading, until=start
            )
            first = True
        else:
            first = False
        at = datetime.fromtimestamp(count.until, UTC)
        names = {epoch.name for epoch in epochs}
        found = [
            (wanted, points)
            for wanted in reading.wanted
            for points in await self._signals.select(
                wanted.name, wanted.labels, at, now, include_before=first
            )
            if points.epoch in names
        ]
        tally, steps = self._indicator.advance(
            count.tally, found, epochs, start=count.until, since=since.timestamp()
        )
        count.ledger.add(steps)
        newest = max((points.points[-1][0] for _, points in found if points.points), default=count.until)
        count.tally, count.until = tally, max(count.until, newest)
        self._counts[objective.key] = count
        return count

    async def _plan(self, objective: Objective) -> Plan:
        if objective.indicator is not IndicatorKind.LATENCY:
            return self._indicator.plan(objective)
        newest = await self._signals.latest(LATENCY_BUCKET, {"service": objective.service})
        return self._indicator.plan(objective, {dict(points.series.labels)["le"] for points in newest})


def _since(before: Budget | None, epochs: list[Epoch], now: datetime) -> datetime:
    """When measuring began: the first reading after the objective was declared, then for ever."""
    if before is None:
        return now
    if before.measured_at is not None:
        return before.since
    declared = before.since.timestamp()
    if any(epoch.first_at <= declared < epoch.last_at for epoch in epochs):
        return before.since
    later = [epoch.first_at for epoch in epochs if epoch.first_at > declared]
    return datetime.fromtimestamp(min(later), UTC) if later else before.since


def _since_defined(
    objective: Objective, since: datetime, epochs: list[Epoch], known: list[Epoch], now: datetime
) -> datetime:
    """Queries that were changed are counted anew: since the first reading by the new ones."""
    before = {one.name for one in known if one.name.startswith(f"{QUERIED}{objective.key}/")}
    if before == {one.name for one in epochs}:
        return since
    began = min((one.first_at for one in epochs), default=None)
    return max(since, now if began is None else datetime.fromtimestamp(began, UTC))


def _begun_alike(epochs: list[Epoch]) -> list[Epoch]:
    """A new life of queried counters does not begin at zero: counting begins at its first value."""
    first = min((one.first_at for one in epochs), default=0.0)
    return [structs.replace(one, first_at=first) for one in epochs]


def _after(spans: tuple[Span, ...], now: datetime) -> tuple[Span, ...]:
    """Spans up to ``now``; a reading from the future says nothing yet."""
    end = now.timestamp()
    return tuple((begin, min(to, end)) for begin, to in spans if begin <= end)
