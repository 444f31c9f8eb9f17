"""Writes: once per Idempotency-Key, only over what was read, and every refusal in four parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from litestar import Litestar, get
from litestar.testing import TestClient
from tests.conftest import NOW

from poise.model.delivery import ChangeClass, Order, Rollout
from poise.model.delivery import RolloutState as S
from poise.model.rules import RuleFile
from poise.model.service import Service

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
WEB = "/api/v1/projects/shop/environments/production/services/web"
ORDER = {"verb": "restart", "reason": "it looks stuck"}
SPEC = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec:
  command: python3 server.py
  port: 8080
"""


def orders(house: Any) -> list[Order]:
    return anyio.run(house.store.scan, Order, "shop/")[0]


def four_parts(answer: Any) -> dict[str, Any]:
    problem = answer.json()
    assert set(problem) == {"code", "what", "where", "why", "mend", "exit_code", "problems"}
    assert problem["code"].startswith("POISE-")
    assert problem["what"]
    assert "Traceback" not in answer.text
    assert '.py"' not in answer.text
    return problem


def test_a_create_sent_twice_happens_once_and_is_answered_the_same(
    house: Any, client: Client, headers: Headers
) -> None:
    sent = [client.post(f"{WEB}/orders", json=ORDER, headers=headers(idempotency_key="k1")) for _ in range(2)]
    assert [answer.status_code for answer in sent] == [201, 201]
    assert sent[0].json() == sent[1].json()
    assert len(orders(house)) == 1
    client.post(f"{WEB}/orders", json=ORDER, headers=headers(idempotency_key="k2"))
    assert len(orders(house)) == 2


def rollout(n: int, state: S) -> Rollout:
    return Rollout(
        project="shop", environment="production", service="web", n=n, release=n, digest=f"sha256:{n}",
        revision=str(n), commit="c", summary="s", change_class=ChangeClass.FEATURE, created_at=NOW,
        spec=Service(project="shop", environment="production", name="web", command="run", port=8080),
        state=state, finished_at=NOW if state is S.LIVE else None,
    )  # fmt: skip


DEPLOY = "poise deploy web --release N --reason '...'"


@pytest.mark.parametrize(
    ("verb", "states", "why", "mend"),
    [
        (
            "abort",
            (S.RETIRED, S.LIVE),
            "too late: rollout 2 is live since 12:00:00 UTC",
            "poise rollback web",
        ),
        ("abort", (S.LIVE, S.ROLLING_BACK), "rollout 2 is rolling back already", "poise rollout status web"),
        ("abort", (S.LIVE, S.PROMOTING), "", ""),
        ("abort", (S.LIVE, S.STEPPING), "", ""),
        ("promote", (S.LIVE, S.PROMOTING), "rollout 2 is promoting", "poise abort web"),
        ("pause", (S.RETIRED, S.LIVE), "no rollout is under way", "poise rollout status web"),
        ("rollback", (S.RETIRED, S.LIVE), "", ""),
        ("rollback", (S.FAILED, S.LIVE), "no earlier live release is known", DEPLOY),
        ("rollback", (S.FAILED, S.FAILED), "nothing of it is live", "poise why web"),
    ],
)
def test_an_order_that_comes_too_late_is_refused_with_what_helps(
    house: Any, client: Client, headers: Headers, verb: str, states: tuple[S, S], why: str, mend: str
) -> None:
    """Who is told that a release was aborted goes home: it must not be live then."""
    house.write(*(rollout(n, state) for n, state in enumerate(states, 1)))
    asked = {"verb": verb, "reason": "it looks bad"}
    answer = client.post(f"{WEB}/orders", json=asked, headers=headers(idempotency_key="k1"))
    if not why:
        assert (answer.status_code, len(orders(house))) == (201, 1)
        return
    problem = four_parts(answer)
    assert (answer.status_code, problem["exit_code"], problem["mend"]) == (409, 4, mend)
    assert why in problem["why"]
    assert orders(house) == []


def test_a_key_belongs_to_its_asker(house: Any, client: Client, headers: Headers) -> None:
    for who in ("operator", "admin"):
        client.post(f"{WEB}/orders", json=ORDER, headers=headers(who, idempotency_key="k1"))
    assert [order.by for order in orders(house)] == ["operator", "admin"]


