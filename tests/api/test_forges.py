"""Forges are believed by their signature alone; what is refused has changed nothing."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient

from poise.model.delivery import Change
from poise.model.event_types import CHANGE_CREATED, CHANGE_MERGED
from poise.model.exchange import Delivery, Forge, Hook
from poise.model.kinds import BODIES

SHA = "5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689"
FORGES = [forge.value for forge in Forge]
Sent = tuple[Any, bytes]
Client = TestClient[Litestar]


def push(forge: str, sha: str = SHA, **more: Any) -> dict[str, Any]:
    """A push as the forge documents it, cut to what a reader could want."""
    commit = {
        "id": sha,
        "message": "fix: the basket adds up\n\nIt did not.",
        "timestamp": "2026-03-01T11:59:00+01:00",
        "author": {"name": "Ana", "email": "ana@example.org"},
    }
    said: dict[str, Any] = {"ref": "refs/heads/main", "before": "0" * 40, "after": sha, "commits": [commit]}
    if forge == "gitlab":
        said |= {"object_kind": "push", "user_username": "ana"}
    else:
        said |= {"head_commit": commit, "pusher": {"name": "ana", "login": "ana"}, "sender": {"login": "ana"}}
    return said | more


def signed(forge: str, secret: str, body: bytes, now: Any, *, delivery: str = "d-1", event: str = "") -> Sent:
    """Headers as the forge sends them."""
    mac = hmac.new(secret.encode(), body, sha256).hexdigest()
    kind = event or ("Push Hook" if forge == "gitlab" else "push")
    plain = {"content-type": "application/json"}
    match forge:
        case "github":
            named = {
                "X-GitHub-Event": kind,
                "X-GitHub-Delivery": delivery,
                "X-Hub-Signature-256": f"sha256={mac}",
            }
        case "gitlab":
            stamp = str(int(now.timestamp()))
            key = b64decode(secret.removeprefix("whsec_"))
            told = hmac.new(key, f"{delivery}.{stamp}.".encode() + body, sha256).digest()
            named = {
                "X-Gitlab-Event": kind, "webhook-id": delivery, "webhook-timestamp": stamp,
                "webhook-signature": f"v1,{b64encode(told).decode()}",
            }  # fmt: skip
        case _:
            name = forge.title()
            named = {f"X-{name}-Event": kind, f"X-{name}-Delivery": delivery, f"X-{name}-Signature": mac}
    return {**plain, **named}, body


def deliver(client: Client, forge: str, sent: Sent, project: str = "shop") -> Any:
    given, body = sent
    return client.post(f"/api/v1/projects/{project}/webhooks/{forge}", content=body, headers=given)


def state(house: Any) -> dict[str, Any]:
    """Everything that is on record: objects with generations, the journal's length, the outbox."""

    async def read() -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for kind in BODIES:
            kept[kind] = [(row.key, row.generation) for row in await house.store.objects(kind, "")]
        kept["journal"] = [row.sequence for row in await house.store.journal()]
        kept["outbox"] = [one.intent.key for one in await house.store.pending(house.clock.now())]
        return kept

    return anyio.run(read)


