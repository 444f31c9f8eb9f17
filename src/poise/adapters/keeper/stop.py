"""The end of everything that the keeper runs, and of the keeper itself."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Final

import anyio

from poise.adapters.keeper.client import KeeperClient
from poise.model.errors import Unreachable

STOP_PATIENCE_S: Final = 30.0


def stop_workloads(data: Path) -> bool:
    """Stop everything the keeper runs, gently, and the keeper itself; returns once all have ended.

    False: no keeper ran. The keeper ends last, so its end is the end of all.
    """

    async def stop() -> int | None:
        client = KeeperClient(data, patience_s=0.5)
        try:
            keeper = await client.hello()
            ending = os.pidfd_open(keeper.pid)
            await client.shutdown(keeper.token, STOP_PATIENCE_S)
        except (Unreachable, ProcessLookupError):
            return None
        return ending

    ending = anyio.run(stop)
    if ending is None:
        return False
    select.select([ending], [], [], STOP_PATIENCE_S)
    os.close(ending)
    return True
