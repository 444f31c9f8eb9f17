"""Credentials at rest and in browsers: hashed, 0600, spent once, and useless to another site."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec.structs import replace

from poise.adapters.sqlite.store import SqliteStore
from poise.api.access import SESSION_COOKIE
from poise.api.credentials import KEPT
from poise.api.first import welcome
from poise.model.access import Principal, Role, Token
from poise.model.record import Write
from poise.ports.store import Transaction
from poise.web.sign_in import CSRF_COOKIE

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
HTML = {"accept": "text/html"}


def signed_in(client: Client, credential: str) -> str:
    """Sign in by the form; the secret of this browser's forms."""
    page = client.get("/login", headers=HTML)
    csrf = client.cookies[CSRF_COOKIE]
    assert csrf in page.text
    answer = client.post(
        "/login", data={"token": credential, "csrf": csrf, "next": "/audit"}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit")
    return csrf


def test_no_secret_is_kept_in_plain(house: Any, client: Client) -> None:
    anyio.run(welcome, house.store, house.clock, house.data)
    signed_in(client, house.credentials["owner"])
    kept = b"".join(path.read_bytes() for path in house.data.glob("poise.db*"))
    mine = [credential for who, credential in house.credentials.items() if who != "garbage"]
    mine += [client.cookies[SESSION_COOKIE], (house.data / "token").read_text()]
    for credential in mine:
        assert credential.rpartition("_")[2].encode() not in kept
    assert (house.data / "token").stat().st_mode & 0o777 == 0o600
    assert (house.data / "signing.key").stat().st_mode & 0o777 == 0o600


def test_the_machines_token_is_made_once(house: Any, client: Client) -> None:
    anyio.run(welcome, house.store, house.clock, house.data)
    first = (house.data / "token").read_text()
    anyio.run(welcome, house.store, house.clock, house.data)
    assert (house.data / "token").read_text() == first
    assert client.get("/api/v1/audit", headers={"authorization": f"Bearer {first}"}).status_code == 200


def test_a_login_link_works_once(client: Client, headers: Headers) -> None:
    made = client.post("/api/v1/logins", headers=headers("viewer")).json()["key"]
    link = made[made.index("/login") :]
    first = client.get(link, headers=HTML, follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (302, "/")
    assert re.search(f"{SESSION_COOKIE}=.*HttpOnly.*SameSite=lax", first.headers["set-cookie"], re.I)
    client.cookies.clear()
    again = client.get(link, headers=HTML, follow_redirects=False)
    assert again.status_code == 401
    assert SESSION_COOKIE not in again.cookies


def test_a_login_link_opens_no_api(house: Any, client: Client) -> None:
    link = house.mint("owner", once=True)
    assert client.get("/api/v1/status", headers={"authorization": f"Bearer {link}"}).status_code == 401


def test_a_login_link_lapses(house: Any, client: Client) -> None:
    link = house.mint("owner", timedelta(minutes=15), once=True)
    house.clock.at += timedelta(minutes=15)
    assert client.get(f"/login?link={link}", headers=HTML).status_code == 401


def test_a_pasted_link_signs_in_once(house: Any, client: Client) -> None:
    pasted = f"http://127.0.0.1:8700/login?link={house.mint('viewer', once=True)}"
    csrf = signed_in(client, pasted)
    assert client.get("/").status_code == 200
    again = client.post("/login", data={"token": pasted, "csrf": csrf}, follow_redirects=False)
    assert again.status_code == 401


def test_signing_out_ends_the_session_wherever_its_cookie_went(house: Any, client: Client) -> None:
    csrf = signed_in(client, house.credentials["viewer"])
    copied = client.cookies[SESSION_COOKIE]
    assert client.get("/").status_code == 200
    client.post("/logout", data={"csrf": csrf}, follow_redirects=False)
    client.cookies.set(SESSION_COOKIE, copied)
    assert client.get("/").status_code == 401


def test_signing_in_needs_the_forms_secret(house: Any, client: Client) -> None:
    client.get("/login", headers=HTML)
    for csrf in ("", "other", "é"):
        answer = client.post("/login", data={"token": house.credentials["owner"], "csrf": csrf})
        assert (answer.status_code, SESSION_COOKIE in client.cookies) == (403, False)


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/", "javascript:alert(1)"])
def test_signing_in_leads_nowhere_else(house: Any, client: Client, target: str) -> None:
    client.get("/login", headers=HTML)
    sent = {"token": house.credentials["owner"], "csrf": client.cookies[CSRF_COOKIE], "next": target}
    assert client.post("/login", data=sent, follow_redirects=False).headers["location"] == "/"


@pytest.mark.parametrize(
    "sent",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"authorization": "Digest anything", "origin": "https://evil.example"},
    ],
)
def test_a_page_of_another_site_cannot_act(house: Any, client: Client, sent: dict[str, str]) -> None:
    csrf = signed_in(client, house.credentials["operator"])
    act = {"reason": "for fun", "csrf": csrf}
    refused = client.post("/act/restart/shop/production/web", data=act, headers=sent)
    assert (refused.status_code, "POISE-A404" in refused.text) == (403, True)
    api = client.post(
        "/api/v1/projects/shop/environments/production/services/web/orders",
        json={"verb": "restart", "reason": "for fun"}, headers={**sent, "idempotency-key": "k"},
    )  # fmt: skip
    assert api.status_code == 403


