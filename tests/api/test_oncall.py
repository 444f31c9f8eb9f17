"""On-call over HTTP: the calendar, overrides, tests of contacts, and the signed acknowledge link."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from poise.model.incident import Incident, IncidentOrder, IncidentState, Severity
from poise.model.oncall import Contact, ContactKind, OnCallSchedule, Person, Rotation
from poise.ports.notifier import Message
from poise.reliability.paging.link import Claim, sign

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
BASE = "/api/v1/projects/shop/oncall/main"
PEOPLE = tuple(
    Person(name=name, contacts=(Contact(kind=ContactKind.EMAIL, address=f"{name}@x"),))
    for name in ("anna", "ben")
)


@pytest.fixture(autouse=True)
def schedule(house: Any) -> None:
    turns = Rotation(people=("anna", "ben"), starts=date(2020, 1, 6))
    house.write(
        OnCallSchedule(project="shop", name="main", zone="Europe/Berlin", people=PEOPLE, rotations=(turns,))
    )


def incident(house: Any, **more: Any) -> Incident:
    now = house.clock.now()
    base = {
        "project": "shop", "environment": "production", "n": 77, "title": "<script>x</script> burns",
        "severity": Severity.SEV1, "service": "shop/production/web", "services": ("shop/production/web",),
        "onset_at": now, "opened_at": now,
    }  # fmt: skip
    made = Incident(**{**base, **more})
    house.write(made)
    return made


def link(house: Any, ttl: timedelta = timedelta(hours=1), key: bytes | None = None) -> str:
    claim = Claim(incident="shop/000077", person="anna", expires_at=house.clock.now() + ttl)
    return f"/ack/{sign(key or house.parts.signing_key, claim)}"


def orders(house: Any) -> list[IncidentOrder]:
    found, _ = anyio.run(house.store.scan, IncidentOrder, "shop/000077/")
    return list(found)


def test_who_is_on_call_now_and_who_is_next(client: Client, headers: Headers) -> None:
    (now,) = client.get("/api/v1/projects/shop/oncall", headers=headers("viewer")).json()["items"]
    assert {now["person"], now["next_person"]} == {"anna", "ben"}


def test_the_calendar_shows_an_override_and_cancelling_takes_it_back(
    house: Any, client: Client, headers: Headers
) -> None:
    start = house.clock.now().astimezone(UTC).replace(microsecond=0)
    (now,) = client.get("/api/v1/projects/shop/oncall", headers=headers("viewer")).json()["items"]
    other = ({"anna", "ben"} - {now["person"]}).pop()
    body = {"person": other, "reason": "swap", "starts_at": start.isoformat(),
            "ends_at": (start + timedelta(hours=2)).isoformat()}  # fmt: skip
    asked = {**headers("developer"), "idempotency-key": "one"}
    made = client.post(f"{BASE}/overrides", json=body, headers=asked)
    assert (made.status_code, made.json()["key"]) == (201, "shop/main/000001")
    assert client.post(f"{BASE}/overrides", json=body, headers=asked).json() == made.json()
    query = {"from": start.isoformat(), "to": (start + timedelta(hours=3)).isoformat()}
    shifts = client.get(f"{BASE}/shifts", params=query, headers=headers("viewer")).json()["shifts"]
    assert (shifts[0]["person"], shifts[0]["override"]) == (other, True)
    assert client.delete(f"{BASE}/overrides/1", headers=headers("developer")).status_code == 200
    shifts = client.get(f"{BASE}/shifts", params=query, headers=headers("viewer")).json()["shifts"]
    assert [shift["override"] for shift in shifts] == [False] * len(shifts)


@pytest.mark.parametrize("query", ["from=soon", "from=2026-01-01T00:00:00", "from=9999-12-31T00:00:00Z"])
def test_an_instant_that_is_none_is_refused_with_an_example(
    client: Client, headers: Headers, query: str
) -> None:
    answer = client.get(f"{BASE}/shifts?{query}", headers=headers("viewer"))
    assert (answer.status_code, "2026-01-05" in answer.json()["mend"]) == (422, True)


def test_an_override_for_a_stranger_names_who_could(client: Client, headers: Headers) -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    body = {"person": "zoe", "reason": "swap", "starts_at": at.isoformat(),
            "ends_at": (at + timedelta(hours=1)).isoformat()}  # fmt: skip
    asked = {**headers("developer"), "idempotency-key": "two"}
    answer = client.post(f"{BASE}/overrides", json=body, headers=asked)
    assert (answer.status_code, "anna, ben" in answer.json()["mend"]) == (422, True)


class Told:
    """A notifier that counts."""

    kind = ContactKind.EMAIL

    def __init__(self) -> None:
        self.titles: list[str] = []

    async def send(self, contact: Contact, message: Message) -> str:
        self.titles.append(message.title)
        return f"taken {len(self.titles)}"


def test_a_test_that_is_sent_twice_pages_once(house: Any, client: Client, headers: Headers) -> None:
    """The answer got lost on the way; nobody's telephone should ring again for that."""
    told = house.parts.notifiers[ContactKind.EMAIL] = Told()
    ask = {"person": "anna"}
    refused = client.post(f"{BASE}/test", json=ask, headers=headers("developer"))
    assert (refused.status_code, refused.json()["code"]) == (422, "POISE-E428")
    sent = headers("developer", idempotency_key="k1")
    first, second = (client.post(f"{BASE}/test", json=ask, headers=sent) for _ in range(2))
    assert first.json() == second.json() and first.json()["items"][0]["receipt"] == "taken 1"
    assert told.titles == ["[TEST] Poise reaches anna"]
    client.post(f"{BASE}/test", json=ask, headers=headers("developer", idempotency_key="k2"))
    assert len(told.titles) == 2


def test_opening_the_link_acknowledges_nothing(house: Any, client: Client) -> None:
    """What looks ahead at links in mails only ever asks by GET."""
    incident(house)
    page = client.get(link(house))
    assert (page.status_code, "Acknowledge as anna" in page.text) == (200, True)
    assert "<script>x" not in page.text
    assert orders(house) == []


def test_the_button_acknowledges_once_in_the_name_of_the_person(house: Any, client: Client) -> None:
    incident(house)
    first = client.post(link(house))
    second = client.post(link(house))
    assert (first.status_code, second.status_code) == (200, 200)
    assert "Acknowledged by anna" in first.text
    assert "Already acknowledged" in second.text
    assert [(order.verb, order.by) for order in orders(house)] == [("acknowledge", "anna")]


def test_who_comes_later_is_told_who_has_it(house: Any, client: Client) -> None:
    incident(house, state=IncidentState.ACKNOWLEDGED, acknowledged_by="ben")
    assert "Already acknowledged by ben" in client.post(link(house)).text
    assert orders(house) == []


def test_a_forged_or_expired_link_says_so_in_plain_words(house: Any, client: Client) -> None:
    incident(house)
    good = link(house)
    for forged in (link(house, key=b"x" * 32), good[:-4] + "AAAA", "/ack/absent", f"{good[:9]}{good[10:]}"):
        for answer in (client.get(forged), client.post(forged)):
            assert (answer.status_code, "This link is not valid" in answer.text) == (401, True)
    answer = client.post(link(house, ttl=timedelta(seconds=-1)))
    assert (answer.status_code, "poise incident ack 77" in answer.text) == (410, True)
    assert orders(house) == []
