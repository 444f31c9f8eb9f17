"""What a hook reads of what was pushed: git runs it in the repository, with the new objects in quarantine."""

from __future__ import annotations

import os
import subprocess
from typing import Final

from poise.model.errors import PoiseError

DECLARATIONS: Final = "poise.yaml"
WORKFLOWS: Final = ".github/workflows/"
READ_BYTES: Final = 4 * 2**20
GIT_S: Final = 60.0


def project() -> str:
    """The repository's name is the project's."""
    folder = os.environ.get("GIT_DIR", ".")
    return os.path.basename(os.path.abspath(folder)).removesuffix(".git")  # noqa: PTH100, PTH119


def is_none(sha: str) -> bool:
    """Whether it is the name that git gives to no commit."""
    return set(sha) == {"0"}


def head() -> str:
    """The branch that HEAD names, whether it is there or not."""
    return git("symbolic-ref", "--short", "HEAD").decode().strip()


def files(commit: str) -> list[str]:
    """``poise.yaml`` and the workflow files, as far as they are there."""
    found = listed(commit, DECLARATIONS, WORKFLOWS)
    return [path for path in found if path.endswith((".yml", ".yaml"))]


def listed(commit: str, *places: str) -> list[str]:
    """Files at these paths, or directly in these folders (which end in ``/``; empty is the root)."""
    named = [place for place in places if place]
    said = git("ls-tree", "-z", "--full-tree", commit, *named).decode(errors="replace")
    rows = [row.split("\t", 1) for row in said.split("\0") if row]
    return [path for facts, path in rows if facts.startswith("100")]


def named(commit: str, path: str) -> str | None:
    """A file that a declaration names; None where there is none."""
    said = git("--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--", path).decode(
        errors="replace"
    )
    return read(commit, path) if said.startswith("100") and said.endswith(f"\t{path}\0") else None


def read(commit: str, path: str) -> str:
    """A file's text at a commit; ``PoiseError`` over ``READ_BYTES`` or where there is none."""
    data = git("cat-file", "blob", f"{commit}:{path}")
    if len(data) > READ_BYTES:
        raise PoiseError("POISE-G105", f"{path} has {len(data)} bytes", where=path,
                         why=f"The limit is {READ_BYTES} bytes.", mend="Make it smaller.")  # fmt: skip
    return data.decode(errors="replace")


def git(*args: str) -> bytes:
    """git with the hook's own environment: the quarantine is in it."""
    done = attempt(*args)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        what = f"git {args[0]} failed in the pre-receive hook"
        raise PoiseError("POISE-G101", what, why=said, mend="Run `poise doctor`.")
    return done.stdout


def attempt(*args: str) -> subprocess.CompletedProcess[bytes]:
    """As ``git``, for a caller to whom a failure is an answer."""
    return subprocess.run(["git", *args], capture_output=True, timeout=GIT_S, check=False)
