"""The house's own limit: of what ended, the output written longest ago goes first.

A file that lives is trimmed by the keeper; this one removes whole files of replicas and runs that are over,
once all output takes more than the house may keep.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import anyio
import structlog
from msgspec import Struct

from poise.model.delivery import Run
from poise.model.fleet import Replica
from poise.model.output import HOUSE_LOG_BYTES
from poise.ports.clock import Clock
from poise.ports.store import Store

PERIOD_S: Final = 60.0
YOUNG_S: Final = 3_600.0
"""What was written to within this time is left: it may be of somebody who is not on record yet."""
_BLOCK_BYTES: Final = 512
log = structlog.get_logger()


class Held(Struct, frozen=True, kw_only=True):
    """One file of output with what lies beside it: its bytes on disk and when it was last written."""

    path: Path
    size_bytes: int
    written_at: float


class OutputTending:
    """Looks once a minute; in a thread, as a house may have thousands of files."""

    def __init__(self, data: Path, store: Store, clock: Clock, limit_bytes: int = HOUSE_LOG_BYTES) -> None:
        self._logs, self._store, self._clock, self._limit_bytes = data / "logs", store, clock, limit_bytes

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                gone = await self.once()
                if gone:
                    log.info("output of what ended was removed", files=len(gone), limit=self._limit_bytes)
            except OSError as error:
                log.warning("old output cannot be removed", error=str(error))
            await self._clock.sleep(PERIOD_S)

    async def once(self) -> list[Path]:
        """Remove what is over the limit; the files that went."""
        live = await self._live()
        old = self._clock.now().timestamp() - YOUNG_S
        return await anyio.to_thread.run_sync(trimmed, self._logs, live, old, self._limit_bytes)

    async def _live(self) -> frozenset[str]:
        """Beginnings of paths below ``logs/`` of replicas that are wanted and runs under way."""
        live, after = set[str](), ""
        while rows := (await self._store.scan(Replica, after=after))[0]:
            live.update(f"{one.service}/{one.rollout}-{one.index}.log" for one in rows)
            after = rows[-1].key
        after = ""
        while runs := (await self._store.scan(Run, after=after))[0]:
            live.update(f"runs/{one.key}/" for one in runs if not one.state.is_final)
            after = runs[-1].key
        return frozenset(live)


def trimmed(logs: Path, live: frozenset[str], before: float, limit_bytes: int) -> list[Path]:
    """Remove the oldest files of ``logs`` that are over, written before ``before``, until all fits."""
    files = sorted(held(logs), key=lambda one: one.written_at)
    total, gone = sum(one.size_bytes for one in files), list[Path]()
    for one in files:
        if total <= limit_bytes:
            break
        name = str(one.path.relative_to(logs))
        if one.written_at > before or _is_live(name, live):
            continue
        for path in (one.path, Path(f"{one.path}.index")):
            path.unlink(missing_ok=True)
        total -= one.size_bytes
        gone.append(one.path)
    return gone


def held(logs: Path) -> Iterator[Held]:
    """Every file of a replica or a step, at least one folder down; the house's own logs stand above."""
    for folder, _, names in os.walk(logs):
        if Path(folder) == logs:
            continue
        for name in names:
            if ".log" not in name or name.endswith((".index", ".new")):
                continue
            path = Path(folder, name)
            try:
                about = path.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it went meanwhile
            size_bytes = about.st_blocks * _BLOCK_BYTES
            yield Held(path=path, size_bytes=size_bytes + _index_bytes(path), written_at=about.st_mtime)


def _index_bytes(path: Path) -> int:
    try:
        return path.with_name(f"{path.name}.index").stat().st_size
    except FileNotFoundError:
        return 0


def _is_live(name: str, live: frozenset[str]) -> bool:
    parts = name.split("/")
    return name in live or (parts[0] == "runs" and f"{'/'.join(parts[:3])}/" in live)