def spoiled(forge: str, secret: str, now: Any) -> dict[str, tuple[Sent, set[int]]]:
    """Twelve and more bad requests by name, each with the answers that are right."""
    body = json.dumps(push(forge)).encode()
    good, _ = signed(forge, secret, body, now)
    assert isinstance(good, dict)
    mark = next(name for name in good if name.lower().endswith(("signature", "signature-256")))
    sha1 = hmac.new(secret.encode(), body, "sha1").hexdigest()
    other = "whsec_" + b64encode(b"x" * 32).decode()

    def of(body: bytes, **how: Any) -> Sent:
        return signed(forge, secret, body, now, **how)

    def with_(**more: str) -> dict[str, str]:
        return {**good, **more}

    rest = {name: value for name, value in good.items() if name != mark}
    silent = {name: value for name, value in good.items() if not name.lower().endswith("-event")}
    no_hex = json.dumps(push(forge, sha="--upload-pack=evil" + "0" * 22)).encode()
    form = "application/x-www-form-urlencoded"
    huge = json.dumps(push(forge, padding="x" * 1_100_000)).encode()
    refused = {401}
    return {
        "no signature": ((rest, body), refused),
        "a wrong signature": ((with_(**{mark: good[mark][:-4] + "AAA="}), body), refused),
        "SHA-1 alone": (({**rest, "X-Hub-Signature": f"sha1={sha1}"}, body), refused),
        "another secret": (signed(forge, other, body, now), refused),
        "an empty secret": (signed(forge, "", body, now), refused),
        "a changed body": ((good, body.replace(b"main", b"evil")), refused),
        "another case": ((with_(**{mark: good[mark].upper()}), body), refused),
        "the header twice": (([*good.items(), (mark, good[mark])], body), refused),
        "a signature that is no text": (([*rest.items(), (mark, b"\xff\xfe")], body), refused),
        "huge": (of(huge), {413}),
        "malformed JSON": (of(b'{"ref": '), {400}),
        "not an object": (of(b"[]"), {400}),
        "nothing in it": (of(b"{}"), {400}),
        "a sha that is not hex": (of(no_hex), {400}),
        "a branch that is an option": (
            of(json.dumps(push(forge, ref="refs/heads/--upload-pack=evil")).encode()),
            {400},
        ),
        "a branch that climbs": (of(json.dumps(push(forge, ref="refs/heads/../../x")).encode()), {400}),
        "deep": (of(b"[" * 100_000), {400}),
        "another content type": ((with_(**{"content-type": form}), body), {400}),
        "no event": ((silent, body), {400}),
    }


@pytest.mark.parametrize("forge", FORGES)
def test_what_is_forged_malformed_or_oversized_changes_nothing(
    house: Any, client: Client, hook: Callable[..., str], forge: str
) -> None:
    secret = hook(forge)
    before = state(house)
    for name, (sent, right) in spoiled(forge, secret, house.clock.now()).items():
        answer = deliver(client, forge, sent)
        assert answer.status_code in right, (name, answer.status_code, answer.text)
        assert answer.json()["code"].startswith("POISE-"), name
        assert secret not in answer.text
        assert state(house) == before, name


@pytest.mark.parametrize("forge", FORGES)
def test_a_replay_changes_nothing_also_after_a_restart(
    house: Any, client: Client, hook: Callable[..., str], forge: str
) -> None:
    sent = signed(forge, hook(forge), json.dumps(push(forge)).encode(), house.clock.now())
    assert deliver(client, forge, sent).status_code == 202
    before = state(house)
    assert deliver(client, forge, sent).status_code == 409
    with TestClient(house.app(), raise_server_exceptions=False) as restarted:
        assert deliver(restarted, forge, sent).status_code == 409
    assert state(house) == before


@pytest.mark.parametrize("forge", ["github", "gitea", "forgejo"])
def test_a_replay_under_another_id_is_still_a_replay(
    house: Any, client: Client, hook: Callable[..., str], forge: str
) -> None:
    """The signature does not cover the id, so whoever repeats a message may choose it."""
    secret, body = hook(forge), json.dumps(push(forge)).encode()
    assert deliver(client, forge, signed(forge, secret, body, house.clock.now())).status_code == 202
    again = signed(forge, secret, body, house.clock.now(), delivery="d-2")
    assert deliver(client, forge, again).status_code == 409


def test_an_unknown_project_answers_as_a_forged_message_does(
    house: Any, client: Client, hook: Callable[..., str]
) -> None:
    hook("github")
    sent = signed("github", "guess", json.dumps(push("github")).encode(), house.clock.now())
    known, unknown = deliver(client, "github", sent), deliver(client, "github", sent, project="nowhere")
    assert (known.status_code, unknown.status_code) == (401, 401)
    assert known.json() == unknown.json()


@pytest.mark.parametrize("age", [-400, 400])
def test_gitlab_signatures_grow_old(house: Any, client: Client, hook: Callable[..., str], age: int) -> None:
    secret, body = hook("gitlab"), json.dumps(push("gitlab")).encode()
    sent = signed("gitlab", secret, body, house.clock.now() + timedelta(seconds=age))
    assert deliver(client, "gitlab", sent).status_code == 401


