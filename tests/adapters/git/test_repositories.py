"""Bare repositories, with real git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from poise.adapters.git import GitRepositories
from poise.model.errors import Invalid, NotFound


class Copy:
    """A working copy that pushes to a repository by its path."""

    def __init__(self, folder: Path, origin: Path) -> None:
        self.folder, self.origin = folder, origin
        folder.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *args: str) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        done = subprocess.run(["git", *who, *args], cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, **files: str) -> str:
        for name, text in files.items():
            path = self.folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", ".")
        self.git("commit", "-q", "--allow-empty", "-m", "fix: totals\n\nBecause.")
        return self.git("rev-parse", "HEAD")

    def push(self, *refs: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", "push", str(self.origin), *refs], cwd=self.folder, capture_output=True, text=True
        )


@pytest.fixture
def repositories(tmp_path: Path) -> GitRepositories:
    return GitRepositories(tmp_path / "repos", hook=False)


@pytest.fixture
def copy(tmp_path: Path, repositories: GitRepositories) -> Copy:
    return Copy(tmp_path / "copy", repositories.ensure("shop"))


def test_what_was_pushed_is_read_back(repositories: GitRepositories, copy: Copy) -> None:
    """The record is built from these answers."""
    sha = copy.commit(a__x="hi", a__b__y="deep", z="last")
    assert copy.push("main", "main:topic").returncode == 0
    assert repositories.projects() == ["shop"]
    assert repositories.branches("shop") == {"main": sha, "topic": sha}
    assert (repositories.head("shop", "main"), repositories.head("shop", "no")) == (sha, None)
    commit = repositories.commit("shop", sha)
    assert (commit.author, commit.message) == ("Ada", "fix: totals\n\nBecause.")
    assert repositories.read("shop", sha, "a/x") == b"hi"
    assert repositories.read("shop", sha, "a") is None
    assert repositories.read("shop", sha, "nope") is None
    assert repositories.list("shop", sha, "a") == ["a/x"]


def test_a_checkout_replaces_what_is_there_and_has_no_history(
    repositories: GitRepositories, copy: Copy, tmp_path: Path
) -> None:
    """A step sees the commit and nothing else."""
    copy.commit(old="1")
    (copy.folder / "run.sh").write_text("#!/bin/sh\n")
    (copy.folder / "run.sh").chmod(0o755)
    (copy.folder / "link").symlink_to("old")
    sha = copy.commit()
    copy.push("main")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "stale").touch()
    repositories.checkout("shop", sha, tree)
    assert sorted(path.name for path in tree.iterdir()) == ["link", "old", "run.sh"]
    assert (tree / "run.sh").stat().st_mode & 0o111
    assert (tree / "link").is_symlink()


def test_what_is_released_can_be_neither_rewritten_nor_removed(tmp_path: Path) -> None:
    """What was released stays explainable; the old head is kept, wherever HEAD is, and so are tags."""
    repositories = GitRepositories(tmp_path / "repos")
    copy = Copy(tmp_path / "copy", repositories.ensure("shop"))
    spec = (
        "apiVersion: poise.dev/v1\nkind: Service\nmetadata: {name: a}\nspec: {command: x, branch: stable}\n"
    )
    copy.commit(**{"poise.yaml": spec})
    sha = copy.commit(a="2")
    refs = ("main", "main:topic", "main:gone", "main:stable", "main:refs/tags/v1")
    assert copy.push(*refs).returncode == 0
    for ref in ("main", "stable", "refs/tags/v1"):
        refused = copy.push("--delete", ref)
        assert refused.returncode != 0 and "must not be deleted" in refused.stderr
    copy.git("reset", "-q", "--hard", "HEAD~1")
    other = copy.commit(a="3")
    for branch in ("main", "stable"):
        assert "non-fast-forward" in copy.push("--force", f"main:{branch}").stderr
    assert copy.push("--delete", "gone").returncode == 0
    assert copy.push("--force", "main:topic").returncode == 0, "nothing comes from it but a preview"
    assert repositories.branches("shop") == {"main": sha, "stable": sha, "topic": other}


def test_asking_for_a_repository_twice_changes_nothing(repositories: GitRepositories, copy: Copy) -> None:
    """It is asked for at every start."""
    sha = copy.commit(a="1")
    copy.push("main")
    before = (copy.origin / "config").read_bytes()
    assert repositories.ensure("shop") == copy.origin
    assert (copy.origin / "config").read_bytes() == before
    assert repositories.head("shop", "main") == sha


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "A", "a..b", "x.git", "-x", "a" * 80])
def test_a_name_that_could_leave_the_folder_is_refused(repositories: GitRepositories, name: str) -> None:
    """Names come from a URL."""
    with pytest.raises(Invalid):
        repositories.ensure(name)


def test_what_is_not_there_is_said(repositories: GitRepositories, copy: Copy, tmp_path: Path) -> None:
    """Errors name the thing, not git's exit code."""
    with pytest.raises(NotFound, match="'gone'"):
        repositories.branches("gone")
    with pytest.raises(NotFound):
        repositories.commit("shop", "0" * 40)
    with pytest.raises(NotFound):
        repositories.checkout("shop", "0" * 40, tmp_path / "tree")
    with pytest.raises(Invalid):
        repositories.read("shop", "--output=/etc/x", "a")


def test_the_paths_of_a_change_are_told_from_one_commit_to_another(
    repositories: GitRepositories, copy: Copy
) -> None:
    """The policy's rules about paths go by these; what git cannot tell fits no rule."""
    first = copy.commit(a__x="hi", z="last")
    second = copy.commit(a__x="hello", b__y="new")
    assert copy.push("main").returncode == 0
    assert sorted(repositories.paths("shop", "", first, 10)) == ["a/x", "z"]
    assert sorted(repositories.paths("shop", first, second, 10)) == ["a/x", "b/y"]
    assert len(repositories.paths("shop", "", first, 0)) == 1
    assert repositories.paths("shop", "0" * 40, second, 10) == []
