"""What a push says of a branch that nothing is released from: with real git, through the hook."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from poise.adapters.git import GitRepositories
from poise.adapters.git.standing import Standing, told
from poise.model.service import Previews

SERVICE = (
    "apiVersion: poise.dev/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  command: run\n  port: 80\n"
)
BROKEN = SERVICE.replace("port:", "prot:")
PROJECT = """---
apiVersion: poise.dev/v1
kind: Project
metadata: {name: shop}
spec: {previews: {branches: 'feature/*'}}
"""
FITTING = Standing(branch="main", previews=Previews(branches=("feature/*",)))
BARE = Standing(branch="main", previews=Previews())


class Copy:
    """A working copy, and the repository that it pushes to."""

    def __init__(self, folder: Path) -> None:
        self.repositories = GitRepositories(folder / "repos")
        self.origin = self.repositories.ensure("shop")
        self.folder = folder / "copy"
        self.folder.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *args: str, env: dict[str, str] | None = None) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        done = subprocess.run(
            ["git", *who, *args], cwd=self.folder, capture_output=True, text=True,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        lines = (line.removeprefix("remote: ").rstrip() for line in done.stderr.splitlines())
        return "".join(f"{line}\n" for line in lines)  # git clears the rest of each line with spaces

    def on(self, branch: str, spec: str | None, **files: str) -> None:
        """A commit on a branch, whose ``poise.yaml`` is ``spec``."""
        self.git("checkout", "-q", "-B", branch)
        for name, text in {**files, **({} if spec is None else {"poise.yaml": spec})}.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        self.git("add", ".")
        self.git("commit", "-q", "--allow-empty", "-m", f"feat: {branch}")

    def push(self, *refs: str, on_record: Standing | None = None) -> str:
        """What the push says; it must land."""
        said = self.git("push", "-q", str(self.origin), *refs, env=told(on_record))
        there = self.repositories.branches("shop")
        assert {ref.removeprefix(":").partition(":")[0] for ref in refs if ref[0] != ":"} <= set(there)
        return said


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@pytest.mark.parametrize("on_record", [None, BARE])
def test_a_branch_before_the_released_one_is_told_what_is_missing(
    copy: Copy, on_record: Standing | None
) -> None:
    """Who begins with a feature, or with `master`, would wait for something that never comes."""
    copy.on("feature/x", SERVICE)
    said = copy.push("feature/x", on_record=on_record)
    assert "note: nothing of feature/x is released, and it has no preview: main is not pushed yet" in said
    assert "git push poise feature/x:main" in said
    assert "refused" not in said


def test_a_broken_declaration_before_the_released_branch_is_told_at_its_line(copy: Copy) -> None:
    """It lands, since work that is half done is pushed too; but not in silence."""
    copy.on("feature/x", BROKEN)
    said = copy.push("feature/x")
    assert "main is not pushed yet" in said
    assert "note: poise.yaml of feature/x would be refused on main; it is pushed all the same." in said
    assert "poise.yaml:6:3" in said and "'port'" in said


def test_a_project_without_previews_says_so_once(copy: Copy) -> None:
    """To whoever pushes a new branch; not with each of its commits."""
    copy.on("main", SERVICE)
    assert copy.push("main") == ""
    copy.on("topic", BROKEN)
    assert copy.push("topic") == (
        "note: topic is built, not released (that is main), and has no preview: "
        "the project declares no previews\n"
    )
    copy.on("topic", BROKEN)
    assert copy.push("topic") == ""
    assert copy.push(":topic") == ""


def test_a_branch_that_fits_no_pattern_is_told_the_patterns(copy: Copy) -> None:
    copy.on("main", SERVICE + PROJECT)
    copy.push("main")
    copy.on("topic", SERVICE)
    assert "topic is built, not released (that is main), and has no preview: " in (said := copy.push("topic"))
    assert "previews are declared for feature/*" in said


def test_a_branch_that_fits_is_told_of_its_preview(copy: Copy) -> None:
    """With each push: it is what the person waits for."""
    copy.on("main", SERVICE + PROJECT)
    copy.push("main")
    assert "feature/x has no preview: it is where main is" in copy.push("main:feature/x")
    for _ in range(2):
        copy.on("feature/x", SERVICE)
        assert copy.push("feature/x") == (
            "note: feature/x gets a preview of web once it is built. See: poise previews\n"
        )


def test_what_is_pushed_along_with_a_branch_counts(copy: Copy) -> None:
    """The first push may bring both."""
    copy.on("main", SERVICE + PROJECT)
    copy.on("feature/x", SERVICE)
    assert "feature/x gets a preview of web" in copy.push("main", "feature/x", on_record=BARE)


def test_what_is_on_record_counts_more_than_what_was_pushed_before(copy: Copy) -> None:
    """`poise apply` declares without a push."""
    copy.on("main", SERVICE)
    copy.push("main")
    copy.on("feature/x", SERVICE)
    assert "feature/x gets a preview of web" in copy.push("feature/x", on_record=FITTING)


@pytest.mark.parametrize(
    ("spec", "files", "place"),
    [
        (BROKEN, {}, "poise.yaml:6:3"),
        (SERVICE, {".github/workflows/ci.yml": "on: push\njobs: {a: {stepz: []}}\n"}, "ci.yml:2:12"),
    ],
)
def test_a_branch_whose_preview_will_fail_lands_and_is_told_why(
    copy: Copy, spec: str, files: dict[str, str], place: str
) -> None:
    """In the words that its run will end with, at the line to mend."""
    copy.on("main", SERVICE)
    copy.push("main")
    copy.on("feature/x", spec, **files)
    said = copy.push("feature/x", on_record=FITTING)
    assert "note: the preview of feature/x will fail; it is pushed all the same.\n  POISE-S" in said
    assert place in said


@pytest.mark.parametrize("spec", ["", SERVICE.replace("  port: 80\n", "")])
def test_a_branch_with_nothing_to_look_at_is_told_so(copy: Copy, spec: str) -> None:
    copy.on("main", SERVICE)
    copy.push("main")
    copy.on("feature/x", spec or SERVICE)
    if not spec:
        copy.git("rm", "-q", "poise.yaml")
        copy.git("commit", "-q", "-m", "chore: none")
    said = copy.push("feature/x", on_record=FITTING)
    assert "feature/x has no preview: its poise.yaml declares no service with a port" in said


def test_a_workflow_that_cannot_run_is_told_on_any_branch(copy: Copy) -> None:
    copy.on("main", SERVICE)
    copy.push("main")
    copy.on("topic", SERVICE, **{".github/workflows/ci.yml": "on: push\njobs: {a: {stepz: []}}\n"})
    assert "note: the run of topic will fail; it is pushed all the same." in copy.push("topic")


def test_a_repository_that_is_mirrored_is_not_talked_to_death(copy: Copy) -> None:
    copy.on("main", SERVICE)
    copy.push("main")
    names = [f"t{n}" for n in range(8)]
    for name in names:
        copy.git("branch", name)
    said = copy.push(*names)
    assert said.count("note: ") == 6 and "3 more branches were pushed" in said


def test_a_released_branch_of_another_name_is_judged(copy: Copy) -> None:
    """Where it is on record that `stable` is released, what it declares cannot be broken."""
    copy.on("stable", BROKEN)
    with pytest.raises(AssertionError, match=r"poise\.yaml:6:3"):
        copy.push("stable", on_record=Standing(branch="stable", previews=Previews()))
    assert copy.repositories.branches("shop") == {}
