"""The shell of rules: reads where a group's alerts stand, decides. Keys are those of RuleState."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from poise.model.incident import Alert
from poise.model.record import Decision, Read, Ref
from poise.model.rules import RuleAlertState, RuleState
from poise.ports.store import Store
from poise.reliability.rules.decide import Seen, alert_key, decide

NAME: Final = "rules"
CHUNK: Final = 250  # alerts that one decision writes: what the writer holds the store for


class RulesController:
    """One key per group of rules that has alerts."""

    name = NAME

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keys(self) -> Iterable[str]:
        """Every group that has or had alerts."""
        states, _ = await self._store.scan(RuleState)
        return [state.key for state in states]

    def wakes(self, ref: Ref) -> str | None:
        """Where a group's alerts stand has changed."""
        return ref.key if ref.kind == "RuleState" else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Read and decide for one group; where much is to be written, some of it, and again at once."""
        state, ref = await self._store.get(RuleState, key)
        found: dict[str, Alert] = {}
        reads: list[Read] = [ref]
        for one in state.alerts if state is not None else ():
            if one.state is RuleAlertState.PENDING:
                continue
            known, alert_ref = await self._store.get(Alert, alert_key(one))
            reads.append(alert_ref)
            if known is not None:
                found[known.key] = known
        made = decide(Seen(state=state, alerts=found, reads=tuple(reads)), now)
        if len(made.writes) <= CHUNK:
            return made
        return Decision(reads=made.reads, writes=made.writes[:CHUNK], events=made.events[:CHUNK], wake_at=now)
