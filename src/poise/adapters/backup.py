"""One file with everything that must not be lost: record, signals, traces, repositories, releases, keys.

A backup is taken while Poise runs: each database is copied in one transaction; repositories and releases
only grow. The key that seals secrets is left out: who finds a backup cannot open them, and who restores one
must have kept the key.
"""

from __future__ import annotations

import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio

from poise.adapters.sqlite.store import SqliteStore
from poise.adapters.telemetry import visit
from poise.adapters.telemetry.limits import FILE as TELEMETRY
from poise.adapters.telemetry.limits import WAL
from poise.engine.journal import ChainReport, verify
from poise.model.errors import Invalid, NotFound
from poise.spec.ingress import FILENAME as INGRESS

DATABASES = ("poise.db", "signals.db", "metrics.db")
FOLDERS = ("repos", "releases")
KEYS = ("token", "signing.key", "provenance.key")
SETTINGS = (INGRESS,)  # what it names (certificates and their keys) is not the installation's to keep


def back_up(data: Path, target: Path) -> ChainReport:
    """Write ``target`` (gzip tar, mode 0600) and return the report of the chain that is in it."""
    if not (data / "poise.db").exists():
        raise NotFound("POISE-E305", "there is no record to back up", where=str(data), mend="Run: poise up")
    beside = target.with_name(target.name + ".part")
    with tempfile.TemporaryDirectory(prefix="poise-backup-") as folder:
        copies = Path(folder)
        for name in DATABASES:
            if (data / name).exists():
                _copy(data / name, copies / name)
        visit.copy(data, copies / TELEMETRY)
        report = _chain(copies / "poise.db", None)
        beside.touch(mode=0o600)
        with tarfile.open(beside, "w:gz") as archive:
            for name in (*DATABASES, TELEMETRY, TELEMETRY + WAL):
                if (copies / name).exists():
                    archive.add(copies / name, name)
            for name in (*FOLDERS, *KEYS, *SETTINGS):
                if (data / name).exists():
                    archive.add(data / name, name)
    beside.rename(target)
    return report


def put_back(source: Path, data: Path | None, head: str | None) -> ChainReport:
    """Check a backup's chain (up to the noted ``head``) and, when whole, put it at ``data``.

    ``data`` None only checks. Nothing is left at ``data`` when the backup is not whole.
    """
    with _unpacked(source, data.parent if data else None) as folder:
        report = _chain(folder / "poise.db", head)
        if report.ok and data is not None:
            data.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path in sorted(folder.iterdir()):
                path.rename(data / path.name)
    return report


@contextmanager
def _unpacked(source: Path, beside: Path | None) -> Iterator[Path]:
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".poise-restore-", dir=beside) as folder:
        try:
            with tarfile.open(source, "r:gz") as archive:
                archive.extractall(folder, filter="data")  # refuses links and paths that leave the folder
        except (tarfile.TarError, EOFError, OSError) as error:
            raise Invalid(
                "POISE-E603", "the file is not a whole backup", where=str(source), why=str(error)
            ) from error
        if not (Path(folder) / "poise.db").exists():
            raise Invalid("POISE-E603", "the file is not a backup of Poise", where=str(source))
        yield Path(folder)


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as read:
        read.execute("VACUUM INTO ?", (str(target),))


def _chain(path: Path, head: str | None) -> ChainReport:
    async def walk() -> ChainReport:
        store = SqliteStore(path)
        try:
            return await verify(store, head)
        finally:
            await store.close()

    return anyio.run(walk)
