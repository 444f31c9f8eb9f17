"""How things are kept: references, objects, events, intents and the decision that joins them.

Keys read ``project/environment/service/...``; a kind and a key name one object.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct


class Ref(Struct, frozen=True):
    """One object as it was read: ``generation`` 0 means that it was absent."""

    kind: str
    key: str
    generation: int


class PrefixRef(Struct, frozen=True):
    """All objects of a kind under a key prefix as they were read.

    ``sequence`` is the highest write sequence under the prefix, tombstones included, so that a new or
    deleted object changes it; 0 means that nothing was ever there.
    """

    kind: str
    prefix: str
    sequence: int


Read = Ref | PrefixRef


class Event(Struct, frozen=True, kw_only=True):
    """Why something happened, for the journal, the pages and the post-mortem.

    ``type`` is a CDEvents 0.5.1 type where one exists, else ``dev.poise.*``; ``subject`` is the key of
    the object it is about; ``summary`` is one plain sentence; ``data`` holds its numbers and evidence.
    """

    type: str
    subject: str
    summary: str
    actor: str = "poise"
    data: dict[str, Any] = {}


class Recorded(Struct, frozen=True, kw_only=True):
    """An event in the journal: its sequence, instant and place in the hash chain."""

    sequence: int
    at: datetime
    event: Event
    previous_hash: str
    hash: str


GENESIS_HASH = "0" * 64


def chain_hash(previous_hash: str, sequence: int, at: datetime, event: Event) -> str:
    """The hash that seals an event to all events before it: SHA-256 over canonical JSON.

    Keys are sorted, so equal events give equal bytes whatever wrote them.
    """
    plain = msgspec.to_builtins((previous_hash, sequence, at, event), str_keys=True)
    body = msgspec.json.encode(plain, order="sorted")
    return sha256(body).hexdigest()


class Write(Struct, frozen=True, kw_only=True):
    """The next state of one object; ``body`` None deletes it (a tombstone keeps its generation)."""

    kind: str
    key: str
    body: Struct | None


class Intent(Struct, frozen=True, kw_only=True):
    """An effect to perform after the transaction that explains it.

    ``key`` is stable: asked for twice, it is one effect (``rollout/acme/production/shop/12/step/3``).
    ``act`` is a tagged record from ``model.acts``. ``guards`` are re-checked when it is performed: if
    one has changed, the intent is dropped, and the level-triggered loop decides afresh.
    """

    key: str
    act: Struct
    guards: tuple[Read, ...] = ()
    not_before: datetime | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """What a controller wants: data only. Written in one transaction that re-checks ``reads``.

    ``forgets`` are keys of ended intents, ``erases`` objects, that go without a trace.
    """

    reads: tuple[Read, ...] = ()
    writes: tuple[Write, ...] = ()
    intents: tuple[Intent, ...] = ()
    events: tuple[Event, ...] = ()
    wake_at: datetime | None = None
    forgets: tuple[str, ...] = ()
    erases: tuple[Ref, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write (only, perhaps, a time to look again)."""
        return not (self.writes or self.intents or self.events or self.forgets or self.erases)
