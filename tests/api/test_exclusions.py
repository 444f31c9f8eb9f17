"""Exclusions over HTTP: who, why and when is kept; taken back, the time counts again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from poise.model.exclusion import Exclusion
from poise.model.objective import IndicatorKind, Objective

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
BASE = "/api/v1/projects/shop/exclusions"
ASK = {
    "name": "database-move",
    "starts": "2026-01-05T02:00:00",
    "duration_s": 3600,
    "zone": "Europe/Berlin",
    "reason": "moving the database",
    "objectives": ["production/web"],
}


@pytest.fixture(autouse=True)
def objective(house: Any) -> None:
    house.write(
        Objective(
            service="shop/production/web",
            name="extra",
            indicator=IndicatorKind.AVAILABILITY,
            target_ratio=0.9,
        )
    )


def asked(client: Client, headers: Headers, role: str = "operator", **changes: object) -> Any:
    return client.post(BASE, json={**ASK, **changes}, headers=headers(role, idempotency_key=uuid4().hex))


def journal(house: Any) -> list[Any]:
    found = anyio.run(lambda: house.store.journal(subject="shop", last=True, limit=5))
    return [one.event for one in found if one.event.type.startswith("dev.poise.exclusion.")]


def test_it_is_kept_with_its_reason_and_its_author(client: Client, headers: Headers, house: Any) -> None:
    """An auditor asks who took an hour out of the budget, and why."""
    done = asked(client, headers)
    assert done.status_code == 201, done.text
    (one,) = client.get(BASE, headers=headers("viewer")).json()["items"]
    assert (one["reason"], one["declared"], one["objectives"]) == (
        "moving the database", False, ["shop/production/web"],
    )  # fmt: skip
    (event,) = journal(house)
    assert event.actor == one["by"] and event.data["retroactive"] is True
    assert "1 h from 2026-01-05T02:00:00 (Europe/Berlin)" in event.summary


def test_taken_back_it_stays_on_record(client: Client, headers: Headers, house: Any) -> None:
    """Nothing disappears; being told twice is harmless."""
    asked(client, headers)
    for _ in range(2):
        done = client.delete(f"{BASE}/database-move?reason=too%20early", headers=headers("operator"))
        assert done.status_code == 200, done.text
    kept, _ = anyio.run(house.store.get, Exclusion, "shop/asked/database-move")
    assert kept.removed_at is not None and not kept.covers("shop/production/web/extra")
    assert [event.type for event in journal(house)] == [
        "dev.poise.exclusion.created", "dev.poise.exclusion.removed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"rrule": "FREQ=HOURLY"}, 422, "POISE-B432"),
        ({"zone": "Europe/Berln"}, 422, "POISE-B432"),
        ({"starts": "tomorrow"}, 422, "POISE-B432"),
        ({"objectives": ["production/nothing"]}, 404, "POISE-B434"),
        ({"reason": ""}, 400, "POISE-H400"),
        ({"surprise": 1}, 400, "POISE-H400"),
    ],
)
def test_what_cannot_be_is_refused(
    client: Client, headers: Headers, changes: dict[str, object], status: int, code: str
) -> None:
    """Bad input gets a clear answer and changes nothing."""
    done = asked(client, headers, **changes)
    assert (done.status_code, done.json()["code"]) == (status, code)
    assert client.get(BASE, headers=headers("viewer")).json()["items"] == []


def test_a_name_is_one_exclusion_and_a_declared_one_is_not_taken_back_here(
    client: Client, headers: Headers, house: Any
) -> None:
    """One writer per object: poise.yaml says what it says."""
    asked(client, headers)
    assert asked(client, headers).status_code == 409
    house.write(
        Exclusion(
            project="shop", name="weekly", starts="2026-01-01", duration_s=1, reason="r", by="poise.yaml"
        )
    )
    gone = client.delete(f"{BASE}/weekly", headers=headers("operator"))
    assert (gone.status_code, gone.json()["code"]) == (409, "POISE-B439")
    assert client.delete(f"{BASE}/nothing", headers=headers("operator")).status_code == 404


def test_a_viewer_may_look_and_not_exclude(client: Client, headers: Headers) -> None:
    """Excluding time loosens the gate: an operator answers for it."""
    assert asked(client, headers, "developer").status_code == 403
    assert client.get(BASE, headers=headers("viewer")).status_code == 200
