"""Releases as folders named by what is in them: ``releases/<hex>/``."""

from __future__ import annotations

import ctypes
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from poise.model.errors import Invalid, NotFound, TooLarge, Unreachable

FILES: Final = 500_000
BYTES: Final = 20 * 2**30
CHUNK_BYTES: Final = 1 << 20
LEFT_OUT: Final = ".git"
ALGORITHM: Final = "sha256:"

Entry = tuple[str, str, str, str]  # path, mode, sha256 (files), link (symbolic links)
Found = tuple[str, str, os.stat_result]  # path within the release, whole path, its state


class FolderArtifacts:
    """See ``ports.artifacts.Artifacts``. ``pack`` copies files: call it in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def pack(self, workspace: Path, path: str) -> str:
        """Copy ``workspace/path`` beside, name it by its digest, rename it in place.

        Cost: one read and one write of every file; one read more when the digest is there already. Where its
        folder was changed since, that one is set aside. Sockets, pipes and devices are left out, and so is
        every ``.git``. Errors: ``Invalid`` for a path outside the workspace, ``NotFound`` for one that
        is not there, ``TooLarge`` over ``FILES`` or ``BYTES``, ``Unreachable`` when the disk is full.
        """
        source = _inside(workspace, path)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=self._root, prefix=".new-"))
        try:
            tree = beside / "tree"
            digest = digest_of(sorted(_copy(source, tree)))
            _settle(tree)
            self._place(tree, digest)
        except OSError as error:
            raise Unreachable(
                "POISE-A103", f"the release could not be written: {error.strerror}", where=str(self._root),
                mend="Free some space, then push again: `df -h`.",
            ) from error  # fmt: skip
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return digest

    def open(self, digest: str) -> Path:
        """The folder of a digest; ``NotFound`` when it is not there."""
        folder = self._folder(digest)
        if not folder.is_dir():
            raise NotFound("POISE-A102", f"release {digest[:80]} is not in the store", where=str(self._root),
                           mend="Push its commit again, or restore a backup: `poise restore`.")  # fmt: skip
        return folder

    def measure(self, digest: str) -> str:
        """See the port."""
        return digest_of(sorted(entry_of(one) for one in walk(self.open(digest), FILES)))

    def _folder(self, digest: str) -> Path:
        name = digest.removeprefix(ALGORITHM)
        if len(name) != 64 or set(name) - set("0123456789abcdef"):
            raise NotFound("POISE-A104", f"{digest[:80]!r} is not a digest",
                           mend="Give it whole, as `poise status` prints it.")  # fmt: skip
        return self._root / name

    def _place(self, tree: Path, digest: str) -> None:
        target = self._folder(digest)
        if target.is_dir():
            if self.measure(digest) == digest:
                return
            # What was tampered with is kept as evidence, and because what runs may still open its files.
            target.rename(self._root / f".changed-{target.name}-{secrets.token_hex(4)}")
        try:
            tree.rename(target)
        except OSError:
            if not target.is_dir():  # another pack of the same files may have come first
                raise
        _sync(self._root)


def digest_of(entries: list[Entry]) -> str:
    """``sha256:<hex>`` over a sorted manifest: one line ``mode sha256 path link``, NUL-separated.

    NUL occurs in no path, so two different manifests never give the same bytes.
    """
    manifest = hashlib.sha256()
    for path, mode, sha256, link in entries:
        manifest.update(b"\0".join(os.fsencode(part) for part in (mode, sha256, path, link)) + b"\0\n")
    return ALGORITHM + manifest.hexdigest()


def walk(root: Path, at_most: int) -> Iterator[Found]:
    """Everything below ``root``, links not followed; no more than one entry past ``at_most``."""
    waiting = [(str(root), "")]
    count = 0
    while waiting:
        here, under = waiting.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                seen = entry.stat(follow_symlinks=False)
                path = f"{under}{entry.name}"
                if stat.S_ISDIR(seen.st_mode):
                    waiting.append((entry.path, f"{path}/"))
                count += 1
                yield path, entry.path, seen
                if count > at_most:
                    return


def entry_of(one: Found) -> Entry:
    """As the packer saw it; anything that it never makes has no place in a manifest."""
    path, whole, seen = one
    if stat.S_ISLNK(seen.st_mode):
        return path, "120000", "", os.readlink(whole)  # noqa: PTH115 - the text as it is
    if stat.S_ISDIR(seen.st_mode):
        return path, "040000", "", ""
    if not stat.S_ISREG(seen.st_mode):
        return path, "000000", "", ""
    sha256 = hashlib.sha256()
    with open(whole, "rb") as file:  # noqa: PTH123
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
    return path, "100755" if seen.st_mode & 0o111 else "100644", sha256.hexdigest(), ""


def _inside(workspace: Path, path: str) -> Path:
    root = workspace.resolve()
    source = (root / path).resolve()
    if not source.is_relative_to(root):
        raise Invalid("POISE-A101", f"artifact path {path!r} leads out of the workspace",
                      mend="Name a folder of the repository, e.g. `artifact: {path: dist}`.")  # fmt: skip
    if not source.is_dir():
        raise NotFound("POISE-A105", f"artifact path {path!r} is not a folder of the workspace",
                       mend="Let a step make it, or correct `artifact.path` in poise.yaml.")  # fmt: skip
    return source


def _copy(source: Path, target: Path) -> Iterator[Entry]:
    """Copy a tree, yielding its manifest. Modes become 0755 or 0644: no set-uid bit survives."""
    count = total = 0
    waiting = [(source, target, "")]
    while waiting:
        here, there, path = waiting.pop()
        there.mkdir(mode=0o755)
        with os.scandir(here) as found:
            entries = sorted((entry for entry in found if entry.name != LEFT_OUT), key=lambda e: e.name)
        for entry in entries:
            name = f"{path}{entry.name}"
            seen = entry.stat(follow_symlinks=False)
            count, total = count + 1, total + seen.st_size
            _bound(count, total)
            if stat.S_ISLNK(seen.st_mode):
                link = os.readlink(entry.path)  # noqa: PTH115 - the text as it is
                (there / entry.name).symlink_to(link)
                yield name, "120000", "", link
            elif stat.S_ISDIR(seen.st_mode):
                waiting.append((Path(entry.path), there / entry.name, f"{name}/"))
                yield name, "040000", "", ""
            elif stat.S_ISREG(seen.st_mode):
                runs = bool(seen.st_mode & 0o111)
                sha256 = _copy_file(entry.path, there / entry.name, runs)
                yield name, "100755" if runs else "100644", sha256, ""


def _copy_file(source: str, target: Path, runs: bool) -> str:
    sha256 = hashlib.sha256()
    with open(source, "rb") as given, target.open("xb") as copy:  # noqa: PTH123
        while chunk := given.read(CHUNK_BYTES):
            sha256.update(chunk)
            copy.write(chunk)
        os.fchmod(copy.fileno(), 0o755 if runs else 0o644)
    return sha256.hexdigest()


def _bound(count: int, total: int) -> None:
    if count > FILES or total > BYTES:
        raise TooLarge("POISE-A106", f"the artifact is over {FILES} files or {BYTES} bytes",
                       mend="Name a smaller folder: `artifact: {path: dist}` in poise.yaml.")  # fmt: skip


def _settle(tree: Path) -> None:
    """All its files on disk before its name is: one call for the whole file system."""
    descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
