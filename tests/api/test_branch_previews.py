"""Branch previews over HTTP: where they are, in the status, on the service's page, and stopped by a word."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
from litestar import Litestar
from litestar.testing import TestClient

from poise.model.branch_preview import BranchPreview, PreviewOrder, PreviewRevision, PreviewState
from poise.model.service import Service

Headers = Callable[..., dict[str, str]]
PATH = "/api/v1/projects/shop/previews"


def shown(house: Any, state: PreviewState = PreviewState.READY, reason: str = "") -> BranchPreview:
    """The preview of branch feature/x, on record."""
    web, _ = anyio.run(house.store.get, Service, "shop/production/web")
    now = house.clock.at
    revision = PreviewRevision(n=1, run=7, commit="c" * 40, digest="sha256:1", spec=web, since=now)
    one = BranchPreview(
        project="shop", branch="feature/x", label="feature-x", service="web", host="feature-x.web.localhost",
        state=state, commit="c" * 40, run=7, taken_at=now, until=now + timedelta(hours=1), changed_at=now,
        revisions=(revision,), served=1, last=1, reason=reason,
    )  # fmt: skip
    house.write(one)
    return one


def test_everybody_sees_where_a_branch_answers(
    house: Any, client: TestClient[Litestar], headers: Headers
) -> None:
    one = shown(house)
    (row,) = client.get(PATH, headers=headers("viewer")).json()["items"]
    assert row["address"] == f"http://feature-x.web.localhost:{house.parts.ingress_port}/"
    assert (row["state"], row["branch"], row["key"]) == ("ready", "feature/x", one.key)
    status = client.get("/api/v1/status", headers=headers("viewer")).json()
    assert [one["branch"] for one in status["previews"]] == ["feature/x"]
    assert [one["key"] for one in status["services"] if "~" in one["key"]] == [], "it is no service"


def test_the_services_page_links_to_it_and_says_why_one_failed(
    house: Any, client: TestClient[Litestar], headers: Headers
) -> None:
    shown(house, PreviewState.FAILED, "run 8 ended in failure")
    page = client.get("/services/shop/production/web", headers=headers("viewer")).text
    assert "Branch previews" in page and 'href="http://feature-x.web.localhost' in page
    assert "The preview of web on feature/x failed: run 8 ended in failure." in page


def test_what_it_prints_is_asked_for_by_its_key(
    house: Any, client: TestClient[Litestar], headers: Headers
) -> None:
    shown(house)
    logs = "/api/v1/projects/shop/environments/{}/services/web/log"
    assert client.get(logs.format("~feature-x"), headers=headers("viewer")).status_code == 200
    assert client.get(logs.format("~feature-y"), headers=headers("viewer")).status_code == 404


def test_a_developer_stops_it_and_one_that_is_not_there_is_said(
    house: Any, client: TestClient[Litestar], headers: Headers
) -> None:
    """The word is on record with who and why; the room carries it out."""
    shown(house)
    anyio.run(house.parts.loop.lead)
    body = {"reason": "seen"}
    assert client.post(f"{PATH}/feature-x/stop", json=body, headers=headers("viewer")).status_code == 403
    done = client.post(f"{PATH}/feature-x/stop", json=body, headers=headers("developer", idempotency_key="1"))
    assert done.status_code == 201 and "stops the previews of feature/x: seen" in done.json()["sentence"]
    order, _ = anyio.run(house.store.get, PreviewOrder, "shop/feature-x")
    assert order is not None and order.reason == "seen"
    gone = client.post(f"{PATH}/feature-y/stop", json=body, headers=headers("developer", idempotency_key="2"))
    assert gone.status_code == 404 and gone.json()["mend"] == "See: poise previews"


def test_a_stop_that_comes_too_late_is_refused_with_what_stopped_it(
    house: Any, client: TestClient[Litestar], headers: Headers
) -> None:
    """Two people press at once: the slower one learns that it is done, and how it comes back."""
    shown(house, PreviewState.STOPPED, "ben asked for it (seen)")
    anyio.run(house.parts.loop.lead)
    late = client.post(f"{PATH}/feature-x/stop", json={}, headers=headers("developer", idempotency_key="1"))
    assert late.status_code == 409, late.text
    assert late.json()["why"] == "The preview of web on feature/x is stopped: ben asked for it (seen)."
    assert "A new commit" in late.json()["mend"]
    assert anyio.run(house.store.get, PreviewOrder, "shop/feature-x")[0] is None
