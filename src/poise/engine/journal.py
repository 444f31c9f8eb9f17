"""Whether the journal is whole: every event sealed to the one before."""

from __future__ import annotations

from msgspec import Struct

from poise.model.record import GENESIS_HASH, Recorded, chain_hash
from poise.ports.store import Store

PAGE = 1000


class ChainReport(Struct, frozen=True, kw_only=True):
    """What a walk over the chain found. ``broken_at`` is the first sequence that does not fit."""

    events: int
    head_hash: str
    broken_at: int | None = None
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether every event fits."""
        return self.broken_at is None


async def verify(store: Store, expected_head: str | None = None) -> ChainReport:
    """Walk the whole journal, oldest first. O(events).

    An edit, deletion, insertion or reordering breaks a link. A cut tail does not: for that give the
    ``expected_head`` noted elsewhere (a backup, a log).
    """
    head, count, seen_expected = GENESIS_HASH, 0, expected_head in (None, GENESIS_HASH)
    while page := await store.journal(after=count, limit=PAGE):
        for row in page:
            problem = _problem(row, head, count + 1)
            if problem:
                return ChainReport(events=count, head_hash=head, broken_at=count + 1, problem=problem)
            head, count = row.hash, count + 1
            seen_expected = seen_expected or head == expected_head
    if not seen_expected:
        return ChainReport(
            events=count, head_hash=head, broken_at=count + 1, problem="the noted head is not in the journal"
        )
    return ChainReport(events=count, head_hash=head)


def _problem(row: Recorded, head: str, sequence: int) -> str:
    if row.sequence != sequence:
        return f"event {sequence} is missing"
    if row.previous_hash != head:
        return f"event {sequence} does not follow the one before"
    if chain_hash(head, row.sequence, row.at, row.event) != row.hash:
        return f"event {sequence} was changed after it was written"
    return ""
