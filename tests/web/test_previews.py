"""Branch previews on a service's page: who may stop one there, for what reason, and what comes too late."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec.structs import replace

from poise.api.access import SESSION_COOKIE
from poise.model.branch_preview import BranchPreview, PreviewOrder, PreviewState, Stopped
from poise.web import pages
from poise.web.sign_in import CSRF_COOKIE

Client = TestClient[Litestar]
PAGE = "/services/shop/production/web"
STOP = f"{PAGE}/previews/feature-x/stop"


@pytest.fixture
def client(house: Any) -> Iterator[Client]:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def shown(house: Any) -> BranchPreview:
    """The preview of branch feature/x, which is being built."""
    now = house.clock.at
    one = BranchPreview(
        project="shop", branch="feature/x", label="feature-x", service="web", host="feature-x.web.localhost",
        state=PreviewState.BUILDING, commit="c" * 40, run=7, taken_at=now, until=now + timedelta(hours=1),
        changed_at=now,
    )  # fmt: skip
    house.write(one)
    anyio.run(house.parts.loop.lead)
    return one


def browse(house: Any, client: Client, who: str) -> str:
    """A browser of this person; the secret of its forms."""
    client.cookies[SESSION_COOKIE] = house.credentials[who]
    client.get("/")
    return client.cookies[CSRF_COOKIE]


def orders(house: Any) -> list[PreviewOrder]:
    found: list[PreviewOrder] = anyio.run(house.store.scan, PreviewOrder)[0]
    return found


def test_a_developer_stops_a_branch_from_the_page(house: Any, client: Client, shown: BranchPreview) -> None:
    """By the form that the page has; a second press of the button is the same order."""
    csrf = browse(house, client, "developer")
    page = client.get(PAGE).text
    assert f'action="{STOP}"' in page and f'value="{shown.taken_at.isoformat()}"' in page
    form = {"csrf": csrf, "reason": "seen enough", "once": shown.taken_at.isoformat()}
    for _ in range(2):
        done = client.post(STOP, data=form, follow_redirects=False)
        assert (done.status_code, done.headers.get("location")) == (303, f"{PAGE}#previews"), done.text
        house.clock.at += timedelta(seconds=1)
    [order] = orders(house)
    assert (order.key, order.reason) == ("shop/feature-x", "seen enough")
    assert order.at == shown.taken_at, "a double click asked twice"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [({"reason": " "}, 422), ({"reason": "x" * 501}, 422), ({"csrf": "another-site"}, 403)],
)
def test_a_wrong_form_stops_nothing(
    wrong: dict[str, str], status: int, house: Any, client: Client, shown: BranchPreview
) -> None:
    """No reason, too much of it, another site."""
    form = {"csrf": browse(house, client, "developer"), "reason": "seen enough", "once": "1"}
    assert client.post(STOP, data=form | wrong).status_code == status
    assert orders(house) == []


def test_a_viewer_sees_it_and_cannot_stop_it(house: Any, client: Client, shown: BranchPreview) -> None:
    csrf = browse(house, client, "viewer")
    page = client.get(PAGE).text
    assert "feature/x" in page and STOP not in page
    assert client.post(STOP, data={"csrf": csrf, "reason": "why not"}).status_code == 403
    assert orders(house) == []


def test_what_is_stopped_already_is_told_as_a_page(house: Any, client: Client, shown: BranchPreview) -> None:
    """The page was open while somebody else stopped it; and what never was, is not there."""
    house.write(replace(
        shown, state=PreviewState.STOPPED, stopped=Stopped.ORDERED, reason="ben asked for it (seen)"
    ))  # fmt: skip
    form = {"csrf": browse(house, client, "developer"), "reason": "seen enough", "once": "1"}
    late = client.post(STOP, data=form)
    assert late.status_code == 409 and "<h1>" in late.text
    assert "the previews of feature/x cannot be stopped" in late.text
    assert "The preview of web on feature/x is stopped: ben asked for it (seen)." in late.text
    assert client.post(STOP.replace("feature-x", "feature-y"), data=form).status_code == 404
    assert orders(house) == []


def test_the_page_says_each_state_and_why(samples: ModuleType) -> None:
    """In the words of `poise previews`; of those that are stopped the reason is what is left to tell."""
    view = samples.previewed_service()
    html = pages.service(view).partition('id="previews"')[2].partition("</section>")[0]
    for word in ("building", "starting", "ready", "failed"):
        assert f">{word}</p>" in html
    assert "The preview of storefront on feature/broken failed: 9f31c07a crashed 3 times" in html
    assert "The preview of storefront on feature/old is stopped: ben asked for it (seen enough)." in html
    assert html.count("Stop feature/") == 2 * 5, "a button and its form for each that is not stopped"
    over = tuple(row for row in view.previews if row.state is PreviewState.STOPPED)
    html = pages.service(replace(view, previews=over))
    assert "None runs now." in html and "Stop feature/" not in html
