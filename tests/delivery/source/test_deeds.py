"""A push that a forge told of is fetched from a real repository, and source then sees it."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from poise.adapters.git.remotes import checked_remote, fetch_branch
from poise.adapters.git.repositories import GitRepositories
from poise.adapters.memory import MemoryStore
from poise.delivery.source.controller import SourceController
from poise.delivery.source.deeds import BranchFetcher
from poise.engine.controller import Dropped
from poise.model.acts import FetchBranch
from poise.model.delivery import Change, ChangeClass
from poise.model.errors import Invalid, Unreachable
from poise.model.exchange import Forge, Hook, Labels
from poise.model.policy import BudgetPolicy, ClassRule
from poise.model.record import Decision, Ref, Write
from poise.model.service import Project
from poise.ports.store import Transaction

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACT = FetchBranch(hook="shop/github", branch="main", pushed_by="github:ana")


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Ana", "-c", "user.email=ana@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of somebody else's, with one commit."""
    monkeypatch.setenv("POISE_ALLOW_LOCAL_REMOTES", "1")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "a").write_text("1")
    git(folder, "add", "a")
    git(folder, "commit", "--quiet", "-m", "fix: one")
    return folder


def hook(remote: str) -> Hook:
    return Hook(project="shop", forge=Forge.GITHUB, sealed="", remote=remote, by="admin", at=NOW)


async def fetched(store: MemoryStore, repositories: GitRepositories) -> tuple[list[str], str]:
    """Perform the act, look as source does, record; who was woken, and who pushed the head."""
    source, woken = SourceController(store, repositories), list[str]()
    await BranchFetcher(store, repositories, lambda _: "", source, woken.append).perform(ACT, "k", 1, NOW)
    decision = await source.look("shop", NOW)
    await store.commit(Transaction(at=NOW, writes=decision.writes, events=decision.events))
    head = repositories.head("shop", "main")
    change, _ = await store.get(Change, f"shop/{head}")
    return woken, change.pushed_by if change else ""


def test_a_fetched_push_is_a_change_of_who_pushed_it_also_when_forced(
    tmp_path: Path, elsewhere: Path
) -> None:
    store, repositories = MemoryStore(), GitRepositories(tmp_path / "repos")
    writes = [Write(kind="Hook", key="shop/github", body=hook(str(elsewhere)))]
    anyio.run(store.commit, Transaction(at=NOW, writes=writes))
    assert anyio.run(fetched, store, repositories) == (["shop"], "github:ana")
    git(elsewhere, "commit", "--quiet", "--amend", "-m", "fix: other words")
    anyio.run(fetched, store, repositories)
    assert repositories.head("shop", "main") == git(elsewhere, "rev-parse", "HEAD")


def test_a_hook_that_is_gone_is_followed_no_more(tmp_path: Path) -> None:
    fetcher = BranchFetcher(
        MemoryStore(), GitRepositories(tmp_path), lambda _: "", SourceController(MemoryStore(), Any), print
    )  # type: ignore[arg-type]
    with pytest.raises(Dropped):
        anyio.run(fetcher.perform, ACT, "k", 1, NOW)


def test_what_cannot_be_fetched_says_so_and_changes_nothing(tmp_path: Path, elsewhere: Path) -> None:
    repositories = GitRepositories(tmp_path / "repos")
    for branch in ("absent", "--upload-pack=touch"):
        with pytest.raises(Exception, match="POISE-G1"):
            repositories.fetch("shop", str(elsewhere), branch)
    assert repositories.branches("shop") == {}


def test_a_local_path_is_refused_where_the_owner_did_not_allow_it(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POISE_ALLOW_LOCAL_REMOTES")
    for remote in (str(elsewhere), f"file://{elsewhere}"):
        with pytest.raises(Invalid):
            fetch_branch(tmp_path, remote, "main")
    assert checked_remote("ssh://git@forge.example:2222/a/b.git")


def test_no_credential_is_in_an_error(tmp_path: Path) -> None:
    repositories = GitRepositories(tmp_path / "repos")
    with pytest.raises(Unreachable) as raised:
        repositories.fetch("shop", "http://127.0.0.1:1/a.git", "main", "bot:hunter22")
    assert "hunter22" not in str(raised.value)


def test_labels_that_come_after_the_push_classify_what_is_hosted_too(tmp_path: Path, elsewhere: Path) -> None:
    """Once, with git's own message: a trailer stays stronger, and what is told twice changes nothing."""
    store, repositories = MemoryStore(), GitRepositories(tmp_path / "repos")
    rule = ClassRule(change_class="security", labels=("cve",))
    project = Project(name="shop", policy=BudgetPolicy(classes=(rule,)))
    writes = [
        Write(kind="Hook", key="shop/github", body=hook(str(elsewhere))),
        Write(kind="Project", key="shop", body=project),
    ]
    anyio.run(store.commit, Transaction(at=NOW, writes=writes))
    anyio.run(fetched, store, repositories)
    source, head = SourceController(store, repositories), repositories.head("shop", "main")

    def label(*names: str) -> Decision:
        told = Labels(project="shop", commit=head or "", labels=names, source="pull request 1", at=NOW)
        told_write = Write(kind="Labels", key=told.key, body=told)
        anyio.run(store.commit, Transaction(at=NOW, writes=[told_write]))
        assert source.wakes(Ref("Labels", told.key, 1)) == "shop"
        decision: Decision = anyio.run(source.look, "shop", NOW)
        anyio.run(store.commit, Transaction(at=NOW, writes=decision.writes, events=decision.events))
        return decision

    def change() -> Change:
        found: Change | None = anyio.run(store.get, Change, f"shop/{head}")[0]
        assert found is not None
        return found

    before = change()
    assert before.change_class is ChangeClass.FIX
    decision = label("cve")
    assert [one.summary for one in decision.events] == [
        f"{before.commit[:8]} is a security now, by label cve; it was a fix"
    ]
    after = change()
    assert (after.change_class, after.class_why, after.pushed_at) == (
        ChangeClass.SECURITY, "label cve", before.pushed_at,
    )  # fmt: skip
    assert label("cve").is_empty
    assert label().writes and change().class_why == "its subject: fix"
