"""The pages of logs over HTTP: what may be seen, by whom, and what a wrong wish is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from poise.model.output import OutputPage

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
PAGE = "/logs/shop/production/web"
API = "/api/v1/projects/shop/environments/production/services/web/log"


@pytest.fixture
def client(house: Any) -> Iterator[Client]:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        yield client


def say(house: Any, raw: bytes, name: str = "1-0") -> Path:
    folder = house.data / "logs" / "shop/production/web"
    folder.mkdir(parents=True, exist_ok=True)
    path: Path = folder / f"{name}.log"
    path.write_bytes(raw)
    return path


def test_what_was_printed_is_on_the_page_as_text(house: Any, client: Client, headers: Headers) -> None:
    """Replicas print markup, colours, progress bars, rubbish: all of it is only text."""
    say(house, b"<script>alert(1)</script>\n\x1b[31mred\x1b[0m\n 1 %\r 99 %\r\n\xff\xfe\x00\n")
    answer = client.get(PAGE, headers=headers("viewer"))
    assert answer.status_code == 200
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert "<script>alert" not in answer.text
    assert "<code>red</code>" in answer.text
    assert "<code> 99 %</code>" in answer.text
    assert "4 lines" in answer.text


def test_a_search_is_an_address(house: Any, client: Client, headers: Headers) -> None:
    """What was found can be sent to someone: the form is a GET, each line has a link."""
    say(house, b"one\ntwo\nthree\n")
    found = client.get(PAGE, params={"grep": "^T", "i": "1", "context": "0"}, headers=headers("viewer"))
    assert "<code>two</code>" in found.text
    assert "<code>one</code>" not in found.text
    assert f'href="{PAGE}?line=1-0%404#hit"' in found.text
    linked = client.get(PAGE, params={"line": "1-0@4"}, headers=headers("viewer"))
    assert '<div id="hit">' in linked.text
    assert "<code>three</code>" in linked.text
    gone = client.get(PAGE, params={"line": "9-0@4"}, headers=headers("viewer"))
    assert "no longer kept" in gone.text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"grep": "a(b"}, "missing )"),
        ({"since": "yesterday"}, "POISE-Y104"),
        ({"replica": "../1"}, "POISE-Y105"),
        ({"line": "nothing"}, "POISE-Y106"),
    ],
)
def test_a_wish_that_cannot_be_is_told_beside_the_form(
    asked: dict[str, str], said: str, client: Client, headers: Headers
) -> None:
    """With what was typed still in it."""
    answer = client.get(PAGE, params=asked, headers=headers("viewer"))
    assert answer.status_code == 422
    assert said in answer.text
    assert "<form" in answer.text
    if "grep" in asked:
        assert 'value="a(b"' in answer.text


@pytest.mark.parametrize("path", [PAGE, API, API + "/stream", "/runs/shop/1/logs"])
def test_only_who_may_see_the_project_sees_its_output(path: str, client: Client, headers: Headers) -> None:
    """Output tells more than anything else: neither another project's admin nor nobody reads it."""
    assert client.get(path, headers=headers("other-admin")).status_code == 403
    assert client.get(path, headers=headers("nobody")).status_code == 403


def test_no_name_leads_out_of_the_folder_of_logs(house: Any, client: Client, headers: Headers) -> None:
    """Names are of services and replicas on record, never of files."""
    (house.data / "logs" / "poise.log").write_text("the house's own\n")
    (house.data / "logs" / "shop/production/web").mkdir(parents=True)
    (house.data / "logs" / "shop/production/web" / "1-0.log").symlink_to(house.data / "logs" / "poise.log")
    for path in (API, f"{API}?line=../../../poise@0", "/api/v1/projects/shop/runs/1/log/search?job=.."):
        answer = client.get(path, headers=headers("viewer"))
        assert "house's own" not in answer.text
        assert answer.status_code in (200, 404, 422)


def test_pages_of_answers_go_on_where_the_last_ended(house: Any, served: str, headers: Headers) -> None:
    """A reader that comes back, with cursor or Last-Event-ID, misses nothing and sees nothing twice."""
    path = say(house, b"one\n")
    with httpx2.Client(trust_env=False, timeout=10, headers=headers("viewer")) as client:
        first = msgspec.json.decode(client.get(served + API + "?follow=true").content, type=OutputPage)
        assert [line.text for line in first.items] == ["one"]
        path.write_bytes(b"one\ntwo\nthree\n")
        for how in ({"params": {"cursor": first.cursor}}, {"headers": {"last-event-id": first.cursor}}):
            with client.stream("GET", served + API + "/stream", **how) as answer:  # type: ignore[arg-type]
                told = next(line for line in answer.iter_lines() if line.startswith("data:"))
            assert [one["text"] for one in msgspec.json.decode(told[5:])["items"]] == ["two", "three"]
        assert client.get(served + API + "/stream?cursor=%21").status_code == 422
