"""The four tables, whatever the store: event, object, intent, lease."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, Table, Text

METADATA = MetaData()

EVENT = Table(
    "event",
    METADATA,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("event_subject", "subject", "sequence"),
)

OBJECT = Table(
    "object",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("sequence", Integer, nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("body", LargeBinary),  # NULL: a tombstone
    Index("object_prefix", "kind", "key", "sequence"),
)

INTENT = Table(
    "intent",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("sequence", Integer, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", Text, nullable=False),
    Column("act", LargeBinary, nullable=False),
    Column("guards", LargeBinary, nullable=False),
    Column("outcome", Text, nullable=False),
    Index("intent_due", "state", "not_before"),
)

LEASE = Table(
    "lease",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", Integer, nullable=False),
    Column("expires_at", Text, nullable=False),
)
