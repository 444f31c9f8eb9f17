"""The scorecard's shell: it follows the journal and computes on request; it keeps nothing beyond memory."""

from __future__ import annotations

from datetime import datetime

import anyio
import anyio.to_thread

from poise.balance.scorecard.decide import Scorecard, decide, within
from poise.balance.scorecard.deployments import Deployment
from poise.balance.scorecard.ledger import Ledger
from poise.model.balance import Budget
from poise.ports.store import LIST_LIMIT, Store


class Desk:
    """The ledger of one house: it follows the journal and is made anew after a restart."""

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._lock = anyio.Lock()

    async def card(
        self, store: Store, scope: str, prefix: str, end: datetime, window_s: float
    ) -> tuple[Scorecard, list[Deployment]]:
        """The scorecard of every service under a key prefix, and the deployments of its window."""
        budgets = await _budgets(store, prefix)

        def compute() -> tuple[Scorecard, list[Deployment]]:
            ledger, project = self._ledger, prefix.split("/", 1)[0]
            keys = [key for key in ledger.services(project) if f"{key}/".startswith(prefix)]
            every = [one for key in keys for one in ledger.deployments(key)]
            made = decide(scope, every, end, window_s, budgets, ledger.spent(prefix))
            return made, within(every, made.start, made.end)

        async with self._lock:
            await self._follow(store)
            return await anyio.to_thread.run_sync(compute)

    async def _follow(self, store: Store) -> None:
        while page := await store.journal(after=self._ledger.sequence, limit=LIST_LIMIT):
            self._ledger.add(page)
            if len(page) < LIST_LIMIT:
                return


async def _budgets(store: Store, prefix: str) -> list[Budget]:
    found: list[Budget] = []
    while True:
        page, _ = await store.scan(Budget, prefix, after=found[-1].key if found else "")
        found += page
        if len(page) < LIST_LIMIT:
            return found
