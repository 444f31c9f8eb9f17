"""The control process, which kills itself at a told boundary of an effect. Run as a script, never imported.

POISE_BENCH_FOLDER holds ``halt.json``, what to do, and ``effects.jsonl``, what was done. The product knows
nothing of it: the loop's performers are wrapped from here.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from poise.cli.__main__ import main
from poise.engine.controller import Performer
from poise.engine.loop import Loop
from poise.model import acts
from poise.ports.store import StoredIntent

FOLDER = Path(os.environ["POISE_BENCH_FOLDER"])
WATCHED = (acts.VerifyRelease, acts.SpawnReplica, acts.ApplyTraffic, acts.StopReplica)


class Boundaries:
    """Counts the effects of each kind since ``halt.json`` was last written, and dies where it says.

    ``halt.json``: ``id``, ``act``, ``nth`` (from 1), ``boundary`` (before, after, recorded).
    """

    def __init__(self) -> None:
        self._order: dict[str, Any] = {}
        self._seen: dict[str, list[str]] = {}
        self.done: set[str] = set()

    def reach(self, boundary: str, act: object, key: str) -> None:
        """An effect is at this boundary."""
        order = json.loads((FOLDER / "halt.json").read_text())
        if order != self._order:
            self._order, self._seen = order, {}
        kind = type(act).__name__
        keys = self._seen.setdefault(kind, [])
        if key not in keys:
            keys.append(key)
        nth = keys.index(key) + 1
        with (FOLDER / "effects.jsonl").open("a") as file:
            said = {"id": order["id"], "act": kind, "nth": nth, "boundary": boundary, "key": key}
            file.write(json.dumps(said) + "\n")
        if (order["act"], order["nth"], order["boundary"]) == (kind, nth, boundary):
            if (FOLDER / "halted").exists():
                return  # once an order: what the next process does again is not counted from one
            (FOLDER / "halted").write_text(key)
            os.kill(os.getpid(), signal.SIGKILL)


BOUNDARIES = Boundaries()


class Halting:
    """A performer, with its boundaries told."""

    def __init__(self, inner: Performer) -> None:
        self._inner = inner

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """See ``Performer``."""
        BOUNDARIES.reach("before", act, intent_key)
        outcome = await self._inner.perform(act, intent_key, fence, now)
        BOUNDARIES.reach("after", act, intent_key)
        BOUNDARIES.done.add(intent_key)
        return outcome


class HaltingLoop(Loop):
    """The loop whose effects have boundaries."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        known: Mapping[type, Performer] = self._performers
        wrapped = {act: Halting(one) if act in WATCHED else one for act, one in known.items()}
        self._performers = wrapped

    async def _perform(self, stored: StoredIntent, fence: int) -> None:
        await super()._perform(stored, fence)
        if stored.intent.key in BOUNDARIES.done:
            BOUNDARIES.done.discard(stored.intent.key)
            BOUNDARIES.reach("recorded", stored.intent.act, stored.intent.key)


if __name__ == "__main__":
    import poise.app

    poise.app.Loop = HaltingLoop  # type: ignore[misc]
    main()
