"""The file: tables of the metrics store and how a connection is set up."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import cramjam
import msgspec

from poise.model.samples import Labels

PLACES = 20  # bits of a chunk's number within its block

# series: runs of labels by the number of the first; layout: which series a target's readings give
TABLES = """
CREATE TABLE IF NOT EXISTS series (first INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS layout (
    id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, ids BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS head (id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS block (
    id INTEGER PRIMARY KEY AUTOINCREMENT, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    step_ms INTEGER NOT NULL, samples INTEGER NOT NULL, directory BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS chunk (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS metadata (
    name TEXT PRIMARY KEY, kind TEXT NOT NULL, help TEXT NOT NULL, unit TEXT NOT NULL
) WITHOUT ROWID;
"""

_Run = list[tuple[tuple[str, str], ...] | None]


def writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes; a commit that returned survives power loss."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA journal_size_limit=4194304")
    connection.executescript(TABLES)
    return connection


def reader(path: Path) -> sqlite3.Connection:
    """A connection that can only read; the file must be there."""
    connection = sqlite3.connect(
        f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )
    connection.execute("PRAGMA query_only=1")
    connection.execute("PRAGMA mmap_size=268435456")
    return connection


def series_body(labels: Sequence[Labels | None]) -> bytes:
    """A run of series as it is stored."""
    return bytes(cramjam.zstd.compress(msgspec.msgpack.encode(list(labels))))


def series_of(body: bytes) -> list[Labels | None]:
    """The run again."""
    return msgspec.msgpack.decode(bytes(cramjam.zstd.decompress(body)), type=_Run)
