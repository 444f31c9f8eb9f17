"""Releases are named by what is in them, and never change."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.adapters.artifacts import FolderArtifacts, digest_of
from poise.model.errors import Invalid, NotFound


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "dist" / ".git").mkdir(parents=True)
    (tree / "dist" / ".git" / "config").write_text("secret")
    (tree / "dist" / "run").write_text("#!/bin/sh")
    (tree / "dist" / "run").chmod(0o4755)
    (tree / "dist" / "link").symlink_to("run")
    (tree / "dist" / "empty").mkdir()
    return tree


def test_a_release_is_its_files_without_history(workspace: Path, tmp_path: Path) -> None:
    """No .git, no set-uid bit, links as they are; packed twice it is one."""
    store = FolderArtifacts(tmp_path / "releases")
    digest = store.pack(workspace, "dist")
    assert store.pack(workspace, "dist") == digest
    folder = store.open(digest)
    assert sorted(path.name for path in folder.iterdir()) == ["empty", "link", "run"]
    assert (folder / "run").stat().st_mode & 0o7777 == 0o755
    assert [path.name for path in (tmp_path / "releases").iterdir()] == [digest.removeprefix("sha256:")]


@pytest.mark.parametrize("change", ["content", "mode", "link", "name"])
def test_every_difference_is_another_digest(workspace: Path, tmp_path: Path, change: str) -> None:
    """Else a rollout would be skipped for a release that differs."""
    store = FolderArtifacts(tmp_path / "releases")
    before = store.pack(workspace, "dist")
    run, link = workspace / "dist" / "run", workspace / "dist" / "link"
    if change == "content":
        run.write_text("#!/bin/ss")
    elif change == "mode":
        run.chmod(0o644)
    elif change == "link":
        link.unlink()
        link.symlink_to("gone")
    else:
        run.rename(run.with_name("ran"))
    assert store.pack(workspace, "dist") != before


def test_a_path_out_of_the_workspace_is_refused(workspace: Path, tmp_path: Path) -> None:
    """A build cannot publish the server's own files, by dots or by link."""
    (workspace / "out").symlink_to("/etc")
    store = FolderArtifacts(tmp_path / "releases")
    for path in ("..", "/etc", "out"):
        with pytest.raises(Invalid):
            store.pack(workspace, path)
    with pytest.raises(NotFound):
        store.pack(workspace, "gone")
    with pytest.raises(NotFound):
        store.open("sha256:../../etc")


entries = st.lists(
    st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)] * 4)
)


@given(entries, entries)
def test_two_manifests_never_share_a_digest(one: list, other: list) -> None:  # type: ignore[type-arg]
    """The encoding loses nothing."""
    assert (digest_of(one) == digest_of(other)) is (one == other)
