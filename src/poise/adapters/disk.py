"""The Disk port over the data folder: release folders against their digests, Envoy's files against hashes."""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from poise.adapters.artifacts import ALGORITHM, Found, digest_of, entry_of, walk
from poise.model.drift import DriftKind, Finding

ENTRIES_MAX: Final = 200_000  # of one release; a larger one is not looked at
NAMED_MAX: Final = 20  # files named of one release
WRITTEN: Final = "written.json"  # name -> the last two hashes that were written, newest last
MISSING: Final = "it is not there any more"


class DataDisk:
    """See ``ports.drift.Disk``. A release is read again only when a change time or a name in it is new."""

    def __init__(self, data: Path) -> None:
        self._releases = data / "releases"
        self._envoy = data / "envoy"
        self._whole: dict[str, str] = {}  # digest -> what its entries looked like when they fitted

    def releases(self, packed: Mapping[str, datetime]) -> list[Finding]:
        """See the port. Cost: one ``lstat`` per entry, and one read of every file of a release that moved."""
        self._whole = {digest: look for digest, look in self._whole.items() if digest in packed}
        return [finding for digest, at in packed.items() for finding in self._release(digest, at)]

    def _release(self, digest: str, packed_at: datetime) -> list[Finding]:
        root = self._releases / digest.removeprefix(ALGORITHM)
        if not root.is_dir():
            return [Finding(kind=DriftKind.RELEASE, subject=digest, what=f"release {digest[:19]}: {MISSING}")]
        found = list(walk(root, ENTRIES_MAX))
        if len(found) > ENTRIES_MAX:
            return []
        look = _look(found)
        if self._whole.get(digest) == look:
            return []
        if digest_of(sorted(entry_of(one) for one in found)) == digest:
            self._whole[digest] = look
            return []
        return _named(digest, root, found, packed_at)

    def traffic(self) -> list[Finding]:
        """See the port. What was never noted is not judged."""
        try:
            written = msgspec.json.decode((self._envoy / WRITTEN).read_bytes(), type=dict[str, list[str]])
        except (FileNotFoundError, msgspec.DecodeError):
            return []
        found = (self._proxy_file(name, hashes) for name, hashes in sorted(written.items()))
        return [finding for finding in found if finding is not None]

    def _proxy_file(self, name: str, hashes: list[str]) -> Finding | None:
        path = self._envoy / Path(name).name
        subject = f"envoy/{path.name}"
        try:
            body, seen = path.read_bytes(), path.lstat()
        except FileNotFoundError:
            return Finding(kind=DriftKind.TRAFFIC, subject=subject, what=f"{subject}: {MISSING}")
        if hashlib.sha256(body).hexdigest() in hashes:
            return None
        who, when = _owner(seen), datetime.fromtimestamp(seen.st_mtime, UTC)
        what = f"{subject} is not what Poise wrote; the next change of traffic writes it anew"
        return Finding(kind=DriftKind.TRAFFIC, subject=subject, what=what, by=who, at=when)


def note_written(folder: Path, name: str, body: bytes) -> None:
    """Note what is about to be written. The hash before stays, so a crash in between is no finding."""
    path = folder / WRITTEN
    try:
        written = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])
    except (FileNotFoundError, msgspec.DecodeError):
        written = {}
    written[name] = [*written.get(name, [])[-1:], hashlib.sha256(body).hexdigest()]
    beside = path.with_suffix(".new")
    beside.write_bytes(msgspec.json.encode(written))
    beside.rename(path)


def _named(digest: str, root: Path, found: list[Found], packed_at: datetime) -> list[Finding]:
    """The entries that changed since it was packed; a change time cannot be set back, unlike the other."""
    since = packed_at.timestamp()
    moved = [one for one in found if one[2].st_ctime > since and not stat.S_ISDIR(one[2].st_mode)]
    if not moved:  # something was taken away: its folder tells when
        folders = [("", str(root), root.lstat()), *(one for one in found if stat.S_ISDIR(one[2].st_mode))]
        moved = [one for one in folders if one[2].st_ctime > since] or folders[:1]
    moved.sort(key=lambda one: (one[2].st_ctime, one[0]))
    return [_file(digest, one, since) for one in moved[:NAMED_MAX]]


def _file(digest: str, one: Found, since: float) -> Finding:
    path, _, seen = one
    changed = seen.st_mtime if seen.st_mtime > since else seen.st_ctime
    where = f"{path or 'its folder'} of release {digest[:19]}"
    return Finding(
        kind=DriftKind.RELEASE,
        subject=digest,
        path=path,
        what=f"{where} is not what was packed",
        by=_owner(seen),
        at=datetime.fromtimestamp(changed, UTC),
    )


def _look(found: list[Found]) -> str:
    """What can be seen of a tree without reading a file."""
    seen = hashlib.sha256()
    for path, _, state in sorted(found, key=lambda one: one[0]):
        told = f"{state.st_mode} {state.st_size} {state.st_ctime_ns} {state.st_ino}"
        seen.update(os.fsencode(path) + b"\0" + told.encode() + b"\n")
    return seen.hexdigest()


def _owner(seen: os.stat_result) -> str:
    try:
        return pwd.getpwuid(seen.st_uid).pw_name
    except KeyError:
        return f"user {seen.st_uid}"
