"""Labels of pull requests classify changes, whichever forge tells of them; an unsigned one is nobody's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from tests.api.test_forges import SHA, deliver, push, signed, state

from poise.model.delivery import Change, ChangeClass
from poise.model.event_types import CHANGE_CLASSIFIED, CHANGE_MERGED
from poise.model.exchange import Labels
from poise.model.policy import BudgetPolicy, ClassRule
from poise.model.service import Project

Client = TestClient[Litestar]
MERGED = "9f31c07ad4e2b6c19f31c07ad4e2b6c19f31c07a"


def pull(*labels: str, action: str = "labeled", merged: bool = False, **more: Any) -> bytes:
    """A pull request as GitHub tells of it, cut to what a reader could want."""
    said: dict[str, Any] = {
        "number": 12, "head": {"sha": SHA}, "base": {"ref": "main"}, "merged": merged,
        "merge_commit_sha": MERGED, "labels": [{"id": 1, "name": name} for name in labels], **more,
    }  # fmt: skip
    return json.dumps({"action": action, "number": 12, "pull_request": said}).encode()


def merge_request(*labels: str, state: str = "opened", **more: Any) -> bytes:
    """A merge request as GitLab tells of it."""
    said: dict[str, Any] = {
        "iid": 12, "target_branch": "main", "state": state, "last_commit": {"id": SHA},
        "merge_commit_sha": MERGED if state == "merged" else None, "squash_commit_sha": None, **more,
    }  # fmt: skip
    named = [{"id": 1, "title": name} for name in labels]
    return json.dumps({"object_kind": "merge_request", "object_attributes": said, "labels": named}).encode()


@pytest.fixture
def teller(house: Any, client: Client, hook: Callable[..., str]) -> Callable[..., Any]:
    """Tell of a pull request as a forge does, signed; the policy takes ``cve`` for security."""
    rule = ClassRule(change_class="security", labels=("cve",))
    house.write(Project(name="shop", policy=BudgetPolicy(classes=(rule,))))
    secrets, count = dict[str, str](), iter(range(1000))

    def send(forge: str, body: bytes, event: str = "pull_request") -> Any:
        secret = secrets[forge] if forge in secrets else secrets.setdefault(forge, hook(forge))
        sent = signed(forge, secret, body, house.clock.now(), delivery=f"p-{next(count)}", event=event)
        return deliver(client, forge, sent)

    return send


@pytest.fixture
def labelled(teller: Callable[..., Any]) -> Callable[..., Any]:
    """Tell of a pull request as GitHub does."""
    teller("github", b"{}", "ping")  # there is a hook
    return lambda body, event="pull_request": teller("github", body, event)


def change(house: Any, sha: str) -> Change:
    found: Change | None = anyio.run(house.store.get, Change, f"shop/{sha}")[0]
    assert found is not None
    return found


@pytest.mark.parametrize("first", ["labels", "push"])
def test_the_labels_of_a_merged_pull_request_classify_what_it_was_merged_as(
    house: Any, labelled: Callable[..., Any], first: str
) -> None:
    """GitHub promises no order between the push and the pull request that it merges."""
    merge = push("github", sha=MERGED)
    merge["commits"][0]["message"] = merge["head_commit"]["message"] = "Merge pull request #12"
    pulled = pull("deps", "cve", action="closed", merged=True)
    told = [(pulled, "pull_request"), (json.dumps(merge).encode(), "push")]
    for body, event in told if first == "labels" else told[::-1]:
        assert labelled(body, event).status_code == 202
    found = change(house, MERGED)
    assert (found.change_class, found.class_why) == (ChangeClass.SECURITY, "label cve")
    assert found.labels == ("deps", "cve")
    types = [row.event.type for row in anyio.run(house.store.journal) if row.event.subject == found.key]
    assert types.count(CHANGE_MERGED) == 1 and types.count(CHANGE_CLASSIFIED) == (first == "push")


@pytest.mark.parametrize("first", ["labels", "push"])
@pytest.mark.parametrize("forge", ["gitlab", "gitea", "forgejo"])
def test_every_forges_labels_classify_what_it_merged(
    house: Any, teller: Callable[..., Any], forge: str, first: str
) -> None:
    """A label means the same wherever a team works."""
    merge = push(forge, sha=MERGED)
    merge["commits"][0]["message"] = "Merge branch topic"
    merge |= {} if forge == "gitlab" else {"head_commit": merge["commits"][0]}
    if forge == "gitlab":
        told = [(merge_request("deps", "cve", state="merged"), "Merge Request Hook"), (merge, "Push Hook")]
    else:
        told = [(pull("deps", "cve", action="closed", merged=True), "pull_request"), (merge, "push")]
    for body, event in told if first == "labels" else told[::-1]:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = teller(forge, sent, event)
        assert (answer.status_code, answer.json()["outcome"]) == (202, "recorded"), answer.text
    found = change(house, MERGED)
    assert (found.change_class, found.class_why) == (ChangeClass.SECURITY, "label cve")
    assert found.labels == ("deps", "cve")


@pytest.mark.parametrize(
    ("body", "status", "commits"),
    [
        (merge_request("cve"), 202, {SHA}),
        (merge_request("cve", state="merged", merge_commit_sha=None), 202, {SHA}),
        (merge_request("cve", state="merged", merge_commit_sha=None, squash_commit_sha=MERGED), 202,
         {SHA, MERGED}),
        (merge_request("cve", state="closed"), 202, set()),
        (merge_request("cve", last_commit={"id": "--upload-pack=evil"}), 400, set()),
        (merge_request("cve", iid="12"), 400, set()),
        (b'{"object_attributes": [], "labels": []}', 400, set()),
    ],
    ids=["open", "fast-forward", "squashed", "given up", "an option", "a number as text", "no request"],
)  # fmt: skip
def test_gitlabs_labels_count_for_the_head_and_for_what_it_was_merged_as(
    house: Any, teller: Callable[..., Any], body: bytes, status: int, commits: set[str]
) -> None:
    """Merged by fast-forward it has no commit of its own."""
    assert teller("gitlab", body, "Merge Request Hook").status_code == status
    found = anyio.run(house.store.scan, Labels, "shop/")[0]
    assert {one.commit for one in found} == commits


def test_a_label_that_goes_takes_the_class_with_it(house: Any, labelled: Callable[..., Any]) -> None:
    """Nobody keeps a way past the gate by a label that was taken back."""
    labelled(pull("cve"))
    labelled(json.dumps(push("github", ref="refs/heads/topic")).encode(), "push")
    assert change(house, SHA).change_class is ChangeClass.SECURITY
    labelled(pull(action="unlabeled"))
    found = change(house, SHA)
    assert (found.change_class, found.class_why, found.labels) == (ChangeClass.FIX, "its subject: fix", ())


def test_a_trailer_is_stronger_than_a_label(house: Any, labelled: Callable[..., Any]) -> None:
    said = push("github")
    said["head_commit"]["message"] = "a page\n\nPoise-Class: feature"
    labelled(json.dumps(said).encode(), "push")
    labelled(pull("cve"))
    assert change(house, SHA).class_why == "trailer Poise-Class: feature"


@pytest.mark.parametrize(
    ("body", "status", "outcome"),
    [
        (pull("cve", action="closed"), 202, "ignored"),
        (pull("cve", head={"sha": "--upload-pack=evil"}), 400, None),
        (pull("cve", merged=True, merge_commit_sha=None), 400, None),
        (pull("cve", labels="cve"), 400, None),
        (pull("cve", labels=[{"name": 7}]), 400, None),
        (b'{"action": "labeled", "pull_request": []}', 400, None),
    ],
    ids=[
        "given up",
        "an option",
        "merged as nothing",
        "labels no list",
        "a label no text",
        "no pull request",
    ],
)
def test_what_says_nothing_of_use_changes_nothing(
    house: Any, labelled: Callable[..., Any], body: bytes, status: int, outcome: str | None
) -> None:
    before = state(house)
    answer = labelled(body)
    assert (answer.status_code, answer.json().get("outcome")) == (status, outcome)
    assert state(house) == before


def test_an_unsigned_label_is_nobodys(house: Any, client: Client, labelled: Callable[..., Any]) -> None:
    """Else whoever knows the URL could let features pass as security."""
    before = state(house)
    forged = signed("github", "guessed", pull("cve"), house.clock.now(), event="pull_request")
    assert deliver(client, "github", forged).status_code == 401
    assert state(house) == before


def test_pull_requests_into_another_branch_than_the_hooks_are_not_followed(
    house: Any, client: Client, hook: Callable[..., str]
) -> None:
    secret = hook("github", branch="release")
    sent = signed("github", secret, pull("cve"), house.clock.now(), event="pull_request")
    assert deliver(client, "github", sent).json()["outcome"] == "ignored"
