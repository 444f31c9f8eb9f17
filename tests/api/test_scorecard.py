"""The scorecard over HTTP: figures from the journal, each opening to its deployments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from tests.balance.scorecard.histories import Teller

from poise.ports.store import Transaction

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
CARD = "/api/v1/projects/shop/scorecard"


@pytest.fixture
def told(house: Any) -> Teller:
    """Three deployments, the second of them taken back; each a minute apart in the house's present."""
    teller = Teller()
    teller.push("a", 0)
    teller.live(1, "a", 1)
    teller.push("b", 2)
    teller.live(2, "b", 3)
    teller.taken_back(3, "b", at=4, detected=5, back=6)
    tell(house, teller)
    return teller


def tell(house: Any, teller: Teller, first: int = 0) -> None:
    for row in teller.rows[first:]:
        anyio.run(house.store.commit, Transaction(at=house.clock.now(), events=[row.event]))
        house.clock.at = house.clock.at.replace(microsecond=house.clock.at.microsecond + 1)


def test_the_five_figures_come_from_the_journal(
    house: Any, client: Client, headers: Headers, told: Teller
) -> None:
    card = client.get(CARD, headers=headers("viewer")).json()
    values = {one["name"]: (one["value"], one["count"]) for one in card["figures"]}
    assert values["deployment_frequency"] == (2 / 28, 2)
    assert values["change_fail_ratio"] == (1 / 3, 1)
    assert card["scope"] == "shop/production"
    assert card["objectives"]["ratio"] is None


def test_what_is_new_in_the_journal_counts_at_once(
    house: Any, client: Client, headers: Headers, told: Teller
) -> None:
    client.get(CARD, headers=headers("viewer"))
    known = len(told.rows)
    told.live(4, "b", 9)
    tell(house, told, known)
    card = client.get(CARD, headers=headers("viewer")).json()
    assert card["figures"][0]["count"] == 3


def test_every_figure_opens_to_its_deployments_page_by_page(
    client: Client, headers: Headers, told: Teller
) -> None:
    where = f"{CARD}/change_fail_ratio/evidence?limit=2"
    first = client.get(where, headers=headers("viewer")).json()
    rest = client.get(f"{where}&cursor={first['next']}", headers=headers("viewer")).json()
    assert [one["release"] for one in first["items"] + rest["items"]] == [1, 2, 3]
    assert rest["next"] is None
    assert rest["items"][0]["failures"] == ["rolled_back"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("?window=soon", 422),
        ("?window=9999d", 422),
        ("?service=nothing", 404),
        ("/nothing/evidence", 404),
        ("/rework_ratio/evidence?cursor=x", 422),
    ],
)
def test_what_cannot_be_answered_says_what_can(
    client: Client, headers: Headers, asked: str, status: int
) -> None:
    answer = client.get(CARD + asked, headers=headers("viewer"))
    assert answer.status_code == status
    assert answer.json()["mend"]
