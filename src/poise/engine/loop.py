"""Look, decide, record, perform; again.

Two halves: ``tick`` lets every controller whose time has come decide and records its decision in one
transaction; ``perform`` does what the outbox holds. ``run`` drives both on one event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import anyio
import structlog
from anyio.abc import TaskGroup

from poise.engine import limits
from poise.engine.controller import Again, Controller, Dropped, Performer
from poise.engine.scheduler import Scheduler
from poise.model.errors import PoiseError
from poise.model.record import Decision, Ref
from poise.ports.clock import Clock
from poise.ports.store import IntentState, Lease, Stale, Store, StoredIntent, Transaction

log = structlog.get_logger()

_RENEW_BELOW_S = limits.LEASE_TTL_S - limits.LEASE_RENEW_S


def crash(_what: str, mistake: Exception) -> None:
    """A mistake of our own ends the process: right in a test and in the simulation."""
    raise mistake


def contain(what: str, mistake: Exception) -> None:
    """A mistake of our own stays with the key it is about: one room's fault must not stop every heal."""
    log.error("a mistake of Poise", what=what, exc_info=mistake)


class Loop:
    """The one loop of the control process. Acts only while it holds the lease.

    ``on_mistake`` is told of an exception that no error tree foresees: ``crash`` or ``contain``.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        controllers: Sequence[Controller],
        performers: Mapping[type, Performer],
        holder: str,
        resync_s: float = limits.RESYNC_S,
        on_mistake: Callable[[str, Exception], None] = crash,
    ) -> None:
        self._store = store
        self._clock = clock
        self._controllers = {controller.name: controller for controller in controllers}
        self._performers = performers
        self._holder = holder
        self._resync_s = resync_s
        self._resync_at: datetime | None = None
        self._scheduler = Scheduler()
        self._on_mistake = on_mistake
        self._performing: dict[str, type] = {}
        self._claimed_at: datetime | None = None
        self._changed: Callable[[], None] = lambda: None
        self.lease: Lease | None = None
        self.last_error: str = ""
        store.subscribe(self._written)

    # -- deciding ---------------------------------------------------------------------------------

    async def lead(self) -> bool:
        """Take or renew the lease; whether this loop leads. A new leader looks at everything."""
        now = self._clock.now()
        before = self.lease
        if before is not None and (before.expires_at - now).total_seconds() > _RENEW_BELOW_S:
            return True
        self.lease = await self._store.acquire("leader", self._holder, now, limits.LEASE_TTL_S)
        if self.lease is not None and (before is None or before.token != self.lease.token):
            await self.resync(now)
        return self.lease is not None

    async def resync(self, now: datetime) -> None:
        """Look at every key of every controller: what is, not what was told; again in ``resync_s``."""
        self._resync_at = now + timedelta(seconds=self._resync_s)
        for controller in self._controllers.values():
            for key in await controller.keys():
                self._scheduler.wake((controller.name, key), now)

    def wake(self, controller: str, key: str, at: datetime | None = None) -> None:
        """Something outside changed that concerns ``key`` of ``controller``."""
        self._scheduler.wake((controller, key), at or self._clock.now())
        self._changed()

    async def tick(self, now: datetime) -> int:
        """Let every due controller decide once; the number of decisions that wrote something."""
        if self._resync_at is not None and now >= self._resync_at:
            await self.resync(now)
        wrote = 0
        for name, key in self._scheduler.due(now):
            wrote += await self._decide(self._controllers[name], key, now)
        return wrote

    async def _decide(self, controller: Controller, key: str, now: datetime) -> bool:
        for _ in range(limits.CONFLICT_RETRIES):
            try:
                decision = await controller.look(key, now)
                await self._record(decision, now)
            except Stale:
                continue
            except (PoiseError, OSError) as error:
                self._fault(controller.name, key, now, error)
                return False
            except Exception as error:
                self._on_mistake(f"{controller.name} {key}", error)
                self._fault(controller.name, key, now, error, limits.MISTAKE_PAUSE_S)
                return False
            if decision.wake_at is not None:
                self._scheduler.wake((controller.name, key), decision.wake_at)
            return not decision.is_empty
        self._scheduler.wake((controller.name, key), now + timedelta(seconds=limits.CONFLICT_PAUSE_S))
        return False

    async def _record(self, decision: Decision, now: datetime) -> None:
        if decision.is_empty:
            return
        assert self.lease is not None, "only the leader records decisions"
        await self._store.commit(
            Transaction(
                at=now,
                reads=decision.reads,
                writes=decision.writes,
                events=decision.events,
                intents=decision.intents,
                fence=self.lease.token,
                forgets=decision.forgets,
                erases=decision.erases,
            )
        )

    def _fault(
        self,
        controller: str,
        key: str,
        now: datetime,
        error: Exception,
        pause_s: float = limits.FAULT_PAUSE_S,
    ) -> None:
        """The world failed under a look: say so once and look again soon."""
        self.last_error = f"{controller} {key}: {error}"
        log.warning("look failed", controller=controller, key=key, error=str(error))
        self._scheduler.wake((controller, key), now + timedelta(seconds=pause_s))

    def _written(self, refs: Sequence[Ref], _sequence: int) -> None:
        now = self._clock.now()
        for ref in refs:
            for controller in self._controllers.values():
                woken = controller.wakes(ref) or ()
                for key in (woken,) if isinstance(woken, str) else woken:
                    self._scheduler.wake((controller.name, key), now)
        self._changed()

    # -- doing ------------------------------------------------------------------------------------

    async def claim(self, now: datetime) -> list[StoredIntent]:
        """Pending intents that nobody is performing; the caller must ``perform`` each.

        No kind of act takes every place: what waits for a hung receiver does not delay a heal.
        """
        self._claimed_at = now
        taken = Counter(self._performing.values())
        free = []
        for stored in await self._store.pending(now, limits.INTENT_BATCH):
            act = type(stored.intent.act)
            if stored.intent.key in self._performing or taken[act] >= limits.INTENT_CONCURRENCY_PER_ACT:
                continue
            if taken.total() >= limits.INTENT_CONCURRENCY:
                break
            taken[act] += 1
            free.append(stored)
        self._performing.update({stored.intent.key: type(stored.intent.act) for stored in free})
        return free

    async def perform(self, stored: StoredIntent) -> None:
        """Do one intent: re-check its guards, perform, record the outcome.

        When the outcome cannot be recorded (another leads, the disk is full) the intent stays pending:
        whoever leads does it again, which is harmless.
        """
        key = stored.intent.key
        try:
            if self.lease is not None:
                await self._perform(stored, self.lease.token)
        except PoiseError as error:
            self.last_error = f"{key}: {error}"
            log.warning("outcome not recorded", intent=key, error=str(error))
            await self._clock.sleep(limits.FAULT_PAUSE_S)
        finally:
            self._performing.pop(key, None)
            self._changed()

    async def _perform(self, stored: StoredIntent, fence: int) -> None:
        key = stored.intent.key
        try:
            if not await self._store.unchanged(stored.intent.guards):
                raise Dropped("what it was decided from has changed")
            performer = self._performers[type(stored.intent.act)]
            outcome = await performer.perform(stored.intent.act, key, fence, self._clock.now())
        except Dropped as dropped:
            await self._store.settle(key, IntentState.DROPPED, str(dropped), fence=fence)
        except (Again, PoiseError, OSError) as error:
            await self._retry(stored, error, fence)
        except Exception as mistake:
            self._on_mistake(key, mistake)
            await self._retry(
                stored, Again(f"a mistake of Poise: {mistake!r}", limits.MISTAKE_PAUSE_S), fence
            )
        else:
            await self._store.settle(key, IntentState.DONE, outcome, fence=fence)

    async def _retry(self, stored: StoredIntent, error: Exception, fence: int) -> None:
        key = stored.intent.key
        if stored.attempts + 1 >= limits.INTENT_ATTEMPTS and not isinstance(error, Again):
            log.warning("intent failed", intent=key, error=str(error))
            await self._store.settle(key, IntentState.FAILED, str(error), fence=fence)
            return
        delay_s = error.delay_s if isinstance(error, Again) else min(30.0, 0.5 * 2**stored.attempts)
        retry_at = self._clock.now() + timedelta(seconds=delay_s)
        await self._store.settle(key, IntentState.PENDING, str(error), retry_at=retry_at, fence=fence)

    # -- driving ----------------------------------------------------------------------------------

    async def next_at(self) -> datetime | None:
        """When there is next something to do that is not being done already.

        Counted from the last claim: what fell due since then was not seen by it.
        """
        later = await self._store.next_intent_at(self._claimed_at or self._clock.now())
        return min((at for at in (self._scheduler.next_at(), later, self._resync_at) if at), default=None)

    async def run(self) -> None:
        """Drive until cancelled: one event, one heap, no polling.

        A store that does not answer (a full disk) stops decisions, not the process: it goes on when the
        store does.
        """
        async with anyio.create_task_group() as group:
            while True:
                changed = anyio.Event()
                self._changed = changed.set
                try:
                    await self._turn(group, changed)
                except PoiseError as error:
                    self.last_error = str(error)
                    log.warning("the store does not answer", error=str(error))
                    await self._clock.sleep(limits.FAULT_PAUSE_S)

    async def _turn(self, group: TaskGroup, changed: anyio.Event) -> None:
        if not await self.lead():
            await self._clock.sleep(limits.LEASE_RENEW_S)
            return
        now = self._clock.now()
        await self.tick(now)
        for stored in await self.claim(now):
            group.start_soon(self.perform, stored)
        await self._rest(changed)

    async def _rest(self, changed: anyio.Event) -> None:
        """Sleep until told, until the next wake-up, or until the lease wants renewing."""
        at = await self.next_at()
        wait_s = limits.LEASE_RENEW_S
        if at is not None:
            wait_s = min(wait_s, max(0.0, (at - self._clock.now()).total_seconds()))
        with anyio.move_on_after(wait_s):
            await changed.wait()