def test_a_key_used_for_another_body_is_a_conflict(house: Any, client: Client, headers: Headers) -> None:
    client.post(f"{WEB}/orders", json=ORDER, headers=headers(idempotency_key="k1"))
    other = {**ORDER, "reason": "something else"}
    answer = client.post(f"{WEB}/orders", json=other, headers=headers(idempotency_key="k1"))
    assert (answer.status_code, four_parts(answer)["exit_code"]) == (409, 4)
    assert len(orders(house)) == 1


@pytest.mark.parametrize("key", [None, "k" * 201, "a\x01b"])
def test_a_create_without_a_good_key_is_refused_with_a_mend(
    house: Any, client: Client, headers: Headers, key: str | None
) -> None:
    more = {} if key is None else {"idempotency_key": key}
    answer = client.post(f"{WEB}/orders", json=ORDER, headers=headers(**more))
    assert answer.status_code == 422
    assert "Idempotency-Key" in four_parts(answer)["mend"]
    assert orders(house) == []


def test_apply_needs_the_etag_of_the_plan_that_was_read(house: Any, client: Client, headers: Headers) -> None:
    path, body = "/api/v1/projects/shop", {"text": SPEC}
    missing = client.put(f"{path}/spec", json=body, headers=headers())
    assert (missing.status_code, four_parts(missing)["code"]) == (422, "POISE-E428")
    stale = client.put(f"{path}/spec", json=body, headers=headers(if_match='"99"'))
    assert (stale.status_code, four_parts(stale)["code"]) == (409, "POISE-E412")
    assert anyio.run(house.store.get, Service, "shop/production/web")[0].command == "run"
    plan = client.post(f"{path}/plan", json=body, headers=headers())
    assert plan.headers["etag"] == plan.json()["etag"]
    done = client.put(f"{path}/spec", json=body, headers=headers(if_match=plan.headers["etag"]))
    assert done.status_code == 200
    assert anyio.run(house.store.get, Service, "shop/production/web")[0].command == "python3 server.py"
    again = client.post(f"{path}/plan", json=body, headers=headers())
    assert again.json()["differences"] == []


def test_rule_files_are_applied_with_what_names_them(house: Any, client: Client, headers: Headers) -> None:
    """What a push declares, ``poise apply`` declares too; a file that is not sent is not forgotten."""
    head = "---\napiVersion: poise.dev/v1\nkind: Project\nmetadata: {name: shop}\n"
    project = f"{head}spec: {{ruleFiles: r/*.yml}}\n"
    path, body = "/api/v1/projects/shop", {"text": SPEC + project, "files": {}}
    refused = client.post(f"{path}/plan", json=body, headers=headers())
    assert (refused.status_code, four_parts(refused)["code"]) == (422, "POISE-S132")
    body["files"] = {"r/a.yml": "groups: [{name: a, rules: [{record: x, expr: rate(x)}]}]"}
    refused = client.post(f"{path}/plan", json=body, headers=headers())
    assert four_parts(refused)["where"] == "r/a.yml:1:46"
    body["files"] = {"r/a.yml": "groups: [{name: a, rules: [{record: x, expr: vector(1)}]}]"}
    plan = client.post(f"{path}/plan", json=body, headers=headers())
    assert "shop/r/a.yml" in [one["key"] for one in plan.json()["differences"]]
    client.put(f"{path}/spec", json=body, headers=headers(if_match=plan.headers["etag"]))
    assert anyio.run(house.store.get, RuleFile, "shop/r/a.yml")[0].groups[0].rules[0].expr == "vector(1)"


def test_roles_are_changed_only_over_what_was_read(client: Client, headers: Headers) -> None:
    body = {"name": "eva", "roles": {"shop": "viewer"}}
    owner = headers("owner")
    made = client.put("/api/v1/principals/eva", json=body, headers={**owner, "if-match": '"0"'})
    assert (made.status_code, made.headers["etag"]) == (200, '"1"')
    again = client.put("/api/v1/principals/eva", json=body, headers={**owner, "if-match": '"0"'})
    assert again.status_code == 409
    assert client.put("/api/v1/principals/eva", json=body, headers=owner).status_code == 422


def test_a_bad_spec_is_refused_whole_with_each_place(house: Any, client: Client, headers: Headers) -> None:
    text = SPEC.replace("command:", "comand:").replace("port: 8080", "port: many")
    answer = client.put("/api/v1/projects/shop/spec", json={"text": text}, headers=headers(if_match='"1"'))
    problem = four_parts(answer)
    assert (answer.status_code, problem["exit_code"]) == (422, 5)
    places = [one["where"] for one in problem["problems"]] or [problem["where"]]
    assert any(place.startswith("poise.yaml:5:") for place in places)
    assert anyio.run(house.store.get, Service, "shop/production/web")[0].command == "run"


