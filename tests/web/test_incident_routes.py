"""The pages of incidents over HTTP: what they read, and what their forms make of a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from poise.api.access import SESSION_COOKIE
from poise.model import event_types
from poise.model.incident import Incident, IncidentOrder, IncidentState, IncidentVerb, Severity
from poise.model.record import Event
from poise.ports.store import Transaction
from poise.web.sign_in import CSRF_COOKIE

Client = TestClient[Litestar]
PAGE = "/projects/shop/incidents/1"
SERVICE = "shop/production/web"


@pytest.fixture
def client(house: Any) -> Iterator[Client]:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def opened(house: Any) -> Incident:
    """An open incident of the declared service."""
    now = house.clock.now()
    one = Incident(
        project="shop", environment="production", n=1, title="availability burns 124x",
        severity=Severity.SEV1, service=SERVICE, services=(SERVICE,), onset_at=now - timedelta(minutes=14),
        opened_at=now - timedelta(minutes=12),
    )  # fmt: skip
    house.write(one)
    return one


def happen(house: Any, *events: Event) -> None:
    """Write events at this instant."""
    anyio.run(house.store.commit, Transaction(at=house.clock.now(), events=events))


def browse(house: Any, client: Client, who: str) -> str:
    """A browser of this person; the secret of its forms."""
    client.cookies[SESSION_COOKIE] = house.credentials[who]
    client.get("/")
    return client.cookies[CSRF_COOKIE]


def orders(house: Any) -> list[IncidentOrder]:
    found: list[IncidentOrder] = anyio.run(house.store.scan, IncidentOrder)[0]
    return found


def test_the_list_says_what_is_open(
    house: Any, client: Client, headers: Callable[..., dict[str, str]], opened: Incident
) -> None:
    page = client.get("/projects/shop/incidents", headers=headers("viewer"))
    assert page.status_code == 200, page.text
    assert "1 incident is open:" in page.text and "nobody has acknowledged it" in page.text
    to = client.get("/incidents", headers=headers("viewer"), follow_redirects=False)
    assert to.headers["location"] == "/projects/shop/incidents"


def test_a_form_acknowledges_once_however_often_it_is_sent(
    house: Any, client: Client, opened: Incident
) -> None:
    csrf = browse(house, client, "developer")
    assert "Acknowledge" in client.get(PAGE).text
    form = {"csrf": csrf, "verb": "acknowledge"}
    for _ in range(2):
        done = client.post(f"{PAGE}/say", data=form, follow_redirects=False)
        assert (done.status_code, done.headers.get("location")) == (303, PAGE), done.text
    assert [(one.verb, one.by) for one in orders(house)] == [(IncidentVerb.ACKNOWLEDGE, "developer")]


def test_a_form_of_another_site_says_nothing(house: Any, client: Client, opened: Incident) -> None:
    """Neither without the browser's secret nor with a wrong one."""
    browse(house, client, "operator")
    for form in ({"verb": "resolve"}, {"verb": "resolve", "csrf": "guessed"}):
        assert client.post(f"{PAGE}/say", data=form, follow_redirects=False).status_code == 403
    assert orders(house) == []


def test_a_role_sees_and_may_what_the_api_allows(house: Any, client: Client, opened: Incident) -> None:
    """A viewer sees no act, a developer notes but does not resolve."""
    csrf = browse(house, client, "viewer")
    assert "/say" not in client.get(PAGE).text
    assert client.post(f"{PAGE}/say", data={"csrf": csrf, "verb": "note", "text": "x"}).status_code == 403
    browse(house, client, "developer")
    shown = client.get(PAGE).text
    assert 'id="say-note"' in shown and 'id="say-resolve"' not in shown
    assert client.post(f"{PAGE}/say", data={"csrf": csrf, "verb": "resolve"}).status_code == 403
    assert orders(house) == []


@pytest.mark.parametrize("form", [{}, {"verb": "explode"}, {"verb": "note", "text": "x" * 2001}])
def test_what_the_api_would_refuse_a_form_is_refused(
    form: dict[str, str], house: Any, client: Client, opened: Incident
) -> None:
    csrf = browse(house, client, "operator")
    assert client.post(f"{PAGE}/say", data={"csrf": csrf, **form}).status_code in (400, 422)
    assert orders(house) == []


def test_a_timeline_turns_its_pages_and_filters(
    house: Any, client: Client, headers: Callable[..., dict[str, str]], opened: Incident
) -> None:
    """250 notes are three pages; the kinds are told apart."""
    for n in range(250):
        happen(
            house, Event(type=event_types.INCIDENT_NOTED, subject=opened.key, summary=f"ana: word {n:03d}.")
        )
    happen(
        house,
        Event(type=event_types.CONFIG_CHANGED, subject=f"{SERVICE}/000017", summary="config 17 of web"),
    )
    first = client.get(PAGE, headers=headers("viewer")).text
    assert "config 17 of web" in first and 'href="/services/shop/production/web"' in first
    assert "word 249." in first and "word 151." in first and "word 150." not in first
    notes = client.get(f"{PAGE}?kind=note", headers=headers("viewer")).text
    assert "config 17 of web" not in notes and "word 150." in notes
    import re

    earlier = re.search(r'href="([^"]*before=\d+[^"]*)"', notes)
    assert earlier is not None
    second = client.get(earlier[1].replace("&amp;", "&"), headers=headers("viewer")).text
    assert "word 149." in second and "word 150." not in second
    assert client.get(f"{PAGE}?kind=explosion", headers=headers("viewer")).status_code == 422


def test_no_such_incident_is_a_page_that_helps(
    client: Client, headers: Callable[..., dict[str, str]]
) -> None:
    page = client.get("/projects/shop/incidents/9", headers=headers("viewer"))
    assert page.status_code == 404 and "poise incident list" in page.text


def test_a_resolved_incident_can_be_reopened_and_noted(
    house: Any, client: Client, headers: Callable[..., dict[str, str]], opened: Incident
) -> None:
    from msgspec.structs import replace

    now = house.clock.now()
    house.write(replace(opened, state=IncidentState.RESOLVED, resolved_at=now, resolved_by="ana"))
    page = client.get(PAGE, headers=headers("operator")).text
    assert 'id="say-reopen"' in page and 'id="say-note"' in page and 'id="say-mitigate"' not in page
    assert "Over: web was in trouble for 14 min." in page
