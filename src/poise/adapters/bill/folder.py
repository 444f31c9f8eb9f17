"""Lockfiles of a release folder to its bill of materials, kept beside it: ``releases/<hex>.cdx.json``."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from poise import __version__
from poise.adapters.artifacts import ALGORITHM
from poise.adapters.bill.cyclonedx import document
from poise.adapters.bill.readers import Component, Reader, Unreadable, reader_of
from poise.model.attestation import Bill, Lockfile
from poise.model.errors import NotFound

LOCKFILES_MAX: Final = 100
LOCKFILE_BYTES: Final = 32 * 2**20
DEPTH_MAX: Final = 8
SUFFIX: Final = ".cdx.json"
NOT_OURS: Final = frozenset({"node_modules", "site-packages", "dist-packages", "vendor", ".tox", ".nox"})
"""Folders of installed packages: their own lockfiles say nothing of this release."""


class FolderBills:
    """See ``ports.artifacts.Bills``. ``make`` reads files: call it in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def make(self, digest: str) -> Bill:
        """See the port. Cost: one walk over the folders, one read of each lockfile."""
        folder = self._root / digest.removeprefix(ALGORITHM)
        lockfiles: list[Lockfile] = []
        found: dict[str, tuple[Component, ...]] = {}
        for path, ecosystem, read in _lockfiles(folder):
            one, found[path] = _looked(folder / path, path, ecosystem, read)
            lockfiles.append(one)
        body = document(digest, found, __version__)
        self._write(digest, body)
        every = {one for components in found.values() for one in components}
        return Bill(
            sha256=hashlib.sha256(body).hexdigest(),
            components=dict(sorted(Counter(one.ecosystem for one in every).items())),
            lockfiles=tuple(lockfiles),
        )

    def read(self, digest: str) -> bytes:
        """See the port."""
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError:
            raise NotFound(
                "POISE-V301", f"there is no bill of materials of {digest[:80]}", where=str(self._root),
                why="It was released before Poise made any, or it is an image, which is not looked into.",
                mend="Push its commit again: a new release has one.",
            ) from None  # fmt: skip

    def _path(self, digest: str) -> Path:
        return self._root / (Path(digest.removeprefix(ALGORITHM)).name + SUFFIX)

    def _write(self, digest: str, body: bytes) -> None:
        target = self._path(digest)
        beside = target.with_name(f".new-{target.name}")
        with beside.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(target)


def _lockfiles(root: Path) -> Iterator[tuple[str, str, Reader]]:
    """(path, ecosystem, reader), nearest first, at most ``LOCKFILES_MAX``; links are not followed."""
    waiting, count = [(root, "", 0)], 0
    while waiting:
        here, under, depth = waiting.pop(0)
        with os.scandir(here) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                is_environment = (Path(entry.path) / "pyvenv.cfg").exists()
                if depth < DEPTH_MAX and entry.name not in NOT_OURS and not is_environment:
                    waiting.append((Path(entry.path), f"{under}{entry.name}/", depth + 1))
                continue
            known = reader_of(entry.name)
            if known is not None and stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                yield f"{under}{entry.name}", *known
                count += 1
                if count == LOCKFILES_MAX:
                    return


def _looked(path: Path, name: str, ecosystem: str, read: Reader) -> tuple[Lockfile, tuple[Component, ...]]:
    """The lockfile as it is told of, and its components; none where it cannot be read."""
    with path.open("rb") as file:
        body = file.read(LOCKFILE_BYTES + 1)
    sha256 = hashlib.sha256(body).hexdigest()
    try:
        if len(body) > LOCKFILE_BYTES:
            raise Unreadable(f"it is over {LOCKFILE_BYTES} bytes")
        pinned = read(body.decode())
    except UnicodeDecodeError:
        return Lockfile(path=name, ecosystem=ecosystem, sha256=sha256, problem="it is not UTF-8 text"), ()
    except Unreadable as error:
        return Lockfile(path=name, ecosystem=ecosystem, sha256=sha256, problem=str(error)), ()
    made = Lockfile(
        path=name,
        ecosystem=ecosystem,
        sha256=sha256,
        components=len(set(pinned.components)),
        unpinned=pinned.unpinned,
    )
    return made, pinned.components
