"""The Repositories port over the git command line: one bare repository per project under ``repos/``."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from poise.adapters.git.command import attempt, git
from poise.adapters.git.remotes import fetch_branch
from poise.model.errors import Invalid, NotFound, TooLarge
from poise.ports.artifacts import Commit

READ_BYTES: Final = 4 * 2**20
PUSH_BYTES: Final = 256 * 2**20
BRANCHES: Final = 1000

_PROJECT: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SETTINGS: Final = {
    "receive.denyNonFastForwards": "false",  # the hook keeps the history of branches that are released
    "receive.denyDeletes": "false",  # and them
    "receive.fsckObjects": "true",
    "receive.maxInputSize": str(PUSH_BYTES),
    "http.receivepack": "true",
    "http.uploadpack": "true",
    "core.fsync": "all",  # a push that was acknowledged survives a power cut
    "gc.auto": "0",  # nothing runs behind a push; `poise doctor` packs
}


class GitRepositories:
    """See ``ports.artifacts.Repositories``. Every method runs git commands: call it in a thread."""

    def __init__(self, root: Path, *, hook: bool = True) -> None:
        self._root = root
        self._hook = hook

    def projects(self) -> list[str]:
        """Every project that has a repository."""
        return sorted(path.name.removesuffix(".git") for path in self._root.glob("*.git") if path.is_dir())

    def ensure(self, project: str) -> Path:
        """The bare repository, made if absent: written beside and renamed, so it is whole or absent."""
        repo = self._path(project)
        if not repo.exists():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._root, prefix=".new-") as beside:
                fresh = Path(beside) / "repo"
                git("init", "--quiet", "--bare", "--initial-branch=main", "--template=", str(fresh))
                _settle(fresh, hook=self._hook)
                fresh.rename(repo)
        else:
            _settle(repo, hook=self._hook)
        return repo

    def head(self, project: str, branch: str) -> str | None:
        """The commit of a branch."""
        name = f"refs/heads/{branch}^{{commit}}"
        done = attempt("rev-parse", "--verify", "--quiet", name, repo=self._repo(project))
        return done.stdout.decode().strip() or None if done.returncode == 0 else None

    def branches(self, project: str) -> dict[str, str]:
        """Every branch and its commit, at most ``BRANCHES``, ascending by name."""
        options = (f"--count={BRANCHES}", "--format=%(objectname) %(refname:lstrip=2)")
        said = git("for-each-ref", *options, "refs/heads/", repo=self._repo(project))
        rows = (line.split(" ", 1) for line in said.decode(errors="replace").splitlines())
        return {branch: sha for sha, branch in rows}

    def commit(self, project: str, sha: str) -> Commit:
        """What git says of a commit; ``NotFound`` when it has none of that name."""
        shape = "--format=%H%x00%an%x00%ct%x00%B"
        done = attempt("log", "-1", "--no-show-signature", shape, _sha(sha), "--", repo=self._repo(project))
        if done.returncode != 0:
            raise _absent(project, sha)
        name, author, committed_at, message = done.stdout.decode(errors="replace").split("\0", 3)
        return Commit(sha=name, author=author, committed_at=int(committed_at), message=message.strip())

    def commits(self, project: str, after: str, sha: str, limit: int) -> list[tuple[str, int]]:
        """See the port."""
        span = f"{_sha(after)}..{_sha(sha)}"
        options = ("--no-merges", "--no-show-signature", f"--max-count={limit}", "--format=%H %ct")
        done = attempt("log", *options, span, "--", repo=self._repo(project))
        if done.returncode != 0:
            return []
        rows = (line.split(" ", 1) for line in done.stdout.decode().splitlines())
        return [(name, int(at)) for name, at in rows][::-1]

    def paths(self, project: str, after: str, sha: str, limit: int) -> list[str]:
        """See the port."""
        named = ("--no-renames", "--name-only", "-z", "-r")
        span = (_sha(after), _sha(sha)) if after else ("--root", "--no-commit-id", _sha(sha))
        done = attempt("diff-tree", *named, *span, "--", repo=self._repo(project))
        if done.returncode != 0:
            return []
        found = done.stdout.decode(errors="replace").split("\0")
        return [path for path in found if path][: limit + 1]

    def read(self, project: str, sha: str, path: str) -> bytes | None:
        """A file's bytes at a commit; None when absent or not a file; ``TooLarge`` over ``READ_BYTES``."""
        repo = self._repo(project)
        said = git("ls-tree", "-z", "--long", _sha(sha), "--", path, repo=repo)
        entry = next((row for row in _entries(said) if row[3] == path), None)
        if entry is None or entry[0] not in ("100644", "100755"):
            return None
        if int(entry[2]) > READ_BYTES:
            raise TooLarge(
                "POISE-G105", f"{path} has {entry[2]} bytes", where=f"{project} at {sha[:8]}",
                why=f"The limit is {READ_BYTES} bytes.", mend="Make it smaller.",
            )  # fmt: skip
        return git("cat-file", "blob", entry[1], repo=repo)

    def list(self, project: str, sha: str, folder: str) -> list[str]:
        """Paths of the files directly in ``folder`` (empty: the root) at a commit, ascending."""
        where = [f"{folder.rstrip('/')}/"] if folder else []
        said = git("ls-tree", "-z", "--long", _sha(sha), "--", *where, repo=self._repo(project))
        return sorted(path for mode, _, _, path in _entries(said) if mode in ("100644", "100755"))

    def checkout(self, project: str, sha: str, target: Path) -> None:
        """The commit's files at ``target``, without history: written beside and renamed."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".checkout-") as beside:
            tree = Path(beside) / "tree"
            tree.mkdir(mode=0o755)
            env = {"GIT_INDEX_FILE": f"{beside}/index", "GIT_WORK_TREE": str(tree)}
            repo = self._repo(project)
            if attempt("read-tree", _sha(sha), repo=repo, env=env).returncode != 0:
                raise _absent(project, sha)
            git("-C", str(tree), "checkout-index", "--all", "--force", "--quiet", repo=repo, env=env)
            if target.exists():
                target.rename(Path(beside) / "old")
            tree.rename(target)
            shutil.rmtree(Path(beside) / "old", ignore_errors=True)

    def fetch(self, project: str, remote: str, branch: str, credential: str = "") -> str:
        """Make the hosted branch what the remote's is; see ``ports.artifacts.Mirrors``."""
        return fetch_branch(self.ensure(project), remote, branch, credential)

    def _path(self, project: str) -> Path:
        if not _PROJECT.fullmatch(project) or ".." in project or project.endswith(".git"):
            raise Invalid(
                "POISE-G104", f"{project!r} cannot name a project",
                why="A name has 1 to 63 of a-z, 0-9, '.', '_', '-'; its ends are letters or digits.",
                mend="Choose another name, e.g. `shop`.",
            )  # fmt: skip
        return self._root / f"{project}.git"

    def _repo(self, project: str) -> Path:
        path = self._path(project)
        if not path.is_dir():
            raise NotFound("POISE-G106", f"project {project!r} has no repository", where=str(path),
                           mend="Push to it: `git push poise main`.")  # fmt: skip
        return path