def test_gitlab_may_send_its_secret_as_a_plain_token(
    house: Any, client: Client, hook: Callable[..., str]
) -> None:
    secret, body = hook("gitlab"), json.dumps(push("gitlab")).encode()
    plain = {"content-type": "application/json", "X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-UUID": "u-1"}
    assert deliver(client, "gitlab", ({**plain, "X-Gitlab-Token": "guess"}, body)).status_code == 401
    assert deliver(client, "gitlab", ({**plain, "X-Gitlab-Token": secret}, body)).status_code == 202
    assert deliver(client, "gitlab", ({**plain, "X-Gitlab-Token": secret}, body)).status_code == 409


@pytest.mark.parametrize("forge", FORGES)
def test_a_push_without_a_remote_is_put_on_record_with_who_pushed(
    house: Any, client: Client, hook: Callable[..., str], forge: str
) -> None:
    sent = signed(forge, hook(forge), json.dumps(push(forge)).encode(), house.clock.now())
    answer = deliver(client, forge, sent)
    assert (answer.status_code, answer.json()["outcome"]) == (202, "recorded")
    change, _ = anyio.run(house.store.get, Change, f"shop/{SHA}")
    assert change is not None
    assert (change.pushed_by, change.summary, change.hosted) == (
        f"{forge}:ana",
        "fix: the basket adds up",
        False,
    )
    assert change.committed_at.isoformat() == "2026-03-01T10:59:00+00:00"
    event = anyio.run(house.store.journal)[-1].event
    assert (event.type, event.subject, event.actor) == (CHANGE_MERGED, f"shop/{SHA}", f"{forge}:ana")


def test_another_branch_is_a_change_that_is_not_merged(
    house: Any, client: Client, hook: Callable[..., str]
) -> None:
    body = json.dumps(push("github", ref="refs/heads/feature/x")).encode()
    deliver(client, "github", signed("github", hook("github"), body, house.clock.now()))
    assert anyio.run(house.store.journal)[-1].event.type == CHANGE_CREATED


@pytest.mark.parametrize("forge", FORGES)
def test_a_push_with_a_remote_asks_for_a_fetch_and_does_not_wait_for_it(
    house: Any, client: Client, hook: Callable[..., str], forge: str
) -> None:
    secret = hook(forge, remote="https://forge.example/shop.git", branch="main")
    sent = signed(forge, secret, json.dumps(push(forge)).encode(), house.clock.now())
    answer = deliver(client, forge, sent)
    assert (answer.status_code, answer.json()["outcome"]) == (202, "fetching")
    (stored,) = anyio.run(house.store.pending, house.clock.now())
    assert (stored.intent.act.hook, stored.intent.act.branch, stored.intent.act.pushed_by) == (
        f"shop/{forge}", "main", f"{forge}:ana",
    )  # fmt: skip
    other = json.dumps(push(forge, ref="refs/heads/other")).encode()
    told = deliver(client, forge, signed(forge, secret, other, house.clock.now(), delivery="d-2"))
    assert told.json()["outcome"] == "ignored"


@pytest.mark.parametrize(
    ("event", "more", "status", "outcome"),
    [
        ("ping", {}, 200, "pong"),
        ("issues", {}, 202, "ignored"),
        ("", {"ref": "refs/tags/v1"}, 202, "ignored"),
        ("", {"after": "0" * 40}, 202, "ignored"),
        ("", {"deleted": True}, 202, "ignored"),
        ("", {"forced": True}, 202, "recorded"),
        ("", {"commits": [{"id": str(n)} for n in range(9000)]}, 202, "recorded"),
        ("", {"head_commit": None, "commits": ["odd", None, {"id": SHA, "message": 7}]}, 202, "recorded"),
        ("", {"head_commit": {"id": SHA, "timestamp": "soon", "author": []}}, 202, "recorded"),
    ],
)
def test_what_is_authentic_and_no_push_is_taken_kindly(
    house: Any, client: Client, hook: Callable[..., str], event: str, more: Mapping[str, Any], status: int,
    outcome: str,
) -> None:  # fmt: skip
    secret = hook("github")
    before = state(house)
    sent = signed(
        "github", secret, json.dumps(push("github", **more)).encode(), house.clock.now(), event=event
    )
    answer = deliver(client, "github", sent)
    assert (answer.status_code, answer.json()["outcome"]) == (status, outcome), answer.text
    assert (state(house) == before) is (outcome != "recorded")


