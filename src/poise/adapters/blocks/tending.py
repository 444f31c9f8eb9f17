"""What is done to the file in quiet moments: sealing rounds, joining small blocks, thinning, forgetting.

Each step reads through a connection of its own, works outside any lock, and hands the writer one short
transaction that replaces what was read by what came of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.adapters.blocks import schema, sealing
from poise.adapters.blocks.assembly import Part, joined
from poise.adapters.blocks.head import Head, unpacked
from poise.adapters.blocks.index import Ids
from poise.model.samples import NAME, Labels

DAY_MS = 86_400_000
EVER = 1 << 62
COUNTERS = ("_total", "_count", "_sum", "_bucket")  # how names of counters end, by convention
FREE_SHARE = 0.25  # of the file: past it free pages are given back ...
FREE_PAGES = 1024  # ... once there are so many


class Retention(Struct, frozen=True, kw_only=True):
    """How long samples are kept, and how finely. Ages in days of sample time."""

    raw_days: float = 15.0
    step_ms: int = 120_000  # of older samples; two of them lie in a window of five minutes
    days: float = 400.0
    seal_samples: int = 1_000_000  # rounds are sealed past this many ...
    seal_rows: int = 100  # ... once each series has about so many
    seal_span_ms: int = 7_200_000  # ... or past this time
    join_samples: int = 8_000_000  # a joined block has at most so many
    join_span_ms: int = DAY_MS


class Entry(NamedTuple):
    """A block, without what is in it."""

    id: int
    start_ms: int
    end_ms: int
    step_ms: int
    samples: int


class Change(NamedTuple):
    """One transaction: rows of head up to one and blocks that go, and the block that comes, with its step."""

    head: int = 0
    blocks: tuple[int, ...] = ()
    made: sealing.Sealed | None = None
    step_ms: int = 0


class Metrics:
    """What the names of metrics tell, by number of series."""

    def __init__(self, labels: Sequence[Labels | None]) -> None:
        numbers: dict[str, int] = {}
        names = [dict(one or ()).get(NAME, "") for one in labels]
        self._codes = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int32)
        self._counts = np.array([name.endswith(COUNTERS) for name in numbers])

    def of(self, ids: Ids) -> NDArray[np.int32]:
        """Equal where the metric's name is equal."""
        found: NDArray[np.int32] = self._codes[ids]
        return found

    def counts(self, ids: Ids) -> NDArray[np.bool_]:
        """Which are counters, by their name."""
        found: NDArray[np.bool_] = self._counts[self._codes[ids]]
        return found


def sealed(connection: sqlite3.Connection) -> Change | None:
    """All rounds as one block; nothing when there are none."""
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM head").fetchone()
    if not last:
        return None
    layouts = {
        number: np.frombuffer(ids, "<i4") for number, ids in connection.execute("SELECT id, ids FROM layout")
    }
    widths = {number: len(ids) for number, ids in layouts.items()}
    head = Head()
    for (body,) in connection.execute("SELECT body FROM head WHERE id <= ? ORDER BY id", (last,)):
        head.put(unpacked(body, widths), layouts)
    block, ids = joined(list(head.parts(None, -EVER, EVER)))
    del head
    return Change(head=last, made=sealing.seal(block, ids, Metrics(_labels(connection)).of(ids)))


def entries(connection: sqlite3.Connection) -> list[Entry]:
    """All blocks by time."""
    rows = connection.execute(
        "SELECT id, start_ms, end_ms, step_ms, samples FROM block ORDER BY start_ms, id"
    )
    return [Entry(*row) for row in rows]


def joinable(blocks: Iterable[Entry], retention: Retention) -> list[Entry]:
    """The first run of small neighbours that are better one block; empty when there is none."""
    run: list[Entry] = []
    for one in blocks:
        fits = (
            run
            and one.step_ms == run[0].step_ms
            and sum(each.samples for each in run) + one.samples <= retention.join_samples
            and max(one.end_ms, run[-1].end_ms) - run[0].start_ms <= retention.join_span_ms
        )
        if fits:
            run.append(one)
        elif len(run) >= 4:
            break
        else:
            run = [one]
    return run if len(run) >= 4 else []


