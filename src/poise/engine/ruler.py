"""Evaluates the rule files of every project, each group on its own aligned beat.

The worker evaluates; here it is kept when a group is due, what its rules gave is appended to the embedded
metrics, and the state of its alerts is written where detection and the next process find it. Nothing here
tells anybody: alerts of a service are written by the room that reads the state.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import anyio
import structlog

from poise.engine import ruling
from poise.engine.ruling import EPOCH, GroupStanding
from poise.model.alerting import Place
from poise.model.errors import PoiseError, told
from poise.model.record import Ref, Write
from poise.model.rules import EvaluateRules, RuleFile, RulesEvaluated, RuleState, state_key
from poise.model.samples import STALE, Refusal
from poise.model.service import Project, Service
from poise.ports.clock import Clock
from poise.ports.rules import EvaluateGroup
from poise.ports.signals import SignalStore
from poise.ports.store import Store, Transaction

log = structlog.get_logger()

SECONDS_MAX: Final = 30.0  # that one group's evaluation may take
FILES_MAX: Final = 1000
GROUPS_AT_ONCE: Final = 8  # that wait for the worker; more wait for these
REST_S: Final = 60.0  # without a group that is due
FOLLOWING_S: Final = 1.0  # between two looks at whether this process leads


class Ruler:
    """One installation's rules. ``fence`` is the leader's token; without one nothing is evaluated."""

    def __init__(
        self,
        store: Store,
        metrics: SignalStore,
        evaluate: EvaluateGroup,
        clock: Clock,
        fence: Callable[[], int | None],
        url: str = "",
    ) -> None:
        self._store, self._metrics, self._evaluate = store, metrics, evaluate
        self._clock, self._fence, self._url = clock, fence, url
        self._groups: dict[str, GroupStanding] = {}
        self._states: dict[str, RuleState] = {}
        self._resuming: set[str] = set()
        self._done_ms: dict[str, int] = {}
        self._busy: set[str] = set()
        self._stale_files = True
        self._changed: Callable[[], None] = lambda: None
        self._limiter = anyio.CapacityLimiter(GROUPS_AT_ONCE)
        store.subscribe(self._written)

    def standings(self) -> list[GroupStanding]:
        """Every group as it stands, by file and place in it."""
        return list(self._groups.values())

    async def run(self) -> None:
        """Evaluate until cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                changed = anyio.Event()
                self._changed = changed.set
                rest_s = FOLLOWING_S
                if self._fence() is not None:
                    await self._refreshed()
                    for key, at_ms, missed in self._due():
                        self._busy.add(key)
                        group.start_soon(self._in_turn, key, at_ms, missed)
                    rest_s = self._rest_s()
                with anyio.move_on_after(rest_s):
                    await changed.wait()

    async def turn(self) -> None:
        """Everything that is due now, once; for whoever drives the clock."""
        await self._refreshed()
        for key, at_ms, missed in self._due():
            self._busy.add(key)
            await self._in_turn(key, at_ms, missed)

    # -- what there is ----------------------------------------------------------------------------

    def _written(self, refs: object, _sequence: int) -> None:
        assert isinstance(refs, list | tuple)
        if any(isinstance(ref, Ref) and ref.kind == "RuleFile" for ref in refs):
            self._stale_files = True
            self._changed()

    async def _refreshed(self) -> None:
        if not self._stale_files:
            return
        self._stale_files = False
        try:
            await self._take_up()
        except (PoiseError, OSError) as error:
            self._stale_files = True
            log.warning("rule files cannot be read", error=str(error))

    async def _take_up(self) -> None:
        """The groups that are declared; what is no longer ends."""
        files, _ = await self._store.scan(RuleFile, limit=FILES_MAX)
        now = self._clock.now()
        states, _ = await self._store.scan(RuleState)
        known = {state.key: state for state in states}
        before, self._groups = self._groups, {}
        for file in files:
            for group in file.groups:
                key = state_key(file.project, file.path, group.name)
                old, state = before.get(key), known.get(key)
                made = ruling.begun(file.project, file.path, group, old, state)
                self._groups[key] = made
                if old is None:
                    self._done_ms[key] = ruling.due_ms(key, group.interval_s, _ms(now))
                    if state is not None:
                        self._resuming.add(key)
        self._states = known
        for key, old in before.items():
            await self._end_series(old, self._groups.get(key), now)
        for key, state in known.items():
            if key not in self._groups:
                await self._end_alerts(state, now)

    async def _end_series(self, old: GroupStanding, new: GroupStanding | None, now: datetime) -> None:
        gone = ruling.orphans(old, new)
        round_ = ruling.readings(old, gone, [STALE] * len(gone), _ms(now))
        if round_ is not None:
            await self._metrics.append(round_)

    async def _end_alerts(self, state: RuleState, now: datetime) -> None:
        """Of a group that is no longer declared: its alerts are over; later its state goes as well."""
        alerts = tuple(left for alert in state.alerts if (left := ruling.ended_at(alert, now)))
        body = RuleState(
            project=state.project, file=state.file, group=state.group, evaluated_at=now, alerts=alerts
        )
        if alerts != state.alerts or not alerts:
            await self._commit(Write(kind="RuleState", key=state.key, body=body if alerts else None), now)

    # -- one evaluation ---------------------------------------------------------------------------

    def _due(self) -> list[tuple[str, int, int]]:
        """Groups whose instant has come: (key, the newest such instant, how many were missed before it)."""
        now_ms = _ms(self._clock.now())
        found = []
        for key, standing in self._groups.items():
            interval_s = standing.group.interval_s
            at_ms = ruling.due_ms(key, interval_s, now_ms)
            last_ms = self._done_ms.get(key, at_ms)
            if at_ms > last_ms and key not in self._busy:
                found.append((key, at_ms, (at_ms - last_ms) // round(interval_s * 1000) - 1))
        return found

    def _rest_s(self) -> float:
        now_ms = _ms(self._clock.now())
        waits = [REST_S]
        for key, standing in self._groups.items():
            interval_ms = round(standing.group.interval_s * 1000)
            if key not in self._busy:
                next_ms = max(ruling.due_ms(key, standing.group.interval_s, now_ms), self._done_ms[key])
                waits.append((next_ms + interval_ms - now_ms) / 1000)
        return max(0.001, min(waits))

    async def _in_turn(self, key: str, at_ms: int, missed: int) -> None:
        try:
            async with self._limiter:
                standing = self._groups.get(key)
                if standing is not None:
                    await self._evaluated(standing, at_ms, missed)
        except (PoiseError, OSError) as error:
            log.warning("a rule group was not evaluated", group=key, error=str(error))
        finally:
            self._done_ms[key] = max(at_ms, self._done_ms.get(key, at_ms))
            self._busy.discard(key)
            self._changed()

    async def _evaluated(self, standing: GroupStanding, at_ms: int, missed: int) -> None:
        key, at = standing.key, EPOCH + timedelta(milliseconds=at_ms)
        state = self._states.get(key)
        if key in self._resuming and state is not None:
            standing = ruling.resumed(standing, state, at)
        asked = EvaluateRules(
            file=standing.file,
            group=standing.group,
            at_ms=at_ms,
            memories=tuple(one.memory for one in standing.rules),
            external_url=self._url,
        )
        try:
            done = await self._evaluate(asked, min(SECONDS_MAX, max(1.0, standing.group.interval_s)))
            after = ruling.evaluated(standing, done, at, await self._place(standing.project), missed)
            after = await self._appended(after, done)
        except (PoiseError, OSError) as error:
            self._keep(ruling.failed(standing, told(error), at, missed))
            log.warning("a rule group was not evaluated", group=standing.group.name, error=str(error))
            return
        written = ruling.state_of(after, state, at)
        if written is not None:
            await self._commit(Write(kind="RuleState", key=key, body=written), self._clock.now())
            self._states[key] = written
        self._resuming.discard(key)
        self._keep(after)

    def _keep(self, standing: GroupStanding) -> None:
        """Unless its file was changed meanwhile: then what is new begins from what was before."""
        now = self._groups.get(standing.key)
        if now is not None and now.group == standing.group:
            self._groups[standing.key] = standing
        elif now is not None:
            self._groups[standing.key] = ruling.begun(now.project, now.file, now.group, standing, None)

    async def _appended(self, standing: GroupStanding, done: RulesEvaluated) -> GroupStanding:
        round_ = ruling.round_of(standing, done)
        if round_ is None:
            return standing
        refused = (await self._metrics.append(round_)).refused
        return ruling.refused(standing, _told(refused)) if refused else standing

    async def _place(self, name: str) -> Place:
        project, _ = await self._store.get(Project, name)
        services, _ = await self._store.scan(Service, f"{name}/")
        return Place(
            project=name,
            environments=project.environments if project is not None else ("production",),
            services={f"{one.environment}/{one.name}" for one in services},
        )

    async def _commit(self, write: Write, now: datetime) -> None:
        await self._store.commit(Transaction(at=now, writes=[write], fence=self._fence()))


def _told(refused: tuple[Refusal, ...]) -> str:
    return ", ".join(f"{one.count} series were not kept ({one.reason})" for one in refused)


def _ms(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)
