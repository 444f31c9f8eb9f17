"""Every route of the app against every kind of asker: deny by default, 401 before 403."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.routes import HTTPRoute
from litestar.testing import TestClient

from poise.api.access import PUBLIC
from poise.model.access import Role
from poise.model.exchange import Forge

PATH = {
    "project": "shop", "environment": "production", "service": "web", "objective": "absent", "n": "1",
    "name": "absent", "token": "absent", "verb": "restart", "action": "1", "figure": "rework_ratio",
    "other": "2", "path": "openapi.json", "sequence": "1", "schedule": "absent", "ask": "1",
    "trace_id": "absent", "key": "current", "digest": "absent",
}  # fmt: skip
UNKNOWN = ("none", "garbage", "revoked", "expired", "spent-link")
HELD = {role.value: role.rank for role in Role} | {"nobody": -1, "other-admin": -1, "owner": 99}
ENDLESS = ("/stream",)  # asked below, in test_stream, by a client that can leave


def operations(app: Litestar) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, what the route declares) of every route, as registered."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in sorted(route.route_handler_map.items()):
                if method != "OPTIONS":
                    yield method, route.path_format.format(**PATH), handler.opt


def status_of(client: TestClient[Litestar], method: str, path: str, credential: str | None) -> int:
    headers = {} if credential is None else {"authorization": f"Bearer {credential}"}
    return client.request(method, path, headers=headers, follow_redirects=False).status_code


def test_every_route_declares_a_permission(app: Litestar) -> None:
    declared = {(method, path): opt.get("permission") for method, path, opt in operations(app)}
    assert len(declared) > 40
    assert set(declared.values()) <= {PUBLIC, *Role}


def test_a_route_that_declares_none_is_refused_to_everybody(house: Any) -> None:
    @get("/undeclared", sync_to_thread=False)
    def undeclared() -> str:
        return "secret"

    with TestClient(house.app(undeclared)) as client:
        for who in ("none", "viewer", "owner"):
            answer = client.get("/undeclared", headers=_bearer(house, who))
            assert (answer.status_code, "secret" in answer.text) == (403, False)


def test_nobody_known_is_401_everywhere_but_where_all_may_go(
    house: Any, app: Litestar, client: TestClient[Litestar]
) -> None:
    for method, path, opt in operations(app):
        if opt["permission"] == PUBLIC:
            continue
        found = {
            who: status_of(client, method, path, None if who == "none" else house.credentials[who])
            for who in UNKNOWN
        }
        assert set(found.values()) == {401}, (method, path, found)


def test_a_role_opens_what_its_rank_allows_and_nothing_more(
    house: Any, app: Litestar, client: TestClient[Litestar]
) -> None:
    for method, path, opt in operations(app):
        if opt["permission"] == PUBLIC or path.endswith(ENDLESS):
            continue
        answers = {
            who: client.request(method, path, headers=_bearer(house, who), follow_redirects=False)
            for who in HELD
        }
        allowed = {
            who: not (answer.status_code == 403 and "POISE-A403" in answer.text)  # A405: a form without csrf
            for who, answer in answers.items()
        }
        assert allowed == {who: _may(who, Role(opt["permission"]), path) for who in HELD}, (method, path)
        assert not {401, 500} & {answer.status_code for answer in answers.values()}, (method, path)


def _may(who: str, needed: Role, path: str) -> bool:
    of_a_project = "/shop" in path
    if not of_a_project and needed is Role.VIEWER:
        return who != "nobody"  # lists over all projects show each asker only their own
    if not of_a_project:
        return who == "owner"
    return HELD[who] >= needed.rank


def test_public_routes_are_few_and_tell_nothing(app: Litestar, client: TestClient[Litestar]) -> None:
    public = {(method, path) for method, path, opt in operations(app) if opt["permission"] == PUBLIC}
    assert public == {
        ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/static/absent"), ("GET", "/login"),
        ("POST", "/login"), ("GET", "/ack/absent"), ("POST", "/ack/absent"),  # proven by a signed link
        *(("POST", f"/api/v1/projects/shop/webhooks/{forge}") for forge in Forge),  # proven by a signature
    }  # fmt: skip
    for method, path in public:
        assert "shop" not in client.request(method, path).text


@pytest.mark.parametrize("service", ["git-upload-pack", "git-receive-pack"])
def test_git_asks_for_the_token_as_password(house: Any, client: TestClient[Litestar], service: str) -> None:
    house.parts.repositories.ensure("shop")
    path = f"/git/shop.git/info/refs?service={service}"
    needed = Role.VIEWER if service == "git-upload-pack" else Role.DEVELOPER
    refused = client.get(path)
    assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
    for who in UNKNOWN[1:]:
        assert client.get(path, auth=("poise", house.credentials[who])).status_code == 401
    for who, rank in HELD.items():
        status = client.get(path, auth=("poise", house.credentials[who])).status_code
        assert status == (200 if rank >= needed.rank else 403), who


def test_a_list_over_all_projects_shows_each_asker_only_their_own(
    client: TestClient[Litestar], headers: Callable[..., dict[str, str]]
) -> None:
    def names(who: str) -> list[str]:
        answer = client.get("/api/v1/projects", headers=headers(who)).json()
        return [one["name"] for one in answer["items"]]

    assert (names("viewer"), names("other-admin"), names("owner")) == (["shop"], ["other"], ["other", "shop"])


def test_a_cursor_names_no_project_that_the_asker_may_not_see(
    client: TestClient[Litestar], headers: Callable[..., dict[str, str]]
) -> None:
    first = client.get("/api/v1/projects?limit=1", headers=headers("viewer")).json()
    assert [one["name"] for one in first["items"]] == ["shop"]
    assert first["next"] is None


def _bearer(house: Any, who: str) -> dict[str, str]:
    return {} if who == "none" else {"authorization": f"Bearer {house.credentials[who]}"}