def _settle(repo: Path, *, hook: bool) -> None:
    """Settings and hook, written only where they differ, so that it is cheap to say again."""
    said = git("config", "--list", "--null", "--local", repo=repo).decode(errors="replace")
    held = dict(row.partition("\n")[::2] for row in said.split("\0") if row)
    for name, value in _SETTINGS.items():
        if held.get(name.lower()) != value:
            git("config", name, value, repo=repo)
    if hook:
        _install(repo / "hooks" / "pre-receive")


def _install(hook: Path) -> None:
    """``-P`` keeps the repository's folder, which is the hook's working directory, off ``sys.path``."""
    text = f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m poise.adapters.git.hook\n"
    if hook.exists() and hook.read_text() == text:
        return
    hook.parent.mkdir(exist_ok=True)
    beside = hook.with_suffix(".new")
    beside.write_text(text)
    beside.chmod(0o755)
    beside.rename(hook)


def _entries(said: bytes) -> list[tuple[str, str, str, str]]:
    """(mode, object, size, path) of ``ls-tree -z --long``."""
    rows = []
    for row in said.decode(errors="replace").split("\0"):
        if row:
            facts, path = row.split("\t", 1)
            mode, _, name, size = facts.split()
            rows.append((mode, name, size, path))
    return rows


def _sha(sha: str) -> str:
    if not _SHA.fullmatch(sha):
        what = f"{sha[:80]!r} is not a commit's full name"
        raise Invalid("POISE-G107", what, mend="Give all 40 hex digits.")
    return sha


def _absent(project: str, sha: str) -> NotFound:
    return NotFound("POISE-G108", f"commit {sha[:12]} is not in {project!r}", mend="Push it first.")
