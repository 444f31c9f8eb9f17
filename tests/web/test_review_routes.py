"""The page of a post-mortem over HTTP: read, tried, saved against what was read, agreed on, published."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from poise.api.access import SESSION_COOKIE
from poise.model.incident import Incident, IncidentState, Severity
from poise.model.review import Review, ReviewEdit, Section, Sentence
from poise.web.sign_in import CSRF_COOKIE

Client = TestClient[Litestar]
PAGE = "/projects/shop/incidents/1/review"
SERVICE = "shop/production/web"
TEXT = "# Incident 1\n\n## Summary\n\n- It began.[^1]\n\n[^1]: `event/1`\n"


@pytest.fixture
def client(house: Any) -> Iterator[Client]:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(autouse=True)
def reviewed(house: Any) -> None:
    """A resolved incident with the draft of its review."""
    now = house.clock.now()
    one = Incident(
        project="shop", environment="production", n=1, title="burns", severity=Severity.SEV1,
        state=IncidentState.RESOLVED, service=SERVICE, services=(SERVICE,), resolved_at=now,
        onset_at=now - timedelta(minutes=14), opened_at=now - timedelta(minutes=12), resolved_by="ana",
    )  # fmt: skip
    said = Sentence(section=Section.SUMMARY, text="It began.", evidence=("event/1",))
    review = Review(
        incident=one.key, title="Incident 1: burns", sentences=(said,), text=TEXT, drafted_at=now, ttd_s=120.0
    )
    house.write(one, review)


def browse(house: Any, client: Client, who: str) -> str:
    """A browser of this person; the secret of its forms."""
    client.cookies[SESSION_COOKIE] = house.credentials[who]
    client.get("/")
    return client.cookies[CSRF_COOKIE]


def edits(house: Any) -> list[ReviewEdit]:
    found: list[ReviewEdit] = anyio.run(house.store.scan, ReviewEdit)[0]
    return found


def etag_of(page: str) -> str:
    found = re.search(r'name="if_match" value="([^"]+)"', page)
    assert found is not None
    return found[1].replace("&#34;", '"').replace("&quot;", '"')


def test_a_draft_is_shown_with_its_evidence(client: Client, headers: Callable[..., dict[str, str]]) -> None:
    page = client.get(PAGE, headers=headers("viewer"))
    assert page.status_code == 200, page.text
    assert '<a href="/projects/shop/events/1" title="event/1">1</a>' in page.text
    assert "A draft from the record: 1 sentence, each with its evidence; no action is agreed on." in page.text
    assert "<form" not in page.text.partition("<main")[2]


def test_its_evidence_opens(house: Any, client: Client, headers: Callable[..., dict[str, str]]) -> None:
    """Each id leads to the event itself; another project's is not shown."""
    rows = anyio.run(house.store.journal)
    mine = next(row.sequence for row in rows if row.event.subject.startswith(f"{SERVICE}/"))
    page = client.get(f"/projects/shop/events/{mine}", headers=headers("viewer"))
    assert page.status_code == 200 and f"wrote {SERVICE}" in page.text
    foreign = next(row.sequence for row in rows if row.event.subject.startswith("other/"))
    assert client.get(f"/projects/shop/events/{foreign}", headers=headers("viewer")).status_code == 404


def test_a_text_is_tried_and_then_saved(house: Any, client: Client) -> None:
    csrf = browse(house, client, "developer")
    form = {"csrf": csrf, "if_match": etag_of(client.get(PAGE).text), "text": "We **learnt**.\r\nMuch.\r\n"}
    tried = client.post(f"{PAGE}/preview", data=form)
    assert tried.status_code == 200, tried.text
    assert "We <strong>learnt</strong>" in tried.text and "not saved yet" in tried.text
    assert edits(house) == []
    saved = client.post(f"{PAGE}/save", data=form, follow_redirects=False)
    assert (saved.status_code, saved.headers.get("location")) == (303, PAGE), saved.text
    assert [one.text for one in edits(house)] == ["We **learnt**.\nMuch.\n"]


def test_a_text_read_before_another_was_saved_is_not_lost_and_not_kept(house: Any, client: Client) -> None:
    """The slower of two sees their own text again, and that somebody was faster."""
    csrf = browse(house, client, "developer")
    form = {"csrf": csrf, "if_match": '"99"', "text": "the slower one's words"}
    refused = client.post(f"{PAGE}/save", data=form)
    assert refused.status_code == 409
    assert "Somebody edited it" in refused.text and "the slower one&#39;s words" in refused.text
    assert edits(house) == []


def test_actions_are_agreed_on_and_done(house: Any, client: Client) -> None:
    csrf = browse(house, client, "developer")
    due = (house.clock.now() + timedelta(days=7)).date().isoformat()
    form = {
        "csrf": csrf, "kind": "prevent", "text": "bound the timeout", "owner": "ben", "due": due,
        "verification": "a test sends 0",
    }  # fmt: skip
    assert client.post(f"{PAGE}/action", data=form, follow_redirects=False).status_code == 303
    action = edits(house)[0].action
    assert action is not None and (action.text, action.owner) == ("bound the timeout", "ben")
    done = client.post(f"{PAGE}/done", data={"csrf": csrf, "action": "1"}, follow_redirects=False)
    assert done.status_code == 303, done.text
    assert edits(house)[1].done == 1
    for wrong in ({**form, "due": "soon"}, {**form, "kind": "hope"}, {"csrf": csrf}):
        assert client.post(f"{PAGE}/action", data=wrong).status_code in (400, 422)


def test_only_an_operator_publishes(house: Any, client: Client) -> None:
    csrf = browse(house, client, "developer")
    assert client.post(f"{PAGE}/publish", data={"csrf": csrf}, follow_redirects=False).status_code == 403
    browse(house, client, "operator")
    assert client.post(f"{PAGE}/publish", data={"csrf": csrf}, follow_redirects=False).status_code == 303
    assert [one.publish for one in edits(house)] == [True]


@pytest.mark.parametrize("act", ["preview", "save", "action", "done", "publish"])
def test_no_form_of_another_site_is_taken(act: str, house: Any, client: Client) -> None:
    browse(house, client, "operator")
    form = {"text": "x", "action": "1", "kind": "prevent", "owner": "o", "due": "2027-01-01"}
    refused = client.post(f"{PAGE}/{act}", data={**form, "verification": "v", "csrf": "guessed"})
    assert refused.status_code == 403
    assert edits(house) == []
