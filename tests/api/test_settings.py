"""Config and secrets over HTTP: versions, refusals, and values that nobody is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from poise.model.config import Config, Secret
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.event_types import CONFIG_CHANGED, SECRET_CHANGED
from poise.model.record import Write
from poise.model.service import Service
from poise.ports.store import Transaction

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
WEB = "/api/v1/projects/shop/environments/production/services/web"
PASSWORD = "correct-horse-42-battery"


@pytest.fixture
def put(client: Client, headers: Headers) -> Callable[..., Any]:
    """Set values over what is newest."""

    def put(kind: str, values: dict[str, str], *unset: str, who: str = "operator", **more: Any) -> Any:
        at = client.get(f"{WEB}/{kind}", headers=headers()).headers["etag"]
        body = {"set": values, "unset": list(unset), "reason": "a test", **more}
        return client.put(f"{WEB}/{kind}", json=body, headers=headers(who, if_match=at))

    return put


def journal(house: Any, kind: str) -> list[Any]:
    return [row.event for row in anyio.run(house.store.journal) if row.event.type == kind]


def test_setting_a_value_makes_a_version_with_all_values_and_tells_what_changed(
    house: Any, client: Client, headers: Headers, put: Callable[..., Any]
) -> None:
    assert put("config", {"LOG_LEVEL": "info", "CURRENCY": "EUR"}).json()["n"] == 1
    answer = put("config", {"LOG_LEVEL": "debug"}, "CURRENCY", change_class="fix")
    assert answer.status_code == 200, answer.text
    assert "it passes the gate" in answer.json()["sentence"]
    made = anyio.run(house.store.get, Config, "shop/production/web/000002")[0]
    assert (made.values, made.by, made.change_class.value) == ({"LOG_LEVEL": "debug"}, "operator", "fix")
    event = journal(house, CONFIG_CHANGED)[-1]
    assert event.summary == "operator changed -CURRENCY, LOG_LEVEL in config 2 of shop/production/web: a test"
    assert event.data["changes"] == [
        {"name": "CURRENCY", "change": "unset", "before": "EUR"},
        {"name": "LOG_LEVEL", "change": "changed", "before": "info", "after": "debug"},
    ]
    found = client.get(f"{WEB}/config", headers=headers("viewer")).json()
    assert (found["n"], found["live"]) == (2, None)
    assert found["items"] == [{"name": "LOG_LEVEL", "value": "debug", "changed_in": 2}]
    assert [(one["n"], one["changed"], one["unset"]) for one in found["versions"]["items"]] == [
        (1, ["CURRENCY", "LOG_LEVEL"], []), (2, ["LOG_LEVEL"], ["CURRENCY"]),
    ]  # fmt: skip


def roll(house: Any, n: int, config: int, state: RolloutState) -> None:
    """A rollout of that config alone, as the rollout room leaves it behind."""
    rollout = Rollout(
        project="shop", environment="production", service="web", n=n, release=1, digest="sha256:1",
        revision=str(config), config=config, changes=("config",), commit="c", summary="s",
        change_class=ChangeClass.FEATURE, state=state, created_at=house.clock.at,
        spec=Service(project="shop", environment="production", name="web", command="run"),
    )  # fmt: skip
    write = Write(kind="Rollout", key=rollout.key, body=rollout)
    anyio.run(house.store.commit, Transaction(at=house.clock.at, writes=[write]))


def test_a_rejected_version_is_not_what_the_next_is_made_from(
    house: Any, client: Client, headers: Headers, put: Callable[..., Any]
) -> None:
    """Else a harmless change would bring the value that broke the app back with it."""
    put("config", {"A": "good"})
    roll(house, 1, 1, RolloutState.LIVE)
    put("config", {"B": "bad"})
    roll(house, 2, 2, RolloutState.ROLLED_BACK)
    found = client.get(f"{WEB}/config", headers=headers("viewer"))
    assert (found.json()["n"], found.json()["newest"], found.headers["etag"]) == (1, 2, '"2"')
    assert [one["rejected"] for one in found.json()["versions"]["items"]] == [False, True]
    made = put("config", {"C": "new"}).json()
    assert made["sentence"].startswith("Config 2 was rejected: this one is made from 1.")
    assert anyio.run(house.store.get, Config, "shop/production/web/000003")[0].values == {
        "A": "good",
        "C": "new",
    }


def test_a_rollback_passes_over_what_was_rejected(
    house: Any, client: Client, headers: Headers, put: Callable[..., Any]
) -> None:
    """A rollback goes straight: it must never lead to what broke the app."""
    put("config", {"A": "one"})
    put("config", {"A": "bad"})
    roll(house, 1, 2, RolloutState.ROLLED_BACK)
    put("config", {"A": "three"})
    roll(house, 2, 3, RolloutState.LIVE)
    asked = client.post(
        f"{WEB}/config/rollback",
        json={"reason": "it broke"},
        headers=headers("operator", idempotency_key="k"),
    )
    assert asked.status_code == 201, asked.text
    assert anyio.run(house.store.get, Config, "shop/production/web/000004")[0].values == {"A": "one"}


def test_a_value_that_is_so_already_makes_no_version(house: Any, put: Callable[..., Any]) -> None:
    for kind in ("config", "secret"):
        name = f"A_{kind.upper()}"
        put(kind, {name: PASSWORD + kind})
        again = put(kind, {name: PASSWORD + kind}).json()
        assert (again["n"], again["changes"], again["sentence"][:17]) == (1, [], "Nothing to change")


def test_a_secrets_value_is_sealed_and_never_told(
    house: Any, client: Client, headers: Headers, put: Callable[..., Any]
) -> None:
    made = put("secret", {"DB_PASSWORD": PASSWORD})
    assert PASSWORD not in made.text
    for path in ("secret", "secret/1", "secret/0/differences/1"):
        answer = client.get(f"{WEB}/{path}", headers=headers("owner"))
        assert (answer.status_code, PASSWORD in answer.text, "DB_PASSWORD" in answer.text) == (
            200,
            False,
            True,
        )
    version = anyio.run(house.store.get, Secret, "shop/production/web/000001")[0]
    assert house.parts.sealer.unseal(version) == {"DB_PASSWORD": PASSWORD}
    assert journal(house, SECRET_CHANGED)[-1].data["changes"] == [{"name": "DB_PASSWORD", "change": "set"}]
    assert PASSWORD.encode() not in b"".join(path.read_bytes() for path in house.data.glob("poise.db*"))


def test_a_rollback_is_a_new_version_with_old_values(
    house: Any, client: Client, headers: Headers, put: Callable[..., Any]
) -> None:
    for kind in ("config", "secret"):
        name = f"A_{kind.upper()}"
        put(kind, {name: "the first value"})
        put(kind, {name: "the second value"})
        asked: dict[str, Any] = {
            "json": {"reason": "it broke"},
            "headers": headers("operator", idempotency_key="k"),
        }
        sent = [client.post(f"{WEB}/{kind}/rollback", **asked) for _ in range(2)]
        assert [answer.json()["n"] for answer in sent] == [3, 3], sent[0].text
        assert client.get(f"{WEB}/{kind}/1/differences/3", headers=headers()).json() == []
        newest = client.get(f"{WEB}/{kind}", headers=headers()).json()["versions"]["items"][-1]
        assert (newest["restores"], newest["change_class"]) == (1, "rollback")


def test_what_was_not_read_is_not_written_over(
    client: Client, headers: Headers, put: Callable[..., Any]
) -> None:
    put("config", {"A": "1"})
    body = {"set": {"A": "2"}, "reason": "a test"}
    stale = client.put(f"{WEB}/config", json=body, headers=headers(if_match='"0"'))
    assert (stale.status_code, stale.json()["code"]) == (409, "POISE-E412")
    assert client.put(f"{WEB}/config", json=body, headers=headers()).json()["code"] == "POISE-E428"


@pytest.mark.parametrize(
    ("kind", "values", "unset", "code", "mend"),
    [
        ("config", {"db-password": "x"}, (), "POISE-E630", "DB_PASSWORD"),
        ("config", {"1ST": "x"}, (), "POISE-E630", "_1ST"),
        ("config", {"": "x"}, (), "POISE-E630", "NAME"),
        ("config", {"PATH": "/bin"}, (), "POISE-E631", "APP_PATH"),
        ("config", {"LD_PRELOAD": "x"}, (), "POISE-E631", "APP_"),
        ("config", {"POISE_TOKEN": "x"}, (), "POISE-E631", "APP_"),
        ("config", {"A": "\0"}, (), "POISE-E632", "base64"),
        ("config", {"A": "x" * 40_000}, (), "POISE-E633", "file"),
        ("config", {f"A{n}": "x" * 30_000 for n in range(9)}, (), "POISE-E634", "--unset"),
        ("config", {"TAKEN": "x"}, (), "POISE-E635", "--unset TAKEN"),
        ("config", {}, ("TOKEN",), "POISE-E636", ""),
        ("config", {"URL": f"postgres://shop:{PASSWORD}@db/"}, (), "POISE-E639", "poise secret set"),
        ("config", {"A": "x"}, ("A",), "POISE-E641", ""),
        ("secret", {"A": " "}, (), "POISE-E637", "--unset A"),
        ("secret", {"A": "production"}, (), "POISE-E638", "openssl"),
        ("secret", {}, ("TAKN",), "POISE-E636", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_a_setting_is_refused_with_a_mend(
    house: Any,
    put: Callable[..., Any],
    kind: str,
    values: dict[str, str],
    unset: tuple[str, ...],
    code: str,
    mend: str,
) -> None:
    put("secret", {"TAKEN": PASSWORD})
    answer = put(kind, values, *unset)
    assert answer.json()["code"] == code, answer.text
    assert mend in answer.json()["mend"]
    assert PASSWORD not in answer.text
    assert anyio.run(house.store.scan, Config, "shop/")[0] == []


def test_a_rollback_is_no_way_around_the_gate(put: Callable[..., Any]) -> None:
    assert put("config", {"A": "x"}, change_class="rollback").json()["code"] == "POISE-E640"


def test_versions_are_read_whole_and_each_once(
    client: Client, headers: Headers, put: Callable[..., Any]
) -> None:
    for n in range(5):
        put("config", {"A": str(n)})
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(f"{WEB}/config?limit=2&cursor={cursor}", headers=headers()).json()["versions"]
        assert all(one["changed"] == ["A"] for one in page["items"])
        seen += [one["n"] for one in page["items"]]
        cursor = page["next"]
    assert seen == [1, 2, 3, 4, 5]