@pytest.mark.parametrize(
    ("method", "path", "how", "status"),
    [
        ("POST", f"{WEB}/orders", {"content": b"{", "headers": {"idempotency-key": "k"}}, 400),
        ("POST", f"{WEB}/orders", {"content": b"\xff\xfe", "headers": {"idempotency-key": "k"}}, 400),
        ("POST", f"{WEB}/orders", {"json": {**ORDER, "verb": "explode"}}, 400),
        ("POST", f"{WEB}/orders", {"json": {**ORDER, "surprise": 1}}, 400),
        ("GET", f"{WEB}x", {}, 404),
        ("GET", "/api/v1/nothing", {}, 404),
        ("PATCH", f"{WEB}/orders", {}, 405),
        ("GET", "/api/v1/projects?limit=many", {}, 400),
        ("GET", "/api/v1/projects?limit=501", {}, 400),
        ("GET", "/api/v1/projects/shop/runs/7", {}, 404),
        ("GET", "/api/v1/projects/shop/runs/999999999999999999999", {}, 400),
        ("GET", "/api/v1/projects/shop/events?after=99999999999999999999", {}, 400),
        ("GET", f"/git/{'x' * 90}.git/info/refs", {}, 404),
    ],
)
def test_every_refusal_has_four_parts_and_no_trace(
    client: Client, headers: Headers, method: str, path: str, how: dict[str, Any], status: int
) -> None:
    more = how.pop("headers", {}) if "headers" in how else {}
    answer = client.request(method, path, headers={**headers("owner"), **more}, **how)
    assert answer.status_code == status, answer.text
    four_parts(answer)


def test_our_own_mistake_is_told_without_its_inside(house: Any, headers: Headers) -> None:
    @get("/broken", opt={"permission": "viewer"}, sync_to_thread=False)
    def broken() -> str:
        raise RuntimeError("the password is hunter2")

    with TestClient(house.app(broken), raise_server_exceptions=False) as client:
        answer = client.get("/broken", headers=headers("owner"))
    assert answer.status_code == 500
    assert four_parts(answer)["why"] == "RuntimeError"
    assert "hunter2" not in answer.text


def test_a_body_over_its_limit_is_413_and_nothing_is_kept(
    house: Any, client: Client, headers: Headers
) -> None:
    huge = {"verb": "restart", "reason": "x" * 2_000_000}
    answer = client.post(f"{WEB}/orders", json=huge, headers=headers(idempotency_key="k"))
    assert (answer.status_code, four_parts(answer)["exit_code"]) == (413, 5)
    assert orders(house) == []


def test_a_list_is_read_whole_and_each_item_once(house: Any, client: Client, headers: Headers) -> None:
    names = [f"s{n:02d}" for n in range(23)]
    house.write(
        *(Service(project="shop", environment="production", name=name, command="run") for name in names)
    )
    seen: list[str] = []
    cursor: str | None = ""
    pages = 0
    while cursor is not None:
        asked = client.get(
            "/api/v1/projects/shop/services", params={"cursor": cursor, "limit": 5}, headers=headers()
        ).json()
        seen += [one["name"] for one in asked["items"]]
        cursor, pages = asked["next"], pages + 1
    assert seen == [*names, "web"]
    assert pages == 5


def test_the_journal_is_read_whole_and_each_event_once(client: Client, headers: Headers) -> None:
    def read(limit: int) -> list[int]:
        seen: list[int] = []
        after: str | None = "0"
        while after is not None:
            asked = client.get(
                f"/api/v1/projects/shop/events?after={after}&limit={limit}", headers=headers()
            ).json()
            seen += [row["sequence"] for row in asked["items"]]
            after = asked["next"]
        return seen

    assert read(1) == read(2) == read(500)
    assert len(read(1)) == 4


def test_an_override_longer_than_the_policy_allows_is_refused(client: Client, headers: Headers) -> None:
    body = {"reason": "we must", "expires_s": 1e9}
    answer = client.post(f"{WEB}/overrides", json=body, headers=headers(idempotency_key="k"))
    assert answer.status_code == 400
    four_parts(answer)