def test_deliveries_are_forgotten_once_they_have_expired(
    house: Any, client: Client, hook: Callable[..., str]
) -> None:
    secret = hook("github")

    def send(n: int) -> None:
        body = json.dumps(push("github", sha=f"{n:040x}")).encode()
        deliver(client, "github", signed("github", secret, body, house.clock.now(), delivery=f"d-{n}"))

    for n in range(1, 20):
        send(n)
    house.clock.at += timedelta(days=31)
    for n in range(20, 60):
        send(n)
    found, _ = anyio.run(house.store.scan, Delivery, "shop/github/")
    assert len(found) < 2 * 40 + 19


def test_a_secret_is_shown_once_and_is_nowhere_at_rest(
    house: Any, client: Client, hook: Callable[..., str], headers: Callable[..., dict[str, str]]
) -> None:
    secret = hook("github", remote="https://forge.example/a.git", credential="bot:hunter22")
    kept, _ = anyio.run(house.store.get, Hook, "shop/github")
    assert kept is not None
    files = b"".join(path.read_bytes() for path in house.data.rglob("poise.db*"))
    listed = client.get("/api/v1/projects/shop/hooks", headers=headers("admin"))
    assert listed.json()["items"][0]["has_credential"] is True
    for hidden in (secret, "hunter22"):
        assert hidden.encode() not in files
        assert hidden not in listed.text


def test_a_removed_hook_is_believed_no_more(
    house: Any, client: Client, hook: Callable[..., str], headers: Callable[..., dict[str, str]]
) -> None:
    secret = hook("gitea")
    gone = client.delete("/api/v1/projects/shop/hooks/gitea", headers=headers("admin"))
    assert gone.status_code == 200
    body = json.dumps(push("gitea")).encode()
    assert deliver(client, "gitea", signed("gitea", secret, body, house.clock.now())).status_code == 401
    again = client.delete("/api/v1/projects/shop/hooks/gitea", headers=headers("admin"))
    assert again.status_code == 404


@pytest.mark.parametrize(
    "remote",
    [
        "file:///etc", "/etc", "ext::sh -c id", "https://a:b@forge.example/x.git", "--upload-pack=x",
        "https://forge.example", "git://forge.example/x", "https:///x", "ssh://-oProxyCommand=x/y",
        "https://forge.example/x y", "https://forge.example/x?y",
    ],
)  # fmt: skip
def test_a_remote_that_could_do_harm_is_refused(
    client: Client, headers: Callable[..., dict[str, str]], remote: str
) -> None:
    body = {"forge": "github", "remote": remote}
    answer = client.post("/api/v1/projects/shop/hooks", json=body, headers=headers("admin"))
    assert answer.status_code == 422, answer.text
    assert answer.json()["mend"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    forge=st.sampled_from(FORGES),
    content=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["ref", "after", "commits", "head_commit", "pusher", "sender", "id", "author",
                             "user_username", "timestamp", "name", "login", "message"]), inner, max_size=6),
        max_leaves=12,
    ),
    ref=st.text(max_size=30),
)  # fmt: skip
def test_no_signed_body_whatever_is_our_fault(
    house: Any, client: Client, hook: Callable[..., str], forge: str, content: Any, ref: str
) -> None:
    secret = hook(forge)
    shaped = {**push(forge, ref=f"refs/heads/{ref}"), **content} if isinstance(content, dict) else content
    for said in (content, shaped):
        sent = signed(forge, secret, json.dumps(said).encode(), house.clock.now())
        assert deliver(client, forge, sent).status_code in (200, 202, 400, 409)
