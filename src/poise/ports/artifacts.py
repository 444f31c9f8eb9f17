"""Releases as immutable folders named by digest, and the git repositories they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from poise.model.attestation import Bill


class Artifacts(Protocol):
    """``releases/<digest>/``: written beside and renamed, never changed."""

    def pack(self, workspace: Path, path: str) -> str:
        """Copy ``workspace/path`` without ``.git``; the digest ``sha256:<hex>``. Idempotent."""
        ...

    def open(self, digest: str) -> Path:
        """The folder of a digest; ``NotFound`` when it is not there."""
        ...

    def measure(self, digest: str) -> str:
        """The digest of what the folder holds now. ``NotFound`` when it is not there.

        Cost: one read of every file. Sockets, pipes and devices, which ``pack`` leaves out, count here.
        """
        ...


class Bills(Protocol):
    """Bills of materials (SBOM) of releases, kept beside them."""

    def make(self, digest: str) -> Bill:
        """Read the lockfiles of a release and keep its bill; idempotent. ``NotFound`` without its folder."""
        ...

    def read(self, digest: str) -> bytes:
        """The CycloneDX document; ``NotFound`` when there is none."""
        ...


RELEASED: Final = "localhost/poise-release"
"""The name under which every released image is kept: by digest, whatever becomes of the tag it had."""


class Base(Struct, frozen=True, kw_only=True):
    """The image that another one was built on: its reference and its digest ``sha256:<hex>``."""

    name: str
    digest: str


class Images(Protocol):
    """Container images of this machine and of the registries that it knows."""

    def resolve(self, reference: str) -> str:
        """The digest ``sha256:<hex>`` that ``reference`` (a tag or a digest) has now; kept from then on.

        From then on it runs as ``RELEASED@digest``. Cost: a pull, where it is not here or may have moved.
        Errors: ``NotFound`` where it is nowhere, ``Invalid`` without an engine, ``TimedOut``.
        """
        ...

    def base(self, digest: str) -> Base | None:
        """What a resolved image says it stands on; None where it does not say."""
        ...


class Commit(Struct, frozen=True, kw_only=True):
    """What git says of a commit. ``committed_at`` is epoch seconds of the committer date."""

    sha: str
    author: str
    committed_at: int
    message: str


class Mirrors(Protocol):
    """Hosted repositories that follow one elsewhere."""

    def fetch(self, project: str, remote: str, branch: str, credential: str = "") -> str:
        """Make the hosted branch what the remote's is; the commit it is at.

        ``credential`` is ``user:password``; it reaches no argument, log or error. Raises ``Invalid`` for a
        remote of a kind that is not allowed, ``Unreachable`` or ``TimedOut`` when trying later may help.
        """
        ...


class Repositories(Protocol):
    """Bare git repositories, one per project."""

    def projects(self) -> list[str]:
        """Every project that has a repository, ascending."""
        ...

    def ensure(self, project: str) -> Path:
        """The bare repository, made if absent (fast-forward only, main as HEAD)."""
        ...

    def head(self, project: str, branch: str) -> str | None:
        """The commit of a branch; None when there is none."""
        ...

    def branches(self, project: str) -> dict[str, str]:
        """Every branch and its commit."""
        ...

    def commit(self, project: str, sha: str) -> Commit: ...

    def commits(self, project: str, after: str, sha: str, limit: int) -> list[tuple[str, int]]:
        """(sha, committer date in epoch seconds) of the newest ``limit`` in (after, sha], oldest first.

        Merges are left out. Empty where ``after`` is not in the repository.
        """
        ...

    def paths(self, project: str, after: str, sha: str, limit: int) -> list[str]:
        """Paths that differ between two commits, at most ``limit`` + 1; no ``after``: of ``sha`` alone.

        Empty where nobody can tell: then no rule about paths fits.
        """
        ...

    def read(self, project: str, sha: str, path: str) -> bytes | None:
        """A file's bytes at a commit; None when absent."""
        ...

    def list(self, project: str, sha: str, folder: str) -> list[str]:
        """Paths of the files directly in a folder at a commit."""
        ...

    def checkout(self, project: str, sha: str, target: Path) -> None:
        """A clean work tree of the commit at ``target``, without history; replaces what is there."""
        ...
