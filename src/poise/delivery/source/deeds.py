"""Fetching what a forge told of: the remote's branch becomes the hosted one's, and source looks again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import anyio.to_thread

from poise.engine.controller import Dropped
from poise.model.acts import FetchBranch
from poise.model.exchange import Hook
from poise.ports.artifacts import Mirrors
from poise.ports.store import Store


class Told(Protocol):
    """Who pushed, before the project is looked at."""

    def pushed(self, project: str, user: str, *, trusted: bool = True, branch: str = "") -> None: ...


class BranchFetcher:
    """Performs ``FetchBranch``. Absolute: fetched twice, the branch is where the remote's is."""

    def __init__(
        self,
        store: Store,
        mirrors: Mirrors,
        credential: Callable[[Hook], str],
        source: Told,
        wake: Callable[[str], None],
    ) -> None:
        self._store = store
        self._mirrors = mirrors
        self._credential = credential
        self._source = source
        self._wake = wake

    async def perform(self, act: object, intent_key: str, fence: int, now: object) -> str:
        """Fetch by the hook as it stands now; one that is gone is followed no more."""
        assert isinstance(act, FetchBranch)
        hook, _ = await self._store.get(Hook, act.hook)
        if hook is None or not hook.remote:
            raise Dropped(f"the hook {act.hook} has no remote any more")
        self._source.pushed(hook.project, act.pushed_by, branch=act.branch)
        head = await anyio.to_thread.run_sync(
            self._mirrors.fetch, hook.project, hook.remote, act.branch, self._credential(hook)
        )
        self._wake(hook.project)
        return f"{act.branch} of {hook.project} is at {head[:12]}"