def rewritten(connection: sqlite3.Connection, blocks: Sequence[Entry], step_ms: int = 0) -> Change:
    """These blocks as one, thinned to a step when one is given."""
    parts: list[Part] = []
    for one in blocks:
        (body,) = connection.execute("SELECT directory FROM block WHERE id = ?", (one.id,)).fetchone()
        first, after = one.id << schema.PLACES, (one.id + 1) << schema.PLACES
        chunks = {
            key - first: sealing.opened(chunk)
            for key, chunk in connection.execute(
                "SELECT id, body FROM chunk WHERE id >= ? AND id < ?", (first, after)
            )
        }
        directory = sealing.Directory(body)
        parts += directory.parts(np.arange(len(directory.ids)), chunks.__getitem__, -EVER, EVER)
    block, ids = joined(parts)
    metrics = Metrics(_labels(connection))
    if step_ms:
        block = sealing.thinned(block, step_ms, metrics.counts(ids))
    made = sealing.seal(block, ids, metrics.of(ids))
    return Change(blocks=tuple(one.id for one in blocks), made=made, step_ms=step_ms or blocks[0].step_ms)


def apply(connection: sqlite3.Connection, change: Change) -> None:
    """The replacement, within the writer's transaction."""
    connection.execute("DELETE FROM head WHERE id <= ?", (change.head,))
    for block in change.blocks:
        first = block << schema.PLACES
        connection.execute(
            "DELETE FROM chunk WHERE id >= ? AND id < ?", (first, (block + 1) << schema.PLACES)
        )
        connection.execute("DELETE FROM block WHERE id = ?", (block,))
    if change.made is not None:
        made = change.made
        number = connection.execute(
            "INSERT INTO block (start_ms, end_ms, step_ms, samples, directory) VALUES (?, ?, ?, ?, ?)",
            (made.start_ms, made.end_ms, change.step_ms, made.samples, made.directory),
        ).lastrowid
        assert number is not None
        connection.executemany(
            "INSERT INTO chunk (id, body) VALUES (?, ?)",
            [(number << schema.PLACES | place, body) for place, body in enumerate(made.chunks)],
        )


def forgotten(connection: sqlite3.Connection) -> list[tuple[int, bytes | None]]:
    """Runs of series of which some are in no block, no round and no layout: their new bodies (None: all)."""
    used: set[int] = set()
    for (ids,) in connection.execute("SELECT ids FROM layout"):
        used.update(np.frombuffer(ids, "<i4").tolist())
    for (body,) in connection.execute("SELECT directory FROM block"):
        used.update(sealing.Directory(body).ids.tolist())
    found: list[tuple[int, bytes | None]] = []
    newest = connection.execute("SELECT max(first) FROM series").fetchone()[0]
    for first, body in connection.execute("SELECT first, body FROM series ORDER BY first").fetchall():
        labels = schema.series_of(body)
        kept = [one if first + place in used else None for place, one in enumerate(labels)]
        if kept != labels:
            whole = first == newest or any(one is not None for one in kept)  # numbers are never used twice
            found.append((first, schema.series_body(kept) if whole else None))
    return found


def give_back(connection: sqlite3.Connection) -> bool:
    """Some free pages, when a good part of the file is free; whether there were any to give."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if free <= max(FREE_PAGES, FREE_SHARE * pages):
        return False
    connection.execute(f"PRAGMA incremental_vacuum({FREE_PAGES})").fetchall()
    return True


def _labels(connection: sqlite3.Connection) -> list[Labels | None]:
    labels: list[Labels | None] = []
    for first, body in connection.execute("SELECT first, body FROM series ORDER BY first"):
        labels.extend([None] * (first - len(labels)))
        labels.extend(schema.series_of(body))
    return labels
