"""Reviews over HTTP: what people make of them is written once, in order, and over nobody's word."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec.structs import replace

from poise.api.reviews import agreed, due
from poise.model.errors import Invalid
from poise.model.review import Action, ActionKind, Review, ReviewEdit
from poise.reliability.review.decide import folded

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
REVIEWS = "/api/v1/projects/shop/reviews"
ONE = f"{REVIEWS}/1"
ACTION = {
    "kind": "prevent", "text": "refuse a currency it does not know", "owner": "ada", "due": "2026-03-15",
    "verification": "a start with EURO fails",
}  # fmt: skip


@pytest.fixture
def drafted(house: Any) -> Review:
    """The review of incident 1, as the room drafted it."""
    review = Review(
        incident="shop/000001", title="Incident 1: web fails", services=("shop/production/web",),
        text="# Incident 1\n", drafted_at=house.clock.at,
    )  # fmt: skip
    house.write(review)
    return review


@pytest.fixture
def say(client: Client, headers: Headers, drafted: Review) -> Callable[..., Any]:
    """POST with a fresh key, as a developer."""
    count = iter(range(100))

    def say(path: str, body: Any = None, who: str = "developer", key: str = "") -> Any:
        sent = headers(who, idempotency_key=key or f"k{next(count)}")
        return client.post(f"{ONE}/{path}", json=body or {}, headers=sent)

    return say


def edits(house: Any) -> list[ReviewEdit]:
    found: list[ReviewEdit] = anyio.run(house.store.scan, ReviewEdit, "shop/000001/")[0]
    return found


def fold(house: Any, review: Review) -> Review:
    """What the room would do with all that was said."""
    made = folded(review, edits(house))
    house.write(made)
    return made


def put_text(client: Client, headers: Headers, text: str, match: str | None = None) -> Any:
    etag = match or client.get(f"{ONE}/text", headers=headers()).headers["etag"]
    return client.put(f"{ONE}/text", json={"text": text}, headers=headers("developer", if_match=etag))


def test_reviews_are_listed_by_incident_each_once(house: Any, client: Client, headers: Headers) -> None:
    for n in (3, 1, 2):
        house.write(Review(incident=f"shop/{n:06d}", title=f"{n}", text="t", drafted_at=house.clock.at))
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(f"{REVIEWS}?limit=2&cursor={cursor}", headers=headers("viewer")).json()
        seen += [one["title"] for one in page["items"]]
        cursor = page["next"]
    assert seen == ["1", "2", "3"]


def test_what_is_not_drafted_is_not_found_and_says_when_it_will_be(client: Client, headers: Headers) -> None:
    for path in (ONE, f"{ONE}/text"):
        answer = client.get(path, headers=headers())
        assert (answer.status_code, "is resolved" in answer.json()["why"]) == (404, True)


def test_the_text_is_markdown_and_is_written_over_only_when_it_was_read(
    house: Any, client: Client, headers: Headers, drafted: Review
) -> None:
    shown = client.get(f"{ONE}/text", headers=headers("viewer"))
    assert (shown.text, shown.headers["content-type"][:13]) == ("# Incident 1\n", "text/markdown")
    assert put_text(client, headers, "mine", '"77"').json()["code"] == "POISE-E412"
    bare = client.put(f"{ONE}/text", json={"text": "mine"}, headers=headers("developer"))
    assert bare.json()["code"] == "POISE-E428"
    assert put_text(client, headers, " \n").json()["code"] == "POISE-I422"
    assert put_text(client, headers, "mine").status_code == 200
    assert [(one.k, one.by, one.text) for one in edits(house)] == [(1, "developer", "mine")]


def test_a_text_waits_until_what_others_said_is_taken_over(
    house: Any, client: Client, headers: Headers, drafted: Review
) -> None:
    assert put_text(client, headers, "first").status_code == 200
    again = put_text(client, headers, "second")
    assert (again.status_code, again.json()["code"]) == (409, "POISE-I412")
    assert fold(house, drafted).text == "first"
    assert put_text(client, headers, "second").status_code == 200
    assert fold(house, drafted).text == "second"


def test_actions_are_added_replaced_and_done_each_once(
    house: Any, say: Callable[..., Any], drafted: Review
) -> None:
    sent = [say("actions", ACTION, key="same") for _ in range(2)]
    assert [answer.json()["key"] for answer in sent] == ["1", "1"], sent[0].text
    assert sent[0].json()["sentence"] == "Action 1 of incident 1: ada has until 2026-03-15."
    assert say("actions", ACTION | {"kind": "detect", "owner": "bob"}).json()["key"] == "2"
    assert say("actions", ACTION | {"n": 1, "owner": "eve"}).json()["key"] == "1"
    assert [answer.status_code for answer in (say("actions/1/done"), say("actions/1/done"))] == [201, 409]
    assert say("actions/3/done").status_code == 404
    assert say("actions", ACTION | {"n": 9}).status_code == 404
    review = fold(house, drafted)
    assert [(one.n, one.owner, one.done_by) for one in review.actions] == [
        (1, "eve", "developer"), (2, "bob", None),
    ]  # fmt: skip
    assert [one.k for one in edits(house)] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", sorted(ACTION))
def test_an_action_needs_all_its_parts(house: Any, say: Callable[..., Any], name: str) -> None:
    without = {field: value for field, value in ACTION.items() if field != name}
    missing, blank = say("actions", without), say("actions", ACTION | {name: "  "})
    assert (missing.status_code, name in missing.text) == (400, True)
    assert blank.status_code in (400, 422), blank.text
    assert edits(house) == []


@pytest.mark.parametrize(
    "text", ["2026-02-28", "tomorrow", "2026-03-15T12:00:00", "2026-13-01", "0000-01-01", "9" * 30]
)
def test_an_action_is_due_on_a_day_to_come(say: Callable[..., Any], text: str) -> None:
    answer = say("actions", ACTION | {"due": text})
    assert (answer.status_code, answer.json()["code"]) == (422, "POISE-I422")
    assert "--due" in answer.json()["mend"]


def test_today_is_a_day_to_come_and_an_overdue_action_may_be_reworded(
    house: Any, say: Callable[..., Any], drafted: Review
) -> None:
    assert say("actions", ACTION | {"due": f"{house.clock.at:%Y-%m-%d}"}).status_code == 201
    house.clock.at += timedelta(days=2)
    house.credentials["developer"] = house.mint("developer")
    same = ACTION | {"due": f"{house.clock.at - timedelta(days=2):%Y-%m-%d}", "n": 1, "owner": "bob"}
    assert say("actions", same).status_code == 201
    assert say("actions", same | {"n": 0}).status_code == 422
    assert fold(house, drafted).actions[0].owner == "bob"


def test_publishing_is_the_operators_and_happens_once(
    house: Any, say: Callable[..., Any], drafted: Review
) -> None:
    assert say("publish").status_code == 403
    assert [say("publish", who="operator", key="k").status_code for _ in range(2)] == [201, 201]
    assert say("publish", who="operator").json()["code"] == "POISE-I409"
    assert fold(house, drafted).published_by == "operator"


def test_words_that_are_said_at_once_are_all_kept(
    house: Any, say: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from poise.api import reviews

    plain, others = reviews._now, iter((True, True, False))

    async def overtaken(parts: Any, project: str, n: int) -> Any:
        found = await plain(parts, project, n)
        if next(others, False):
            from poise.model.record import Write
            from poise.ports.store import Transaction

            edit = ReviewEdit(incident="shop/000001", k=found.k, by="bob", at=house.clock.at, publish=True)
            write = Write(kind="ReviewEdit", key=edit.key, body=edit)
            await parts.store.commit(Transaction(at=house.clock.at, writes=[write]))
        return found

    monkeypatch.setattr(reviews, "_now", overtaken)
    assert say("actions", ACTION).status_code == 201
    assert [(one.k, one.by) for one in edits(house)] == [(1, "bob"), (2, "bob"), (3, "developer")]


def test_a_secret_that_somebody_tells_is_not_kept(
    house: Any, client: Client, headers: Headers, say: Callable[..., Any]
) -> None:
    secret = "correct-horse-42-battery"
    house.parts.masker.add([secret])
    told = say("actions", {**ACTION, "text": f"rotate {secret}", "owner": secret, "verification": secret})
    assert (told.status_code, secret in told.text) == (201, False)
    fold(house, replace(anyio.run(house.store.get, Review, "shop/000001")[0]))
    assert put_text(client, headers, f"it was {secret}").status_code == 200
    assert secret.encode() not in b"".join(path.read_bytes() for path in house.data.glob("poise.db*"))


def test_the_text_with_actions_tells_them_as_data(
    house: Any, client: Client, headers: Headers, say: Callable[..., Any]
) -> None:
    say("actions", ACTION | {"text": "<b>do</b> [it](http://evil)"})
    text = client.get(f"{ONE}/text?actions=true", headers=headers()).text
    assert text.startswith("# Incident 1\n\n## Agreed actions\n\n- [ ] 1, to prevent: ")
    assert "<b>" not in text and r"\[it\](http://evil)" in text and "due 2026-03-15" in text
    finished = Action(
        n=2, kind=ActionKind.DETECT, text="see it", owner="ada", due_at=house.clock.at, verification="v",
        done_at=house.clock.at, done_by="ada",
    )  # fmt: skip
    assert "- [x] 2, to detect" in agreed((finished,))


def test_a_day_ends_with_its_last_second() -> None:
    assert due("2026-12-07") == datetime(2026, 12, 7, 23, 59, 59, tzinfo=UTC)
    assert due("2026-12-07T18:00:00+02:00") == datetime(2026, 12, 7, 16, tzinfo=UTC)
    with pytest.raises(Invalid, match="no day"):
        due("")