def test_a_form_acts_only_with_its_secret(house: Any, client: Client) -> None:
    csrf = signed_in(client, house.credentials["operator"])
    path = "/act/restart/shop/production/web"
    assert client.post(path, data={"reason": "it hangs"}).status_code == 403
    assert client.post(path, data={"reason": "it hangs", "csrf": "x"}).status_code == 403
    done = client.post(path, data={"reason": "it hangs", "csrf": csrf}, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, "/services/shop/production/web")


def test_a_visitor_gets_the_login_page_and_the_command(client: Client) -> None:
    answer = client.get("/services/shop/production/web", headers=HTML)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert "poise login" in answer.text
    assert 'value="/services/shop/production/web"' in answer.text
    assert "www-authenticate" not in answer.headers or "Basic" not in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/services/shop/production/absent", 404, "no service shop/production/absent"),
        ("/services/shop/production/web?window=9y", 422, "no window 9y"),
        ("/runs/shop/77", 404, "no run"),
        ("/runs/other/1", 403, "may not do this"),
        ("/nowhere", 404, "HTTP 404"),
    ],
)
def test_an_error_of_a_page_is_a_page(house: Any, client: Client, path: str, status: int, said: str) -> None:
    signed_in(client, house.credentials["viewer"])
    answer = client.get(path, headers=HTML)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert said in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_an_error_of_the_api_is_json_even_for_a_browser(client: Client) -> None:
    for path in ("/api/v1/status", "/api/v1/nowhere", "/static/none.css", "/git/x"):
        answer = client.get(path, headers=HTML)
        assert answer.headers["content-type"].startswith("application/json"), path


def test_the_token_file_is_never_readable_by_others(tmp_path: Path) -> None:
    from poise.api.first import write_secret

    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)
    write_secret(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_revoked_token_is_refused_at_once_though_it_was_just_taken(
    house: Any, client: Client, headers: Headers
) -> None:
    """Who was known a moment ago is remembered; what this process writes must end that."""
    mine = headers("viewer")
    assert client.get("/api/v1/projects", headers=mine).status_code == 200
    token_id = house.credentials["viewer"].split("_")[1]
    token, _ = anyio.run(house.store.get, Token, token_id)
    house.write(replace(token, revoked=True))
    assert client.get("/api/v1/projects", headers=mine).status_code == 401


def test_a_role_that_was_taken_away_is_gone_at_once(house: Any, client: Client, headers: Headers) -> None:
    mine = headers("operator")
    assert client.get("/api/v1/projects/shop", headers=mine).status_code == 200
    house.write(Principal(name="operator", roles={"other": Role.VIEWER}))
    assert client.get("/api/v1/projects/shop", headers=mine).status_code == 403


def test_a_token_that_another_process_revoked_is_refused_within_seconds(
    house: Any, client: Client, headers: Headers
) -> None:
    """`poise` on the command line may write to the same file; nothing tells this process."""
    mine = headers("viewer")
    assert client.get("/api/v1/projects", headers=mine).status_code == 200
    token_id = house.credentials["viewer"].split("_")[1]
    elsewhere = SqliteStore(house.data / "poise.db")
    token, ref = anyio.run(elsewhere.get, Token, token_id)
    assert token is not None
    gone = Write(kind="Token", key=token.key, body=replace(token, revoked=True))
    anyio.run(elsewhere.commit, Transaction(at=house.clock.now(), reads=[ref], writes=[gone]))
    house.clock.at += KEPT
    assert client.get("/api/v1/projects", headers=mine).status_code == 401


def test_a_remembered_token_expires_when_it_says(house: Any, client: Client) -> None:
    mine = {"authorization": "Bearer " + house.mint("owner", timedelta(seconds=2))}
    assert client.get("/api/v1/projects", headers=mine).status_code == 200
    house.clock.at += timedelta(seconds=2)
    assert client.get("/api/v1/projects", headers=mine).status_code == 401
